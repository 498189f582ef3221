//! Clients that are refused, and connections that the host closes. The log and the counters have the reasons.

use anyhow::{Context, Result, ensure};
use bennu_tests::{Line, Setup, TestHost, bennu, bennu_with, eventually, get, request, request_with};
use rustix::process::Signal;
use serde_json::json;

use crate::limit_counts::stop_after_hits;

const SECRET: &str = "a secret of more than twenty bytes";

/// Waits for the log line with this reason.
async fn line(host: &TestHost, reason: &str) -> Result<Line> {
    let line = host.log().find(0, reason, |line| line.field("reason") == reason).await?;
    ensure!(line.field("level") == "INFO", "{}", line.text);
    Ok(line)
}

async fn count(host: &TestHost, kind: &str, reason: &str) -> Result<u64> {
    host.inspect().await?[kind][reason].as_u64().with_context(|| format!("no count of {reason}"))
}

#[tokio::test]
async fn refused_clients_are_logged_and_counted_with_the_reason() -> Result<()> {
    let config = r#"
        secret_key_base = { file = "secret.txt" }
        [mounts."/socket"]
        check_origin = ["https://example.com"]
        auth_token = true
        token = { salt = "user socket" }
        [mounts."/open"]
        auth = "none"
        [mounts."/gated"]
        gatekeeper = "absent"
        [limits]
        sockets = 2
        "#;
    let host = Setup::new().guests(&["echo"])?.file("secret.txt", SECRET.into()).config(config).start().await?;
    let sign = |age: &str| -> Result<String> {
        let arguments = ["token", "sign", "--salt", "user socket", "--max-age", age, "42"];
        let signed = bennu_with(host.home(), &arguments, &[("BENNU_SECRET_KEY_BASE", SECRET)])?;
        ensure!(signed.code == Some(0), "{signed:?}");
        Ok(signed.output.trim().to_owned())
    };
    let (good, expired) = (sign("86400")?, sign("0")?);
    let request = |query: String| host.connect_request().query(&query);
    for (reason, status, refused) in [
        ("origin", 403, request("vsn=2.0.0".into()).header("origin", "https://evil.example").refused().await?),
        ("version", 403, request(format!("vsn=9.0.0&token={good}")).refused().await?),
        ("token_missing", 403, request("vsn=2.0.0".into()).refused().await?),
        ("token_invalid", 403, request(format!("vsn=2.0.0&token={good}-forged")).refused().await?),
        ("token_expired", 403, request(format!("vsn=2.0.0&token={expired}")).refused().await?),
        (
            "token_unreadable",
            500,
            request("vsn=2.0.0".into())
                .header("sec-websocket-protocol", "phoenix, base64url.bearer.phx.!")
                .refused()
                .await?,
        ),
        ("subprotocol", 403, request("vsn=2.0.0".into()).header("sec-websocket-protocol", "soap").refused().await?),
        ("gatekeeper_missing", 503, host.connect_request().at("/gated").refused().await?),
        ("unknown_mount", 404, host.connect_request().at("/elsewhere").refused().await?),
        ("bad_upgrade", 400, get(host.address(), "/open/websocket?vsn=2.0.0").await?.status),
    ] {
        ensure!(refused == status, "{reason}: {refused}");
        let line = line(&host, reason).await?;
        ensure!(line.message() == "a client was refused", "{}", line.text);
        ensure!(line.field("peer").starts_with("127.0.0.1:"), "{}", line.text);
        ensure!(count(&host, "refused", reason).await? == 1, "{reason}");
    }
    ensure!(line(&host, "origin").await?.field("origin") == "https://evil.example");
    ensure!(line(&host, "version").await?.field("mount") == "/socket");
    ensure!(line(&host, "unknown_mount").await?.field("mount") == "/elsewhere/websocket");
    // Long-poll has the same status, and the same counter.
    ensure!(get(host.address(), "/socket/longpoll?vsn=2.0.0").await?.json()?["status"] == 403);
    ensure!(count(&host, "refused", "token_missing").await? == 2);
    let inside =
        (host.connect_request().at("/open").connect().await?, host.connect_request().at("/open").connect().await?);
    ensure!(host.connect_request().at("/open").refused().await? == 503);
    line(&host, "socket_limit").await?;
    let address = host.address().to_string();
    let shown = bennu(host.home(), &["inspect", "--host", &address])?;
    ensure!(shown.output.contains("token_missing 2") && shown.output.contains("socket_limit 1"), "{shown:?}");
    drop(inside);
    let log = host.stop().await?.tail(100_000);
    ensure!(!log.contains(&good) && !log.contains(&expired), "a token is in the log");
    Ok(())
}

