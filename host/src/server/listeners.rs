//! Binds the addresses of a host.

use std::io;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket, lookup_host};

use super::Config;

/// The maximum number of connections that wait to be accepted. It is large because all clients reconnect at once after a
/// restart. The operating system may have a lower limit.
const BACKLOG: u32 = 4096;

/// Binds the host's address, and the API's if it has its own.
pub(super) async fn listeners(config: &Config) -> Result<(TcpListener, Option<TcpListener>)> {
    let listener = bind(&config.listen, "--listen").await?;
    let api_listener = match &config.api.listen {
        Some(address) => Some(bind(address, "api.listen").await?),
        None => None,
    };
    Ok((listener, api_listener))
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
