//! Invalid input from clients. The host answers as Phoenix does, or with a clear error if Phoenix has none. Other clients
//! aren't affected, and no state remains.

use anyhow::{Context, Result, ensure};
use bennu_test_tiers::Noise;
use bennu_tests::{Received, Setup, TestClient, TestHost, check, request};
use serde_json::{Value, json};

use crate::limit_counts::are_counted;

/// Ends a test: a neighbour that was connected all the time still works, and after its end no socket or channel remains.
async fn nothing_is_left(host: TestHost, mut neighbour: TestClient) -> Result<()> {
    ensure!(neighbour.call("echo:1", "count", &json!({})).await?["count"] == 1);
    neighbour.quiet().await?;
    neighbour.close().await?;
    host.holds(0, 0).await?;
    ensure!(host.inspect().await?["faults"] == 0);
    host.stop().await?;
    Ok(())
}

async fn neighbour(host: &TestHost) -> Result<TestClient> {
    let mut neighbour = host.connect().await?;
    neighbour.join("echo:1", &json!({})).await?;
    Ok(neighbour)
}

async fn joined(host: &TestHost) -> Result<TestClient> {
    let mut client = host.connect().await?;
    client.join("echo:2", &json!({})).await?;
    Ok(client)
}

#[tokio::test]
async fn text_that_is_not_a_message_ends_the_socket() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let neighbour = neighbour(&host).await?;
    let texts = [
        "",
        "not json",
        "null",
        "7",
        "{}",
        r#"{"topic":"echo:2","event":"echo","payload":{},"ref":"1"}"#,
        "[]",
        r#"["1","1","echo:2","echo"]"#,
        r#"["1","1","echo:2","echo",{}"#,
        r#"["1","1","echo:2","echo",{}]]"#,
        r#"["1","1","echo:2","echo",{}] more"#,
        r#"["1","1","echo:2","echo",{"a":}]"#,
        r#"["1","1","echo:2","echo",{"a":1,}]"#,
        r#"["1","1","echo:2","echo",01]"#,
        "[\"1\",\"1\",\"echo:2\",\"echo\",\"\u{1}\"]",
    ];
    for text in texts {
        let mut client = joined(&host).await?;
        client.send(text).await?;
        client.closed_with(1011).await.with_context(|| format!("after {text:?}"))?;
    }
    nothing_is_left(host, neighbour).await
}

/// A payload is passed on unchanged, however deeply it is nested.
#[tokio::test]
async fn deeply_nested_json_is_passed_on() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let neighbour = neighbour(&host).await?;
    let depth = 100_000;
    let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let mut client = joined(&host).await?;
    client.send(format!(r#"["1","9","echo:2","echo",{nested}]"#)).await?;
    let echoed = format!(r#"["1","9","echo:2","phx_reply",{{"response":{nested},"status":"ok"}}]"#);
    let received = client.next().await?;
    ensure!(received == Received::Text(echoed), "{received}");
    drop(client);
    nothing_is_left(host, neighbour).await
}

#[tokio::test]
async fn binary_frames_that_are_not_a_push_end_the_socket() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let neighbour = neighbour(&host).await?;
    let frames: [&[u8]; 7] = [
        b"",
        b"\0",
        b"\0\x01\x01\x06",
        // The lengths are larger than the frame.
        b"\0\x01\x01\x06\x0411echo:2ech",
        b"\0\xff\xff\xff\xff1",
        // Only the host may send replies and broadcasts.
        b"\x01\x01\x01\x06\x0411echo:2echo",
        // A topic that isn't UTF-8.
        b"\0\x01\x01\x06\x0411ech\xff:2echo",
    ];
    for frame in frames {
        let mut client = joined(&host).await?;
        client.send_binary(frame).await?;
        client.closed_with(1011).await.with_context(|| format!("after {frame:?}"))?;
    }
    nothing_is_left(host, neighbour).await
}

#[tokio::test]
async fn incomplete_messages_of_version_1_end_the_socket() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let neighbour = neighbour(&host).await?;
    let texts = [
        r#"["1","1","echo:2","echo",{}]"#,
        r#"{"topic":"echo:2","event":"echo","payload":{}}"#,
        r#"{"topic":"echo:2","event":"echo","ref":"1"}"#,
        r#"{"topic":"echo:2","payload":{},"ref":"1"}"#,
        r#"{"event":"echo","payload":{},"ref":"1"}"#,
    ];
    for text in texts {
        let mut client = host.connect_request().query("vsn=1.0.0").connect().await?;
        client.send(text).await?;
        client.closed_with(1011).await.with_context(|| format!("after {text}"))?;
    }
    nothing_is_left(host, neighbour).await
}