/// Only `inspect` itself needs the key.
#[tokio::test]
async fn refused_requests_to_the_api_are_logged_and_counted_with_the_reason() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let key = format!("Bearer {}", host.api_key()?);
    let evil = [("authorization", &*key), ("origin", "https://evil.example")];
    for (reason, status, method, headers) in [
        ("api_key_missing", 401, "GET", &[("authorization", "")][..]),
        ("api_key_wrong", 401, "GET", &[("authorization", "Bearer guess")]),
        ("api_origin", 403, "POST", &evil),
    ] {
        let answer = request(host.address(), method, "/api/topics", headers).await?;
        ensure!(answer.status == status, "{reason}: {answer:?}");
        let line = line(&host, reason).await?;
        ensure!(line.message() == "a client was refused" && line.field("mount") == "/api/topics", "{}", line.text);
        ensure!(line.field("peer").starts_with("127.0.0.1:"), "{}", line.text);
        ensure!(count(&host, "refused", reason).await? == 1, "{reason}");
    }
    ensure!(line(&host, "api_origin").await?.field("origin") == "https://evil.example");
    ensure!(!host.stop().await?.tail(100_000).contains("guess"), "the wrong key is in the log");
    Ok(())
}

#[tokio::test]
async fn a_connection_that_the_host_closes_is_logged_and_counted_with_the_reason() -> Result<()> {
    let setup = Setup::new().guests(&["echo"])?.limit("idle_ms", 2_000).limit("frame_bytes", 10_000);
    let mut host = setup.limit("messages_per_second", 3).start().await?;
    let origin = "http://127.0.0.1";
    let connect = async || host.connect_request().header("origin", origin).connect().await;
    let long = format!(r#"[null,"1","phoenix","heartbeat",{{"filler":"{}"}}]"#, "x".repeat(10_000));
    for (reason, code) in [
        ("message_too_large", 1009),
        ("malformed_message", 1011),
        ("protocol_error", 1002),
        ("invalid_text", 1007),
        ("message_rate", 1008),
        ("idle", 1002),
    ] {
        let mut client = connect().await?;
        match reason {
            "message_too_large" => client.send(long.clone()).await?,
            "malformed_message" => client.send("no message").await?,
            "protocol_error" => client.send_reserved().await?,
            "invalid_text" => client.send_piece(&b"\xff"[..], true, true).await?,
            "message_rate" => {
                for _ in 0..20 {
                    client.send(r#"[null,"1","phoenix","heartbeat",{}]"#).await?;
                }
            }
            _ => {}
        }
        let (_, closed) = client.until_closed().await?;
        ensure!(closed == Some(code), "{reason}: {closed:?}");
        let line = line(&host, reason).await?;
        ensure!(line.message() == "the host closed a connection" && line.field("mount") == "/socket", "{}", line.text);
        ensure!(line.field("peer").starts_with("127.0.0.1:") && line.field("origin") == origin, "{}", line.text);
        ensure!(count(&host, "closed", reason).await? == 1, "{reason}");
    }
    // A connection that the client closes isn't counted.
    let before = host.inspect().await?["closed"].clone();
    connect().await?.close().await?;
    drop(connect().await?);
    host.holds(0, 0).await?;
    ensure!(host.inspect().await?["closed"] == before);
    // Connections that a stop closes aren't logged separately.
    let mut last = connect().await?;
    host.signal(Signal::TERM)?;
    last.closed_with(1012).await?;
    drop(last);
    host.ended().await?;
    ensure!(!host.log().since(0).iter().any(|line| line.field("reason") == "stopping"));
    Ok(())
}

/// The client reads nothing while it is sent more than the kernel buffers for it.
#[tokio::test]
async fn a_slow_reader_is_logged_and_counted_with_the_reason() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.limit("outbox_bytes", 1 << 20).start().await?;
    let mut slow = host.connect_request().receive_buffer(16 << 10).connect().await?;
    slow.join("echo:1", &json!({})).await?;
    let news = json!({ "topic": "echo:1", "event": "news", "payload": { "text": "x".repeat(256 << 10) } });
    eventually("the slow reader is closed", async || {
        host.post("/api/broadcast", &news).await?;
        Ok((count(&host, "closed", "outbox_full").await? == 1).then_some(()))
    })
    .await?;
    let line = line(&host, "outbox_full").await?;
    ensure!(line.message() == "the host closed a connection" && line.field("mount") == "/socket", "{}", line.text);
    host.holds(0, 0).await?;
    drop(slow);
    host.stop().await?;
    Ok(())
}

/// The operator disconnects two clients with one id.
#[tokio::test]
async fn a_disconnect_is_logged_and_counted_with_the_reason() -> Result<()> {
    let host = Setup::new().guests(&["reference", "reference-gate"])?.start().await?;
    let connect = async || host.connect_request().query("vsn=2.0.0&user_id=7").connect().await;
    let (mut one, mut other) = (connect().await?, connect().await?);
    let disconnected = bennu(host.home(), &["disconnect", "user_socket:7", "--host", &host.address().to_string()])?;
    ensure!(disconnected.output == "2 sockets\n", "{disconnected:?}");
    one.closed_with(1001).await?;
    other.closed_with(1001).await?;
    ensure!(count(&host, "closed", "disconnected").await? == 2);
    let line = line(&host, "disconnected").await?;
    ensure!(line.message() == "the host closed a connection" && line.field("mount") == "/socket", "{}", line.text);
    host.stop().await?;
    Ok(())
}

/// A long-poll client with a full outbox.
#[tokio::test]
async fn a_slow_long_poll_client_is_logged_and_counted_with_the_reason() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.limit("outbox_frames", 3).start().await?;
    let opened = get(host.address(), "/socket/longpoll?vsn=2.0.0").await?.json()?;
    let path = format!("/socket/longpoll?vsn=2.0.0&token={}", opened["token"].as_str().context("a token")?);
    for n in 0..6 {
        let heartbeat = json!([null, n.to_string(), "phoenix", "heartbeat", {}]).to_string();
        request_with(host.address(), "POST", &path, &[], heartbeat.as_bytes()).await?;
    }
    line(&host, "outbox_full").await?;
    eventually("the connection is counted", async || {
        Ok((count(&host, "closed", "outbox_full").await? == 1).then_some(()))
    })
    .await?;
    host.stop().await?;
    Ok(())
}

