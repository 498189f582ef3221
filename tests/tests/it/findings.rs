//! Settings that are probably mistakes: logged at the start, and printed by `bennu serve --check`.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bennu_tests::{Gate, Setup, bennu, bennu_with, places};
use serde_json::json;

const MISTAKEN: &str = r#"
    [limits]
    room_bytes = 0
    [mounts."/socket"]
    auth = "none"
    [mounts."/gated"]
    gatekeeper = "gaet"
    [mounts."/other"]
    gatekeeper = "echo"
    [plugins.ecoh]
    publish = ["news:*"]
    "#;

/// The findings in this configuration: a part of each sentence.
const FINDINGS: [&str; 4] = [
    "`plugins.ecoh` is for a plugin that doesn't exist; did you mean `echo`?",
    "no client can connect at /gated: `mounts.\"/gated\".gatekeeper` names `gaet`, a gatekeeper that doesn't exist; did you mean `gate`?",
    "`mounts.\"/other\".gatekeeper` names `echo`, a plugin that isn't a gatekeeper; there is `gate`",
    "`limits.room_bytes` is 0, so no topic can have a room",
];

#[tokio::test]
async fn probable_mistakes_are_logged_once_at_the_start() -> Result<()> {
    let gate = Gate::Grants.build()?;
    let host = Setup::new().guests(&["echo"])?.plugin("gate", gate).config(MISTAKEN).start().await?;
    host.reload("echo", "variants/echo-v2").await?;
    let log = host.stop().await?.since(0);
    for words in FINDINGS {
        let count = log.iter().filter(|line| line.message().contains(words)).count();
        ensure!(count == 1, "{words}: {count} times");
    }
    Ok(())
}

#[tokio::test]
async fn a_host_without_a_usable_plugin_logs_it() -> Result<()> {
    let host = Setup::new().start().await?;
    host.log()
        .find(0, "there is no plugin", |line| line.message().starts_with("there is no plugin in plugins"))
        .await?;
    host.stop().await?;
    let host = Setup::new().plugin("odd", b"hello".to_vec()).plugin("worse", b"".to_vec()).start().await?;
    host.log()
        .find(0, "all plugins are refused", |line| line.message().starts_with("all 2 plugins were refused"))
        .await?;
    host.stop().await?;
    Ok(())
}

/// Runs `bennu serve --check` in a directory. Returns its exit code and its output with the errors.
fn check(home: &Path, more: &[&str], variables: &[(&str, &str)]) -> Result<(i32, String)> {
    let ended = bennu_with(home, &[&["serve", "plugins", "--check"], more].concat(), variables)?;
    Ok((ended.code.unwrap_or(-1), ended.output + &ended.errors))
}

#[tokio::test]
async fn a_check_exits_with_0_or_1_and_prints_its_findings() -> Result<()> {
    let home = tempfile::tempdir()?;
    let plugins = home.path().join("plugins");
    fs::create_dir(&plugins)?;
    let configure = |text: &str| fs::write(home.path().join("bennu.toml"), text);
    let config = ["--config", "bennu.toml"];
    let (code, output) = check(home.path(), &[], &[])?;
    ensure!(code == 1 && output.contains("there is no plugin in plugins"), "{output}");
    fs::write(plugins.join("echo.wasm"), places::guest("echo")?)?;
    let (code, output) = check(home.path(), &[], &[])?;
    ensure!(code == 0 && output.contains("plugin echo (plugins/echo.wasm) serves bench:* echo:*"), "{output}");
    ensure!(
        output.contains("nothing is wrong") && !home.path().join("data").exists(),
        "the check creates no directory: {output}"
    );
    // A setting that may be intended isn't an error.
    configure("[limits]\nroom_bytes = 0\n")?;
    let (code, output) = check(home.path(), &config, &[])?;
    ensure!(code == 0 && output.contains("`limits.room_bytes` is 0"), "{output}");
    let (code, output) = check(home.path(), &[], &[("HOME", ""), ("XDG_CACHE_HOME", "")])?;
    ensure!(code == 0 && output.contains("compiled plugins aren't kept"), "{output}");
    fs::write(plugins.join("gate.wasm"), Gate::Grants.build()?)?;
    configure(MISTAKEN)?;
    let (code, output) = check(home.path(), &config, &[])?;
    ensure!(code == 1 && output.contains("3 things are wrong"), "{output}");
    for words in FINDINGS {
        ensure!(output.contains(words), "{words}: {output}");
    }
    for (text, words) in [
        ("lisen = \"x\"", "did you mean `listen`?"),
        ("secret_key_base = { file = \"absent.txt\" }", "absent.txt"),
        ("[mounts.\"/socket\"]\njwt = { jwks = \"absent.json\" }", "absent.json"),
        ("[api]\nkey = { env = \"NOT_SET_ANYWHERE\" }", "NOT_SET_ANYWHERE"),
        ("static = \"absent\"", "static files in absent"),
        ("listen = \"nonsense\"", "`nonsense`"),
        ("log = \"a=b=c\"", "a=b=c"),
    ] {
        configure(text)?;
        let (code, output) = check(home.path(), &config, &[])?;
        ensure!(code == 1 && output.contains(words), "{text}: {output}");
    }
    fs::write(plugins.join("odd.wasm"), "hello")?;
    let (code, output) = check(home.path(), &[], &[])?;
    ensure!(code == 1 && output.contains("refused  plugin odd (plugins/odd.wasm): "), "{output}");
    Ok(())
}

