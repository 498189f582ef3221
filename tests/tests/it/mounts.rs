//! Mounts: paths with different authentication, transports and limits.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use bennu::auth::{Derivation, MaxAge, Secret, Tokens};
use bennu_tests::{Gate, Loading, Setup, TestHost, bearer, bennu, bennu_with, check, get, places, request};
use serde_json::json;

const SECRET: &str = "a secret of more than twenty bytes";

/// The log filter for everything that the host and its dependencies log, except the compiler.
const EVERYTHING: &str = "trace,cranelift_codegen=warn,regalloc2=warn,wasmtime=warn,wasmtime_environ=warn,\
    wasmtime_internal_cranelift=warn,wasmtime_cranelift=warn";

/// The status of a request without an upgrade. It is 400 if the client would be admitted.
async fn connect_status(host: &TestHost, path: &str) -> Result<u16> {
    Ok(get(host.address(), path).await?.status)
}

#[tokio::test]
async fn each_mount_has_its_own_settings() -> Result<()> {
    let config = r#"
        [mounts."/socket"]
        [mounts."/small"]
        transports = ["websocket"]
        frame_bytes = 200
        channels_per_socket = 1
        [mounts."/polls/deep"]
        transports = ["longpoll"]
        "#;
    let host = Setup::new().guests(&["echo"])?.config(config).start().await?;
    let mut small = host.connect_request().at("/small").connect().await?;
    small.push("echo:1", "phx_join", &json!({})).await?;
    small.json().await?;
    small.push("echo:2", "phx_join", &json!({})).await?;
    ensure!(
        small.json().await?[4]["response"]["reason"] == "too many channels joined",
        "this mount allows one channel"
    );
    small.push("echo:1", "echo", &json!({ "filler": "x".repeat(200) })).await?;
    small.closed_with(1009).await?;
    let mut usual = host.connect().await?;
    usual.push("echo:1", "phx_join", &json!({})).await?;
    usual.json().await?;
    usual.push("echo:1", "echo", &json!({ "filler": "x".repeat(200) })).await?;
    ensure!(usual.json().await?[4]["status"] == "ok", "another mount allows longer messages");
    ensure!(connect_status(&host, "/small/longpoll?vsn=2.0.0").await? == 404, "this mount has no long-poll");
    ensure!(connect_status(&host, "/polls/deep/websocket?vsn=2.0.0").await? == 404, "this mount has no WebSocket");
    ensure!(connect_status(&host, "/polls/deep/longpoll?vsn=2.0.0").await? == 200, "this mount has long-poll");
    Ok(())
}

