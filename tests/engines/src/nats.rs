//! A NATS server for tests, in a directory of its own.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::DEADLINE;
use crate::process::{free_port, spawn};

/// The environment variable with the path of the server. `cargo xtask test nats` sets it.
const PROGRAM: &str = "BENNU_NATS_SERVER";

/// A server. Dropping the value kills it.
pub struct NatsServer {
    home: TempDir,
    port: u16,
    process: Mutex<Option<Child>>,
}

impl NatsServer {
    /// Whether there is a NATS server here.
    #[must_use]
    pub fn is_there() -> bool {
        program().is_some()
    }

    /// Starts a server.
    ///
    /// # Errors
    /// If there is none here, or it doesn't start.
    pub fn start() -> Result<Self> {
        Self::start_with("")
    }

    /// Starts a server with lines of its configuration, such as `max_payload: 64KB`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with(configuration: &str) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("bennu-nats-").tempdir()?;
        fs::write(home.path().join("nats.conf"), configuration)?;
        let server = Self { home, port: free_port()?, process: Mutex::default() };
        server.start_again()?;
        Ok(server)
    }

    /// Starts the server again after [`kill`](Self::kill), on the same port, and waits until it answers.
    ///
    /// # Errors
    /// If it doesn't start.
    pub fn start_again(&self) -> Result<()> {
        let program = program().with_context(|| format!("no NATS server was found; set {PROGRAM} to its path"))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program).arg("-c").arg(self.home.path().join("nats.conf"));
        command.args(["-a", "127.0.0.1", "-p", &self.port.to_string()]);
        let log = fs::OpenOptions::new().create(true).append(true).open(self.home.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(spawn(command)?);
        let end = Instant::now() + DEADLINE;
        while !self.answers() {
            ensure!(Instant::now() < end && !self.has_ended()?, "the NATS server doesn't answer: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn has_ended(&self) -> Result<bool> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(process.as_mut().context("the server wasn't started")?.try_wait()?.is_some())
    }

    /// Whether it greets a client.
    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut greeting = [0; 5];
        stream.set_read_timeout(Some(DEADLINE)).is_ok()
            && stream.read_exact(&mut greeting).is_ok()
            && greeting == *b"INFO "
    }

    /// Kills the server at once.
    ///
    /// # Errors
    /// If there is no process.
    pub fn kill(&self) -> Result<()> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = process.take().context("the server isn't running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Stops the process, so that it answers nothing and closes no connection, or lets it go on.
    ///
    /// # Errors
    /// If there is no process.
    pub fn pause(&self, is_paused: bool) -> Result<()> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = Pid::from_child(process.as_ref().context("the server isn't running")?);
        kill_process(pid, if is_paused { Signal::STOP } else { Signal::CONT })?;
        Ok(())
    }

    /// The address of the server.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port on which it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the server.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The end of the server's log.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        log.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.kill();
    }
}

/// Finds the server's program: the one that is named, or the one on the path.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os(PROGRAM).map(PathBuf::from);
    let on_path = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|folder| folder.join("nats-server")).find(|program| program.is_file())
    };
    named.or_else(on_path)
}
