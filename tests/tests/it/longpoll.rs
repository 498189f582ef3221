//! Long-poll: cases that the transcripts of Phoenix don't have.

use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Answer, JSON, Setup, TestHost, eventually, request, request_with, within};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::limit_counts::{are_counted, stop_after_hits};

/// A client that polls.
pub(crate) struct Poller<'a> {
    host: &'a TestHost,
    token: String,
}

impl<'a> Poller<'a> {
    pub(crate) async fn begin(host: &'a TestHost) -> Result<Self> {
        let answer = get(host, "/socket/longpoll?vsn=2.0.0").await?.json()?;
        ensure!(answer["status"] == 410 && answer["messages"] == json!([]), "{answer}");
        Ok(Self { host, token: answer["token"].as_str().context("a token")?.to_owned() })
    }

    fn path(&self) -> String {
        format!("/socket/longpoll?vsn=2.0.0&token={}", self.token)
    }

    pub(crate) async fn poll(&self) -> Result<Value> {
        get(self.host, &self.path()).await?.json()
    }

    pub(crate) async fn post(&self, body: &str) -> Result<Answer> {
        let batch = [("content-type", "application/x-ndjson")];
        request_with(self.host.address(), "POST", &self.path(), &batch, body.as_bytes()).await
    }

    pub(crate) async fn join(&self, topic: &str) -> Result<()> {
        let posted = self.post(&json!(["1", "1", topic, "phx_join", {}]).to_string()).await?.json()?;
        ensure!(posted == json!({ "status": 200 }), "{posted}");
        let polled = self.poll().await?;
        ensure!(polled["messages"][0].as_str().is_some_and(|text| text.contains("phx_reply")), "{polled}");
        Ok(())
    }
}

async fn get(host: &TestHost, path: &str) -> Result<Answer> {
    request(host.address(), "GET", path, &[]).await
}

fn window(ms: u64) -> Result<Setup> {
    Ok(Setup::new().guests(&["echo"])?.limit("longpoll_window_ms", ms))
}