#[tokio::test]
async fn a_check_can_run_next_to_a_running_host() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.start().await?;
    let listen = host.address().to_string();
    let ended = bennu(host.home(), &["serve", "plugins", "--config", "bennu.toml", "--listen", &listen, "--check"])?;
    ensure!(ended.code == Some(0), "{ended:?}");
    ensure!(host.inspect().await?["plugins"]["echo"]["generation"] == 1, "the host continues");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn dates_of_a_plugins_configuration_become_text_and_nan_and_inf_are_refused() -> Result<()> {
    let config = "[plugins.naughty.config]\nopens = 2026-11-28T07:32:00Z\nlist = [{ day = 1979-05-27 }]\n";
    let host = Setup::new().guests(&["naughty"])?.config(config).start().await?;
    let mut client = host.connect().await?;
    client.join("naughty:1", &json!({})).await?;
    let facts = client.call("naughty:1", "facts", &json!({})).await?;
    let expected = json!({ "opens": "2026-11-28T07:32:00Z", "list": [{ "day": "1979-05-27" }] });
    ensure!(facts["config"] == expected, "{facts}");
    drop(client);
    host.stop().await?;
    let home = tempfile::tempdir()?;
    fs::create_dir(home.path().join("plugins"))?;
    for number in ["nan", "inf", "-inf", "+nan"] {
        fs::write(home.path().join("odd.toml"), format!("[plugins.chat.config]\na = {{ b = [1, {number}] }}\n"))?;
        let ended = bennu(home.path(), &["serve", "plugins", "--config", "odd.toml", "--listen", "127.0.0.1:0"])?;
        ensure!(ended.code == Some(1) && ended.errors.contains("`plugins.chat.config.a.b[1]`"), "{number}: {ended:?}");
    }
    Ok(())
}

/// HS256 with the secret below, `{"iss":"us","sub":"ada","exp":4102444800}`.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJ1cyIsInN1YiI6ImFkYSIsImV4cCI6NDEwMjQ0NDgwMH0.\
    f81s_0slWOWn5VUbfhKv4ush07VC416jUyTjizuivqU";

const SECRET: &[u8] = b"a shared secret of no less than 32 bytes";

#[tokio::test]
async fn a_host_skips_unusable_keys_and_does_not_start_without_a_usable_one() -> Result<()> {
    let of = |kid: &str, secret: &[u8]| json!({ "kty": "oct", "kid": kid, "k": BASE64_URL_SAFE_NO_PAD.encode(secret) });
    let (good, weak, future) = (of("good", SECRET), of("weak", b"short"), json!({ "kty": "AKP", "kid": "future" }));
    let double = of("good", b"another secret of no less than 32 bytes");
    let set = json!({ "keys": [weak, good, double, future] }).to_string();
    let config = "[mounts.\"/socket\"]\njwt = { jwks = \"keys.json\" }\n";
    let host = Setup::new().guests(&["echo"])?.file("keys.json", set.into()).config(config).start().await?;
    for key in ["`weak`: it is too weak", "`good`: a key before it has the same `kid`", "`future`: its `kty`"] {
        let is_warning = |line: &bennu_tests::Line| line.field("level") == "WARN" && line.message().contains(key);
        host.log().find(0, key, is_warning).await?;
    }
    host.connect_request().query(&format!("vsn=2.0.0&token={TOKEN}")).connect().await?.close().await?;
    ensure!(host.connect_request().refused().await? == 403, "there is no token");
    host.stop().await?;
    let home = tempfile::tempdir()?;
    fs::create_dir(home.path().join("plugins"))?;
    fs::write(home.path().join("bennu.toml"), config)?;
    fs::write(home.path().join("keys.json"), json!({ "keys": [of("weak", b"short")] }).to_string())?;
    let ended = bennu(home.path(), &["serve", "plugins", "--config", "bennu.toml", "--listen", "127.0.0.1:0"])?;
    let words = ["keys.json", "it has no key for RS256", "its key `weak`: it is too weak"];
    ensure!(ended.code == Some(1) && words.iter().all(|words| ended.errors.contains(words)), "{ended:?}");
    Ok(())
}