#[tokio::test]
async fn a_signed_token_identifies_the_client() -> Result<()> {
    let config = r#"
        secret_key_base = { file = "secret.txt" }
        [mounts."/socket"]
        auth_token = true
        token = { salt = "user socket", max_age = 60, param = "t" }
        "#;
    let host = Setup::new().guests(&["naughty"])?.file("secret.txt", SECRET.into()).config(config).start().await?;
    let sign = |data: &str, salt: &str| -> Result<String> {
        let signed =
            bennu_with(host.home(), &["token", "sign", "--salt", salt, data], &[("BENNU_SECRET_KEY_BASE", SECRET)])?;
        ensure!(signed.code == Some(0), "{signed:?}");
        Ok(signed.output.trim().to_owned())
    };
    let token = sign("42", "user socket")?;
    let claims = sign(r#"{"user_id": 7, "role": "admin"}"#, "user socket")?;
    let mut by_param = host.connect_request().query(&format!("vsn=2.0.0&t={token}")).connect().await?;
    let mut apart = host
        .connect_request()
        .header("sec-websocket-protocol", &format!("phoenix, {}", bearer(&claims)))
        .connect()
        .await?;
    for (client, user, claims) in
        [(&mut by_param, "42", json!({})), (&mut apart, "7", json!({ "user_id": 7, "role": "admin" }))]
    {
        client.push("naughty:1", "phx_join", &json!({})).await?;
        client.json().await?;
        client.push("naughty:1", "facts", &json!({})).await?;
        let facts = client.json().await?[4]["response"].clone();
        ensure!(facts["user"] == user && facts["claims"] == claims, "{facts}");
        ensure!(facts["socket_id"] == format!("user_socket:{user}"), "{facts}");
    }
    let other = sign("42", "another salt")?;
    for query in [
        "vsn=2.0.0".to_owned(),
        "vsn=2.0.0&t=".to_owned(),
        format!("vsn=2.0.0&t={other}"),
        format!("vsn=2.0.0&t={token}x"),
    ] {
        ensure!(host.connect_request().query(&query).refused().await? == 403, "{query}");
    }
    ensure!(
        get(host.address(), "/socket/longpoll?vsn=2.0.0").await?.body == "{\"status\":403}",
        "long-poll has the same status"
    );
    Ok(())
}

/// Signs a token as another machine whose clock is ahead of this one by `seconds`.
fn signed_ahead(salt: &str, seconds: i64, max_age: u64) -> Result<String> {
    let tokens = Tokens::new(Secret::new(SECRET.as_bytes()))?;
    let offset = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    let at = if seconds < 0 { now - offset } else { now + offset };
    let token = tokens.sign(&Derivation::of(salt), &json!("42"), MaxAge::Seconds(max_age), at);
    token.ok().context("signing a token")
}

#[tokio::test]
async fn a_token_may_differ_from_the_clock_by_the_leeway() -> Result<()> {
    let config = r#"
        secret_key_base = { file = "secret.txt" }
        [mounts."/socket"]
        token = { salt = "user" }
        [mounts."/exact"]
        token = { salt = "user", leeway = 0 }
        [mounts."/open"]
        auth = "none"
        "#;
    let host = Setup::new().guests(&["naughty"])?.file("secret.txt", SECRET.into()).config(config).start().await?;
    let status = async |mount: &str, token: &str| {
        let path = format!("{mount}/websocket?vsn=2.0.0&token={token}");
        // An admitted request gets 400, because it isn't an upgrade.
        anyhow::Ok(connect_status(&host, &path).await? == 400)
    };
    for (ahead, max_age, usual, exact) in [
        (0, 600, true, true),
        (30, 600, true, false),
        (3600, 600, false, false),
        (-630, 600, true, false),
        (-720, 600, false, false),
    ] {
        let token = signed_ahead("user", ahead, max_age)?;
        ensure!(status("/socket", &token).await? == usual, "{ahead} s ahead, with the default leeway");
        ensure!(status("/exact", &token).await? == exact, "{ahead} s ahead, without leeway");
    }
    // If a plugin verifies a token, a clock that is ahead has the same leeway, but the maximum age is exact.
    let mut client = host.connect_request().at("/open").connect().await?;
    client.join("naughty:1", &json!({})).await?;
    for (ahead, expected) in [(30, json!({ "value": "42" })), (3600, json!({ "reason": "invalid" }))] {
        let token = signed_ahead("naughty", ahead, 600)?;
        let reply = client.ask("naughty:1", "verify", &json!({ "token": token })).await?;
        ensure!(reply.response == expected, "{ahead} s ahead: {reply:?}");
    }
    let old = signed_ahead("naughty", -630, 600)?;
    let reply = client.ask("naughty:1", "verify", &json!({ "token": old })).await?;
    ensure!(reply.response == json!({ "reason": "expired" }), "{reply:?}");
    drop(client);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_json_web_token_identifies_the_client() -> Result<()> {
    let config = "[mounts.\"/socket\"]\njwt = { secret = { file = \"secret.txt\" }, issuer = \"us\" }\n";
    let host = Setup::new()
        .guests(&["naughty"])?
        .file("secret.txt", b"a shared secret of no less than 32 bytes".to_vec())
        .config(config)
        .start()
        .await?;
    let good = format!("{JWT_CLAIMS}.{JWT_SIGNATURE}");
    let mut ada = host.connect_request().query(&format!("vsn=2.0.0&token={good}")).connect().await?;
    ada.push("naughty:1", "phx_join", &json!({})).await?;
    ada.json().await?;
    ada.push("naughty:1", "facts", &json!({})).await?;
    let facts = ada.json().await?[4]["response"].clone();
    ensure!(facts["user"] == "ada" && facts["claims"]["iss"] == "us", "{facts}");
    ensure!(
        host.connect_request().query(&format!("vsn=2.0.0&token={}", &good[..good.len() - 2])).refused().await? == 403,
        "the token is cut"
    );
    ensure!(host.connect_request().refused().await? == 403, "there is no token");
    Ok(())
}

/// HS256, `{"iss":"us","sub":"ada","exp":4102444800}`.
const JWT_CLAIMS: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJ1cyIsInN1YiI6ImFkYSIsImV4cCI6NDEwMjQ0NDgwMH0";

/// Computed with Python: `hmac.new(secret, head_and_claims, sha256)`, base64url without padding.
const JWT_SIGNATURE: &str = "f81s_0slWOWn5VUbfhKv4ush07VC416jUyTjizuivqU";

#[tokio::test]
async fn the_only_gatekeeper_decides_for_every_mount_without_authentication() -> Result<()> {
    let config = "[mounts.\"/socket\"]\n[mounts.\"/open\"]\nauth = \"none\"\n";
    let host = Setup::new().guests(&["echo"])?.plugin("gate", Gate::Refuses.build()?).config(config).start().await?;
    let answer = get(host.address(), "/socket/websocket?vsn=2.0.0").await?;
    ensure!(answer.status == 418 && answer.body == "no tea", "{answer:?}");
    ensure!(get(host.address(), "/socket/longpoll?vsn=2.0.0").await?.body == "{\"status\":403}", "as in Phoenix");
    ensure!(
        connect_status(&host, "/open/websocket?vsn=2.0.0").await? == 400,
        "with auth = none the gatekeeper isn't asked"
    );
    // It is reloaded like any plugin, and connected clients stay.
    host.put("gate", &Gate::Grants.build()?).await?;
    let mut alice = host.connect().await?;
    host.put("gate", &Gate::Traps.build()?).await?;
    ensure!(connect_status(&host, "/socket/websocket?vsn=2.0.0").await? == 500, "after a fault no client is admitted");
    alice.push("echo:1", "phx_join", &json!({})).await?;
    ensure!(alice.json().await?[4]["status"] == "ok", "a connected client stays");
    host.put("gate", &Gate::Nonsense.build()?).await?;
    ensure!(
        connect_status(&host, "/socket/websocket?vsn=2.0.0").await? == 500,
        "a refusal with the status 200 is a fault"
    );
    host.put("gate", &Gate::BadClaims.build()?).await?;
    ensure!(
        connect_status(&host, "/socket/websocket?vsn=2.0.0").await? == 500,
        "claims that aren't an object are a fault"
    );
    host.put("gate", &Gate::Loops.build()?).await?;
    ensure!(connect_status(&host, "/socket/websocket?vsn=2.0.0").await? == 500, "an endless call is a fault");
    host.log().find(0, "its fault", |line| line.fields["kind"] == "deadline").await?;
    // A file that can't be loaded changes nothing, and unloading the gatekeeper doesn't open the mount.
    host.put("gate", &Gate::Refuses.build()?).await?;
    ensure!(matches!(host.put("gate", b"no wasm").await?, Loading::Refused(_)), "the file is refused");
    ensure!(connect_status(&host, "/socket/websocket?vsn=2.0.0").await? == 418, "the previous build still decides");
    let address = host.address().to_string();
    bennu(host.home(), &["plugins", "--host", &address, "unload", "gate"])?;
    ensure!(
        connect_status(&host, "/socket/websocket?vsn=2.0.0").await? == 503,
        "without the gatekeeper no client is admitted"
    );
    Ok(())
}

#[tokio::test]
async fn a_mount_without_its_gatekeeper_admits_no_client() -> Result<()> {
    let gate = Gate::Grants.build()?;
    let damaged = gate[..gate.len() - 10].to_vec();
    // A gatekeeper that can't be loaded is still required.
    let host = Setup::new().guests(&["echo"])?.plugin("gate", damaged).start().await?;
    ensure!(connect_status(&host, "/socket/websocket?vsn=2.0.0").await? == 503, "the gatekeeper is damaged");
    host.put("gate", &gate).await?;
    host.connect().await?;
    // With two gatekeepers, it isn't clear which one decides.
    let two =
        Setup::new().guests(&["echo"])?.plugin("gate", gate.clone()).plugin("other", gate.clone()).start().await?;
    ensure!(connect_status(&two, "/socket/websocket?vsn=2.0.0").await? == 503, "there are two gatekeepers");
    two.log().find(0, "an error", |line| line.message().contains("several gatekeepers (gate, other)")).await?;
    let named = "[mounts.\"/socket\"]\ngatekeeper = \"other\"\n[mounts.\"/more\"]\ngatekeeper = \"absent\"\n";
    let named = Setup::new().plugin("gate", Gate::Refuses.build()?).plugin("other", gate).config(named).start().await?;
    named.connect().await?;
    ensure!(connect_status(&named, "/more/websocket?vsn=2.0.0").await? == 503, "the named gatekeeper is missing");
    Ok(())
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let from = async |origin: &str| {
        let headers = [("origin", origin), ("connection", "upgrade"), ("upgrade", "websocket")];
        let answer = request(host.address(), "GET", "/socket/websocket?vsn=2.0.0", &headers).await?;
        anyhow::Ok(answer.status)
    };
    // By default, only origins with the host name of the request are allowed. Scheme and port don't matter.
    ensure!(
        from("https://127.0.0.1:9").await? == 400 && from("http://evil.example").await? == 403,
        "only its own host name is allowed"
    );
    ensure!(from("null").await? == 403, "a page without an origin");
    Ok(())
}

#[tokio::test]
async fn no_secret_is_in_any_log() -> Result<()> {
    let config = r#"
        secret_key_base = { file = "secret.txt" }
        [api]
        key = { env = "TEST_API_KEY" }
        [mounts."/socket"]
        auth_token = true
        token = { salt = "user socket" }
        [mounts."/gated"]
        gatekeeper = "reference-gate"
        auth_token = true
        "#;
    let host = Setup::new()
        .guests(&["echo", "reference-gate"])?
        .file("secret.txt", SECRET.into())
        .config(config)
        .variable("TEST_API_KEY", "open-sesame-key")
        .arguments(&["--log", EVERYTHING])
        .start()
        .await?;
    let token = bennu_with(
        host.home(),
        &["token", "sign", "--salt", "user socket", "42"],
        &[("BENNU_SECRET_KEY_BASE", SECRET)],
    )?;
    let token = token.output.trim().to_owned();
    ensure!(
        host.connect_request().query("vsn=2.0.0&token=wrong-token-in-parameter").refused().await? == 403,
        "the token is wrong"
    );
    let mut alice = host.connect_request().query(&format!("vsn=2.0.0&token={token}")).connect().await?;
    alice.push("echo:1", "phx_join", &json!({})).await?;
    alice.json().await?;
    host.connect_request().at("/gated").query("vsn=2.0.0&user_id=1&password=hunter2-in-parameter").connect().await?;
    let protocol = format!("phoenix, {}", bearer("bearer-in-protocol"));
    host.connect_request()
        .at("/gated")
        .header("sec-websocket-protocol", &protocol)
        .header("cookie", "session=cookie-in-header")
        .connect()
        .await?;
    let wrong = [("authorization", "Bearer wrong-key-in-header")];
    ensure!(request(host.address(), "GET", "/api/inspect", &wrong).await?.status == 401, "the key is wrong");
    let right = [("authorization", "Bearer open-sesame-key")];
    ensure!(request(host.address(), "GET", "/api/inspect", &right).await?.status == 200, "the key is right");
    let poll = get(host.address(), &format!("/socket/longpoll?vsn=2.0.0&token={token}")).await?.json()?;
    let session = poll["token"].as_str().context("a session")?.to_owned();
    drop(alice);
    let log = host.stop().await?;
    let everything = log.tail(1_000_000);
    ensure!(everything.len() > 4_000, "much is logged at this level");
    let mut secrets = vec![SECRET, "open-sesame-key", &token, &session, "in-parameter", "in-header", "in-protocol"];
    let encoded = bearer("bearer-in-protocol");
    secrets.push(encoded.rsplit('.').next().unwrap_or_default());
    for secret in secrets {
        if let Some(line) = everything.lines().find(|line| line.contains(secret)) {
            anyhow::bail!("`{secret}` is in the log: {line}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn invalid_configurations_are_refused() -> Result<()> {
    let home = tempfile::tempdir()?;
    std::fs::create_dir(home.path().join("plugins"))?;
    for (config, says) in [
        ("secret_key_base = \"not-a-place-for-it-at-all\"", "secrets come from the environment or a file"),
        ("secret_key_base = { file = \"absent.txt\" }", "absent.txt"),
        ("secret_key_base = { env = \"NOT_SET_ANYWHERE\" }", "NOT_SET_ANYWHERE is not set"),
        ("[mounts.\"/socket\"]\ntoken = { salt = \"s\" }", "needs the host's `secret_key_base`"),
        ("[mounts.\"/socket\"]\njwt = { jwks = \"absent.json\" }", "absent.json"),
        ("[api]\nlisten = \"nowhere\"", "api.listen"),
    ] {
        std::fs::write(home.path().join("bennu.toml"), config)?;
        let ended = bennu(home.path(), &["serve", "plugins", "--config", "bennu.toml", "--listen", "127.0.0.1:0"])?;
        ensure!(ended.code == Some(1) && ended.errors.contains(says), "{config}: {ended:?}");
        ensure!(!ended.errors.contains("not-a-place"), "the secret is shown: {ended:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_configuration_of_the_reference_example_is_valid() -> Result<()> {
    let config = places::workspace()?.join("guest-examples/reference/bennu.toml");
    let read = bennu::server::Config::read(&config)?;
    ensure!(read.mounts.len() == 8 && read.secret_key_base.is_some(), "{read:?}");
    // A host without a configuration file serves too.
    let host = Setup::new().guests(&["echo"])?.start().await?;
    check(&host, "alice > join echo:1\nalice < ok {}").await?;
    Ok(())
}
