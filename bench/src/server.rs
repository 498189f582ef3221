//! A server that is measured, as a separate process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::Process;

/// A running server. Dropping the value ends the process.
pub(crate) struct Server {
    child: Child,
    /// The address that it listens on.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a server. It has to print its address in the line `Listening on http://ADDRESS`.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().display().to_string();
        let mut child =
            command.stdout(Stdio::piped()).spawn().with_context(|| format!("starting {program}: is it built?"))?;
        let mut line = String::new();
        let read = child
            .stdout
            .take()
            .context("the server's output isn't captured")
            .and_then(|out| Ok(BufReader::new(out).read_line(&mut line)?));
        let address = line.trim().strip_prefix("Listening on http://").and_then(|address| address.parse().ok());
        let (Ok(_), Some(address)) = (read, address) else {
            end(&mut child);
            anyhow::bail!("{program} didn't start");
        };
        Ok(Self { child, address })
    }

    pub(crate) fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// Returns the pipe of its standard error, if it has one. It can be taken once.
    pub(crate) fn take_log(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Asks the server to stop in order, and waits until it has ended.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("stopping the server")?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Ends a child process and waits until it has ended.
fn end(child: &mut Child) {
    // Both calls fail only if the process has already ended.
    let _ = child.kill();
    let _ = child.wait();
}
