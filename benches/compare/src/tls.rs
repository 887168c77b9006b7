//! TLS in front of the null broker, in its process: what it costs a client is measured by the client's processor time
//! alone.

use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::event::{PollFd, PollFlags, poll};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A port on which TLS ends, and who has signed its certificate.
#[derive(Clone, Debug)]
pub struct Front {
    pub port: u16,
    pub authority: PathBuf,
}

impl Front {
    /// Forwards what comes by TLS to this port, as long as the process lives.
    ///
    /// # Errors
    /// There is no free port, or the certificate cannot be written.
    pub fn start(broker: u16) -> Result<Self> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?;
        let certificate = certificate.signed_by(&key, &authority)?;
        let path = std::env::temp_dir().join(format!("compare-{}.pem", std::process::id()));
        fs::write(&path, authority.pem())?;
        let key = PrivateKeyDer::try_from(key.serialize_der())?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        thread::spawn(move || {
            for client in listener.incoming() {
                let config = Arc::clone(&config);
                // A connection that fails is the client's to notice.
                thread::spawn(move || client.and_then(|client| forward(client, broker, config)));
            }
        });
        Ok(Self {
            port,
            authority: path,
        })
    }

    /// As a line of text.
    pub fn line(&self) -> String {
        format!("{} {}", self.port, self.authority.display())
    }

    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (port, authority) = line.split_once(' ')?;
        Some(Self {
            port: port.parse().ok()?,
            authority: authority.into(),
        })
    }

    /// What a client connects to.
    pub(crate) fn url(&self) -> String {
        let authority = self.authority.display();
        format!(
            "amqps://guest:guest@127.0.0.1:{}?{AUTHORITY}{authority}",
            self.port
        )
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.authority);
    }
}

const AUTHORITY: &str = "cacertfile=";

/// Who has signed the certificate of the broker with this URL, where it is one of [`Front::url`].
pub(crate) fn authority_in(url: &str) -> Option<&Path> {
    let (_, authority) = url.split_once(AUTHORITY)?;
    Some(Path::new(authority))
}

/// How much is held for either side before the other is waited for.
const HELD: usize = 1 << 20;

fn forward(mut client: TcpStream, broker: u16, config: Arc<ServerConfig>) -> io::Result<()> {
    let mut broker = TcpStream::connect((Ipv4Addr::LOCALHOST, broker))?;
    for socket in [&client, &broker] {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
    }
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    tls.set_buffer_limit(None);
    let mut buffer = vec![0; 64 << 10];
    let (mut up, mut down) = (Vec::new(), Vec::new());
    loop {
        let mut wanted = [PollFlags::empty(); 2];
        if up.len() < HELD {
            wanted[0] |= PollFlags::IN;
        }
        if tls.wants_write() {
            wanted[0] |= PollFlags::OUT;
        }
        if down.len() < HELD && !tls.wants_write() {
            wanted[1] |= PollFlags::IN;
        }
        if !up.is_empty() {
            wanted[1] |= PollFlags::OUT;
        }
        let mut fds = [
            PollFd::new(&client, wanted[0]),
            PollFd::new(&broker, wanted[1]),
        ];
        poll(&mut fds, None)?;
        let ready = [fds[0].revents(), fds[1].revents()];
        let readable = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        if ready[0].intersects(readable) && wanted[0].contains(PollFlags::IN) {
            if pending(tls.read_tls(&mut client))? == Some(0) {
                return Ok(());
            }
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            let mut there = state.plaintext_bytes_to_read();
            while there > 0 {
                let read = tls.reader().read(&mut buffer)?;
                up.extend_from_slice(&buffer[..read]);
                there -= read;
            }
        }
        if ready[1].intersects(readable) && wanted[1].contains(PollFlags::IN) {
            match pending(broker.read(&mut buffer))? {
                Some(0) => return Ok(()),
                Some(read) => down.extend_from_slice(&buffer[..read]),
                None => {}
            }
        }
        if !down.is_empty() && !tls.is_handshaking() {
            tls.writer().write_all(&down)?;
            down.clear();
        }
        while tls.wants_write() && pending(tls.write_tls(&mut client))?.is_some() {}
        if let Some(written) = pending(broker.write(&up))? {
            up.drain(..written);
        }
    }
}

/// Nothing, where it would have to be waited for.
fn pending(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
