//! A balancer: each new connection goes to the next node that accepts it.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};

/// A balancer, which runs until the process ends.
pub(super) struct Balancer(u16);

impl Balancer {
    /// Listens on a port, or on a free one if that is in use.
    pub(super) fn listen(usual: u16, nodes: Vec<u16>) -> Result<Self> {
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, usual)) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)),
            bound => bound,
        };
        let listener = listener.context("the balancer can't listen")?;
        let port = listener.local_addr()?.port();
        let (nodes, turn): (Arc<[u16]>, _) = (nodes.into(), Arc::new(AtomicUsize::new(0)));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (nodes, turn) = (Arc::clone(&nodes), Arc::clone(&turn));
                // A connection that breaks is the client's to make again.
                thread::spawn(move || drop(serve(client, &nodes, &turn)));
            }
        });
        Ok(Self(port))
    }

    pub(super) fn port(&self) -> u16 {
        self.0
    }
}

fn serve(client: TcpStream, nodes: &[u16], turn: &AtomicUsize) -> io::Result<()> {
    let first = turn.fetch_add(1, Ordering::Relaxed);
    let mut accepting = (0..nodes.len()).map(|at| nodes[(first + at) % nodes.len()]);
    let Some(node) = accepting.find_map(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()) else {
        return Ok(());
    };
    client.set_nodelay(true)?;
    node.set_nodelay(true)?;
    let (from_node, to_client) = (node.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || pass(from_node, to_client));
    pass(client, node);
    let _ = back.join();
    Ok(())
}

/// Passes bytes on until the connection ends, and ends the other one.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    // Either side may have ended already.
    let _ = io::copy(&mut from, &mut to);
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
