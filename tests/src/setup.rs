//! The options of a host under test, and the command that starts it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::compiled::compile_engine_for;
use crate::{Namespace, PostgresServer, TestHost, places};

/// The options for starting a host.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    plugins: Vec<(String, Vec<u8>)>,
    files: Vec<(String, Vec<u8>)>,
    config: String,
    cache: Option<PathBuf>,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    is_human: bool,
    listen: Option<String>,
    address_space: Option<u64>,
    /// The file of the network namespace.
    namespace: Option<String>,
}

impl Setup {
    /// A host without plugins.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds some of the built plugins.
    ///
    /// # Errors
    /// If one of them hasn't been built.
    pub fn guests(mut self, names: &[&str]) -> Result<Self> {
        for name in names {
            self.plugins.push(((*name).to_owned(), places::guest(name)?));
        }
        Ok(self)
    }

    /// Adds a plugin with these bytes.
    #[must_use]
    pub fn plugin(mut self, name: &str, bytes: Vec<u8>) -> Self {
        self.plugins.push((name.to_owned(), bytes));
        self
    }

    /// Adds a file at this path, relative to the configuration.
    #[must_use]
    pub fn file(mut self, path: &str, bytes: Vec<u8>) -> Self {
        self.files.push((path.to_owned(), bytes));
        self
    }

    /// Sets the content of `bennu.toml`.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        text.clone_into(&mut self.config);
        self
    }

    /// Adds one key of the table `limits`.
    #[must_use]
    pub fn limit(mut self, key: &str, value: u64) -> Self {
        if !self.config.contains("[limits]") {
            self.config += "\n[limits]";
        }
        self.config += &format!("\n{key} = {value}");
        self
    }

    /// Uses a separate cache for compiled plugins.
    #[must_use]
    pub fn cache(mut self, directory: &Path) -> Self {
        self.cache = Some(directory.to_owned());
        self
    }

    /// Adds arguments to the command line.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Uses the human-readable log format instead of JSON.
    #[must_use]
    pub fn human(mut self) -> Self {
        self.is_human = true;
        self
    }

    /// Listens on this address instead of a free port of the loopback interface.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = Some(address.to_owned());
        self
    }

    /// Limits the address space, as `ulimit -v` does.
    #[must_use]
    pub fn address_space(mut self, mebibytes: u64) -> Self {
        self.address_space = Some(mebibytes);
        self
    }

    /// Runs the host in a network namespace, where it listens on the namespace's own address.
    #[must_use]
    pub fn namespace(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.path());
        self.listen(&format!("{}:0", namespace.own()))
    }

    /// Starts the host, and waits until it listens and the log says whether its plugins are loaded.
    ///
    /// # Errors
    /// If the host doesn't start.
    pub async fn start(self) -> Result<TestHost> {
        let is_human = self.is_human;
        let names: Vec<String> = self.plugins.iter().map(|(name, _)| name.clone()).collect();
        let (command, home) = self.command()?;
        let host = TestHost::spawn(command, home).await?;
        if !is_human {
            host.has_decided_about(&names).await?;
        }
        Ok(host)
    }

    /// Starts the host with another standard error, so that the test doesn't read its log. Waits until the host listens.
    ///
    /// # Errors
    /// If the host doesn't start.
    pub async fn start_logging_to(self, errors: impl Into<Stdio>) -> Result<TestHost> {
        let (mut command, home) = self.command()?;
        command.stderr(errors);
        TestHost::spawn(command, home).await
    }

    /// Returns the command that starts the host, and its working directory.
    ///
    /// # Errors
    /// If the directory can't be created.
    pub fn command(self) -> Result<(Command, Arc<TempDir>)> {
        let home = tempfile::Builder::new().prefix("bennu-").tempdir().context("creating a directory")?;
        fs::create_dir(home.path().join("plugins"))?;
        let plugins = self.plugins.into_iter().map(|(name, bytes)| (format!("plugins/{name}.wasm"), bytes));
        for (path, bytes) in plugins.chain(self.files) {
            compile_engine_for(&path)?;
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().context("the path has no directory")?)?;
            fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        }
        let cache = self.cache.map_or_else(places::compiled, Ok)?;
        let config = format!("cache = {cache:?}\n{}\n{}", self.config, store(&self.config, home.path())?);
        fs::write(home.path().join("bennu.toml"), config)?;
        let mut command = match (self.address_space, &self.namespace) {
            (Some(mebibytes), _) => limited(mebibytes)?,
            (None, Some(namespace)) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={namespace}")).arg(places::binary()?);
                command
            }
            (None, None) => Command::new(places::binary()?),
        };
        let listen = self.listen.as_deref().unwrap_or("127.0.0.1:0");
        command
            .args(["serve", "plugins", "--config", "bennu.toml", "--listen", listen])
            .args(["--log-format", "json"].iter().filter(|_| !self.is_human))
            .args(self.arguments)
            .env_remove("BENNU_LOG")
            .env_remove("BENNU_DATA")
            .envs(self.variables)
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok((command, Arc::new(home)))
    }
}

/// The part of a configuration that puts the store into a server of the tests, if all hosts are to use one. Each has a schema of
/// its own.
fn store(config: &str, home: &Path) -> Result<String> {
    if !PostgresServer::is_wanted() || config.contains("[store]") {
        return Ok(String::new());
    }
    let url = PostgresServer::shared()?.url("postgres", "postgres");
    let name = home.file_name().unwrap_or_default().to_string_lossy().to_lowercase().replace(['-', '.'], "_");
    Ok(format!("[store]\nurl = {url:?}\nschema = {name:?}\nconnections = 2\n"))
}

/// A command that runs the binary with a limited address space. The caller adds the arguments.
///
/// # Errors
/// If there is no binary.
pub fn limited(mebibytes: u64) -> Result<Command> {
    let mut command = Command::new("sh");
    let kibibytes = mebibytes << 10;
    command.args(["-c", &format!("ulimit -v {kibibytes} && exec \"$0\" \"$@\"")]).arg(places::binary()?);
    Ok(command)
}
