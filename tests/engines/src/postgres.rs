//! A PostgreSQL server for tests, in a directory of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::DEADLINE;
use crate::process::{free_port, spawn};

/// The environment variable with the directory of the server's programs. `cargo xtask test postgres` sets it.
const PROGRAMS: &str = "BENNU_POSTGRES_BIN";

/// The environment variable that makes every test host use a server: `postgres`. So the tests of the store run on either engine.
const STORE: &str = "BENNU_TEST_STORE";

/// The beginning of the names of the servers' directories.
const PREFIX: &str = "bennu-postgres-";

/// The superuser of a server.
const SUPERUSER: &str = "postgres";

/// A server. Dropping the value kills it, and removes its data.
pub struct PostgresServer {
    home: TempDir,
    port: u16,
    settings: Vec<String>,
    process: Mutex<Option<Child>>,
}

impl PostgresServer {
    /// Whether every test host is to use a server.
    #[must_use]
    pub fn is_wanted() -> bool {
        std::env::var_os(STORE).is_some_and(|engine| engine == "postgres")
    }

    /// Whether there is a PostgreSQL here.
    #[must_use]
    pub fn is_there() -> bool {
        programs().is_ok()
    }

    /// Starts a server. It doesn't wait for the disk: no test ends the machine, and the death of its processes loses nothing.
    ///
    /// # Errors
    /// If there is no PostgreSQL here, or it doesn't start.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts a server with more settings, such as `max_connections=10`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with(settings: &[&str]) -> Result<Self> {
        let (home, data) = empty_home()?;
        let made = program("initdb")?
            .args([
                "--username",
                SUPERUSER,
                "--auth",
                "trust",
                "--encoding",
                "UTF8",
                "--locale",
                "C",
                "--no-sync",
                "-D",
            ])
            .arg(&data)
            .stdin(Stdio::null())
            .output()
            .context("starting initdb")?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let server = Self { home, port: free_port()?, settings, process: Mutex::default() };
        server.start_again()?;
        Ok(server)
    }

    /// Starts a standby of this server. From now on, the server acknowledges no commit before the standby has it.
    ///
    /// # Errors
    /// If it doesn't start.
    pub fn start_standby(&self) -> Result<Self> {
        let (home, data) = empty_home()?;
        let made = program("pg_basebackup")?
            .args(["--host", "127.0.0.1", "--port", &self.port.to_string(), "--username", SUPERUSER])
            .args(["--checkpoint", "fast", "--no-sync", "--write-recovery-conf", "--pgdata"])
            .arg(&data)
            .stdin(Stdio::null())
            .output()
            .context("starting pg_basebackup")?;
        ensure!(made.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&made.stderr));
        let standby = Self { home, port: free_port()?, settings: self.settings.clone(), process: Mutex::default() };
        standby.start_again()?;
        self.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'")?;
        self.sql("postgres", "SELECT pg_reload_conf()")?;
        let end = Instant::now() + DEADLINE;
        while self.sql("postgres", "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")? != "1" {
            ensure!(Instant::now() < end, "the standby doesn't follow: {}", standby.log());
            thread::sleep(std::time::Duration::from_millis(20));
        }
        Ok(standby)
    }

    /// Makes a standby a server that accepts writes. It has no standby itself then.
    ///
    /// # Errors
    /// If it isn't a standby.
    pub fn promote(&self) -> Result<()> {
        let promoted = self.sql("postgres", "SELECT pg_promote()")?;
        ensure!(promoted == "t", "the standby can't be promoted: {}", self.log());
        self.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = ''")?;
        self.sql("postgres", "SELECT pg_reload_conf()")?;
        Ok(())
    }

    /// Returns the server that all test hosts of this process share.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<PostgresServer, String>> = OnceLock::new();
        let started = SHARED.get_or_init(|| {
            remove_left();
            Self::start().map_err(|error| format!("{error:#}"))
        });
        started.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// Starts the server again after [`kill`](Self::kill) or [`stop`](Self::stop), and waits until it answers.
    ///
    /// # Errors
    /// If it doesn't start.
    pub fn start_again(&self) -> Result<()> {
        self.spawn()?;
        let end = Instant::now() + DEADLINE;
        while self.sql("postgres", "SELECT 1").is_err() {
            ensure!(Instant::now() < end, "PostgreSQL doesn't answer: {}", self.log());
            // It ends at once while a killed process of the server still has the shared memory.
            if self.has_ended()? {
                self.spawn()?;
            }
            thread::sleep(std::time::Duration::from_millis(20));
        }
        Ok(())
    }

    fn has_ended(&self) -> Result<bool> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(process.as_mut().context("the server wasn't started")?.try_wait()?.is_some())
    }

    fn spawn(&self) -> Result<()> {
        let mut command = program("postgres")?;
        command.arg("-D").arg(self.home.path().join("data")).arg("-k").arg(self.home.path());
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        for setting in ["fsync=off", "max_connections=200", "shared_buffers=32MB", "autovacuum_naptime=5s"] {
            command.args(["-c", setting]);
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(self.home.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(spawn(command)?);
        Ok(())
    }

    /// Kills all processes of the server at once, as a crash of its machine would end them.
    ///
    /// # Errors
    /// If there is no process.
    pub fn kill(&self) -> Result<()> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = process.take().context("the server isn't running")?;
        let pid = Pid::from_child(&child);
        // Otherwise it would start new ones meanwhile.
        kill_process(pid, Signal::STOP)?;
        for each in children(pid.as_raw_nonzero().get()) {
            if let Some(each) = Pid::from_raw(each) {
                let _ = kill_process(each, Signal::KILL);
            }
        }
        kill_process(pid, Signal::KILL)?;
        child.wait()?;
        Ok(())
    }

    /// Stops the server in order: it ends the sessions.
    ///
    /// # Errors
    /// If there is no process.
    pub fn stop(&self) -> Result<()> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = process.take().context("the server isn't running")?;
        kill_process(Pid::from_child(&child), Signal::INT)?;
        child.wait()?;
        Ok(())
    }

    /// Stops all processes of the server, so that it answers nothing and closes no connection, or lets them go on.
    ///
    /// # Errors
    /// If there is no process.
    pub fn pause(&self, is_paused: bool) -> Result<()> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = Pid::from_child(process.as_ref().context("the server isn't running")?);
        let signal = if is_paused { Signal::STOP } else { Signal::CONT };
        kill_process(pid, signal)?;
        for each in children(pid.as_raw_nonzero().get()) {
            if let Some(each) = Pid::from_raw(each) {
                let _ = kill_process(each, signal);
            }
        }
        Ok(())
    }

    /// Creates a database, and returns its URL.
    ///
    /// # Errors
    /// If it can't be created.
    pub fn database(&self, name: &str) -> Result<String> {
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(SUPERUSER, name))
    }

    /// Returns the URL of a database for a role.
    #[must_use]
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// Lets the server listen on another address of this machine as well, and accept everybody there. The server must be started again.
    ///
    /// # Errors
    /// If the settings can't be changed.
    pub fn listen_on(&mut self, address: &str) -> Result<()> {
        let rules = self.home.path().join("data").join("pg_hba.conf");
        let mut text = fs::read_to_string(&rules)?;
        text.push_str("\nhost all all 10.0.0.0/8 trust\n");
        fs::write(&rules, text)?;
        self.settings.push(format!("listen_addresses=127.0.0.1,{address}"));
        Ok(())
    }

    /// Makes a directory that the server can use.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn make_directory(&self, path: &Path) -> Result<()> {
        fs::create_dir(path)?;
        if let Some((user, group)) = other_user()? {
            chown(path, Some(user), Some(group))?;
        }
        Ok(())
    }

    /// The port on which it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory with the server's data, in `data`.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs statements as the superuser, and returns their output, without headings.
    ///
    /// # Errors
    /// If one of them fails.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String> {
        let mut command = Command::new(programs()?.join("psql"));
        command.args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command.args(["-U", SUPERUSER, "-d", database, "-c", statements]);
        let ended = command.stdin(Stdio::null()).output().context("starting psql")?;
        ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        Ok(String::from_utf8_lossy(&ended.stdout).trim_end().to_owned())
    }

    /// Starts `pg_dump`, `psql` or another program of the server for a database, and returns its standard output.
    ///
    /// # Errors
    /// If it fails.
    pub fn run(&self, name: &str, database: &str, arguments: &[&str]) -> Result<Vec<u8>> {
        let mut command = Command::new(programs()?.join(name));
        command
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", SUPERUSER, "-d", database])
            .args(arguments);
        let ended = command.stdin(Stdio::null()).output().with_context(|| format!("starting {name}"))?;
        ensure!(ended.status.success(), "{name}: {}", String::from_utf8_lossy(&ended.stderr));
        Ok(ended.stdout)
    }

    /// The end of the server's log.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        log.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.kill();
    }
}

