//! TLS to the database. A certificate is always checked, with the name of the host.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};

use anyhow::{Result, bail};
use bennu_cluster::client_tls;
use futures_util::future::BoxFuture;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
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
        let config = client_tls(self.roots.as_deref())?;
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
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