#[tokio::test]
async fn invalid_utf_8_ends_the_socket() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let neighbour = neighbour(&host).await?;
    let mut whole = joined(&host).await?;
    whole.send_piece(&b"[\"1\",\"1\",\"echo:2\",\"echo\",\"\xff\"]"[..], true, true).await?;
    whole.closed_with(1007).await?;
    let mut in_pieces = joined(&host).await?;
    in_pieces.send_piece(&b"[\"1\",\"1\",\"echo:2\",\"echo\",\"\xc3"[..], true, false).await?;
    in_pieces.send_piece(&b"(\"]"[..], false, true).await?;
    in_pieces.closed_with(1007).await?;
    nothing_is_left(host, neighbour).await
}

#[tokio::test]
async fn broken_framing_ends_the_socket() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let neighbour = neighbour(&host).await?;
    let mut reserved = joined(&host).await?;
    reserved.send_reserved().await?;
    reserved.closed_with(1002).await?;
    // A continuation frame without a beginning.
    let mut piece = joined(&host).await?;
    piece.send_piece(&b"{}"[..], false, true).await?;
    piece.closed_with(1002).await?;
    // A connection that breaks within a message.
    let mut cut = joined(&host).await?;
    cut.send_piece(&b"[\"1\",\"1\""[..], true, false).await?;
    drop(cut);
    nothing_is_left(host, neighbour).await
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_the_socket() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let neighbour = neighbour(&host).await?;
    let message = |bytes: usize| {
        let empty = r#"["1","9","echo:2","echo",""]"#.len();
        format!(r#"["1","9","echo:2","echo","{}"]"#, "x".repeat(bytes - empty))
    };
    let mut client = joined(&host).await?;
    client.send(message(1 << 20)).await?;
    ensure!(client.json().await?[1] == "9");
    client.send(message((1 << 20) + 1)).await?;
    client.closed_with(1009).await?;
    nothing_is_left(host, neighbour).await
}

#[tokio::test]
async fn a_fragmented_message_over_the_limit_ends_the_socket() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.limit("frame_bytes", 10_000).start().await?;
    let neighbour = neighbour(&host).await?;
    let mut large = joined(&host).await?;
    large.send_piece(vec![b' '; 1000], true, false).await?;
    for _ in 1..=10 {
        large.send_piece(vec![b' '; 1000], false, false).await?;
    }
    large.closed_with(1009).await?;
    nothing_is_left(host, neighbour).await
}

/// A client whose small message stays incomplete is closed after the idle timeout, like any silent client.
#[tokio::test]
async fn an_incomplete_message_does_not_stop_the_idle_timeout() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.limit("idle_ms", 2_000).start().await?;
    let mut small = joined(&host).await?;
    small.send_piece(&b"["[..], true, false).await?;
    let mut neighbour = neighbour(&host).await?;
    let closed = tokio::spawn(async move { small.closed_with(1002).await });
    while !closed.is_finished() {
        neighbour.quiet().await?;
    }
    closed.await??;
    nothing_is_left(host, neighbour).await
}

