use crate::method::connection;
use crate::table::FieldTable;

/// What a server said in a handshake: enough for a client to say its part of the next one before the server
/// has said anything.
///
/// It is to be used for the same server only, see
/// [`ClientOptions::known_server`](crate::ClientOptions::known_server).
#[derive(Clone, Debug, PartialEq)]
pub struct KnownServer {
    pub(crate) start: connection::Start,
    pub(crate) tune: connection::Tune,
}

impl KnownServer {
    pub(crate) fn properties(&self) -> &FieldTable {
        &self.start.server_properties
    }
}