#[tokio::test]
async fn members_of_both_transports_get_each_others_messages() -> Result<()> {
    let host = window(10_000)?.start().await?;
    let poller = Poller::begin(&host).await?;
    poller.join("echo:1").await?;
    let mut alice = host.connect().await?;
    alice.push("echo:1", "phx_join", &json!({})).await?;
    alice.json().await?;
    // A poll waits until there is a message.
    let polling = poller.poll();
    let shouting = async {
        alice.push("echo:1", "shout", &json!({ "from": "alice" })).await?;
        alice.json().await
    };
    let (polled, shouted) = tokio::join!(polling, shouting);
    let heard: Value = serde_json::from_str(polled?["messages"][0].as_str().context("a message")?)?;
    ensure!(heard == json!([null, null, "echo:1", "shout", { "from": "alice" }]) && heard == shouted?, "{heard}");
    poller.post(r#"["1","2","echo:1","shout",{"from":"poller"}]"#).await?;
    ensure!(alice.json().await?[4]["from"] == "poller", "the WebSocket client gets the poller's message");
    Ok(())
}

#[tokio::test]
async fn a_waiting_poll_ends_with_its_socket() -> Result<()> {
    let host = Setup::new().guests(&["reference", "reference-gate"])?.start().await?;
    // The disconnect may arrive before the poll. Then the session has ended, and the test tries again.
    eventually("a poll was woken", async || {
        let opened = get(&host, "/socket/longpoll?vsn=2.0.0&user_id=7").await?.json()?;
        let path =
            format!("/socket/longpoll?vsn=2.0.0&user_id=7&token={}", opened["token"].as_str().context("a token")?);
        let waiting = get(&host, &path);
        let disconnecting = request_with(host.address(), "POST", "/api/disconnect", JSON, br#"{"id":"user_socket:7"}"#);
        let (waited, disconnected) = tokio::join!(waiting, disconnecting);
        ensure!(disconnected?.json()?["sockets"].as_u64() >= Some(1), "the socket was there");
        let waited = waited?.json()?;
        if waited["status"] != 204 {
            return Ok(None);
        }
        let next = get(&host, &path).await?.json()?;
        ensure!(
            next["status"] == 410 && next["token"] != opened["token"],
            "the next poll begins a new session: {next}"
        );
        Ok(Some(()))
    })
    .await
}

/// The disconnect comes while no poll waits. The next polls get the messages from before it, and the one after them a new
/// session.
#[tokio::test]
async fn a_disconnected_client_gets_its_queued_messages_first() -> Result<()> {
    let host = Setup::new().guests(&["reference", "reference-gate"])?.start().await?;
    let post = async |path: &str, body: Value| -> Result<Answer> {
        let kind = if path.starts_with("/api") { "application/json" } else { "application/x-ndjson" };
        request_with(host.address(), "POST", path, &[("content-type", kind)], body.to_string().as_bytes()).await
    };
    let opened = get(&host, "/socket/longpoll?vsn=2.0.0&user_id=7").await?.json()?;
    let path = format!("/socket/longpoll?vsn=2.0.0&user_id=7&token={}", opened["token"].as_str().context("a token")?);
    post(&path, json!(["1", "1", "room:a/b", "phx_join", {}])).await?;
    host.shows("the client has joined", |shown| shown["channels"] == 1).await?;
    for n in 1..4 {
        post("/api/broadcast", json!({ "topic": "room:a/b", "event": "news", "payload": { "n": n } })).await?;
    }
    ensure!(post("/api/disconnect", json!({ "id": "user_socket:7" })).await?.json()? == json!({ "sockets": 1 }));
    // Its socket and its channel have ended, although the client doesn't know yet.
    host.holds(0, 0).await?;
    let mut news = Vec::new();
    let last = loop {
        let polled = get(&host, &path).await?.json()?;
        if polled["status"] != 200 {
            break polled;
        }
        for text in polled["messages"].as_array().context("messages")? {
            let message: Value = serde_json::from_str(text.as_str().context("a text")?)?;
            news.extend((message[3] == "news").then(|| message[4]["n"].clone()));
        }
    };
    ensure!(news == [1, 2, 3], "{news:?}");
    ensure!(last["status"] == 410 && last["token"] != opened["token"], "a new session begins: {last}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn the_later_of_two_polls_gets_the_messages() -> Result<()> {
    let host = window(500)?.start().await?;
    let poller = Poller::begin(&host).await?;
    poller.join("echo:1").await?;
    let first = poller.poll();
    let second = async {
        // Either poll may reach the host first. In both cases the earlier one ends at once without messages.
        let second = poller.poll();
        let echo = poller.post(r#"["1","2","echo:1","echo",{}]"#);
        let (second, echo) = tokio::join!(second, echo);
        echo?;
        second
    };
    let (first, second) = tokio::join!(first, second);
    let mut statuses = [first?["status"].clone(), second?["status"].clone()];
    statuses.sort_by_key(Value::as_u64);
    ensure!(statuses == [json!(200), json!(204)], "{statuses:?}");
    Ok(())
}

#[tokio::test]
async fn a_session_without_polls_ends() -> Result<()> {
    let host = window(100)?.start().await?;
    let poller = Poller::begin(&host).await?;
    poller.join("echo:1").await?;
    ensure!(poller.poll().await?["status"] == 204, "a poll without messages ends after the window");
    host.holds(0, 0).await?;
    ensure!(poller.post("[]").await?.json()? == json!({ "status": 410 }), "a POST doesn't keep the session");
    stop_after_hits(host, &["longpoll_window_ms"]).await
}

#[tokio::test]
async fn an_invalid_message_ends_only_its_session() -> Result<()> {
    let host = window(10_000)?.limit("frame_bytes", 200).start().await?;
    let poller = Poller::begin(&host).await?;
    let other = Poller::begin(&host).await?;
    for (body, status) in [("!", 500), (&*format!("[\"{}\"]", "x".repeat(200)), 400)] {
        ensure!(poller.post(body).await?.status == status, "{body}");
    }
    let large = "x".repeat(8_000_001);
    ensure!(poller.post(&large).await?.status == 400, "the body is too large");
    are_counted(&host, &["longpoll_body"]).await?;
    poller.join("echo:1").await?;
    ensure!(poller.post("[1,2]").await?.json()? == json!({ "status": 408 }), "the message is refused");
    ensure!(poller.poll().await?["status"] == 410, "the session has ended");
    other.join("echo:1").await?;
    Ok(())
}

#[tokio::test]
async fn a_slow_poller_is_closed() -> Result<()> {
    let host = window(10_000)?.limit("outbox_frames", 3).start().await?;
    let poller = Poller::begin(&host).await?;
    poller.join("echo:1").await?;
    for n in 0..5 {
        poller.post(&json!(["1", n.to_string(), "echo:1", "echo", {}]).to_string()).await?;
    }
    host.holds(0, 0).await?;
    ensure!(poller.poll().await?["status"] == 410, "a new session begins");
    Ok(())
}

#[tokio::test]
async fn sessions_count_as_sockets_and_end_with_the_host() -> Result<()> {
    let mut host = window(10_000)?.limit("sockets", 2).start().await?;
    let (first, second) = (Poller::begin(&host).await?, Poller::begin(&host).await?);
    ensure!(first.token.len() >= 22 && first.token != second.token, "tokens can't be guessed: {}", first.token);
    ensure!(get(&host, "/socket/longpoll?vsn=2.0.0").await?.status == 503, "there is no room for a third");
    ensure!(host.connect_request().refused().await? == 503, "there is no room for a WebSocket either");
    let path = first.path();
    let waiting = get(&host, &path);
    let stopping = async {
        host.signal(Signal::TERM)?;
        anyhow::Ok(())
    };
    let (waited, stopped) = tokio::join!(tokio::time::timeout(Duration::from_secs(10), waiting), stopping);
    stopped?;
    // The poll was ended by the stop. If it arrived later, its session had ended, or the host didn't listen any more.
    if let Ok(Ok(answer)) = waited {
        let status = answer.json()?["status"].clone();
        ensure!(status == 204 || status == 410, "{answer:?}");
    }
    ensure!(host.ended().await?.success(), "the host has ended successfully");
    Ok(())
}

/// Sends the head of a POST with a large `content-length` and only the first byte of the body. Returns the answer.
async fn posting(host: &TestHost, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(host.address()).await?;
    let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 7999999\r\n\r\n[");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = [0; 4096];
    let length = within("an answer", stream.read(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// A body is kept in memory while it arrives. So it has a time limit, and is read only for an existing session and one at a
/// time.
#[tokio::test]
async fn an_incomplete_body_has_a_time_limit() -> Result<()> {
    let host = window(10_000)?.limit("idle_ms", 300).start().await?;
    let stranger = posting(&host, "/socket/longpoll?vsn=2.0.0&token=unknown").await?;
    ensure!(stranger.starts_with("HTTP/1.1 200") && stranger.ends_with("{\"status\":410}"), "{stranger}");
    let poller = Poller::begin(&host).await?;
    let path = poller.path();
    let (first, second) = tokio::join!(posting(&host, &path), posting(&host, &path));
    for answer in [first?, second?] {
        ensure!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    poller.join("echo:1").await?;
    stop_after_hits(host, &["idle_ms"]).await
}

/// While a batch waits for room in a channel's mailbox, the client can poll its messages.
#[tokio::test]
async fn a_waiting_batch_does_not_block_polls() -> Result<()> {
    let setup = Setup::new().guests(&["echo", "naughty"])?.limit("mailbox_from_client", 1);
    let host = setup.limit("call_cpu_ms", 60_000).limit("call_wall_ms", 60_000).start().await?;
    let poller = Poller::begin(&host).await?;
    poller.join("echo:1").await?;
    poller.post(r#"["2","2","naughty:1","phx_join",{}]"#).await?;
    poller.poll().await?;
    let slow = r#"["2","3","naughty:1","slow",{"ms":3000}]"#;
    let batch = [slow; 3].join("\n");
    let hearing = async {
        let mut alice = host.connect().await?;
        alice.join("echo:1", &json!({})).await?;
        alice.push("echo:1", "shout", &json!({})).await?;
        poller.poll().await
    };
    let mut posting = pin!(poller.post(&batch));
    tokio::select! {
        posted = &mut posting => anyhow::bail!("the batch was received at once: {posted:?}"),
        heard = hearing => {
            let heard = heard?;
            ensure!(heard["messages"][0].as_str().is_some_and(|text| text.contains("shout")), "{heard}");
        }
    }
    ensure!(posting.await?.json()? == json!({ "status": 200 }), "the batch was received later");
    Ok(())
}
