//! `GET /api/events`: the events of topics, as server-sent events over real HTTP.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Cast, Setup, TestHost, request, within};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::limit_counts::{are_counted, stop_after_hits};

/// An event of a stream.
#[derive(Debug)]
struct Event {
    kind: String,
    id: String,
    data: Value,
}

/// A client of a stream. It speaks HTTP/1.0, so that the body has no chunks.
struct Stream(BufReader<TcpStream>);

impl Stream {
    async fn open(host: &TestHost, topics: &[&str], last: Option<&str>) -> Result<Self> {
        let query =
            topics.iter().map(|topic| format!("topic={}", topic.replace(':', "%3A"))).collect::<Vec<_>>().join("&");
        let key = host.api_key()?;
        let last = last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let mut stream = TcpStream::connect(host.address()).await?;
        let head = format!("GET /api/events?{query} HTTP/1.0\r\nhost: a\r\nauthorization: Bearer {key}\r\n{last}\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut stream = Self(BufReader::new(stream));
        let head = stream.lines().await?;
        ensure!(head[0].contains(" 200 "), "{head:?}");
        ensure!(head.iter().any(|line| line.eq_ignore_ascii_case("content-type: text/event-stream")), "{head:?}");
        Ok(stream)
    }

    /// The lines until the next empty one.
    async fn lines(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = within("a line of the stream", self.0.read_line(&mut line)).await??;
            ensure!(read > 0, "the stream has ended after {lines:?}");
            match line.trim_end() {
                "" => return Ok(lines),
                line => lines.push(line.to_owned()),
            }
        }
    }

    /// The next event that isn't a comment.
    async fn next(&mut self) -> Result<Event> {
        loop {
            let lines = self.lines().await?;
            let field = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            let Some(kind) = field("event: ") else { continue };
            let data = serde_json::from_str(&field("data: ").context("data")?)?;
            return Ok(Event { kind, id: field("id: ").context("an id")?, data });
        }
    }

    /// Takes the next event, which must be of this kind.
    async fn takes(&mut self, kind: &str) -> Result<Event> {
        let event = self.next().await?;
        ensure!(event.kind == kind, "{event:?} instead of {kind}");
        Ok(event)
    }
}

