//! The API key: the host creates it if its configuration has none, and the commands find it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use anyhow::{Context, Result, ensure};
use bennu_tests::{Setup, TestHost, bennu, bennu_with, request, request_with};
use rustix::process::Signal;
use serde_json::Value;

/// The log filter for everything that the host and its dependencies log, except the compiler.
const EVERYTHING: &str = "trace,cranelift_codegen=warn,regalloc2=warn,wasmtime=warn,wasmtime_environ=warn,\
    wasmtime_internal_cranelift=warn,wasmtime_cranelift=warn";

/// Sends a request with this `Authorization` header and returns the status.
async fn asked(host: &TestHost, method: &str, path: &str, authorization: &str) -> Result<u16> {
    let headers = [("authorization", authorization), ("content-type", "application/json")];
    let body: &[u8] = if method == "POST" { b"{}" } else { b"" };
    Ok(request_with(host.address(), method, path, &headers, body).await?.status)
}

#[tokio::test]
async fn a_host_creates_a_key_that_every_call_needs() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.arguments(&["--log", EVERYTHING]).start().await?;
    let described: Value = serde_json::from_str(include_str!("../../../host/src/api/openapi.json"))?;
    let (key, mut calls) = (host.api_key()?, 0);
    for (path, methods) in described["paths"].as_object().context("paths")? {
        for method in methods.as_object().context("methods")?.keys() {
            let (method, path) = (method.to_uppercase(), path.replace(['{', '}'], ""));
            for authorization in ["", "Bearer ", "Bearer guess", &format!("Basic {key}"), &format!("Bearer {key}x")] {
                let status = asked(&host, &method, &path, authorization).await?;
                ensure!(status == 401, "{method} {path} with `{authorization}`: {status}");
            }
            calls += 1;
            // With the key, it ends the host.
            if path == "/api/drain" {
                continue;
            }
            let status = asked(&host, &method, &path, &format!("bearer {key}")).await?;
            ensure!(status != 401 && status != 403, "{method} {path} with the key: {status}");
        }
    }
    ensure!(calls > 10, "{calls} calls");
    ensure!(asked(&host, "GET", "/api/nothing", "").await? == 401, "without the key, unknown paths aren't revealed");
    let file = host.home().join("data/api-key");
    ensure!(fs::metadata(&file)?.mode() & 0o777 == 0o600 && key.len() >= 43, "only its owner can read the file");
    host.log().find(0, "where the key is", |line| line.message() == "the key of the API is in data/api-key").await?;
    ensure!(!host.log().tail(1_000_000).contains(&key), "the key is in the log");
    let host = host.restart(Signal::KILL).await?;
    ensure!(host.api_key()? == key && host.inspect().await?["sockets"] == 0, "the key is kept over a restart");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused_even_with_the_key() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let (own, key) = (format!("http://{}", host.address()), format!("Bearer {}", host.api_key()?));
    for (origin, status) in [("http://evil.example", 403), ("null", 403), (own.as_str(), 200)] {
        let headers = [("origin", origin), ("authorization", &key), ("content-type", "application/json")];
        let answer = request_with(host.address(), "POST", "/api/disconnect", &headers, br#"{"id":"x"}"#).await?;
        ensure!(answer.status == status, "{origin}: {answer:?}");
    }
    // The browser's preflight request isn't answered with permission.
    let asks = [("origin", "http://evil.example"), ("access-control-request-method", "POST"), ("authorization", "")];
    let answer = request(host.address(), "OPTIONS", "/api/disconnect", &asks).await?;
    ensure!(answer.status == 403 && answer.header("access-control-allow-origin").is_none(), "{answer:?}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn the_commands_find_the_key_of_a_host_started_in_the_same_directory() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let (address, elsewhere) = (host.address().to_string(), tempfile::tempdir()?);
    let path = |name: &str| host.home().join(name).display().to_string();
    let usual = bennu_with(host.home(), &["topics"], &[("BENNU_HOST", &address)])?;
    ensure!(usual.code == Some(0), "in the host's directory no option is needed: {usual:?}");

    let none = bennu_with(elsewhere.path(), &["topics"], &[("BENNU_HOST", &address)])?;
    ensure!(none.code == Some(1), "{none:?}");
    for words in ["requires its API key", "data/api-key", "--data DIR", "--config FILE", "--key-file FILE"] {
        ensure!(none.errors.contains(words), "{words}: {none:?}");
    }
    fs::create_dir_all(host.home().join("own"))?;
    fs::write(host.home().join("own/bennu.toml"), format!("listen = \"{address}\"\ndata = \"../data\"\n"))?;
    let (data, key_file, config) = (path("data"), path("data/api-key"), path("own/bennu.toml"));
    for arguments in [["--data", &data], ["--key-file", &key_file], ["--config", &config]] {
        let found = bennu(elsewhere.path(), &[&["topics", "--host", &address], &arguments[..]].concat())?;
        ensure!(found.code == Some(0), "{arguments:?}: {found:?}");
    }
    let configured = bennu(elsewhere.path(), &["topics", "--config", &config])?;
    ensure!(configured.code == Some(0), "the configuration also gives the address: {configured:?}");
    let key = host.api_key()?;
    for (name, value) in [("BENNU_DATA", data.as_str()), ("BENNU_API_KEY", &key)] {
        let found = bennu_with(elsewhere.path(), &["topics", "--host", &address], &[(name, value)])?;
        ensure!(found.code == Some(0), "{name}: {found:?}");
    }
    let wrong = bennu_with(host.home(), &["topics", "--host", &address], &[("BENNU_API_KEY", "guess")])?;
    let words = "doesn't accept the key in the variable BENNU_API_KEY";
    ensure!(wrong.code == Some(1) && wrong.errors.contains(words) && !wrong.errors.contains("guess"), "{wrong:?}");
    // An empty variable is like an unset one.
    let empty = [("BENNU_API_KEY", ""), ("BENNU_DATA", ""), ("BENNU_HOST", "")];
    let empty = bennu_with(host.home(), &["topics", "--host", &address], &empty)?;
    ensure!(empty.code == Some(0), "{empty:?}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_damaged_or_readable_key_file_is_replaced_and_not_used() -> Result<()> {
    let mut host = TestHost::start(&["echo"]).await?;
    let file = host.home().join("data/api-key");
    for (content, mode, words) in [
        (Some(""), 0o600, "is empty or damaged"),
        (Some("short"), 0o600, "is empty or damaged"),
        (None, 0o644, "its mode is 644"),
        (None, 0o660, "its mode is 660"),
    ] {
        let before = host.api_key()?;
        fs::write(&file, content.unwrap_or(&before))?;
        fs::set_permissions(&file, Permissions::from_mode(mode))?;
        let refused = bennu(host.home(), &["topics", "--host", &host.address().to_string()])?;
        ensure!(refused.code == Some(1) && refused.errors.contains(words), "{words}: {refused:?}");
        host = host.restart(Signal::TERM).await?;
        host.log().find(0, "a warning", |line| line.field("level") == "WARN" && line.message().contains(words)).await?;
        ensure!(
            host.api_key()? != before && fs::metadata(&file)?.mode() & 0o777 == 0o600,
            "{words}: the host creates a new key"
        );
        ensure!(
            asked(&host, "GET", "/api/inspect", &format!("Bearer {before}")).await? == 401,
            "{words}: the old key is refused"
        );
        let taken = bennu(host.home(), &["topics", "--host", &host.address().to_string()])?;
        ensure!(taken.code == Some(0), "{words}: {taken:?}");
    }
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn no_key_is_created_without_an_api_or_with_a_configured_key() -> Result<()> {
    for config in ["[api]\nenabled = false\n", "[api]\nkey = { file = \"key.txt\" }\n"] {
        let host = Setup::new().file("key.txt", b"sesame, open".to_vec()).config(config).start().await?;
        ensure!(host.api_key().is_err(), "{config}");
        host.stop().await?;
    }
    Ok(())
}

/// Otherwise any client could fetch `/data/api-key`.
#[tokio::test]
async fn a_static_directory_that_contains_the_data_directory_is_refused() -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::create_dir(home.path().join("plugins"))?;
    let serve = ["serve", "plugins", "--listen", "127.0.0.1:0"];
    for arguments in [["--static", ".", "--data", "data"], ["--static", "plugins", "--data", "plugins"]] {
        let ended = bennu(home.path(), &[&serve[..], &arguments].concat())?;
        let words = "everybody could read";
        ensure!(ended.code == Some(1) && ended.errors.contains(words), "{arguments:?}: {ended:?}");
    }
    Ok(())
}
