//! A host under test: the real binary, as a process of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Knock, Log, TestClient, eventually, http, places};

/// How a host is to be started.
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
}

impl Setup {
    /// A host without plugins.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With some of the built plugins.
    ///
    /// # Errors
    /// Where one of them hasn't been built.
    pub fn guests(mut self, names: &[&str]) -> Result<Self> {
        for name in names {
            self.plugins.push(((*name).to_owned(), places::guest(name)?));
        }
        Ok(self)
    }

    /// With a plugin of these bytes.
    #[must_use]
    pub fn plugin(mut self, name: &str, bytes: Vec<u8>) -> Self {
        self.plugins.push((name.to_owned(), bytes));
        self
    }

    /// With a file at this path beside its configuration.
    #[must_use]
    pub fn file(mut self, path: &str, bytes: Vec<u8>) -> Self {
        self.files.push((path.to_owned(), bytes));
        self
    }

    /// With this in its `bennu.toml`.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        text.clone_into(&mut self.config);
        self
    }

    /// With one key of the table `limits`.
    #[must_use]
    pub fn limit(mut self, key: &str, value: u64) -> Self {
        if !self.config.contains("[limits]") {
            self.config += "\n[limits]";
        }
        self.config += &format!("\n{key} = {value}");
        self
    }

    /// With a cache of its own for compiled plugins.
    #[must_use]
    pub fn cache(mut self, directory: &Path) -> Self {
        self.cache = Some(directory.to_owned());
        self
    }

    /// With further arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// With an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a log for people; usually it is JSON.
    #[must_use]
    pub fn human(mut self) -> Self {
        self.is_human = true;
        self
    }

    /// Listening elsewhere than at a free port of this machine alone.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = Some(address.to_owned());
        self
    }

    /// With so many mebibytes of address space at most, as by `ulimit -v`.
    #[must_use]
    pub fn address_space(mut self, mebibytes: u64) -> Self {
        self.address_space = Some(mebibytes);
        self
    }

    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    /// Where it doesn't come to that.
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

    /// Starts it with something else for standard error than the log that the test reads, and waits until it listens.
    ///
    /// # Errors
    /// Where it doesn't come to that.
    pub async fn start_logging_to(self, errors: impl Into<Stdio>) -> Result<TestHost> {
        let (mut command, home) = self.command()?;
        command.stderr(errors);
        TestHost::spawn(command, home).await
    }

    /// The command that starts it, and the directory that it is started in.
    ///
    /// # Errors
    /// Where the directory can't be made.
    pub fn command(self) -> Result<(Command, Arc<TempDir>)> {
        let home = tempfile::Builder::new().prefix("bennu-").tempdir().context("making a directory")?;
        fs::create_dir(home.path().join("plugins"))?;
        let plugins = self.plugins.into_iter().map(|(name, bytes)| (format!("plugins/{name}.wasm"), bytes));
        for (path, bytes) in plugins.chain(self.files) {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().context("a file stands in a directory")?)?;
            fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        }
        let cache = self.cache.map_or_else(places::compiled, Ok)?;
        let config = format!("cache = {cache:?}\n{}\n", self.config);
        fs::write(home.path().join("bennu.toml"), config)?;
        let mut command = match self.address_space {
            Some(mebibytes) => limited(mebibytes)?,
            None => Command::new(places::binary()?),
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

/// The binary with a limit of its address space; its arguments follow.
///
/// # Errors
/// Where there is no binary.
pub fn limited(mebibytes: u64) -> Result<Command> {
    let mut command = Command::new("sh");
    let kibibytes = mebibytes << 10;
    command.args(["-c", &format!("ulimit -v {kibibytes} && exec \"$0\" \"$@\"")]).arg(places::binary()?);
    Ok(command)
}

/// What became of a plugin's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loading {
    /// It serves, as this generation.
    Done(u64),
    /// It was refused, and why.
    Refused(String),
}

/// A host that runs. Dropping it kills it; a test that succeeds ends with [`stop`](Self::stop).
pub struct TestHost {
    process: Child,
    /// What started it, and starts it again.
    command: Command,
    address: SocketAddr,
    home: Arc<TempDir>,
    log: Log,
    readers: Vec<JoinHandle<()>>,
}

