//! Droppable messages to real clients that read slowly.

use anyhow::{Context, Result, ensure};
use bennu_tests::{Setup, TestClient, TestHost, bennu};
use serde_json::{Value, json};

use crate::limit_counts::stop_after_hits;
use crate::longpoll::Poller;

const BOARD: &str = "naughty:1";

/// The bytes of a large message.
const LARGE: usize = 16 << 10;

/// The cursors of a round.
const ROUND: u64 = 20;

/// The counts of droppable messages: sent, replaced, dropped.
async fn counts(host: &TestHost) -> Result<(u64, u64, u64)> {
    let shown = host.inspect().await?;
    let count = |name: &str| shown["droppable"][name].as_u64().context("a count");
    Ok((count("sent")?, count("replaced")?, count("dropped")?))
}

/// The key of a cursor: there are two, in turn.
fn key(n: u64) -> &'static str {
    if n.is_multiple_of(2) { "ada" } else { "bob" }
}

/// Sends events to everyone except itself, and counts them.
struct Painter {
    client: TestClient,
    cursors: u64,
    marks: u64,
}

impl Painter {
    async fn join(host: &TestHost) -> Result<Self> {
        let mut client = host.connect().await?;
        client.join(BOARD, &json!({})).await?;
        Ok(Self { client, cursors: 0, marks: 0 })
    }

    /// Moves a cursor: a large droppable message.
    async fn cursor(&mut self) -> Result<()> {
        self.cursors += 1;
        let (n, key) = (self.cursors, key(self.cursors));
        let payload = json!({ "n": n, "filler": "x".repeat(LARGE) });
        let asked = json!({ "key": key, "event": "cursor", "payload": payload });
        self.client.call(BOARD, "broadcast_from_droppable", &asked).await.map(drop)
    }

    /// Sends a message that must arrive.
    async fn mark(&mut self, bytes: usize) -> Result<()> {
        self.marks += 1;
        let payload = json!({ "n": self.marks, "filler": "x".repeat(bytes) });
        self.client.call(BOARD, "broadcast_from", &json!({ "event": "mark", "payload": payload })).await.map(drop)
    }

    /// Moves cursors until all of a round are replaced for a client that doesn't read. The buffers of the operating system
    /// are full then, so the outbox of that client isn't written.
    async fn fill(&mut self, host: &TestHost) -> Result<()> {
        let began = self.cursors;
        loop {
            let (_, before, _) = counts(host).await?;
            for _ in 0..ROUND {
                self.cursor().await?;
            }
            if counts(host).await?.1 == before + ROUND {
                return Ok(());
            }
            ensure!(self.cursors < began + 4096, "64 MB wait for a client that doesn't read");
        }
    }
}

/// Reads everything that was sent, up to the reply to a message of its own. Returns the marks and the cursors.
async fn read_all(reader: &mut TestClient) -> Result<(Vec<u64>, Vec<u64>)> {
    let asked = reader.push(BOARD, "echo", &json!({})).await?;
    let (mut marks, mut cursors) = (Vec::new(), Vec::new());
    loop {
        let frame = reader.json().await?;
        let n = frame[4]["n"].as_u64().unwrap_or_default();
        match frame[3].as_str() {
            Some("mark") => marks.push(n),
            Some("cursor") => cursors.push(n),
            _ => {
                ensure!(frame[1] == *asked, "{frame}");
                return Ok((marks, cursors));
            }
        }
    }
}

/// A client that doesn't read gets the latest cursor of each key, and every other message in order. It isn't closed,
/// although much more is sent than its outbox can hold.
#[tokio::test]
async fn a_slow_client_gets_the_latest_cursors_and_every_other_message() -> Result<()> {
    let host = Setup::new().guests(&["naughty"])?.limit("outbox_bytes", 256 << 10).start().await?;
    let mut sloth = host.connect_request().receive_buffer(16 << 10).connect().await?;
    sloth.join(BOARD, &json!({})).await?;
    let mut painter = Painter::join(&host).await?;
    painter.fill(&host).await?;
    for _ in 0..40 {
        painter.cursor().await?;
        painter.mark(1).await?;
    }
    let (sent, replaced, dropped) = counts(&host).await?;
    ensure!(sent == painter.cursors && replaced >= 40 && dropped == 0, "{sent} {replaced} {dropped}");
    let (marks, cursors) = read_all(&mut sloth).await?;
    ensure!(marks == (1..=40).collect::<Vec<_>>(), "{marks:?}");
    ensure!(cursors.len() as u64 == sent - replaced, "{} of {sent} cursors, {replaced} replaced", cursors.len());
    for name in ["ada", "bob"] {
        let own: Vec<u64> = cursors.iter().copied().filter(|n| key(*n) == name).collect();
        ensure!(own.is_sorted() && own.last() >= Some(&(painter.cursors - 1)), "{name}: {own:?}");
    }

    // Other messages that use more than a quarter of the outbox displace the cursors.
    painter.fill(&host).await?;
    for _ in 0..10 {
        painter.mark(LARGE).await?;
    }
    let (.., displaced) = counts(&host).await?;
    ensure!(displaced == 2, "{displaced} dropped");
    for _ in 0..5 {
        painter.cursor().await?;
    }
    let (sent, replaced, dropped) = counts(&host).await?;
    ensure!(sent == painter.cursors && dropped == displaced + 5, "{sent} sent, {dropped} dropped");
    let (marks, more) = read_all(&mut sloth).await?;
    ensure!(marks == (41..=50).collect::<Vec<_>>(), "{marks:?}");
    let read = (cursors.len() + more.len()) as u64;
    ensure!(read == sent - replaced - dropped, "{read} of {sent} cursors, {replaced} replaced, {dropped} dropped");
    // It is a usual member again.
    painter.cursor().await?;
    ensure!(sloth.json().await?[4]["n"] == painter.cursors, "the next cursor arrives");
    drop((sloth, painter));
    stop_after_hits(host, &["outbox_for_droppables"]).await
}

