//! PgBouncer in front of the shared PostgreSQL server.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::process::{free_port, spawn};
use crate::{PostgresServer, eventually};

/// A pooler. Dropping the value ends it.
pub struct PostgresPooler {
    process: Child,
    port: u16,
    _home: TempDir,
}

impl PostgresPooler {
    /// Starts a pooler in front of [`PostgresServer::shared`], in the mode `session` or `transaction`. Returns none if PgBouncer isn't
    /// installed.
    ///
    /// # Errors
    /// If it doesn't start.
    pub async fn start(mode: &str) -> Result<Option<Self>> {
        let Some(program) = program() else { return Ok(None) };
        let home = tempfile::tempdir()?;
        let (port, server) = (free_port()?, PostgresServer::shared()?.port());
        let settings = home.path().join("pgbouncer.ini");
        fs::write(
            &settings,
            format!(
                "[databases]\n* = host=127.0.0.1 port={server} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nauth_type = any\nunix_socket_dir =\npool_mode = {mode}\n"
            ),
        )?;
        for path in [home.path(), &settings] {
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        }
        let process = spawn(command(&program, &settings)?)?;
        let pooler = Self { process, port, _home: home };
        eventually("the pooler listens", async || Ok(TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(())))
            .await?;
        Ok(Some(pooler))
    }

    /// The URL of a database behind it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for PostgresPooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The pooler's program, if it is installed.
fn program() -> Option<PathBuf> {
    ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].map(PathBuf::from).into_iter().find(|path| path.is_file())
}

fn command(program: &Path, settings: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    // It refuses to run as root.
    if rustix::process::getuid().is_root() {
        let is_user = |user: &&str| Command::new("id").arg(user).output().is_ok_and(|id| id.status.success());
        let user = ["nobody", "postgres"].into_iter().find(is_user).context("there is no user for the pooler")?;
        command.args(["-u", user]);
    }
    command.arg(settings).stdin(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}
