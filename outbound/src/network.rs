//! The network: names to addresses, and connections to addresses.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::limits::LOOKUPS_MAX;

/// The network. Tests have their own, which can present any address. The client checks what `resolve` returns, and calls
/// `connect` only with what it has checked.
pub trait Network: Send + Sync {
    /// Returns the addresses of a name, the best one first.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;

    /// Connects to an address.
    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(address))
    }
}

/// The network of the operating system, with its resolver.
#[derive(Debug)]
pub struct SystemNetwork {
    free: Arc<Semaphore>,
}

impl Default for SystemNetwork {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

impl Network for SystemNetwork {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let permit = Arc::clone(&self.free).acquire_owned().await.map_err(io::Error::other)?;
            let name = name.to_owned();
            // The permit is held by the thread, because the lookup continues even if nobody waits for it any more.
            let lookup = move || {
                let _permit = permit;
                Ok((name.as_str(), 0).to_socket_addrs()?.map(|address| address.ip()).collect())
            };
            tokio::task::spawn_blocking(lookup).await.map_err(io::Error::other)?
        })
    }
}