/// Returns the messages of one poll: event and payload.
async fn poll(poller: &Poller<'_>) -> Result<Vec<(String, Value)>> {
    let polled = poller.poll().await?;
    let mut messages = Vec::new();
    for text in polled["messages"].as_array().context("messages")? {
        let mut frame: Value = serde_json::from_str(text.as_str().context("text")?)?;
        messages.push((frame[3].as_str().context("an event")?.to_owned(), frame[4].take()));
    }
    Ok(messages)
}

/// While no poll waits, a later message takes the place of an earlier one with the same topic, event and key. `handle_out`
/// may replace the payload of each.
#[tokio::test]
async fn a_client_that_polls_gets_the_latest_message_in_the_place_of_the_first() -> Result<()> {
    let host = Setup::new().guests(&["naughty"])?.start().await?;
    let poller = Poller::begin(&host).await?;
    poller.join(BOARD).await?;
    let message = |event: &str, key: &str, n: u64| {
        let droppable = (!key.is_empty()).then_some(key);
        json!({ "topic": BOARD, "event": event, "payload": { "n": n }, "droppable": droppable })
    };
    let messages = json!([
        message("cursor", "ada", 1),
        message("mark", "", 2),
        message("cursor", "bob", 3),
        message("other", "ada", 4),
        message("cursor", "ada", 5),
        message("mark", "", 6),
        message("cursor", "bob", 7),
        message("secret", "ada", 8),
        message("mark", "", 9),
        message("secret", "ada", 10),
    ]);
    let posted = host.post("/api/broadcast", &json!({ "messages": messages })).await?.json()?;
    ensure!(posted == json!({ "accepted": 10, "receivers": 10 }), "{posted}");
    host.shows("all have passed `handle_out`", |shown| shown["droppable"]["sent"] == 7).await?;
    let got = poll(&poller).await?;
    let expected = [("cursor", 5), ("mark", 2), ("cursor", 7), ("other", 4), ("mark", 6), ("secret", 10), ("mark", 9)];
    let expected = expected.map(|(event, n)| (event.to_owned(), json!({ "n": n })));
    ensure!(got == expected, "{got:?}");
    ensure!(counts(&host).await? == (7, 3, 0), "{:?}", counts(&host).await?);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn the_command_and_the_api_send_droppable_messages() -> Result<()> {
    let host = Setup::new().guests(&["naughty"])?.start().await?;
    let mut alice = host.connect().await?;
    alice.join(BOARD, &json!({})).await?;
    let address = host.address().to_string();
    let run = |arguments: &[&str]| bennu(host.home(), &[arguments, &["--host", &address]].concat());
    let sent = run(&["broadcast", BOARD, "cursor", r#"{"n":1}"#, "--droppable", "ada"])?;
    ensure!(sent.code == Some(0) && sent.output == "sent to 1 member of naughty:1\n", "{sent:?}");
    alice.expect(&json!([null, null, BOARD, "cursor", { "n": 1 }])).await?;
    let shown = run(&["inspect"])?;
    ensure!(shown.output.contains("\ndroppable messages: sent 1\n"), "{shown:?}");
    let long = json!({ "topic": BOARD, "event": "cursor", "droppable": "k".repeat(256) });
    let refused = host.post("/api/broadcast", &long).await?;
    ensure!(refused.status == 400 && refused.body.contains("at most 255 bytes, not 256"), "{refused:?}");
    let message = json!({ "topic": BOARD, "event": "echo", "droppable": "ada" });
    let refused = host.post("/api/send", &message).await?;
    ensure!(refused.status == 400 && refused.body.contains("is only for broadcasts"), "{refused:?}");
    drop(alice);
    host.stop().await?;
    Ok(())
}
