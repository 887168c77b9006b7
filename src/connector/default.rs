use std::sync::Arc;

use super::tcp::TcpConnector;
#[cfg(feature = "tls")]
use super::tls::TlsConnector;
use super::{Connector, Target};
use crate::runtime::Runtime;
#[cfg(feature = "tls")]
use crate::runtime::on_thread;
use crate::transport::Connecting;

/// What a client connects by unless it is told otherwise: TCP, and TLS where the URI asks for it and
/// the feature is there.
#[derive(Debug, Default)]
pub(crate) struct DefaultConnector {
    tcp: TcpConnector,
    /// Made when it is first needed: reading the system's certificates takes time and can fail.
    #[cfg(feature = "tls")]
    tls: Arc<async_lock::OnceCell<TlsConnector>>,
}

impl Connector for DefaultConnector {
    fn connect(&self, target: &Target, runtime: &Arc<dyn Runtime>) -> Connecting {
        #[cfg(feature = "tls")]
        if target.tls {
            let (tls, target) = (Arc::clone(&self.tls), target.clone());
            let runtime = Arc::clone(runtime);
            return Box::pin(async move {
                let load = || on_thread(TlsConnector::with_system_certificates);
                let tls = tls.get_or_try_init(load).await?;
                tls.connect(&target, &runtime).await
            });
        }
        self.tcp.connect(target, runtime)
    }
}
