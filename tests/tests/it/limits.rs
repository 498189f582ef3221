//! Exceeds every limit of sockets and queues. The configured limits are small, because the tests are about the behaviour at
//! the limit.

use anyhow::{Result, ensure};
use bennu_tests::{Received, Setup, TestClient, TestHost, check, eventually, get, within};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::limit_counts::stop_after_hits;
use crate::metrics::scrape;

pub(crate) const NAUGHTY: &str = "naughty:1";

pub(crate) async fn limited(key: &str, value: u64) -> Result<TestHost> {
    Setup::new().guests(&["naughty", "echo"])?.limit(key, value).start().await
}

#[tokio::test]
async fn frame_bytes() -> Result<()> {
    let host = limited("frame_bytes", 1000).await?;
    let mut alice = host.connect().await?;
    alice.join("echo:1", &json!({})).await?;
    let message = |bytes: usize| format!(r#"["1","2","echo:1","echo","{}"]"#, "x".repeat(bytes - 28));
    alice.send(message(1000)).await?;
    ensure!(alice.reply("echo:1", "2").await?.status == "ok");
    alice.send(message(1001)).await?;
    alice.closed_with(1009).await?;
    drop(alice);
    stop_after_hits(host, &["frame_bytes"]).await
}

#[tokio::test]
async fn channels_per_socket() -> Result<()> {
    let host = limited("channels_per_socket", 2).await?;
    check(
        &host,
        r#"
        alice > join echo:1
        alice < ok {}
        alice > join echo:2
        alice < ok {}
        alice > join echo:3
        alice < error {"reason": "too many channels joined"}
        -- A second join of a joined topic doesn't count.
        alice > ["9","9","echo:2","phx_join",{}]
        alice < ["9","9","echo:2","phx_reply",{"status":"ok","response":{}}]
        alice < ["2","2","echo:2","phx_close",{}]
        -- A leave makes room for another topic.
        alice > leave on echo:1
        alice < ok on echo:1 {}
        alice < phx_close on echo:1
        alice > join echo:3
        alice < ok {}
        -- Each socket has its own limit.
        bob   > join echo:1
        bob   < ok {}
        "#,
    )
    .await?;
    stop_after_hits(host, &["channels_per_socket"]).await
}

#[tokio::test]
async fn messages_per_second() -> Result<()> {
    let host = limited("messages_per_second", 20).await?;
    let mut alice = host.connect().await?;
    alice.join("echo:1", &json!({})).await?;
    // A message above the rate is answered with an error and not handled.
    let mut answers = Vec::new();
    while !answers.contains(&"error".to_owned()) {
        ensure!(answers.len() < 1000, "nothing was refused");
        let reply = alice.ask("echo:1", "echo", &json!({})).await?;
        if reply.status == "error" {
            ensure!(reply.response == json!({"reason": "too many messages"}), "{reply:?}");
        }
        answers.push(reply.status);
    }
    // Many messages above the rate end the connection. The test sends a hundred at once, so that the start of a new second
    // among them doesn't matter.
    for _ in 0..100 {
        if alice.push("echo:1", "echo", &json!({})).await.is_err() {
            break;
        }
    }
    let (_, code) = alice.until_closed().await?;
    ensure!(code == Some(1008), "{code:?}");
    drop(alice);
    stop_after_hits(host, &["messages_per_second"]).await
}

/// While a channel is busy and its mailbox is full, its socket isn't read. Frames are still written to it.
#[tokio::test]
async fn mailbox_from_client() -> Result<()> {
    let setup = Setup::new().guests(&["naughty", "echo"])?.limit("mailbox_from_client", 2);
    let host = setup.limit("call_cpu_ms", 10_000).limit("call_wall_ms", 10_000).start().await?;
    check(
        &host,
        r#"
        bob   > join echo:1
        bob   < ok {}
        alice > join echo:1
        alice < ok {}
        alice > join naughty:1
        alice < ok …
        alice > slow #slow {"ms": 1500}
        alice > echo #first {"n": 1}
        alice > echo #second {"n": 2}
        -- The mailbox is full here. From now on the socket isn't read, not even a heartbeat.
        alice > echo #third {"n": 3}
        alice > [null,"beat","phoenix","heartbeat",{}]
        bob   > shout {"meanwhile": true}
        bob   < shout {"meanwhile": true}
        alice < shout on echo:1 {"meanwhile": true}
        alice < ok #slow {}
        -- The next frame may answer the heartbeat or the first echo. The next test checks the order without a heartbeat.
        "#,
    )
    .await?;
    host.holds(0, 0).await?;
    stop_after_hits(host, &["mailbox_from_client"]).await
}

/// When there is room again, all unread messages are handled in their order.
#[tokio::test]
async fn a_full_mailbox_loses_no_message() -> Result<()> {
    let setup = Setup::new().guests(&["naughty"])?.limit("mailbox_from_client", 1);
    let host = setup.limit("call_cpu_ms", 10_000).limit("call_wall_ms", 10_000).start().await?;
    let mut alice = host.connect().await?;
    alice.join(NAUGHTY, &json!({})).await?;
    let slow = alice.push(NAUGHTY, "slow", &json!({"ms": 300})).await?;
    let mut asked = Vec::new();
    for _ in 0..100 {
        asked.push(alice.push(NAUGHTY, "count", &json!({})).await?);
    }
    ensure!(alice.reply(NAUGHTY, &slow).await?.status == "ok");
    for (n, asked) in asked.iter().enumerate() {
        ensure!(alice.reply(NAUGHTY, asked).await?.response == json!({ "count": n + 1 }));
    }
    alice.quiet().await?;
    drop(alice);
    host.stop().await?;
    Ok(())
}

/// The bytes of all channels of a socket count together.
#[tokio::test]
async fn mailbox_bytes_from_client() -> Result<()> {
    let setup = Setup::new().guests(&["naughty"])?.limit("mailbox_bytes_from_client", 10_000);
    let host = setup.limit("call_cpu_ms", 10_000).limit("call_wall_ms", 10_000).start().await?;
    let mut alice = host.connect().await?;
    alice.join(NAUGHTY, &json!({})).await?;
    let slow = alice.push(NAUGHTY, "slow", &json!({"ms": 700})).await?;
    let payload = json!("x".repeat(4000));
    let mut asked = Vec::new();
    for _ in 0..10 {
        asked.push(alice.push(NAUGHTY, "echo", &payload).await?);
    }
    // The host answers a heartbeat as soon as it reads it. It reads this one only after a message has left the queue.
    alice.send(r#"[null,"beat","phoenix","heartbeat",{}]"#).await?;
    ensure!(alice.reply(NAUGHTY, &slow).await?.status == "ok");
    let mut beaten = false;
    for asked in &asked {
        let mut frame = alice.json().await?;
        if frame[1] == "beat" {
            beaten = true;
            frame = alice.json().await?;
        }
        ensure!(frame[1] == **asked && frame[4]["response"] == payload);
    }
    ensure!(beaten || alice.json().await?[1] == "beat");
    drop(alice);
    stop_after_hits(host, &["mailbox_bytes_from_client"]).await
}

#[tokio::test]
async fn mailbox_bytes_from_elsewhere() -> Result<()> {
    let setup = Setup::new().guests(&["naughty"])?.limit("mailbox_bytes_from_elsewhere", 10_000);
    let host = setup.limit("call_cpu_ms", 10_000).limit("call_wall_ms", 10_000).start().await?;
    let mut alice = host.connect().await?;
    alice.join(NAUGHTY, &json!({"mood": "hand_over"})).await?;
    let mut bob = host.connect().await?;
    bob.join(NAUGHTY, &json!({"mood": "drop"})).await?;
    let slow = alice.push(NAUGHTY, "slow", &json!({"ms": 700})).await?;
    alice.quiet().await?;
    for _ in 0..3 {
        bob.call(NAUGHTY, "tell", &json!({"secret": "x".repeat(4000)})).await?;
    }
    ensure!(alice.reply(NAUGHTY, &slow).await?.status == "ok");
    for _ in 0..2 {
        ensure!(alice.json().await?[3] == "handed_over");
    }
    ensure!(alice.json().await?[3] == "phx_error");
    ensure!(bob.json().await?[4]["detail"] == "overflow");
    drop((alice, bob));
    stop_after_hits(host, &["mailbox_bytes_from_elsewhere"]).await
}

#[tokio::test]
async fn mailbox_from_elsewhere() -> Result<()> {
    let setup = Setup::new().guests(&["naughty"])?.limit("mailbox_from_elsewhere", 4);
    let host = setup.limit("call_cpu_ms", 10_000).limit("call_wall_ms", 10_000).start().await?;
    check(
        &host,
        r#"
        -- Alice's `handle_info` gets each secret. While she is busy, up to the limit of them wait.
        alice > join naughty:1 {"mood": "hand_over"}
        alice < ok …
        bob   > join naughty:1 {"mood": "drop"}
        bob   < ok …
        alice > slow {"ms": 700}
        -- The answer to a heartbeat shows that the slow call has begun.
        alice ~
        bob   > tell {"n": 1}
        bob   < ok {}
        bob   > tell {"n": 2}
        bob   < ok {}
        bob   > tell {"n": 3}
        bob   < ok {}
        bob   > tell {"n": 4}
        bob   < ok {}
        alice < ok {}
        alice < handed_over {"n": 1}
        alice < handed_over {"n": 2}
        alice < handed_over {"n": 3}
        alice < handed_over {"n": 4}

        -- With one more, her membership ends, after the messages that had room.
        alice > slow {"ms": 700}
        alice ~
        bob   > tell {"n": 5}
        bob   < ok {}
        bob   > tell {"n": 6}
        bob   < ok {}
        bob   > tell {"n": 7}
        bob   < ok {}
        bob   > tell {"n": 8}
        bob   < ok {}
        bob   > tell {"n": 9}
        bob   < ok {}
        alice < ok {}
        alice < handed_over {"n": 5}
        alice < handed_over {"n": 6}
        alice < handed_over {"n": 7}
        alice < handed_over {"n": 8}
        alice < phx_error
        bob   < gone {"member": 1, "cause": "fault", "detail": "overflow"}

        -- If the messages of one call exceed the limit, none of its effects is carried out.
        alice > join naughty:1
        alice < ok …
        alice > flood
        alice < ok {}
        alice < phx_error
        bob   < gone {"member": 3, "cause": "fault", "detail": "overflow"}
        bob   ~
        "#,
    )
    .await?;
    stop_after_hits(host, &["mailbox_from_elsewhere"]).await
}

/// While a topic waits for a decision about an intercepted event, a limited number of its frames wait behind it.
#[tokio::test]
async fn frames_that_wait_for_handle_out_are_limited() -> Result<()> {
    let setup = Setup::new().guests(&["naughty"])?.limit("outbox_frames", 5000);
    let host = setup.limit("call_cpu_ms", 10_000).start().await?;
    let mut slow = host.connect().await?;
    slow.join(NAUGHTY, &json!({"mood": "slow"})).await?;
    let mut alice = joined(&host).await?;
    let tell = alice.push(NAUGHTY, "tell", &json!({})).await?;
    // With the replies to both events, there is room for 22 more frames.
    let many = alice.push(NAUGHTY, "pushes", &json!({"count": 1000, "bytes": 1})).await?;
    alice.push(NAUGHTY, "pushes", &json!({"count": 22, "bytes": 1})).await?;
    // The earlier frames arrive in their order.
    ensure!(alice.json().await?[3] == "secret");
    ensure!(alice.reply(NAUGHTY, &tell).await?.status == "ok");
    for n in 0..1000 {
        ensure!(alice.json().await?[4]["n"] == n);
    }
    ensure!(alice.reply(NAUGHTY, &many).await?.status == "ok");
    ensure!(alice.json().await?[3] == "phx_error");
    slow.expect(&json!([null, null, NAUGHTY, "secret", {}])).await?;
    let gone = slow.json().await?;
    ensure!(gone[4]["detail"] == "overflow", "{gone}");
    drop((slow, alice));
    host.stop().await?;
    Ok(())
}

/// A call fills the outbox with its pushes and its reply. A call with many more pushes overflows it.
#[tokio::test]
async fn outbox_frames() -> Result<()> {
    let host = limited("outbox_frames", 16).await?;
    let mut alice = host.connect().await?;
    alice.join(NAUGHTY, &json!({})).await?;
    let asked = alice.push(NAUGHTY, "pushes", &json!({"count": 15, "bytes": 1})).await?;
    for _ in 0..15 {
        ensure!(alice.json().await?[3] == "one_of_many");
    }
    ensure!(alice.reply(NAUGHTY, &asked).await?.status == "ok");
    // There are so many pushes that the outbox overflows, however many are written meanwhile.
    alice.push(NAUGHTY, "pushes", &json!({"count": 1000, "bytes": 1})).await?;
    ensure!(alice.until_closed().await?.1 == Some(1013));
    drop(alice);
    stop_after_hits(host, &["outbox_frames"]).await
}

#[tokio::test]
async fn outbox_bytes() -> Result<()> {
    let host = limited("outbox_bytes", 10_000).await?;
    let mut alice = host.connect().await?;
    alice.join(NAUGHTY, &json!({})).await?;
    // An empty outbox accepts a frame of any size.
    let huge = alice.call(NAUGHTY, "huge", &json!({"bytes": 100_000})).await?;
    ensure!(huge.as_str().is_some_and(|text| text.len() == 100_000));
    // There are so many bytes that the outbox overflows, however many are written meanwhile.
    alice.push(NAUGHTY, "pushes", &json!({"count": 100, "bytes": 8000})).await?;
    ensure!(alice.until_closed().await?.1 == Some(1013));
    drop(alice);
    stop_after_hits(host, &["outbox_bytes"]).await
}

/// A client that doesn't read doesn't affect the others, and is closed when its outbox is full.
#[tokio::test]
async fn a_client_that_does_not_read_is_closed() -> Result<()> {
    let host = limited("outbox_bytes", 256 << 10).await?;
    let mut sloth = host.connect_request().receive_buffer(16 << 10).connect().await?;
    sloth.join("echo:1", &json!({})).await?;
    let mut bob = host.connect().await?;
    bob.join("echo:1", &json!({})).await?;
    let news = json!({"news": "x".repeat(64 << 10)});
    let members = |shown: &Value| shown["topics"][0]["members"].as_u64();
    let mut sent = 0;
    while members(&host.inspect().await?) == Some(2) {
        bob.push("echo:1", "shout", &news).await?;
        bob.expect(&json!([null, null, "echo:1", "shout", news])).await?;
        sent += 1;
        ensure!(sent < 1000, "64 MB wait for a client that doesn't read");
    }
    let (frames, code) = sloth.until_closed().await?;
    ensure!(code == Some(1013), "{code:?} after {} frames", frames.len());
    let shout = Received::Json(json!([null, null, "echo:1", "shout", news]));
    ensure!(frames.len() < sent && frames.iter().all(|frame| *frame == shout));
    bob.quiet().await?;
    drop((sloth, bob));
    // A quarter of the outbox was full, and so the producers of frames waited for the reactors.
    let scrape = scrape(&host).await?;
    let bytes = scrape.sum("bennu_outbox_bytes_max", &[]);
    ensure!((f64::from(64 << 10)..=f64::from(256 << 10)).contains(&bytes), "{bytes}");
    let frames = scrape.sum("bennu_queue_length_max", &[("queue", "outbox")]);
    ensure!((1.0..=4.0).contains(&frames), "{frames} frames of 64 KiB");
    ensure!(scrape.sum("bennu_backpressure_seconds_total", &[]) > 0.0);
    ensure!(scrape.sum("bennu_connections_closed_total", &[("reason", "outbox_full")]) == 1.0);
    stop_after_hits(host, &["outbox_bytes", "backpressure"]).await
}

/// A client is closed if nothing can be written to it for the idle timeout, even if its outbox isn't full.
#[tokio::test]
async fn a_client_that_takes_no_bytes_is_closed_after_the_idle_timeout() -> Result<()> {
    let setup = Setup::new().guests(&["echo"])?.limit("outbox_bytes", 1 << 30).limit("outbox_frames", 1 << 20);
    let host = setup.limit("idle_ms", 2000).start().await?;
    let mut sloth = host.connect_request().receive_buffer(16 << 10).connect().await?;
    sloth.join("echo:1", &json!({})).await?;
    let mut bob = host.connect().await?;
    bob.join("echo:1", &json!({})).await?;
    let news = json!({"news": "x".repeat(512 << 10)});
    for _ in 0..20 {
        bob.push("echo:1", "shout", &news).await?;
        bob.expect(&json!([null, null, "echo:1", "shout", news])).await?;
    }
    let is_alone = |shown: &Value| shown["topics"][0]["members"] == 1;
    eventually("the client that doesn't read was closed", async || {
        bob.quiet().await?;
        Ok(is_alone(&host.inspect().await?).then_some(()))
    })
    .await?;
    let (_, code) = sloth.until_closed().await?;
    ensure!(code == Some(1013), "{code:?}");
    drop((sloth, bob));
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn sockets() -> Result<()> {
    let host = limited("sockets", 2).await?;
    let (alice, bob) = (host.connect().await?, host.connect().await?);
    ensure!(host.connect_request().refused().await? == 503);
    // Requests that aren't for a socket are still served.
    ensure!(get(host.address(), "/api/inspect").await?.status == 200);
    alice.close().await?;
    host.holds(1, 0).await?;
    let mut carol = host.connect().await?;
    carol.quiet().await?;
    drop(bob);
    drop(carol);
    stop_after_hits(host, &["sockets"]).await
}

/// Connections that send nothing don't use up the sockets: the host allows 32 more connections than sockets. The next
/// connection is closed at once.
#[tokio::test]
async fn connections() -> Result<()> {
    let host = limited("sockets", 2).await?;
    let mut silent = Vec::new();
    for _ in 0..34 {
        silent.push(TcpStream::connect(host.address()).await?);
    }
    let mut one_more = TcpStream::connect(host.address()).await?;
    let read = within("the end of the connection", one_more.read(&mut [0; 1])).await?;
    ensure!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    drop(silent);
    let connected = async || Ok(host.connect().await.ok());
    eventually("there is room again", connected).await?.quiet().await?;
    stop_after_hits(host, &["connections"]).await
}

/// The idle timeout counts from the client's last frame. Frames to the client don't count.
#[tokio::test]
async fn idle_ms() -> Result<()> {
    let host = limited("idle_ms", 2_000).await?;
    let mut silent = host.connect().await?;
    silent.join("echo:1", &json!({})).await?;
    let mut pinging = host.connect().await?;
    let closed = tokio::spawn(async move { silent.until_closed().await });
    let mut bob = host.connect().await?;
    bob.join("echo:1", &json!({})).await?;
    while !closed.is_finished() {
        pinging.ping().await?;
        bob.push("echo:1", "shout", &json!({})).await?;
        bob.expect(&json!([null, null, "echo:1", "shout", {}])).await?;
    }
    let (frames, code) = closed.await??;
    ensure!(code == Some(1002) && !frames.is_empty(), "{code:?} after {} frames", frames.len());
    pinging.quiet().await?;
    bob.quiet().await?;
    drop((pinging, bob));
    stop_after_hits(host, &["idle_ms"]).await
}

pub(crate) async fn joined(host: &TestHost) -> Result<TestClient> {
    let mut client = host.connect().await?;
    client.join(NAUGHTY, &json!({})).await?;
    Ok(client)
}