/// Makes a directory of a server, with an empty one for its data.
fn empty_home() -> Result<(TempDir, PathBuf)> {
    let home = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
    let data = home.path().join("data");
    fs::create_dir(&data)?;
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
    if let Some((user, group)) = other_user()? {
        chown(&data, Some(user), Some(group))?;
        chown(home.path(), Some(user), Some(group))?;
    }
    Ok((home, data))
}

/// Removes the directories of servers whose processes have ended. The shared server of a process ends with it, and can't remove its own.
fn remove_left() {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let pid = fs::read_to_string(entry.path().join("data/postmaster.pid")).unwrap_or_default();
        let pid = pid.lines().next().and_then(|pid| pid.trim().parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Another process may remove it at the same time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Returns the directory of the server's programs.
fn programs() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(PROGRAMS) {
        return Ok(named.into());
    }
    let found = fs::read_dir("/usr/lib/postgresql").ok().and_then(|versions| {
        let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
        programs.filter(|bin| bin.join("initdb").is_file()).max()
    });
    found.with_context(|| {
        format!("no PostgreSQL was found; set {PROGRAMS} to the directory with `initdb` and `postgres`")
    })
}

/// Returns the user and the group of a server, if this user is root: the server refuses to run as root.
fn other_user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::getuid().is_root() {
        return Ok(None);
    }
    let id = |flag: &str| -> Result<u32> {
        let ended = Command::new("id").args([flag, SUPERUSER]).output().context("starting id")?;
        ensure!(ended.status.success(), "this user is root, and there is no user {SUPERUSER} for the server");
        Ok(String::from_utf8_lossy(&ended.stdout).trim().parse()?)
    };
    Ok(Some((id("-u")?, id("-g")?)))
}

/// A command that runs a program of the server, which ends with this process.
fn program(name: &str) -> Result<Command> {
    let mut command = Command::new("setpriv");
    if let Some((user, group)) = other_user()? {
        command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".into()]);
    }
    command.args(["--pdeathsig", "KILL"]).arg(programs()?.join(name));
    // The directory of the tests may be closed to the other user.
    command.current_dir("/");
    Ok(command)
}

fn children(pid: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}
