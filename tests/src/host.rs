//! A host under test: the real binary, as a separate process.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::Value;
use tempfile::TempDir;

use crate::compiled::compile_engine_for;
use crate::{Answer, ConnectRequest, Ended, Log, Setup, TestClient, bennu, eventually, http, places};

/// The host's decision about a plugin's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loading {
    /// The plugin was loaded, as this generation.
    Done(u64),
    /// The plugin was refused, for this reason.
    Refused(String),
}

/// A running host. Dropping the value kills the process. A successful test ends with [`stop`](Self::stop).
pub struct TestHost {
    process: Child,
    /// The command that started the host, for restarts.
    command: Command,
    address: SocketAddr,
    home: Arc<TempDir>,
    log: Log,
    readers: Vec<JoinHandle<()>>,
    /// The process that has replaced the first one.
    successor: Option<Pid>,
}

impl TestHost {
    /// Starts a host with some of the built plugins and default options.
    ///
    /// # Errors
    /// See [`Setup::start`].
    pub async fn start(guests: &[&str]) -> Result<Self> {
        Setup::new().guests(guests)?.start().await
    }

    /// Runs the command that [`Setup::command`] returned, and waits until the host listens.
    pub(crate) async fn spawn(mut command: Command, home: Arc<TempDir>) -> Result<Self> {
        let mut process = command.spawn().with_context(|| format!("starting {:?}", command.get_program()))?;
        let (printed, log) = (Log::default(), Log::default());
        let mut readers = Vec::new();
        readers.extend(process.stdout.take().map(|from| printed.read(from)));
        readers.extend(process.stderr.take().map(|from| log.read(from)));
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut host = Self { process, command, address: unknown, home, log, readers, successor: None };
        let address = eventually("the host listens", async || {
            if let Some(status) = host.process.try_wait()? {
                host.read_to_the_end();
                bail!("the host ended with {status}, and its log is\n{}", host.log.tail(20));
            }
            let lines = printed.since(0);
            Ok(lines.iter().find_map(|line| line.text.strip_prefix("Listening on http://")?.parse().ok()))
        });
        host.address = address.await?;
        // If the configuration gives the key, there is no file. Then the test itself has to send the key.
        if let Ok(key) = host.api_key() {
            http::know(host.address, &key);
        }
        Ok(host)
    }

    /// Waits until the log says whether the plugins of the start were loaded. The host writes this before it listens, but
    /// the lines may not have been read yet.
    pub(crate) async fn has_decided_about(&self, plugins: &[String]) -> Result<()> {
        for name in plugins {
            self.decision(0, name).await?;
        }
        Ok(())
    }

    /// The address that the host listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The host's log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The directory of the host's configuration. It also has the directory `plugins`.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The API key that the host has created.
    ///
    /// # Errors
    /// If the host has created no key, because its configuration gives a key or disables the API.
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
    /// If the host refuses the client.
    pub async fn connect(&self) -> Result<TestClient> {
        ConnectRequest::to(self.address).connect().await
    }

    /// A request to connect with other options.
    #[must_use]
    pub fn connect_request(&self) -> ConnectRequest {
        ConnectRequest::to(self.address)
    }

    /// Replaces a plugin's file by a rename, as a build tool does. Waits for the host's decision about the file and returns
    /// it.
    ///
    /// # Errors
    /// If the deadline passes first.
    pub async fn put(&self, name: &str, bytes: &[u8]) -> Result<Loading> {
        self.put_file(&format!("{name}.wasm"), bytes).await
    }

    /// Does the same with a file of this name, such as `chat.ts`.
    ///
    /// # Errors
    /// If the deadline passes first.
    pub async fn put_file(&self, file: &str, bytes: &[u8]) -> Result<Loading> {
        compile_engine_for(file)?;
        let (mark, plugins) = (self.log.len(), self.home.path().join("plugins"));
        let beside = plugins.join(format!("{file}.part"));
        fs::write(&beside, bytes)?;
        fs::rename(&beside, plugins.join(file))?;
        self.decision(mark, file.split('.').next().unwrap_or(file)).await
    }

