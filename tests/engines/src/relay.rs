//! A way to servers of TCP that a test can cut: a network, or a balancer.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The most bytes that are passed on at once.
const CHUNK: usize = 16 << 10;

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// They are passed on.
    Open,
    /// They wait, and no connection ends: as if a network had lost all packets.
    Silent,
    /// All connections end, and new ones end at once.
    Cut,
}

/// A listener that passes connections on. Dropping the value ends them.
pub struct Relay {
    port: u16,
    servers: watch::Sender<Arc<[u16]>>,
    way: watch::Sender<Way>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Listens on a free port of the loopback interface, and passes connections on to these ports there, in turn. A port that refuses a
    /// connection is passed over.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start(servers: &[u16]) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (servers, way) = (watch::Sender::new(servers.into()), watch::Sender::new(Way::Open));
        let task = tokio::spawn(accept(listener, servers.subscribe(), way.subscribe()));
        Ok(Self { port, servers, way, task })
    }

    /// The port on which it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets what becomes of the bytes of all connections.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Passes further connections on to other ports.
    pub fn redirect(&self, servers: &[u16]) {
        self.servers.send_replace(servers.into());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.set(Way::Cut);
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, servers: watch::Receiver<Arc<[u16]>>, way: watch::Receiver<Way>) {
    let mut turn = 0;
    while let Ok((client, _)) = listener.accept().await {
        let (mut servers, way) = (servers.borrow().to_vec(), way.clone());
        turn += 1;
        if !servers.is_empty() {
            let first = turn % servers.len();
            servers.rotate_left(first);
        }
        tokio::spawn(async move {
            if *way.borrow() != Way::Cut
                && let Some(server) = connect(&servers).await
            {
                join(client, server, way).await;
            }
        });
    }
}

/// Connects to the first server that accepts it.
async fn connect(servers: &[u16]) -> Option<TcpStream> {
    for server in servers {
        if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, *server)).await {
            return Some(stream);
        }
    }
    None
}

/// Passes bytes on in both directions. When one of them ends, so does the other: nothing that is tested closes only one.
async fn join(client: TcpStream, server: TcpStream, way: watch::Receiver<Way>) {
    // Without it, small frames are late. It fails only if the connection has ended.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (split(client), split(server));
    tokio::select! {
        () = pass(from_client, to_server, way.clone()) => {}
        () = pass(from_server, to_client, way) => {}
    }
}

/// Passes bytes on until the connection ends, or is cut.
async fn pass(mut from: ReadHalf<TcpStream>, mut to: WriteHalf<TcpStream>, mut way: watch::Receiver<Way>) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = tokio::select! {
            read = from.read(&mut chunk) => read,
            cut = way.wait_for(|way| *way == Way::Cut) => return drop(cut),
        };
        let Ok(count @ 1..) = read else { return };
        let is_open = way.wait_for(|way| *way != Way::Silent).await.is_ok_and(|way| *way == Way::Open);
        if !is_open || to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}
