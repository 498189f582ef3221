//! The services of a cluster: a PostgreSQL server, and perhaps NATS.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::free_port;
use crate::{nats, postgres, process};

/// How long a service may take to start.
const START_MAX: Duration = Duration::from_secs(60);

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// The superuser of the server, and the user that runs it if this user is root: the server refuses to run as root.
const USER: &str = "postgres";

/// A PostgreSQL server with an empty database. It ends with the value, and with this process.
pub(super) struct Postgres {
    home: PathBuf,
    port: u16,
    process: Child,
}

impl Postgres {
    pub(super) fn start() -> Result<Self> {
        let Some(programs) = postgres::find() else {
            bail!("no PostgreSQL was found; install one, or set {} to the directory with `initdb`", postgres::VARIABLE);
        };
        // Another user must be able to open it, and the repository may be in a directory that is closed.
        let home = std::env::temp_dir().join("bennu-cluster");
        clear(&home)?;
        let data = home.join("data");
        fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
        if is_root()? {
            process::read(Command::new("chown").arg(USER).arg(&home))?;
        }
        let mut initdb = program(&programs.join("initdb"))?;
        initdb.args(["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync", "-D"]);
        process::read(initdb.arg(&data))?;
        let port = free_port()?;
        let mut server = program(&programs.join("postgres"))?;
        server.arg("-D").arg(&data).arg("-k").arg(&home).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
        let process = logging_to(&mut server, &home.join("postgres.log"))?;
        let mut server = Self { home, port, process };
        server.wait(&programs)?;
        Ok(server)
    }

    fn wait(&mut self, programs: &Path) -> Result<()> {
        let end = Instant::now() + START_MAX;
        let ready = || {
            let mut asked = Command::new(programs.join("pg_isready"));
            asked.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).stdout(Stdio::null());
            asked.status().is_ok_and(|status| status.success())
        };
        while !ready() {
            let log = self.home.join("postgres.log");
            ensure!(Instant::now() < end, "PostgreSQL doesn't answer; its log is {}", log.display());
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// The directory of the services.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{USER}", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        process::end(&mut self.process);
    }
}

/// A NATS server. It ends with the value, and with this process.
pub(super) struct Nats {
    port: u16,
    process: Child,
}

impl Nats {
    pub(super) fn start(home: &Path) -> Result<Self> {
        let program = nats::find().context("no NATS server was found, and none can be installed")?;
        let (port, log) = (free_port()?, home.join("nats.log"));
        let mut server = process::tied(&program);
        server.args(["-a", "127.0.0.1", "-p", &port.to_string()]);
        let server = Self { port, process: logging_to(&mut server, &log)? };
        let end = Instant::now() + START_MAX;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < end, "NATS doesn't answer; its log is {}", log.display());
            thread::sleep(LOOK);
        }
        Ok(server)
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        process::end(&mut self.process);
    }
}

/// Removes what an earlier cluster has left. It fails if that one still runs.
fn clear(home: &Path) -> Result<()> {
    if !home.exists() {
        return Ok(());
    }
    let pid = fs::read_to_string(home.join("data").join("postmaster.pid")).unwrap_or_default();
    let runs = pid.lines().next().is_some_and(|pid| Path::new("/proc").join(pid.trim()).exists());
    ensure!(!runs, "another cluster of `cargo xtask cluster` runs here: end that one first");
    fs::remove_dir_all(home).with_context(|| format!("cannot remove {}", home.display()))
}

fn is_root() -> Result<bool> {
    Ok(process::read(Command::new("id").arg("-u"))?.trim() == "0")
}

/// A program of the server.
fn program(path: &Path) -> Result<Command> {
    let mut command = if is_root()? {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]);
        // As a tied one. The kernel forgets that when the user changes, so it is said here.
        command.args(["--pdeathsig", "KILL"]).arg(path);
        command
    } else {
        process::tied(path)
    };
    // The directory of this process may be closed to the other user.
    command.current_dir("/");
    Ok(command)
}

fn logging_to(command: &mut Command, path: &Path) -> Result<Child> {
    let log = fs::File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| process::cannot_start(command))
}
