//! TLS to the database. A certificate is always checked, with the name of the host.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};

use anyhow::{Result, bail};
use futures_util::future::BoxFuture;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

/// How connections are encrypted. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tls {
    is_used: bool,
    roots: Option<PathBuf>,
    /// Made at the first connection, because it reads files.
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

/// Makes the TLS part of one connection.
pub(super) struct Connect {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// An encrypted connection.
pub(super) struct Stream<S>(tokio_rustls::client::TlsStream<S>);

impl Tls {
    /// Reads the parameter `sslmode`. Without it, connections to other machines are encrypted.
    pub(super) fn new(mode: &Option<String>, is_local: bool, roots: Option<PathBuf>) -> Result<Self> {
        let is_used = match mode.as_deref() {
            None => !is_local || roots.is_some(),
            Some("disable") => false,
            // Weaker modes of other clients don't check the certificate. Here, they are the same as the strict one.
            Some("require" | "verify-ca" | "verify-full") => true,
            Some(other) => bail!(
                "`sslmode` in `url` is `{}`; it must be `verify-full` or `disable`; without it, connections to other machines \
                 are encrypted, and the certificate is checked",
                other.escape_debug()
            ),
        };
        Ok(Self { is_used, roots, config: Arc::default() })
    }

    pub(super) fn is_used(&self) -> bool {
        self.is_used
    }

    fn config(&self) -> io::Result<Arc<ClientConfig>> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = configuration(self.roots.as_deref())?;
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}

fn configuration(roots: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
    let certificates: Vec<CertificateDer<'static>> = match roots {
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            read.map_err(|error| io::Error::other(format!("the certificates in {}: {error}", path.display())))?
        }
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut store = RootCertStore::empty();
    if store.add_parsable_certificates(certificates).0 == 0 {
        return Err(io::Error::other(
            "no certificate authority is known: install the package `ca-certificates`, or give `sslrootcert=FILE` in `url`",
        ));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.map_err(io::Error::other)?.with_root_certificates(store).with_no_client_auth();
    Ok(Arc::new(config))
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = Stream<S>;
    type TlsConnect = Connect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Connect, io::Error> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Connect { config: self.config()?, name })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Connect {
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Stream<S>>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { TlsConnector::from(self.config).connect(self.name, stream).await.map(Stream) })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        // The certificate is checked, so a password is sent to nobody else.
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
