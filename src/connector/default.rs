use std::sync::Arc;

use super::tcp::TcpConnector;
#[cfg(feature = "tls-no-provider")]
use super::tls::TlsConnector;
use super::{Connector, Target};
use crate::runtime::Runtime;
#[cfg(feature = "tls-no-provider")]
use crate::runtime::on_thread;
use crate::transport::Connecting;
use crate::uri::TlsOptions;

/// What a client connects by unless it is told otherwise: TCP, and TLS where the URI asks for it and
/// the feature is there.
#[derive(Debug)]
pub(crate) struct DefaultConnector {
    tcp: TcpConnector,
    #[cfg(feature = "tls-no-provider")]
    tls: Arc<Tls>,
}

impl DefaultConnector {
    #[cfg_attr(
        not(feature = "tls-no-provider"),
        allow(unused_variables, reason = "it is about TLS")
    )]
    pub(crate) fn new(options: TlsOptions) -> Self {
        Self {
            tcp: TcpConnector::default(),
            #[cfg(feature = "tls-no-provider")]
            tls: Arc::new(Tls {
                options,
                connector: async_lock::OnceCell::new(),
            }),
        }
    }
}

#[cfg(feature = "tls-no-provider")]
#[derive(Debug)]
struct Tls {
    options: TlsOptions,
    /// Made when it is first needed: reading the system's certificates takes time and can fail.
    connector: async_lock::OnceCell<TlsConnector>,
}

#[cfg(feature = "tls-no-provider")]
impl Tls {
    async fn connector(
        self: &Arc<Self>,
        runtime: &Arc<dyn Runtime>,
    ) -> std::io::Result<TlsConnector> {
        let tls = Arc::clone(self);
        let make = || on_thread(runtime, move || TlsConnector::with_options(&tls.options));
        self.connector.get_or_try_init(make).await.cloned()
    }
}

impl Connector for DefaultConnector {
    fn connect(&self, target: &Target, runtime: &Arc<dyn Runtime>) -> Connecting {
        #[cfg(feature = "tls-no-provider")]
        if target.tls {
            let (tls, target) = (Arc::clone(&self.tls), target.clone());
            let runtime = Arc::clone(runtime);
            return Box::pin(async move {
                let connector = tls.connector(&runtime).await?;
                connector.connect(&target, &runtime).await
            });
        }
        self.tcp.connect(target, runtime)
    }
}