    /// Waits for the host's first decision about a plugin after a mark in the log.
    ///
    /// # Errors
    /// If the deadline passes first.
    pub async fn decision(&self, mark: usize, name: &str) -> Result<Loading> {
        let decided = |line: &crate::Line| {
            let events = ["plugin_loaded", "plugin_reloaded", "plugin_refused"];
            line.field("plugin") == name && events.iter().any(|word| line.message().starts_with(word))
        };
        let line = self.log.find(mark, &format!("the host has loaded or refused `{name}`"), decided).await?;
        Ok(match line.fields["generation"].as_u64() {
            Some(generation) => Loading::Done(generation),
            None => Loading::Refused(line.message().to_owned()),
        })
    }

    /// Reloads a plugin from one of the built plugins, such as `variants/echo-v2`. Returns the new generation.
    ///
    /// # Errors
    /// If the host refuses the plugin.
    pub async fn reload(&self, name: &str, guest: &str) -> Result<u64> {
        match self.put(name, &places::guest(guest)?).await? {
            Loading::Done(generation) => Ok(generation),
            Loading::Refused(why) => bail!("`{name}` was not reloaded from {guest}: {why}"),
        }
    }

    /// Puts a plugin with these bytes, and returns the reason for which the host refuses it.
    ///
    /// # Errors
    /// If the host loads the plugin.
    pub async fn refusal(&self, name: &str, bytes: &[u8]) -> Result<String> {
        match self.put(name, bytes).await? {
            Loading::Refused(why) => Ok(why),
            Loading::Done(generation) => bail!("`{name}` should have been refused, and serves as {generation}"),
        }
    }

