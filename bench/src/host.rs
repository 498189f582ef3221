//! The host that is measured.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::Process;
use crate::server::Server;

/// The file with the configuration.
const CONFIG: &str = "bennu.toml";

/// A running host. Dropping the value ends the host.
pub(crate) struct Host {
    server: Server,
    home: TempDir,
    binary: PathBuf,
    plugins: Vec<PathBuf>,
    /// The address that it listens on.
    pub(crate) address: SocketAddr,
}

impl Host {
    /// Starts a host with one plugin and a configuration.
    pub(crate) fn start(binary: &Path, plugin: &Path, config: &str) -> Result<Self> {
        Self::serve(binary, &[plugin], config)
    }

    /// Starts a host with several plugins, or with a directory of plugins.
    pub(crate) fn serve(binary: &Path, plugins: &[impl AsRef<Path>], config: &str) -> Result<Self> {
        let home = tempfile::tempdir()?;
        fs::write(home.path().join(CONFIG), config)?;
        let plugins: Vec<PathBuf> = plugins.iter().map(|plugin| plugin.as_ref().to_owned()).collect();
        let server = serve(binary, &plugins, home.path())?;
        Ok(Self { address: server.address, server, home, binary: binary.to_owned(), plugins })
    }

    /// Stops it in order, and starts it again with the same data. Its address is another one then.
    pub(crate) fn restart(self) -> Result<Self> {
        let Self { server, home, binary, plugins, .. } = self;
        server.stop()?;
        let server = serve(&binary, &plugins, home.path())?;
        Ok(Self { address: server.address, server, home, binary, plugins })
    }

    pub(crate) fn process(&self) -> Process {
        self.server.process()
    }

    /// The CPU time that the host has used.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.process().cpu()
    }

    /// The resident memory of the host, in bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        self.process().memory()
    }

    /// Returns the key of the host's API.
    pub(crate) fn api_key(&self) -> Result<String> {
        let key = fs::read_to_string(self.home.path().join("data").join("api-key"))?;
        Ok(key.trim_end().to_owned())
    }

    /// Returns the answer to `GET /api/inspect`.
    pub(crate) fn inspect(&self) -> Result<Value> {
        let mut stream = TcpStream::connect(self.address)?;
        let (address, key) = (self.address, self.api_key()?);
        write!(stream, "GET /api/inspect HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(serde_json::from_str(answer.split("\r\n\r\n").nth(1).context("the answer has no body")?)?)
    }
}

/// Starts a host whose configuration and data are in a directory.
fn serve(binary: &Path, plugins: &[PathBuf], home: &Path) -> Result<Server> {
    let mut command = Command::new(binary);
    command.arg("serve").args(plugins).arg("--config").arg(home.join(CONFIG));
    command.arg("--data").arg(home.join("data"));
    command.args(["--listen", "127.0.0.1:0", "--log", "warn"]);
    Server::start(&mut command).context("build the host with `cargo build --release -p bennu`")
}

/// The default of the binary that is measured.
pub(crate) fn default_binary() -> PathBuf {
    target().join("release/bennu")
}

/// The directory of the built plugins.
pub(crate) fn guests() -> PathBuf {
    target().join("guests")
}

/// The file of a built plugin.
pub(crate) fn guest(name: &str) -> PathBuf {
    guests().join(name).with_extension("wasm")
}

/// The file of the script that the benchmarks serve.
pub(crate) fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join("echo.ts")
}

/// Cargo's target directory, which also holds the built plugins.
pub(crate) fn target() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    workspace.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}
