//! HTTP requests as bytes: their targets, their `Host` headers, and the requirements of an upgrade.

use anyhow::{Context, Result, ensure};
use bennu_tests::{Setup, TestHost, request, request_with, within};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The headers of an upgrade request.
const UPGRADE: &str = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

const TARGET: &str = "/socket/websocket?vsn=2.0.0";

/// Sends a request and returns the status and the head of its answer. The connection may stay open.
async fn asked(host: &TestHost, bytes: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(host.address()).await?;
    stream.write_all(bytes.as_bytes()).await?;
    let mut head = Vec::new();
    within("the head of an answer", async {
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                break;
            }
            // The beginning of the body may have been read too.
            if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                head.truncate(end + 4);
            }
        }
        anyhow::Ok(())
    })
    .await??;
    let head = String::from_utf8(head)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.with_context(|| format!("no status in {head:?}"))?, head))
}

async fn status(host: &TestHost, bytes: &str) -> Result<u16> {
    Ok(asked(host, bytes).await?.0)
}

/// Sends an upgrade request in which a text is replaced, and returns the status.
async fn upgrade(host: &TestHost, replaced: &str, by: &str) -> Result<u16> {
    let head = format!("GET {TARGET} HTTP/1.1\r\n{UPGRADE}\r\n");
    ensure!(head.contains(replaced), "{replaced:?} isn't in the request");
    status(host, &head.replacen(replaced, by, 1)).await
}

#[tokio::test]
async fn empty_segments_of_a_path_are_ignored() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    for path in ["/socket//websocket", "/socket/websocket/", "//socket/websocket", "///socket//websocket//"] {
        let head = format!("GET {path}?vsn=2.0.0 HTTP/1.1\r\n{UPGRADE}\r\n");
        ensure!(status(&host, &head).await? == 101, "{path}");
    }
    // phoenix.js sends such a path if it is given `/socket/`.
    let mut alice = host.connect_request().at("/socket/").connect().await?;
    alice.join("echo:1", &json!({})).await?;
    for path in ["/socket//longpoll", "/socket/longpoll/", "//socket/longpoll"] {
        let answer = request(host.address(), "GET", &format!("{path}?vsn=2.0.0"), &[]).await?;
        ensure!(answer.json()?["status"] == 410, "{path}: {answer:?}");
    }
    for path in ["/api//inspect", "//api/inspect/", "/api/topics/?prefix=echo://"] {
        ensure!(request(host.address(), "GET", path, &[]).await?.status == 200, "{path}");
    }
    // An encoded slash is part of its segment.
    ensure!(request(host.address(), "GET", "/socket%2Fwebsocket", &[]).await?.status == 404);
    ensure!(request(host.address(), "GET", "//nowhere//websocket", &[]).await?.status == 404);
    drop(alice);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_request_needs_exactly_one_valid_host() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let line = "Host: localhost\r\n";
    ensure!(upgrade(&host, line, line).await? == 101, "the unchanged request is valid");
    for bad in [
        "",
        "Host:\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a b\r\n",
        "Host: a:b\r\n",
        "Host: ada@a\r\n",
        "Host: a/b\r\n",
    ] {
        ensure!(upgrade(&host, line, bad).await? == 400, "{bad:?}");
    }
    // The same holds for all paths.
    for path in ["/socket/longpoll?vsn=2.0.0", "/api/inspect", "/"] {
        for bad in ["", "Host: a\r\nHost: b\r\n", "Host: a b\r\n"] {
            ensure!(status(&host, &format!("GET {path} HTTP/1.1\r\n{bad}\r\n")).await? == 400, "{path}, {bad:?}");
        }
    }
    ensure!(status(&host, "GET /socket/longpoll?vsn=2.0.0 HTTP/1.0\r\n\r\n").await? == 200, "HTTP/1.0 needs no host");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn invalid_upgrades_are_refused() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    for bad in [
        "",
        "x",
        "AAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAA",
        "not base64 at all!!===",
    ] {
        ensure!(upgrade(&host, key, bad).await? == 400, "{bad:?}");
    }
    let cases = [
        (key, "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400),
        ("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13", 400),
        ("Sec-WebSocket-Version: 13\r\n", "", 400),
        ("Version: 13", "Version: 8", 426),
        ("Version: 13", "Version: 14", 426),
        ("HTTP/1.1", "HTTP/1.0", 400),
        ("Host:", "Content-Length: 5\r\nHost:", 400),
        ("Host:", "Transfer-Encoding: chunked\r\nHost:", 400),
        ("Host:", "Content-Length: 0\r\nHost:", 101),
        // Line folding isn't allowed any more (RFC 9112, 5.2).
        ("Upgrade: websocket", "Upgrade:\r\n websocket", 400),
        // The tokens of these lists are case-insensitive, and there may be several such headers.
        ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: te, uPGRADE", 101),
        ("Upgrade: websocket", "Upgrade: WebSocket", 101),
        ("Upgrade: websocket", "Upgrade: h2c", 400),
    ];
    for (replaced, by, expected) in cases {
        let given = upgrade(&host, replaced, by).await?;
        ensure!(given == expected, "{by:?}: {given}");
    }
    let (_, head) = asked(&host, &format!("GET {TARGET} HTTP/1.1\r\n{UPGRADE}\r\n").replace(": 13", ": 7")).await?;
    let head = head.to_ascii_lowercase();
    ensure!(head.contains("sec-websocket-version: 13\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
    host.stop().await?;
    Ok(())
}

/// A proxy may send an absolute target. Then the host in the target counts, and not the `Host` header (RFC 9112, 3.2.2).
#[tokio::test]
async fn a_target_can_be_absolute() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let asking =
        |target: &str, origin: &str| format!("GET {target}{TARGET} HTTP/1.1\r\nOrigin: {origin}\r\n{UPGRADE}\r\n");
    for (target, origin, expected) in [
        ("http://localhost", "http://localhost", 101),
        ("http://one.example", "http://one.example", 101),
        ("http://one.example", "http://localhost", 403),
        ("HTTP://one.example:80", "https://one.example", 101),
        ("ftp://localhost", "http://localhost", 400),
        ("http://ada@localhost", "http://localhost", 400),
    ] {
        let given = status(&host, &asking(target, origin)).await?;
        ensure!(given == expected, "{target}, {origin}: {given}");
    }
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn media_types_are_case_insensitive() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.start().await?;
    for good in ["application/json", "Application/JSON", "APPLICATION/JSON; Charset=UTF-8"] {
        let headers = [("content-type", good)];
        let answer = request_with(host.address(), "POST", "/api/disconnect", &headers, br#"{"id":"nobody"}"#).await?;
        ensure!(answer.status == 200, "{good}: {answer:?}");
    }
    for good in ["application/x-ndjson", "Application/X-NDJSON", "application/x-ndjson; charset=utf-8"] {
        let opened = request(host.address(), "GET", "/socket/longpoll?vsn=2.0.0", &[]).await?.json()?;
        let path = format!("/socket/longpoll?vsn=2.0.0&token={}", opened["token"].as_str().context("a token")?);
        let batch = "[\"1\",\"1\",\"echo:1\",\"phx_join\",{}]\n[null,\"2\",\"phoenix\",\"heartbeat\",{}]";
        let headers = [("content-type", good)];
        let posted = request_with(host.address(), "POST", &path, &headers, batch.as_bytes()).await?;
        ensure!(posted.json()?["status"] == 200, "{good}: {posted:?}");
    }
    host.stop().await?;
    Ok(())
}
