//! TLS: the certificates that are trusted, and the handshake.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::failure::Failure;

/// The authorities whose certificates are trusted.
#[derive(Clone, Debug)]
pub enum Roots {
    /// Those of the operating system, or of the variables `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    System,
    /// These, for tests.
    These(Vec<CertificateDer<'static>>),
}

/// The configuration of TLS. It is made at the first request that needs it.
pub(crate) struct Tls {
    roots: Roots,
    config: OnceCell<Arc<ClientConfig>>,
}

impl Tls {
    pub(crate) fn new(roots: Roots) -> Self {
        Self { roots, config: OnceCell::new() }
    }

    /// Makes a TLS connection. A certificate that isn't valid for `name` is refused.
    pub(crate) async fn connect(
        &self,
        name: ServerName<'static>,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let config = self.config.get_or_try_init(|| configure(self.roots.clone())).await?;
        let connected = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
        connected.map_err(|error| Failure::unreachable(format!("TLS failed: {error}")))
    }
}

async fn configure(roots: Roots) -> Result<Arc<ClientConfig>, Failure> {
    // Reads files.
    let made = tokio::task::spawn_blocking(move || configuration(roots)).await;
    made.unwrap_or_else(|error| Err(Failure::unreachable(format!("TLS can't be set up: {error}"))))
}

fn configuration(roots: Roots) -> Result<Arc<ClientConfig>, Failure> {
    let mut store = RootCertStore::empty();
    let certificates = match roots {
        Roots::These(certificates) => certificates,
        Roots::System => rustls_native_certs::load_native_certs().certs,
    };
    // Some systems have certificates that rustls can't read. The others count.
    let (added, _) = store.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(Failure::unreachable(
            "the host knows no certificate authority; install the package `ca-certificates`, or set SSL_CERT_FILE for the host",
        ));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::unreachable(format!("TLS can't be set up: {error}")))?;
    let mut config = builder.with_root_certificates(store).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
