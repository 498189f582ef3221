//! How the processes of servers are started.

use std::net::TcpListener;
use std::process::{Child, Command};
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

/// A port that nobody uses.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
