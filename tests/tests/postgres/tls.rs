//! Encrypted connections: the server's certificate is checked, with its name.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bennu_tests::{PostgresServer, Setup, check};

/// Makes a certificate that signs itself.
fn certificate(directory: &Path, name: &str, host: &str) -> Result<()> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=test", "-addext", &format!("subjectAltName=DNS:{host}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(directory.join(format!("{name}.key")))
        .arg("-out")
        .arg(directory.join(format!("{name}.crt")))
        .output()
        .context("starting openssl")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

#[tokio::test]
async fn a_certificate_is_checked_with_its_name() -> Result<()> {
    let server = PostgresServer::start()?;
    server.database("app")?;
    let data = server.home().join("data");
    certificate(&data, "server", "localhost")?;
    certificate(&data, "other", "localhost")?;
    let owner = fs::metadata(&data)?;
    use std::os::unix::fs::MetadataExt;
    for name in ["server.key", "server.crt"] {
        chown(data.join(name), Some(owner.uid()), Some(owner.gid()))?;
        fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o600))?;
    }
    server.sql("postgres", "ALTER SYSTEM SET ssl = on")?;
    server.sql("postgres", "SELECT pg_reload_conf()")?;
    // Not readable for everybody in the server's directory.
    let home = tempfile::tempdir()?;
    for name in ["server.crt", "other.crt"] {
        fs::copy(data.join(name), home.path().join(name))?;
    }
    let config = |host: &str, roots: &str, mode: &str| {
        let roots = home.path().join(roots);
        format!(
            "[store]\nurl = \"postgres://postgres@{host}:{}/app?sslmode={mode}&sslrootcert={}\"\nwait_ms = 1000\n",
            server.port(),
            roots.display()
        )
    };
    let host =
        Setup::new().guests(&["ledger"])?.config(&config("localhost", "server.crt", "verify-full")).start().await?;
    check(
        &host,
        "alice > join ledger:1\nalice < ok {}\nalice > deposit {\"to\": \"a\", \"n\": 5}\nalice < ok {\"balance\": 5}",
    )
    .await?;
    let encrypted =
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'bennu%'";
    ensure!(server.sql("app", encrypted)? == "t");
    host.stop().await?;
    for (at, roots, expected) in
        [("localhost", "other.crt", "invalid peer certificate"), ("127.0.0.1", "server.crt", "not valid for name")]
    {
        let refused =
            Setup::new().config(&config(at, roots, "require")).start().await.err().context("the host has started")?;
        let refused = format!("{refused:#}");
        ensure!(refused.contains(expected), "{at} {roots}: {refused}");
    }
    Ok(())
}
