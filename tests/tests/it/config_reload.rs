//! A configuration that changes while the host runs: by a signal, by the API and by the command.

use std::fs;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Cast, Ended, Setup, TestHost, bennu, request_with};
use rustix::process::Signal;
use serde_json::{Value, json};

const OLD: &str = "the old secret of more than twenty bytes";
const NEW: &str = "the new secret of more than twenty bytes";

/// Replaces the configuration, except for the cache, which the test's host has in the first line.
fn configure(host: &TestHost, text: &str) -> Result<()> {
    let path = host.home().join("bennu.toml");
    let before = fs::read_to_string(&path)?;
    fs::write(path, format!("{}\n{text}", before.lines().next().unwrap_or_default()))?;
    Ok(())
}

/// Replaces the configuration, and makes the host read it. Returns the answer.
pub(crate) async fn reload(host: &TestHost, text: &str) -> Result<Value> {
    configure(host, text)?;
    ask(host, false).await?.json()
}

async fn ask(host: &TestHost, dry_run: bool) -> Result<bennu_tests::Answer> {
    host.post("/api/config/reload", &json!({ "dry_run": dry_run })).await
}

/// The changes of an answer, as `KEY takes_effect`.
pub(crate) fn changes(answer: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let changes = answer["changes"].as_array().into_iter().flatten();
    changes.map(|change| format!("{} {}", text(&change["key"]), text(&change["takes_effect"]))).collect()
}

fn command(host: &TestHost, arguments: &[&str]) -> Result<Ended> {
    let address = host.address().to_string();
    bennu(host.home(), &[&["config", "reload", "--host", &address], arguments].concat())
}

fn token(home: &std::path::Path, secret: &str) -> Result<String> {
    fs::write(home.join("signing.txt"), secret)?;
    let ended = bennu(home, &["token", "sign", "--salt", "user", "--secret-file", "signing.txt", "ada"])?;
    Ok(ended.output.trim().to_owned())
}

/// The status of a connect request with a token. 101 means that the client is connected.
async fn connects(host: &TestHost, token: &str) -> Result<bool> {
    let request = host.connect_request().query(&format!("vsn=2.0.0&token={token}"));
    Ok(request.connect().await.is_ok())
}

