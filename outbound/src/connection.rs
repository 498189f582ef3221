//! Connections to servers: to a checked address, perhaps with TLS, and HTTP/1.1 on top.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use url::Host;

use crate::address::AddressRule;
use crate::failure::Failure;
use crate::limits::{ADDRESSES_MAX, CONNECTING, HEADER_BYTES_MAX, HEADERS_MAX};
use crate::network::Network;
use crate::target::Target;
use crate::tls::Tls;

/// A connection to a server. If it is dropped, it is closed.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Connects to a server, at one of the addresses that `rule` allows.
    pub(crate) async fn open(
        target: &Target,
        rule: AddressRule,
        network: &dyn Network,
        tls: &Tls,
    ) -> Result<Self, Failure> {
        let addresses = addresses(target, rule, network).await?;
        let stream = connect(target, &addresses, network).await?;
        // Without it, a small request may wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        if !target.is_https() {
            return Self::over(stream).await;
        }
        let name = server_name(target)?;
        match timeout(CONNECTING, tls.connect(name, stream)).await {
            Ok(connected) => Self::over(connected?).await,
            Err(_) => Err(Failure::unreachable(format!("{} doesn't answer the TLS handshake", target.authority()))),
        }
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Self, Failure> {
        let made = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEADER_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) = made.map_err(|error| Failure::broken(error.to_string()))?;
        // The task ends with the connection: errors are reported to the request that waits.
        let driver = tokio::spawn(connection.map(drop));
        Ok(Self { sender, driver })
    }

    /// Whether a next request can be sent now.
    pub(crate) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until a next request can be sent. Returns false if the connection is closed.
    pub(crate) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request. The error says whether nothing of the request was sent.
    pub(crate) async fn send(
        &mut self,
        request: http::Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, (hyper::Error, bool)> {
        let sent = self.sender.try_send_request(request).await;
        sent.map_err(|mut error| {
            let is_unsent = error.take_message().is_some();
            (error.into_error(), is_unsent)
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The addresses of a server that may be connected to. What is checked here is what is connected to: the name isn't looked up
/// again.
async fn addresses(target: &Target, rule: AddressRule, network: &dyn Network) -> Result<Vec<IpAddr>, Failure> {
    let found = match target.host() {
        Host::Ipv4(address) => vec![IpAddr::V4(address)],
        Host::Ipv6(address) => vec![IpAddr::V6(address)],
        Host::Domain(name) => network
            .resolve(name)
            .await
            .map_err(|error| Failure::unreachable(format!("the name {name} can't be looked up: {error}")))?,
    };
    let is_empty = found.is_empty();
    let allowed: Vec<IpAddr> = found.into_iter().filter(|address| rule.allows(*address)).take(ADDRESSES_MAX).collect();
    if !allowed.is_empty() {
        return Ok(allowed);
    }
    let host = target.host_text();
    // The address itself isn't named: a plugin must not learn the addresses of a private network.
    Err(Failure::unreachable(if is_empty {
        format!("the name {host} has no address")
    } else {
        format!("{host} has no address that the grant allows; a grant of a private address says `private = true`")
    }))
}

async fn connect(target: &Target, addresses: &[IpAddr], network: &dyn Network) -> Result<TcpStream, Failure> {
    let mut why = String::new();
    for address in addresses {
        match timeout(CONNECTING, network.connect(SocketAddr::new(*address, target.port()))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => why = format!("no answer within {} s", CONNECTING.as_secs()),
        }
    }
    Err(Failure::unreachable(format!("{} can't be connected to: {why}", target.authority())))
}

fn server_name(target: &Target) -> Result<ServerName<'static>, Failure> {
    match target.host() {
        Host::Ipv4(address) => Ok(ServerName::IpAddress(IpAddr::V4(address).into())),
        Host::Ipv6(address) => Ok(ServerName::IpAddress(IpAddr::V6(address).into())),
        Host::Domain(name) => ServerName::try_from(name.to_owned())
            .map_err(|_| Failure::unreachable(format!("{name} can't be the name of a server with TLS"))),
    }
}
