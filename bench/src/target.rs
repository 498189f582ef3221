//! The server that a scenario is measured against: the host, the floor, another program, or a server that already runs.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::host::{Host, default_binary, guest};
use crate::load::Dialect;
use crate::process::Process;
use crate::server::Server;

/// A server to connect to.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
    pub(crate) dialect: Dialect,
    /// Ends the server on drop, if it was started here.
    running: Running,
}

/// Who started the server.
enum Running {
    Server { _server: Server },
    Host(Host),
    Elsewhere,
}

impl Target {
    /// Starts the floor.
    pub(crate) fn floor() -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        Self::start(command.arg("floor"), Dialect::Phoenix)
    }

    /// Starts any server that takes `--listen` and prints its address.
    pub(crate) fn start(command: &mut Command, dialect: Dialect) -> Result<Self> {
        let server = Server::start(command.args(["--listen", "127.0.0.1:0"]))?;
        let (address, process) = (server.address, server.process());
        Ok(Self { address, process, dialect, running: Running::Server { _server: server } })
    }

    /// The host, if a host was started here.
    pub(crate) fn host(&self) -> Option<&Host> {
        match &self.running {
            Running::Host(host) => Some(host),
            _ => None,
        }
    }
}

impl From<Host> for Target {
    fn from(host: Host) -> Self {
        let (address, process) = (host.address, host.process());
        Self { address, process, dialect: Dialect::Phoenix, running: Running::Host(host) }
    }
}

/// The host that is measured: its binary and its plugins.
#[derive(Args, Clone)]
pub(crate) struct Hosted {
    /// The host's binary
    #[arg(long, default_value_os_t = default_binary())]
    pub(crate) host: PathBuf,

    /// A plugin that it serves, as `cargo xtask guests` builds it; may be given more than once
    #[arg(long = "plugin", default_values_os_t = ["echo", "chat", "counter"].map(guest))]
    pub(crate) plugins: Vec<PathBuf>,
}

impl Hosted {
    /// Starts the host with everything at its default.
    pub(crate) fn start(&self) -> Result<Host> {
        Host::serve(&self.host, &self.plugins, "")
    }
}

/// The options that choose the server of a scenario.
#[derive(Args)]
pub(crate) struct Against {
    #[command(flatten)]
    hosted: Hosted,

    /// Measure the floor (the least that a server can need) instead of the host
    #[arg(long, conflicts_with_all = ["server", "at"])]
    floor: bool,

    /// Measure this program instead: it takes `--listen ADDRESS` and prints `Listening on http://ADDRESS`
    #[arg(long, value_name = "PROGRAM", conflicts_with = "at")]
    server: Option<PathBuf>,

    /// Measure the server that already listens on this address
    #[arg(long, value_name = "ADDRESS", requires = "pid")]
    at: Option<SocketAddr>,

    /// The process id of that server
    #[arg(long)]
    pid: Option<u32>,

    /// The protocol of the server
    #[arg(long, value_enum, default_value_t = Dialect::Phoenix)]
    dialect: Dialect,
}

impl Against {
    pub(crate) fn open(&self) -> Result<Target> {
        if let Some(address) = self.at {
            let process = Process::new(self.pid.context("--at needs --pid")?);
            return Ok(Target { address, process, dialect: self.dialect, running: Running::Elsewhere });
        }
        match &self.server {
            Some(server) => Target::start(&mut Command::new(server), self.dialect),
            None if self.floor => Target::floor(),
            None => Ok(self.hosted.start()?.into()),
        }
    }
}
