use std::fmt;

use snowshoe_codec::ShortString;

/// A producer, as [events](super::Event) name it.
///
/// Its `Display` is for logs: `producer 7`, or `producer "orders" (7)` where it has a
/// [name](crate::ProducerBuilder::name).
///
/// ```
/// # fn run(client: &snowshoe::Client) -> Result<(), snowshoe::Error> {
/// let producer = client.producer("orders")?.name("checkout")?.build();
/// assert_eq!(producer.id().name().map(|name| name.to_string_lossy()), Some("checkout".into()));
/// # Ok(()) }
/// # let server = snowshoe::testing::Server::in_memory(Default::default());
/// # let (client, _driver) = server.client().build();
/// # run(&client).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProducerId {
    number: u64,
    /// Most have none.
    name: Option<Box<ShortString>>,
}

impl ProducerId {
    pub(crate) fn new(number: u64, name: Option<ShortString>) -> Self {
        let name = name.map(Box::new);
        Self { number, name }
    }

    /// Its number, which no other producer of the client has.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What it [was named](crate::ProducerBuilder::name).
    pub fn name(&self) -> Option<&ShortString> {
        self.name.as_deref()
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "producer {name:?} ({})", self.number),
            None => write!(f, "producer {}", self.number),
        }
    }
}
