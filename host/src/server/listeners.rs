//! The sockets on which a host listens: bound by itself, or passed by a service manager (systemd's socket activation).

use std::env;
use std::io;
use std::net;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

use super::Config;

/// The maximum number of connections that wait to be accepted. It is large because all clients reconnect at once after a
/// restart. The operating system may have a lower limit.
const BACKLOG: u32 = 4096;

/// The names of the sockets. A service manager names that of the API so (`FileDescriptorName=` of systemd), and any other
/// name is that of the socket for clients.
pub(super) const API: &str = "api";
pub(super) const CLIENTS: &str = "clients";

/// Sockets that the process has got from elsewhere. Those that are missing are bound by the host.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For clients.
    pub clients: Option<net::TcpListener>,
    /// For the API, if it has its own address.
    pub api: Option<net::TcpListener>,
    /// Whether they come from a service manager. Then their addresses have nothing to do with the configuration.
    pub are_managed: bool,
}

/// The sockets of a host.
pub(super) struct Bound {
    pub(super) clients: Arc<TcpListener>,
    pub(super) api: Option<Arc<TcpListener>>,
    pub(super) are_managed: bool,
}

impl Listeners {
    /// Takes the sockets that a service manager has passed to this process, as systemd does (`sd_listen_fds(3)`). It removes
    /// their variables from the environment, so no other thread may run yet.
    ///
    /// # Errors
    /// If one of them isn't a socket that listens for TCP connections, or if there are too many.
    pub fn of_service_manager() -> Result<Self> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut names = names.split(':').map(str::to_owned);
        let mut listeners = Self::default();
        for place in 0..passed.len() {
            let socket = passed.take_tcp_listener(place).context("the service manager passed a socket")?;
            let name = names.next().unwrap_or_default();
            let Some(socket) = socket else { continue };
            // Apple's systems don't tell. There, accepting from such a socket fails.
            #[cfg(not(target_vendor = "apple"))]
            {
                let is_listening = rustix::net::sockopt::socket_acceptconn(&socket).context("asking for its state")?;
                ensure!(
                    is_listening,
                    "the service manager passed a socket that doesn't listen; `Accept=` must be `no`"
                );
            }
            let place = if name == API { &mut listeners.api } else { &mut listeners.clients };
            ensure!(
                place.is_none(),
                "the service manager passed several sockets; a host has one for clients, and one with the name `{API}` if \
                 `api.listen` is configured"
            );
            *place = Some(socket);
            listeners.are_managed = true;
        }
        Ok(listeners)
    }

    /// Binds the sockets that are missing.
    pub(super) async fn bind(self, config: &Config) -> Result<Bound> {
        let clients = taken_or_bound(self.clients, &config.listen, "--listen").await?;
        let api = match (&config.api.listen, self.api) {
            (Some(address), passed) => Some(taken_or_bound(passed, address, "api.listen").await?),
            (None, None) => None,
            (None, Some(_)) => bail!(
                "a socket with the name `{API}` was passed to this process, but `api.listen` isn't configured; configure it, \
                 or don't pass the socket"
            ),
        };
        Ok(Bound { clients, api, are_managed: self.are_managed })
    }
}

async fn taken_or_bound(passed: Option<net::TcpListener>, address: &str, key: &str) -> Result<Arc<TcpListener>> {
    let Some(listener) = passed else { return bind(address, key).await.map(Arc::new) };
    let taken = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener));
    let listener = taken.context("using a socket that was passed to this process")?;
    let shown = listener.local_addr().context("asking for the address")?;
    tracing::info!("listening on the socket for {shown} that was passed to this process; {key} isn't used");
    Ok(Arc::new(listener))
}

async fn bind(address: &str, key: &str) -> Result<TcpListener> {
    listen_on(address).await.with_context(|| {
        format!("listening on `{address}`; name another with {key} ADDRESS:PORT (port 0 takes a free port)")
    })
}

/// Resolves a name, and listens on the first of its addresses that can be bound.
async fn listen_on(address: &str) -> io::Result<TcpListener> {
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "it is not an address");
    for address in lookup_host(address).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
