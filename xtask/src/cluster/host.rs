//! A node of the cluster: its host, and its service manager.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::step::{note, paint};
use crate::{places, process};

/// The pause between two looks whether a host answers.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// The pause before a host is started again.
const PAUSE: Duration = Duration::from_secs(1);

/// A host that runs for a shorter time can't be started at all.
const RUNS_AT_LEAST: Duration = Duration::from_secs(1);

/// A node.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) name: &'static str,
    pub(super) port: u16,
    pub(super) executable: PathBuf,
    pub(super) plugins: Vec<PathBuf>,
    /// The directory of its configuration and its data.
    pub(super) home: PathBuf,
}

impl Host {
    /// Runs the host, and starts it again whenever it ends.
    ///
    /// # Errors
    /// If it can't be started.
    pub(super) fn keep_running(&self) -> Result<()> {
        loop {
            let (began, mut command) = (Instant::now(), process::tied(&self.executable));
            command.arg("serve").args(&self.plugins).arg("--config").arg(self.home.join("bennu.toml"));
            command.arg("--data").arg(self.home.join("data")).arg("--static").arg(places::pages());
            command.args(["--listen", &format!("127.0.0.1:{}", self.port)]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            let mut process = command.spawn().with_context(|| process::cannot_start(&command))?;
            fs::write(self.pid_file(), process.id().to_string())?;
            for line in process.stderr.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
                let Ok(line) = line else { break };
                eprintln!("{} {line}", paint("36", &format!("{:>5} |", self.name)));
            }
            let status = process.wait()?;
            ensure!(began.elapsed() > RUNS_AT_LEAST, "the node {} can't be started ({status})", self.name);
            note(&format!("The node {} has ended ({status}), and is started again.", self.name));
            thread::sleep(PAUSE);
        }
    }

    /// Whether it is ready for clients: the others hear it, and it has its plugins.
    pub(super) fn is_ready(&self) -> bool {
        let ask = || -> io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            write!(stream, "GET /readyz HTTP/1.0\r\nHost: 127.0.0.1:{}\r\n\r\n", self.port)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.lines().next().is_some_and(|status| status.contains(" 200 ")))
    }

    /// The file with the number of its process.
    pub(super) fn pid_file(&self) -> PathBuf {
        self.home.join("pid")
    }

    /// The line that runs a command of this node.
    pub(super) fn command(&self, what: &str) -> String {
        let shown = |path: &Path| path.strip_prefix(places::root()).unwrap_or(path).display().to_string();
        let data = shown(&self.home.join("data"));
        format!("{} {what} --host 127.0.0.1:{} --data {data}", shown(&self.executable), self.port)
    }
}