/// Many refused clients can't fill the disk with log lines, but each is counted.
#[tokio::test]
async fn log_lines_are_limited_and_the_omitted_ones_are_counted() -> Result<()> {
    const CLIENTS: u64 = 300;
    let host = TestHost::start(&["echo"]).await?;
    for _ in 0..CLIENTS {
        get(host.address(), "/nowhere/websocket").await?;
    }
    ensure!(count(&host, "refused", "unknown_mount").await? == CLIENTS);
    let told = |lines: &[Line]| -> u64 {
        let of_it = lines.iter().filter(|line| line.field("reason") == "unknown_mount");
        of_it.map(|line| line.fields["left_out"].as_u64().unwrap_or(1)).sum()
    };
    eventually("all refusals are counted in the log", async || {
        Ok((told(&host.log().since(0)) == CLIENTS).then_some(()))
    })
    .await?;
    let lines = host.log().since(0).iter().filter(|line| line.field("reason") == "unknown_mount").count();
    ensure!(lines < 100, "{lines} lines");
    stop_after_hits(host, &["log_lines_of_clients"]).await
}

/// Text from a client can't imitate other fields or lines of the log.
#[tokio::test]
async fn text_from_a_client_is_escaped_in_the_log() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.human().start().await?;
    let odd = [("origin", "https://\u{202e}evil\" peer=1.2.3.4")];
    ensure!(request(host.address(), "GET", "/socket/websocket?vsn=2.0.0", &odd).await?.status == 403);
    let line = host.log().find(0, "the refusal", |line| line.text.contains("a client was refused")).await?;
    ensure!(!line.text.contains('\u{202e}') && line.text.contains("\\u{202e}evil\\\" peer=1.2.3.4\""), "{}", line.text);
    Ok(())
}