impl TestHost {
    /// Starts a host with some of the built plugins, and defaults for the rest.
    ///
    /// # Errors
    /// See [`Setup::start`].
    pub async fn start(guests: &[&str]) -> Result<Self> {
        Setup::new().guests(guests)?.start().await
    }

    async fn spawn(mut command: Command, home: Arc<TempDir>) -> Result<Self> {
        let mut process = command.spawn().with_context(|| format!("starting {:?}", command.get_program()))?;
        let (printed, log) = (Log::default(), Log::default());
        let mut readers = Vec::new();
        readers.extend(process.stdout.take().map(|from| printed.read(from)));
        readers.extend(process.stderr.take().map(|from| log.read(from)));
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut host = Self { process, command, address: unknown, home, log, readers };
        let address = eventually("the host listens", async || {
            if let Some(status) = host.process.try_wait()? {
                bail!("the host ended with {status}, and its log is\n{}", host.log.tail(20));
            }
            let lines = printed.since(0);
            Ok(lines.iter().find_map(|line| line.text.strip_prefix("Listening on http://")?.parse().ok()))
        });
        host.address = address.await?;
        // One that its configuration names is the test's own business.
        if let Ok(key) = host.api_key() {
            http::know(host.address, &key);
        }
        Ok(host)
    }

    /// Waits until the log says what became of the plugins that were there from the start. The host has written it before it
    /// listens; it may not have been read.
    async fn has_decided_about(&self, plugins: &[String]) -> Result<()> {
        for name in plugins {
            self.decision(0, name).await?;
        }
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The directory that its configuration stands in, with `plugins` beside it.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The key that it has made for its API.
    ///
    /// # Errors
    /// Where it has made none, since its configuration names one or it has no API.
    pub fn api_key(&self) -> Result<String> {
        let path = self.home.path().join("data").join("api-key");
        let key = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(key.trim_end().to_owned())
    }

    /// The file of a plugin.
    #[must_use]
    pub fn plugin_file(&self, name: &str) -> PathBuf {
        self.home.path().join("plugins").join(name).with_extension("wasm")
    }

    /// Connects a client that speaks version 2 of the protocol.
    ///
    /// # Errors
    /// Where it isn't let in.
    pub async fn connect(&self) -> Result<TestClient> {
        Knock::to(self.address).connect().await
    }

    /// A client that connects with something else than the usual.
    #[must_use]
    pub fn knock(&self) -> Knock {
        Knock::to(self.address)
    }

    /// Puts a file in a plugin's place as a build tool does, by a rename, and waits until the host has made up its mind.
    ///
    /// # Errors
    /// Where it doesn't within the deadline.
    pub async fn put(&self, name: &str, bytes: &[u8]) -> Result<Loading> {
        let mark = self.log.len();
        let beside = self.home.path().join("plugins").join(format!("{name}.part"));
        fs::write(&beside, bytes)?;
        fs::rename(&beside, self.plugin_file(name))?;
        self.decision(mark, name).await
    }

    /// What the host has decided about a plugin since a mark in the log.
    ///
    /// # Errors
    /// Where it hasn't within the deadline.
    pub async fn decision(&self, mark: usize, name: &str) -> Result<Loading> {
        let decided = |line: &crate::Line| {
            let said = ["plugin_loaded", "plugin_reloaded", "plugin_refused"];
            line.field("plugin") == name && said.iter().any(|word| line.message().starts_with(word))
        };
        let line = self.log.find(mark, &format!("the host has loaded or refused `{name}`"), decided).await?;
        Ok(match line.fields["generation"].as_u64() {
            Some(generation) => Loading::Done(generation),
            None => Loading::Refused(line.message().to_owned()),
        })
    }

    /// Has a plugin reloaded from one of the built ones, such as `variants/echo-v2`. Gives its generation.
    ///
    /// # Errors
    /// Where it is refused.
    pub async fn reload(&self, name: &str, guest: &str) -> Result<u64> {
        match self.put(name, &places::guest(guest)?).await? {
            Loading::Done(generation) => Ok(generation),
            Loading::Refused(why) => bail!("`{name}` was not reloaded from {guest}: {why}"),
        }
    }

    /// Why a plugin of these bytes is refused.
    ///
    /// # Errors
    /// Where it is not.
    pub async fn refusal(&self, name: &str, bytes: &[u8]) -> Result<String> {
        match self.put(name, bytes).await? {
            Loading::Refused(why) => Ok(why),
            Loading::Done(generation) => bail!("`{name}` should have been refused, and serves as {generation}"),
        }
    }

    /// What `GET /api/inspect` says.
    ///
    /// # Errors
    /// Where it says nothing.
    pub async fn inspect(&self) -> Result<Value> {
        let answer = http::get(self.address, "/api/inspect").await?;
        ensure!(answer.status == 200, "{answer:?}");
        answer.json()
    }

    /// Waits until inspection shows what `wanted` wants.
    ///
    /// # Errors
    /// Where the deadline passes before; it says what is shown instead.
    pub async fn shows(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        let shown = eventually(what, async || {
            last = self.inspect().await?;
            Ok(wanted(&last).then(|| last.clone()))
        });
        shown.await.with_context(|| format!("the host shows {last}, and its log has\n{}", self.log.tail(20)))
    }

    /// Waits until there are so many sockets and channels.
    ///
    /// # Errors
    /// Where the deadline passes before.
    pub async fn holds(&self, sockets: u64, channels: u64) -> Result<()> {
        let what = format!("there are {sockets} sockets and {channels} channels");
        self.shows(&what, |shown| shown["sockets"] == sockets && shown["channels"] == channels).await?;
        Ok(())
    }

    /// Bytes of memory that the process holds.
    ///
    /// # Errors
    /// Where the operating system doesn't say.
    pub fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(kilobytes.parse::<u64>()? << 10)
    }

