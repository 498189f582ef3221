//! The host that is measured, as a process of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

/// A host at work. It ends with this.
pub(crate) struct Host {
    process: Child,
    _home: TempDir,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// What the operating system counts its CPU time in.
const TICKS_PER_SECOND: u64 = 100;

impl Host {
    /// Starts a host with one plugin and a configuration.
    pub(crate) fn start(binary: &Path, plugin: &Path, config: &str) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("bennu.toml");
        fs::write(&path, config)?;
        let mut command = Command::new(binary);
        command.arg("serve").arg(plugin).arg("--config").arg(path).args(["--listen", "127.0.0.1:0", "--log", "warn"]);
        let mut process = command.stdout(Stdio::piped()).spawn().with_context(|| {
            format!("starting {}; build it with `cargo build --release -p bennu`", binary.display())
        })?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("the host's output")?).read_line(&mut line)?;
        let address = line.trim().strip_prefix("Listening on http://").context("the host didn't start")?;
        Ok(Self { process, _home: home, address: address.parse()? })
    }

    /// CPU time that it has taken, in user and in system mode together.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // What comes after the command's name, which may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')').context("a process's stat")?.1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }
}

impl Host {
    /// Bytes of memory that it holds.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kilobytes = line.split_whitespace().next().context("no VmRSS")?;
        Ok(kilobytes.parse::<u64>()? << 10)
    }

    /// What `GET /api/inspect` says.
    pub(crate) fn inspect(&self) -> Result<Value> {
        let mut stream = TcpStream::connect(self.address)?;
        write!(stream, "GET /api/inspect HTTP/1.0\r\nHost: {}\r\n\r\n", self.address)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(serde_json::from_str(answer.split("\r\n\r\n").nth(1).context("an answer without a body")?)?)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The binary that is measured, unless another is named.
pub(crate) fn default_binary() -> PathBuf {
    workspace().join("target/release/bennu")
}

/// A built plugin.
pub(crate) fn guest(name: &str) -> PathBuf {
    workspace().join("target/guests").join(name).with_extension("wasm")
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
