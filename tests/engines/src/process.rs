//! How the processes of servers are started.

use std::net::TcpListener;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail};

/// Starts a process from a thread that lasts. A process with a death signal ends with the thread that has started it.
pub(crate) fn spawn(command: Command) -> Result<Child> {
    type Request = (Command, Sender<std::io::Result<Child>>);
    static STARTER: OnceLock<Mutex<Sender<Request>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (requests, queue) = channel::<Request>();
        thread::spawn(move || {
            for (mut command, answer) in queue {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(requests)
    });
    let (answer, started) = channel();
    let sent = starter.lock().unwrap_or_else(PoisonError::into_inner).send((command, answer));
    if sent.is_err() {
        bail!("the thread that starts servers has ended");
    }
    started.recv()?.context("starting a server")
}

/// The ports of servers that tests start. A system gives only higher ones (Linux: from 32768 on) to whoever asks for any port. One of those
/// would not stay free: before its server listens, or while it is down, the kernel could give it to an outgoing connection. The tests in
/// JavaScript have the ports from 20000 on (`freePort` in `tests/host.mjs`), because both pick a port before a server listens on it.
const PORTS: std::ops::Range<u32> = 10_000..20_000;

/// A port of this machine that nobody uses, and that stays free while its server is down.
///
/// # Errors
/// If all are in use.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = PORTS.end - PORTS.start;
    // Two processes at once begin far from each other.
    let begin = std::process::id().wrapping_mul(7919) % count;
    for _ in 0..count {
        let port = PORTS.start + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % count;
        let port = u16::try_from(port)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}