    /// The names of the process's threads.
    ///
    /// # Errors
    /// Where the operating system doesn't say.
    pub fn threads(&self) -> Result<Vec<String>> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id()))?;
        // One may end meanwhile.
        let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        Ok(names.map(|name| name.trim_end().to_owned()).collect())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, signal).context("sending a signal to the host")
    }

    /// Has the files that it writes end at so many bytes, as if the disk were full then; none lifts that again.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn limit_files(&self, bytes: Option<u64>) -> Result<()> {
        let pid = Pid::from_child(&self.process);
        let limits = Rlimit { current: bytes, maximum: None };
        prlimit(Some(pid), Resource::Fsize, limits).context("limiting the size of the host's files")?;
        Ok(())
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Errors
    /// Where the deadline passes before.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let ended = eventually("the host has ended", async || Ok(self.process.try_wait()?)).await;
        let status = ended.with_context(|| format!("its log has\n{}", self.log.tail(20)))?;
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        Ok(status)
    }

    /// Its directory, which otherwise goes with it.
    #[must_use]
    pub fn keep_home(&self) -> Arc<TempDir> {
        Arc::clone(&self.home)
    }

    /// Ends it with a signal, and starts it again in the same directory: another process with another address and a new log.
    ///
    /// # Errors
    /// Where it doesn't end, or doesn't come up again.
    pub async fn restart(self, signal: Signal) -> Result<Self> {
        self.restart_after(signal, |_| Ok(())).await
    }

    /// The same with a plugin's file in which another of the built ones stands at the next start.
    ///
    /// # Errors
    /// As for [`restart`](Self::restart), and where there is no such plugin.
    pub async fn restart_onto(self, signal: Signal, name: &str, guest: &str) -> Result<Self> {
        let component = places::guest(guest)?;
        self.restart_after(signal, |host| Ok(fs::write(host.plugin_file(name), component)?)).await
    }

    /// The same after something was done while it was down.
    ///
    /// # Errors
    /// As for [`restart`](Self::restart), and where that fails.
    pub async fn restart_after(mut self, signal: Signal, act: impl FnOnce(&Self) -> Result<()>) -> Result<Self> {
        self.signal(signal)?;
        self.ended().await?;
        act(&self)?;
        let command = std::mem::replace(&mut self.command, Command::new("true"));
        Self::spawn(command, Arc::clone(&self.home)).await
    }

    /// Stops it as an operator does, and asserts that it ends well. Gives its whole log. Drop the clients first: the host
    /// waits a while for their answer to its goodbye, and nobody reads for them any more.
    ///
    /// # Errors
    /// Where it doesn't end, ends badly, or has written what is no log.
    pub async fn stop(mut self) -> Result<Log> {
        self.signal(Signal::TERM)?;
        let status = self.ended().await?;
        ensure!(status.success(), "the host ended with {status}, and its log has\n{}", self.log.tail(20));
        self.log.check()?;
        Ok(self.log.clone())
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
