//! A project in a temporary folder, and the commands that a developer runs in it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

use crate::compiled::compile_engine_for;
use crate::{Ended, TestHost, bennu_with, places, within};

/// A project.
pub struct TestProject {
    home: Arc<TempDir>,
}

impl TestProject {
    /// A project with these files.
    ///
    /// # Errors
    /// If a file can't be written.
    pub fn new(files: &[(&str, &str)]) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("bennu-project-").tempdir().context("creating a directory")?;
        let project = Self { home: Arc::new(home) };
        files.iter().try_for_each(|(path, text)| project.write(path, text))?;
        Ok(project)
    }

    /// The path of a file.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    /// Writes a file, and replaces it by a rename, as many editors do.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> Result<()> {
        compile_engine_for(path)?;
        let path = self.path(path);
        let folder = path.parent().context("a file is in a folder")?;
        fs::create_dir_all(folder)?;
        let part = folder.join(format!(".{}.part", path.file_name().unwrap_or_default().display()));
        fs::write(&part, text)?;
        fs::rename(&part, &path).with_context(|| format!("writing {}", path.display()))
    }

    /// Replaces a part of a file.
    ///
    /// # Errors
    /// If the file doesn't have this part.
    pub fn edit(&self, path: &str, from: &str, to: &str) -> Result<()> {
        let text = fs::read_to_string(self.path(path))?;
        anyhow::ensure!(text.contains(from), "{path} doesn't contain `{from}`");
        self.write(path, text.replacen(from, to, 1))
    }

    /// Runs a command in the project's folder.
    ///
    /// # Errors
    /// If the binary can't be started.
    pub fn bennu(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Ended> {
        bennu_with(self.home.path(), arguments, variables)
    }

    /// Starts `bennu dev`, and waits until it listens.
    ///
    /// # Errors
    /// If it doesn't start.
    pub async fn dev(&self, arguments: &[&str]) -> Result<TestHost> {
        let mut command = Command::new(places::binary()?);
        command.args(["dev", "--listen", "127.0.0.1:0"]).args(arguments).current_dir(self.home.path());
        command.env("XDG_CACHE_HOME", places::cache_home()?).env_remove("BENNU_LOG").env_remove("BENNU_DATA");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        TestHost::spawn(command, Arc::clone(&self.home)).await
    }

    /// Opens the stream of what the pages of `bennu dev` show.
    ///
    /// # Errors
    /// If it can't be opened.
    pub async fn shown(host: &TestHost) -> Result<ShownStream> {
        let mut stream = TcpStream::connect(host.address()).await?;
        let request = format!("GET /__bennu/events HTTP/1.1\r\nHost: {}\r\n\r\n", host.address());
        stream.write_all(request.as_bytes()).await?;
        Ok(ShownStream { lines: BufReader::new(stream).lines() })
    }
}

/// What the pages of `bennu dev` show.
pub struct ShownStream {
    lines: Lines<BufReader<TcpStream>>,
}

impl ShownStream {
    /// Waits for a state for which `wanted` returns true.
    ///
    /// # Errors
    /// If the deadline passes first. The error has the last state.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        let reading = within(what, async {
            loop {
                let line = self.lines.next_line().await?.context("the stream has ended")?;
                let Some(data) = line.strip_prefix("data: ") else { continue };
                last = serde_json::from_str(data)?;
                if wanted(&last) {
                    return anyhow::Ok(());
                }
            }
        });
        let read = reading.await.and_then(|read| read);
        read.with_context(|| format!("the last state is {last}"))?;
        Ok(last)
    }
}
