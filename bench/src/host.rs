//! The host that is measured.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
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
        Self::serve_in(binary, plugins, config, &Surroundings::default())
    }

    /// Starts a host as [`Host::serve`] does, in such surroundings.
    pub(crate) fn serve_in(
        binary: &Path,
        plugins: &[impl AsRef<Path>],
        config: &str,
        surroundings: &Surroundings,
    ) -> Result<Self> {
        let home = tempfile::tempdir()?;
        fs::write(home.path().join(CONFIG), config)?;
        let plugins: Vec<PathBuf> = plugins.iter().map(|plugin| plugin.as_ref().to_owned()).collect();
        let server = serve(binary, &plugins, home.path(), surroundings)?;
        Ok(Self { address: server.address, server, home, binary: binary.to_owned(), plugins })
    }

    /// Stops it in order, and starts it again with the same data. Its address is another one then.
    pub(crate) fn restart(self) -> Result<Self> {
        let Self { server, home, binary, plugins, .. } = self;
        server.stop()?;
        let server = serve(&binary, &plugins, home.path(), &Surroundings::default())?;
        Ok(Self { address: server.address, server, home, binary, plugins })
    }

    /// Returns the pipe with the host's log, if the host was started with one.
    pub(crate) fn take_log(&mut self) -> Option<ChildStderr> {
        self.server.take_log()
    }

    /// Asks it to stop in order, and waits until it has ended.
    pub(crate) fn stop(self) -> Result<()> {
        self.server.stop()
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
        Ok(serde_json::from_str(&self.get("/api/inspect")?)?)
    }

    /// Returns the body of a page that needs the API key.
    pub(crate) fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        let (address, key) = (self.address, self.api_key()?);
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no body")?;
        ensure!(head.starts_with("HTTP/1.0 200") || head.starts_with("HTTP/1.1 200"), "{head}");
        Ok(body.to_owned())
    }

    /// Returns the sum of a metric over those of its labels that contain a text.
    ///
    /// # Errors
    /// If there is none, because a name that is misspelt would be zero for ever.
    pub(crate) fn metric(&self, name: &str, label: &str) -> Result<f64> {
        let found = sum_of(&self.get("/metrics")?, name, label);
        found.with_context(|| format!("there is no metric {name} with {label:?}"))
    }

    /// Returns the calls of a plugin that have ended. A plugin that was never called has no such metric yet.
    pub(crate) fn calls(&self, plugin: &str) -> Result<f64> {
        let label = format!("plugin=\"{plugin}\"");
        Ok(sum_of(&self.get("/metrics")?, "bennu_plugin_calls_total", &label).unwrap_or(0.0))
    }
}

/// Returns the sum of a metric in a scrape over those of its labels that contain a text, if there is one.
fn sum_of(scrape: &str, name: &str, label: &str) -> Option<f64> {
    let of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        let is_it = (labels.is_empty() || labels.starts_with('{')) && labels.contains(label);
        is_it.then(|| value.parse::<f64>().ok())?
    };
    scrape.lines().filter_map(of).reduce(|sum, value| sum + value)
}

/// What a host has to cope with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// A command of the shell that limits the process, such as `ulimit -n 200`.
    pub(crate) limit: Option<String>,
    /// What becomes of the log.
    pub(crate) log: HostLog,
}

/// What becomes of the log of a host.
#[derive(Clone, Debug, Default)]
pub(crate) enum HostLog {
    /// Warnings go to the standard error of the benchmark.
    #[default]
    Shown,
    /// As a host that serves has it, but it goes nowhere.
    Discarded,
    /// Everything goes to a pipe that nobody reads.
    Stalled,
    /// It goes to a pipe, as lines of JSON, for [`Host::take_log`].
    Piped,
}

/// Starts a host whose configuration and data are in a directory.
fn serve(binary: &Path, plugins: &[PathBuf], home: &Path, surroundings: &Surroundings) -> Result<Server> {
    let mut command = match &surroundings.limit {
        None => Command::new(binary),
        Some(limit) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")]).arg(binary);
            shell
        }
    };
    let level = match &surroundings.log {
        HostLog::Shown => "warn",
        HostLog::Discarded => {
            command.stderr(Stdio::null());
            "info"
        }
        HostLog::Stalled => {
            command.stderr(Stdio::piped());
            "debug"
        }
        HostLog::Piped => {
            command.stderr(Stdio::piped());
            "info"
        }
    };
    command.arg("serve").args(plugins).arg("--config").arg(home.join(CONFIG));
    command.arg("--data").arg(home.join("data"));
    command.args(["--listen", "127.0.0.1:0", "--log", level]);
    command.args(matches!(surroundings.log, HostLog::Piped).then_some("--log-format=json"));
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