#[tokio::test]
async fn topics_that_are_not_joined_are_unmatched() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let neighbour = neighbour(&host).await?;
    check(
        &host,
        r#"
        -- No plugin serves the topic.
        alice > ["1","1","nowhere","phx_join",{}]
        alice < [null,"1","nowhere","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        -- A plugin serves the topic, but it isn't joined.
        alice > ["1","2","echo:2","echo",{}]
        alice < [null,"2","echo:2","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        -- No plugin serves the empty topic.
        alice > ["1","3","","phx_join",{}]
        alice < [null,"3","","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        alice > ["1","4","","echo",{}]
        alice < [null,"4","","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        -- A topic that isn't a string is unmatched too, and the answer repeats it.
        alice > ["1","5",5,"phx_join",{}]
        alice < [null,"5",5,"phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        alice > ["1","6",{"a":[]},"echo",{}]
        alice < [null,"6",{"a":[]},"phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        alice > ["1","6",5,"phx_leave",{}]
        alice < ["1","6",5,"phx_reply",{"status":"ok","response":{}}]
        alice > [null,null,null,null,null]
        alice < [null,null,null,"phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        -- Without the colon before the star it is another topic. The part for the star may be empty.
        alice > ["1","7","echo","phx_join",{}]
        alice < [null,"7","echo","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        alice > ["1","8","echo:","phx_join",{}]
        alice < ["1","8","echo:","phx_reply",{"status":"ok","response":{}}]
        alice ~
        "#,
    )
    .await?;
    nothing_is_left(host, neighbour).await
}

#[tokio::test]
async fn names_with_escapes_are_read_and_written() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let neighbour = neighbour(&host).await?;
    check(
        &host,
        r#"
        alice > ["1","1","echo:\u0061\"\\\n\ud83d\ude00","phx_join",{}]
        alice < ["1","1","echo:a\"\\\n😀","phx_reply",{"status":"ok","response":{}}]
        alice > ["\ud83d","2","echo:a\"\\\n😀","echo",{}]
        alice ~
        alice > ["1","3","echo:a\"\\\n😀","shout",{"a":"\u0000</script>"}]
        alice < [null,null,"echo:a\"\\\n😀","shout",{"a":"\u0000</script>"}]
        "#,
    )
    .await?;
    nothing_is_left(host, neighbour).await
}

#[tokio::test]
async fn names_over_255_bytes_are_refused() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let neighbour = neighbour(&host).await?;
    let mut alice = host.connect().await?;
    let topic = |bytes: usize| format!("echo:{}", "x".repeat(bytes - 5));
    let refused = |what: &str| json!({ "reason": format!("the {what} is longer than 255 bytes") });
    for bytes in [256, 300] {
        let reply = alice.ask(&topic(bytes), "phx_join", &json!({})).await?;
        ensure!(reply.status == "error" && reply.response == refused("topic"), "{reply:?}");
    }
    alice.join(&topic(255), &json!({})).await?;
    let reply = alice.ask(&topic(255), &"e".repeat(300), &json!({})).await?;
    ensure!(reply.status == "error" && reply.response == refused("event"), "{reply:?}");
    // Long refs are refused too, because every frame of a channel repeats them. The answer has null instead.
    let (long, response) = ("r".repeat(254), json!({"reason": "a ref is longer than 255 bytes"}));
    let refused = json!({"status": "error", "response": response});
    alice.send(json!([long, "7", "echo:1", "phx_join", {}]).to_string()).await?;
    alice.expect(&json!([null, "7", "echo:1", "phx_reply", refused])).await?;
    alice.send(json!(["7", long, "echo:1", "phx_join", {}]).to_string()).await?;
    alice.expect(&json!(["7", null, "echo:1", "phx_reply", refused])).await?;
    // An event name of 255 bytes reaches the plugin, which doesn't know the event.
    let reply = alice.ask(&topic(255), &"e".repeat(255), &json!({})).await?;
    ensure!(reply.response["reason"].as_str().is_some_and(|why| why.starts_with("unknown event")), "{reply:?}");
    drop(alice);
    are_counted(&host, &["name_bytes"]).await?;
    nothing_is_left(host, neighbour).await
}

#[tokio::test]
async fn the_101st_channel_of_a_socket_is_refused() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let neighbour = neighbour(&host).await?;
    let mut alice = host.connect().await?;
    for n in 0..100 {
        alice.join(&format!("echo:many:{n}"), &json!({})).await?;
    }
    let reply = alice.ask("echo:many:100", "phx_join", &json!({})).await?;
    ensure!(reply.status == "error" && reply.response == json!({"reason": "too many channels joined"}), "{reply:?}");
    ensure!(host.inspect().await?["channels"] == 101);
    alice.close().await?;
    nothing_is_left(host, neighbour).await
}

#[tokio::test]
async fn unsupported_versions_are_refused() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let neighbour = neighbour(&host).await?;
    for query in ["vsn=3.0.0", "vsn=2.1.0", "vsn=1.1.0", "vsn=2", "vsn=abc", "vsn=", "vsn[]=2.0.0"] {
        let status = host.connect_request().query(query).refused().await.with_context(|| query.to_owned())?;
        ensure!(status == 403, "{query}: {status}");
    }
    for query in ["", "vsn=1.0.0", "vsn=1.0.7", "vsn=2.0.0", "vsn=2.0.9", "a=1&vsn=2.0.0&"] {
        host.connect_request().query(query).connect().await.with_context(|| query.to_owned())?.close().await?;
    }
    nothing_is_left(host, neighbour).await
}

/// The host checks a request in the same order as Phoenix: method, version, upgrade.
#[tokio::test]
async fn requests_that_are_not_an_upgrade_are_refused() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let neighbour = neighbour(&host).await?;
    let (good, bad) = ("/socket/websocket?vsn=2.0.0", "/socket/websocket?vsn=3.0.0");
    let upgrade = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let old: Vec<_> = upgrade.map(|(name, value)| (name, if value == "13" { "8" } else { value })).into();
    let long = "x".repeat(200_000);
    let long = [("x-long", long.as_str())];
    let cases = [
        ("POST", bad, &[][..], 400),
        ("GET", bad, &[], 403),
        ("GET", good, &[], 400),
        ("GET", good, &upgrade[..1], 400),
        ("GET", good, &upgrade[1..], 400),
        ("GET", good, &old, 426),
        ("GET", "/nowhere", &[], 404),
        ("GET", good, &long, 431),
        ("GET", good, &upgrade, 101),
    ];
    for (method, path, headers, status) in cases {
        let answer = request(host.address(), method, path, headers).await?;
        ensure!(answer.status == status, "{method} {path} {headers:.100?}: {answer:?}");
    }
    are_counted(&host, &["request_head"]).await?;
    nothing_is_left(host, neighbour).await
}

/// Clients that send random frames of all kinds, from a fixed seed.
#[tokio::test]
async fn random_frames_do_not_affect_other_clients() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let neighbour = neighbour(&host).await?;
    let mut noise = Noise::new(7);
    for _ in 0..200 {
        let mut client = joined(&host).await?;
        for _ in 0..noise.below(10) {
            let sent = match noise.below(3) {
                0 => client.send_binary(binary(&mut noise)).await,
                1 => client.send(message(&mut noise)).await,
                _ => client.send(String::from_utf8_lossy(&binary(&mut noise))).await,
            };
            if sent.is_err() {
                break;
            }
        }
    }
    nothing_is_left(host, neighbour).await
}

/// A damaged or an unusual binary frame.
fn binary(noise: &mut Noise) -> Vec<u8> {
    // The first byte is the kind of a binary frame. It is often 0, so that some frames are pushes.
    let mut bytes = vec![u8::from(noise.below(2) == 0)];
    bytes.extend((0..noise.below(40)).map(|_| noise.below(8).to_le_bytes()[0]));
    bytes
}

fn value(noise: &mut Noise) -> Value {
    match noise.below(6) {
        0 => json!(null),
        1 => json!(noise.below(3)),
        2 => json!(["1", "2", "echo:2", "echo"][noise.below(4)]),
        3 => json!("echo:2"),
        4 => json!({"a": noise.below(2)}),
        _ => json!(["phx_join", "phx_leave", "shout"][noise.below(3)]),
    }
}

fn message(noise: &mut Noise) -> String {
    let values: Vec<Value> = (0..noise.below(3) + 4).map(|_| value(noise)).collect();
    Value::Array(values).to_string()
}