async fn broadcast(host: &TestHost, topic: &str, event: &str, payload: Value) -> Result<()> {
    let body = json!({ "topic": topic, "event": event, "payload": payload });
    let answer = host.post("/api/broadcast", &body).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_stream_has_broadcasts_members_and_presences_and_goes_on_after_its_last_event() -> Result<()> {
    let host = TestHost::start(&["chat", "echo"]).await?;
    let mut stream = Stream::open(&host, &["room:*", "echo:1"], None).await?;
    let start = stream.takes("start").await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join room:lobby {\"user\": \"alice\"}\nalice < ok …").await?;
    let joined = stream.takes("join").await?;
    ensure!(joined.data["topic"] == "room:lobby" && joined.data["member"].is_u64(), "{joined:?}");
    let presence = stream.takes("presence").await?;
    ensure!(presence.data["payload"]["joins"]["alice"].is_object(), "{presence:?}");
    // A topic that isn't watched, and one without members.
    broadcast(&host, "echo:2", "unseen", json!({})).await?;
    broadcast(&host, "echo:1", "seen", json!({ "n": [1, "\n"] })).await?;
    let seen = stream.takes("broadcast").await?;
    ensure!(seen.data == json!({ "topic": "echo:1", "event": "seen", "payload": { "n": [1, "\n"] } }), "{seen:?}");

    drop(stream);
    broadcast(&host, "room:lobby", "while away", json!({})).await?;
    drop(cast);
    let mut again = Stream::open(&host, &["echo:1", "room:*"], Some(&seen.id)).await?;
    again.takes("start").await?;
    let away = again.takes("broadcast").await?;
    ensure!(away.data["event"] == "while away", "{away:?}");
    let left = again.takes("leave").await?;
    ensure!(left.data["member"] == joined.data["member"], "{left:?}");

    // From the start again: everything is still there. Another log's id, and topics that nobody watched, are missed.
    let mut all = Stream::open(&host, &["room:*"], Some(&start.id)).await?;
    all.takes("start").await?;
    ensure!(all.takes("join").await?.data == joined.data);
    for (topics, id) in [(&["room:*"][..], "00000000000000aa-1"), (&["room:*"], "nonsense"), (&["echo:2"], &seen.id)] {
        let mut missed = Stream::open(&host, topics, Some(id)).await?;
        missed.takes("missed").await?;
        broadcast(&host, "room:1", "on", json!({})).await?;
        broadcast(&host, "echo:2", "on", json!({})).await?;
        ensure!(missed.takes("broadcast").await?.data["event"] == "on", "the stream goes on with what comes now");
    }
    host.stop().await?;
    Ok(())
}

/// A stream has bytes, and broadcasts as they were made: members may get something else by `handle_out`.
#[tokio::test]
async fn a_stream_has_bytes_and_what_was_broadcast_before_handle_out() -> Result<()> {
    const SCRIPT: &str = r#"import { channel, plugin } from "bennu";
export default plugin({ "said:*": channel({
  on: { say: ({ text }, socket) => void socket.broadcast("said", { text }) },
  intercept: { said: ({ text }) => ({ text: text.toUpperCase() }) },
}) });
"#;
    let host = Setup::new().file("plugins/said.ts", SCRIPT.into()).start().await?;
    let mut stream = Stream::open(&host, &["said:1"], None).await?;
    stream.takes("start").await?;
    let mut cast = Cast::new(&host);
    cast.play("bob > join said:1\nbob < ok …\nbob > say {\"text\": \"hi\"}\nbob < said {\"text\": \"HI\"}").await?;
    stream.takes("join").await?;
    let said = stream.takes("broadcast").await?;
    ensure!(said.data == json!({ "topic": "said:1", "event": "said", "payload": { "text": "hi" } }), "{said:?}");
    let bytes = json!({ "topic": "said:1", "event": "bytes", "payload_base64": "AAH/" });
    let answer = host.post("/api/broadcast", &bytes).await?;
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(stream.takes("broadcast").await?.data == bytes);
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_slow_reader_is_told_that_it_has_missed_events_and_costs_others_nothing() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let mut slow = Stream::open(&host, &["echo:1"], None).await?;
    let mut fast = Stream::open(&host, &["echo:*"], None).await?;
    slow.takes("start").await?;
    fast.takes("start").await?;
    let long = "x".repeat(500_000);
    for n in 0..80 {
        broadcast(&host, "echo:1", "long", json!({ "n": n, "text": long })).await?;
        ensure!(fast.takes("broadcast").await?.data["payload"]["n"] == n);
    }
    let (mut missed, mut last) = (0, json!(-1));
    while last != 79 {
        let event = slow.next().await?;
        match &*event.kind {
            "missed" => missed += 1,
            _ => last = event.data["payload"]["n"].clone(),
        }
    }
    ensure!(missed > 0, "40 MB were kept for a slow reader");
    let inspected = host.inspect().await?;
    ensure!(inspected["history"]["topics"] == 0, "streams make no history for clients");
    stop_after_hits(host, &["events_kept"]).await
}

#[tokio::test]
async fn a_stream_needs_the_key_and_topics_and_ends_with_the_host() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    for (headers, path, status) in [
        (&[("authorization", "Bearer wrong")][..], "/api/events?topic=a", 401),
        (&[("authorization", "")], "/api/events?topic=a&key=x", 401),
        (&[], "/api/events", 400),
        (&[], "/api/events?topic=a*b", 400),
        (&[], "/api/events?topic=a&after=1", 400),
    ] {
        let answer = request(host.address(), "GET", path, headers).await?;
        ensure!(answer.status == status && answer.json()?["error"]["code"].is_string(), "{path}: {answer:?}");
    }
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut stream = Stream::open(&host, &["echo:1"], None).await?;
        stream.takes("start").await?;
        streams.push(stream);
    }
    let answer = request(host.address(), "GET", "/api/events?topic=a", &[]).await?;
    ensure!(answer.status == 503, "{answer:?}");
    are_counted(&host, &["event_streams"]).await?;
    let mut last = streams.pop().context("a stream")?;
    drop(streams);
    host.stop().await?;
    let mut rest = String::new();
    tokio::time::timeout(Duration::from_secs(10), last.0.read_to_string(&mut rest)).await??;
    ensure!(rest.is_empty(), "{rest}");
    Ok(())
}