    /// Sends JSON to a path of the host with `POST`, and returns the answer.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        http::request_with(self.address, "POST", path, http::JSON, body.to_string().as_bytes()).await
    }

    /// Returns the answer to `GET /api/inspect`.
    ///
    /// # Errors
    /// If there is no answer, or its status isn't 200.
    pub async fn inspect(&self) -> Result<Value> {
        let answer = http::get(self.address, "/api/inspect").await?;
        ensure!(answer.status == 200, "{answer:?}");
        answer.json()
    }

    /// Waits until `wanted` returns true for the answer to `GET /api/inspect`, and returns this answer.
    ///
    /// # Errors
    /// If the deadline passes first. The error has the last answer.
    pub async fn shows(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        let shown = eventually(what, async || {
            last = self.inspect().await?;
            Ok(wanted(&last).then(|| last.clone()))
        });
        shown.await.with_context(|| format!("the host shows {last}, and its log has\n{}", self.log.tail(20)))
    }

    /// Waits until the host has exactly these numbers of sockets and channels.
    ///
    /// # Errors
    /// If the deadline passes first.
    pub async fn holds(&self, sockets: u64, channels: u64) -> Result<()> {
        let what = format!("there are {sockets} sockets and {channels} channels");
        self.shows(&what, |shown| shown["sockets"] == sockets && shown["channels"] == channels).await?;
        Ok(())
    }

    /// The resident memory of the process, in bytes.
    ///
    /// # Errors
    /// If `/proc` can't be read.
    pub fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(kilobytes.parse::<u64>()? << 10)
    }

    /// The names of the process's threads.
    ///
    /// # Errors
    /// If `/proc` can't be read.
    pub fn threads(&self) -> Result<Vec<String>> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id()))?;
        // A thread may end meanwhile.
        let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        Ok(names.map(|name| name.trim_end().to_owned()).collect())
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid(), signal).context("sending a signal to the host")
    }

    /// The process that serves.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.successor.unwrap_or_else(|| Pid::from_child(&self.process))
    }

    /// Replaces the process by a new one with `bennu upgrade`, which gets further arguments. If it succeeds, the new process is
    /// the one that serves, and this returns after the old one has ended.
    ///
    /// # Errors
    /// If the command can't be started, or the old process doesn't end in order.
    pub async fn upgrade(&mut self, arguments: &[&str]) -> Result<Ended> {
        let home = self.home.path().to_owned();
        let arguments: Vec<String> =
            ["upgrade", "--data", "data"].iter().chain(arguments).map(|&argument| argument.to_owned()).collect();
        let run = move || bennu(&home, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let ended = tokio::task::spawn_blocking(run).await??;
        if ended.code == Some(0) {
            let new = ended.output.lines().find_map(|line| line.strip_prefix("the process ")?.split(' ').next());
            let new = new.and_then(|pid| Pid::from_raw(pid.parse().ok()?));
            let old = self.pid();
            self.successor = Some(new.with_context(|| format!("no process in {:?}", ended.output))?);
            self.gone(old).await?;
        }
        Ok(ended)
    }

    /// Waits until a process has ended. The first one must end successfully.
    async fn gone(&mut self, pid: Pid) -> Result<()> {
        eventually("the old process has ended", async || {
            if pid == Pid::from_child(&self.process) {
                return match self.process.try_wait()? {
                    Some(status) if status.success() => Ok(Some(())),
                    Some(status) => bail!("the old process ended with {status}"),
                    None => Ok(None),
                };
            }
            // Nobody in this process waits for it, so it may remain as a zombie.
            let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
            let is_zombie = |stat: &str| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
            Ok(state.map_or(Some(()), |stat| is_zombie(&stat).then_some(())))
        })
        .await
        .with_context(|| format!("its log has\n{}", self.log.tail(20)))
    }

    /// Limits the size of the files that the host writes, as if the disk were full. `None` removes the limit.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn limit_files(&self, bytes: Option<u64>) -> Result<()> {
        let pid = Pid::from_child(&self.process);
        let limits = Rlimit { current: bytes, maximum: None };
        prlimit(Some(pid), Resource::Fsize, limits).context("limiting the size of the host's files")?;
        Ok(())
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Errors
    /// If the deadline passes first.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let ended = eventually("the host has ended", async || Ok(self.process.try_wait()?)).await;
        let status = ended.with_context(|| format!("its log has\n{}", self.log.tail(20)))?;
        self.read_to_the_end();
        Ok(status)
    }

    /// Waits until everything that the ended process has written is in the log.
    fn read_to_the_end(&mut self) {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }

    /// Returns the host's directory, so that it isn't deleted together with this value.
    #[must_use]
    pub fn keep_home(&self) -> Arc<TempDir> {
        Arc::clone(&self.home)
    }

    /// Ends the host with a signal and starts it again in the same directory. The new process has another address and a new
    /// log.
    ///
    /// # Errors
    /// If the host doesn't end, or doesn't start again.
    pub async fn restart(self, signal: Signal) -> Result<Self> {
        self.restart_after(signal, |_| Ok(())).await
    }

    /// Restarts the host like [`restart`](Self::restart). Before the start, replaces a plugin's file by another built
    /// plugin.
    ///
    /// # Errors
    /// As for [`restart`](Self::restart), and if there is no such plugin.
    pub async fn restart_onto(self, signal: Signal, name: &str, guest: &str) -> Result<Self> {
        let component = places::guest(guest)?;
        self.restart_after(signal, |host| Ok(fs::write(host.plugin_file(name), component)?)).await
    }

    /// Restarts the host like [`restart`](Self::restart), and runs `act` while the host is down.
    ///
    /// # Errors
    /// As for [`restart`](Self::restart), and if `act` fails.
    pub async fn restart_after(mut self, signal: Signal, act: impl FnOnce(&Self) -> Result<()>) -> Result<Self> {
        self.signal(signal)?;
        self.ended().await?;
        act(&self)?;
        self.start_again().await
    }

    /// Starts a host again that has ended, in the same directory.
    ///
    /// # Errors
    /// If it doesn't start.
    pub async fn start_again(mut self) -> Result<Self> {
        let command = std::mem::replace(&mut self.command, Command::new("true"));
        Self::spawn(command, Arc::clone(&self.home)).await
    }

    /// Stops the host with `SIGTERM`, as an operator does, and asserts that it ends successfully. Returns its whole log.
    /// Drop the clients first. Otherwise the host waits for their answers to its close frames, and nothing reads for them
    /// any more.
    ///
    /// # Errors
    /// If the host doesn't end, ends with an error, or has written lines that aren't log lines.
    pub async fn stop(mut self) -> Result<Log> {
        self.signal(Signal::TERM)?;
        if let Some(successor) = self.successor {
            self.gone(successor).await?;
            return Ok(self.log.clone());
        }
        let status = self.ended().await?;
        ensure!(status.success(), "the host ended with {status}, and its log has\n{}", self.log.tail(20));
        self.log.check()?;
        Ok(self.log.clone())
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        // An error means that the process has already ended, as after a successful test.
        if let Some(successor) = self.successor {
            let _ = kill_process(successor, Signal::KILL);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