#[tokio::test]
async fn secrets_are_replaced_while_tokens_are_in_use() -> Result<()> {
    let mount = "[mounts.\"/socket\"]\ntoken = { salt = \"user\" }\n";
    let with = |secrets: &str| format!("secret_key_base = {secrets}\n{mount}");
    let host = Setup::new()
        .guests(&["echo"])?
        .file("old.txt", OLD.into())
        .file("new.txt", NEW.into())
        .config(&with("{ file = \"old.txt\" }"))
        .start()
        .await?;
    let (old, new) = (token(host.home(), OLD)?, token(host.home(), NEW)?);
    ensure!(connects(&host, &old).await? && !connects(&host, &new).await?, "before");
    let both = reload(&host, &with("[{ file = \"new.txt\" }, { file = \"old.txt\" }]")).await?;
    ensure!(changes(&both) == ["secret_key_base now"], "{both}");
    ensure!(connects(&host, &old).await? && connects(&host, &new).await?, "with both");
    reload(&host, &with("{ file = \"new.txt\" }")).await?;
    ensure!(!connects(&host, &old).await? && connects(&host, &new).await?, "after");
    // A file that changes is found, too.
    fs::write(host.home().join("new.txt"), OLD)?;
    let content = ask(&host, false).await?.json()?;
    ensure!(changes(&content) == ["secret_key_base (its content) now"], "{content}");
    ensure!(connects(&host, &old).await? && !connects(&host, &new).await?, "the content has changed");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn nothing_is_applied_if_anything_is_invalid() -> Result<()> {
    let config = "[limits]\nframe_bytes = 10000\n";
    let host = Setup::new().guests(&["echo"])?.config(config).start().await?;
    for (text, words) in [
        ("log = \"debug\"\n[limits]\nframe_bytes = 0", "`limits.frame_bytes` is 0"),
        ("log = \"debug\"\nlogg = 1", "unknown field `logg`"),
        ("log = \"debug\"\nsecret_key_base = { file = \"absent.txt\" }", "absent.txt"),
        ("log = \"debug\"\n[mounts.\"/socket\"]\njwt = { jwks = \"absent.json\" }", "absent.json"),
        ("log = \"debug\"\n[mounts.\"/socket\"]\ntoken = { salt = \"s\" }", "needs the host's `secret_key_base`"),
    ] {
        configure(&host, text)?;
        for dry_run in [true, false] {
            let answer = ask(&host, dry_run).await?;
            ensure!(answer.status == 422 && answer.body.contains(words), "{text}: {answer:?}");
            ensure!(answer.json()?["error"]["code"] == "invalid_configuration", "{answer:?}");
        }
        let ended = command(&host, &[])?;
        ensure!(ended.code == Some(1) && ended.errors.contains("nothing was changed"), "{ended:?}");
    }
    // The signal logs the reason.
    host.signal(Signal::HUP)?;
    host.log().find(0, "the refusal", |line| line.message().starts_with("the configuration is refused")).await?;
    configure(&host, config)?;
    let answer = ask(&host, false).await?.json()?;
    ensure!(changes(&answer).is_empty(), "everything is as it was: {answer}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn mounts_limits_and_the_log_change_and_a_restart_is_named() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.config("[limits]\nmessages_per_second = 100\n").start().await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join echo:1\nalice < ok {}").await?;
    let elsewhere = || host.connect_request().at("/other");
    ensure!(elsewhere().connect().await.is_err(), "there is no such mount yet");
    let text = "log = \"debug\"\nlisten = \"127.0.0.1:1\"\n[limits]\nmessages_per_second = 200\nsockets = 50\n\
        [mounts.\"/other\"]\ncheck_origin = [\"https://a.example\"]\n";
    configure(&host, text)?;
    let expected = [
        "limits.messages_per_second new_connections",
        "limits.sockets restart",
        "log now",
        "mounts.\"/other\" new_connections",
        "mounts.\"/socket\" new_connections",
    ];
    // The command line names the address, so the file's `listen` changes nothing.
    let dry = ask(&host, true).await?.json()?;
    ensure!(changes(&dry) == expected && dry["dry_run"] == true, "{dry}");
    ensure!(elsewhere().connect().await.is_err(), "nothing has changed yet");
    let shown = command(&host, &["--dry-run"])?;
    ensure!(shown.output.contains("restart          limits.sockets"), "{shown:?}");
    host.signal(Signal::HUP)?;
    let line = host.log().find(0, "the outcome", |line| line.message() == "configuration_reloaded").await?;
    ensure!(line.field("applied").contains("limits.messages_per_second"), "{}", line.text);
    let line = host.log().find(0, "the rest", |line| line.message().starts_with("changed keys that take")).await?;
    ensure!(line.field("keys") == "limits.sockets", "{}", line.text);
    let origin = |origin: &str| elsewhere().header("origin", origin);
    ensure!(origin("https://a.example").connect().await.is_ok(), "the new mount");
    ensure!(origin("https://b.example").refused().await? == 403, "its origins");
    ensure!(host.connect_request().connect().await.is_err(), "the former mount is gone");
    cast.play("alice > count\nalice < ok …").await?;
    // What needs a restart is said again.
    let again = ask(&host, false).await?.json()?;
    ensure!(changes(&again) == ["limits.sockets restart"], "{again}");
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// `bennu reload` does what `bennu config reload` does.
#[tokio::test]
async fn the_short_command_reloads_the_configuration_too() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.config("[limits]\nsockets = 50\n").start().await?;
    let address = host.address().to_string();
    let short = |arguments: &[&str]| bennu(host.home(), &[&["reload", "--host", &address], arguments].concat());
    configure(&host, "log = \"debug\"\n[limits]\nsockets = 50\n")?;
    let dry = short(&["--dry-run"])?;
    ensure!(dry.code == Some(0) && dry.output.lines().any(|line| line == "now              log"), "{dry:?}");
    ensure!(dry.output == command(&host, &["--dry-run"])?.output, "nothing was applied");
    let answer: Value = serde_json::from_str(&short(&["--json"])?.output)?;
    ensure!(changes(&answer) == ["log now"] && answer["dry_run"] == false, "{answer}");
    configure(&host, "logg = 1\n")?;
    let refused = short(&[])?;
    ensure!(refused.code == Some(1) && refused.errors.contains("nothing was changed"), "{refused:?}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_plugin_gets_its_new_settings_and_its_members_stay() -> Result<()> {
    let config = |text: &str| format!("[plugins.naughty]\n{text}\n");
    let host = Setup::new().guests(&["naughty", "echo"])?.config(&config("publish = []")).start().await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join naughty:1\nalice < ok …").await?;
    let answer = reload(&host, &config("publish = [\"elsewhere:*\"]\nconfig = { a = 1 }")).await?;
    ensure!(
        changes(&answer) == ["plugins.naughty.config plugin_reload", "plugins.naughty.publish plugin_reload"],
        "{answer}"
    );
    ensure!(answer["plugins"] == json!({ "naughty": { "failure": null } }), "{answer}");
    let inspected = host.inspect().await?;
    let generation = |plugin: &str| inspected["plugins"][plugin]["generation"].clone();
    ensure!(
        generation("naughty") == 2 && generation("echo") == 1,
        "only the plugin with changed settings is loaded again"
    );
    cast.play("alice > echo {\"a\": 1}\nalice < ok …").await?;
    // An unloaded plugin stays unloaded.
    let address = host.address().to_string();
    bennu(host.home(), &["plugins", "unload", "naughty", "--host", &address])?;
    let answer = reload(&host, &config("publish = []")).await?;
    let why = answer["plugins"]["naughty"]["failure"].as_str().context("a reason")?;
    ensure!(why.contains("it is unloaded"), "{answer}");
    ensure!(host.inspect().await?["plugins"]["naughty"]["generation"] == 0, "it is still unloaded");
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_removed_key_of_the_api_ends_its_event_stream() -> Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let ended = bennu(tempfile::tempdir()?.path(), &["key", "new", "web", "--scope", "read"])?;
    let (key, table) = ended.output.split_once("\n\n").context("a key and a table")?;
    let host = Setup::new().guests(&["echo"])?.start().await?;
    let asked = || request_with_key(&host, key);
    ensure!(asked().await? == 401, "the key isn't known yet");
    reload(&host, table).await?;
    ensure!(asked().await? == 200, "the key was added");
    let mut stream = tokio::net::TcpStream::connect(host.address()).await?;
    let head = format!("GET /api/events?topic=echo:1 HTTP/1.0\r\nhost: a\r\nauthorization: Bearer {key}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut received = vec![0; 4096];
    let mut text = String::new();
    while !text.contains("event: start") {
        let read = bennu_tests::within("the start", stream.read(&mut received)).await??;
        ensure!(read > 0, "the stream has ended: {text}");
        text += &String::from_utf8_lossy(&received[..read]);
    }
    // Another change leaves the stream open.
    reload(&host, &format!("log = \"debug\"\n{table}")).await?;
    host.post("/api/broadcast", &json!({ "topic": "echo:1", "event": "e" })).await?;
    let read = bennu_tests::within("an event", stream.read(&mut received)).await??;
    ensure!(String::from_utf8_lossy(&received[..read]).contains("event: broadcast"), "the stream goes on");
    reload(&host, "").await?;
    let mut rest = Vec::new();
    bennu_tests::within("the end", stream.read_to_end(&mut rest)).await??;
    ensure!(asked().await? == 401, "the key was removed");
    host.stop().await?;
    Ok(())
}

/// The commands read the file, so they have no key until the host has made another one.
#[tokio::test]
async fn a_deleted_key_file_is_made_again_with_another_key() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.start().await?;
    let before = host.api_key()?;
    fs::remove_file(host.home().join("data/api-key"))?;
    let dry = ask(&host, true).await?.json()?;
    ensure!(changes(&dry) == ["api.key (its content) now"], "{dry}");
    ensure!(host.api_key().is_err() && request_with_key(&host, &before).await? == 200, "nothing has changed yet");
    host.signal(Signal::HUP)?;
    host.log().find(0, "the outcome", |line| line.message() == "configuration_reloaded").await?;
    let after = host.api_key()?;
    ensure!(after != before, "the key is another one");
    ensure!(request_with_key(&host, &before).await? == 401, "the former key");
    ensure!(request_with_key(&host, &after).await? == 200, "the new key");
    bennu_tests::know(host.address(), &after);
    let again = ask(&host, false).await?.json()?;
    ensure!(changes(&again).is_empty(), "{again}");
    host.stop().await?;
    Ok(())
}

async fn request_with_key(host: &TestHost, key: &str) -> Result<u16> {
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str())];
    Ok(request_with(host.address(), "GET", "/api/topics", &headers, b"").await?.status)
}
