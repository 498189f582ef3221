//! PgBouncer between the host and the server.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use bennu_tests::{PostgresServer, Setup, check, eventually};

use crate::{config, database};

/// A pooler. It ends with the value.
pub(crate) struct Pooler {
    process: Child,
    port: u16,
    _home: tempfile::TempDir,
}

impl Pooler {
    /// The URL of a database behind it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the pooler's program, if it is installed.
pub(crate) fn program() -> Option<PathBuf> {
    ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].map(PathBuf::from).into_iter().find(|path| path.is_file())
}

pub(crate) async fn start(program: &Path, mode: &str) -> Result<Pooler> {
    let home = tempfile::tempdir()?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let server = PostgresServer::shared()?.port();
    let settings = home.path().join("pgbouncer.ini");
    fs::write(
        &settings,
        format!(
            "[databases]\n* = host=127.0.0.1 port={server} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = any\nunix_socket_dir =\npool_mode = {mode}\n"
        ),
    )?;
    // It refuses to run as root.
    let user = ["nobody", "postgres"]
        .into_iter()
        .find(|user| Command::new("id").arg(user).output().is_ok_and(|id| id.status.success()));
    for path in [home.path(), &settings] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    let mut command = Command::new(program);
    if rustix::process::getuid().is_root() {
        command.args(["-u", user.context("there is no user for the pooler")?]);
    }
    let process = command.arg(&settings).stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let pooler = Pooler { process, port, _home: home };
    eventually("the pooler listens", async || Ok(TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(())))
        .await?;
    Ok(pooler)
}

#[tokio::test]
async fn a_pooler_is_refused_in_transaction_mode_and_used_in_session_mode() -> Result<()> {
    let Some(program) = program() else {
        bennu_test_tiers::note_skipped("PgBouncer isn't installed");
        return Ok(());
    };
    let (name, _) = database()?;
    let transaction = start(&program, "transaction").await?;
    let refused =
        Setup::new().config(&config(&transaction.url(&name))).start().await.err().context("the host has started")?;
    let refused = format!("{refused:#}");
    ensure!(refused.contains("pooler in transaction mode"), "{refused}");
    let session = start(&program, "session").await?;
    let host = Setup::new().guests(&["ledger"])?.config(&config(&session.url(&name))).start().await?;
    check(
        &host,
        "alice > join ledger:1\nalice < ok {}\nalice > deposit {\"to\": \"a\", \"n\": 5}\nalice < ok {\"balance\": 5}",
    )
    .await?;
    host.stop().await?;
    Ok(())
}
