//! Published entries: a change of one entry for many members, against a broadcast of the same bytes; and a join, against
//! writing the bytes of the state once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use bennu_test_tiers::Noise;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::Setup;
use super::replies::{ask, next_reply};
use super::row::{Candidate, Costs, Row, SLICES};
use super::shelf::{ShelfHost, message};
use crate::client::Client;
use crate::rounds::order;
use crate::wire::phoenix::Message;

const TARGET_CHANGE: f64 = 1.3;
const TARGET_JOIN: f64 = 2.0;

const TOPIC: &str = "notes:1";
const EMPTY: &str = "notes:empty";
/// Its state has one entry, with the bytes of the state of [`TOPIC`].
const BYTES: &str = "notes:bytes";

struct Sizes {
    entries: usize,
    members: usize,
    /// The changes of a round.
    changes: usize,
    /// The joins of a round.
    joins: usize,
}

const SIZES: Sizes = Sizes { entries: 10_000, members: 100, changes: 1_000, joins: 100 };

const QUICK: Sizes = Sizes { entries: 100, members: 5, changes: 100, joins: 20 };

fn sizes(setup: &Setup) -> Sizes {
    if setup.quick { QUICK } else { SIZES }
}

/// A change of one entry, against a broadcast.
pub(super) async fn changes(setup: &Setup) -> Result<Vec<Row>> {
    let Sizes { entries, members, .. } = sizes(setup);
    let mut candidates = Vec::new();
    for (name, event) in [("a broadcast", "noise"), ("a published change", "change")] {
        candidates.push(Candidate { name: name.into(), host: Audience::start(setup, event).await? });
    }
    let bytes = candidates[1].host.frame_bytes().await?;
    let noise = &mut candidates[0].host;
    noise.text_bytes = bytes.saturating_sub(noise.frame_bytes().await?);
    let costs = Costs::measure(setup.rounds(), SLICES, &mut candidates, Audience::cost).await?;
    let name = format!(
        "a published change of one entry of {entries}, {members} members / a broadcast of the same {bytes} bytes"
    );
    Ok(vec![Row::new(name, costs.ratios(1), TARGET_CHANGE)?])
}

/// A join after a change, against writing the bytes of the state: that is a join of a state of one entry, whose frame the host
/// has already.
pub(super) async fn joins(setup: &Setup) -> Result<Vec<Row>> {
    let Sizes { entries, joins, .. } = sizes(setup);
    let mut shelf = setup.start().await?;
    for topic in [TOPIC, BYTES, EMPTY] {
        shelf.join(topic).await?;
    }
    shelf.fill(TOPIC, entries).await?;
    let mut client = shelf.connect().await?;
    let bytes = state_bytes(&mut client, TOPIC).await?;
    shelf.fill_with(BYTES, 0..1, bytes - state_bytes(&mut client, EMPTY).await?).await?;
    let (rounds, mut ratios) = (setup.rounds(), Vec::new());
    for round in 1..=rounds {
        let mut cost = [0.0; 4];
        for slice in 0..SLICES {
            for number in order(cost.len(), slice) {
                let before = shelf.cpu()?;
                for join in 0..joins / SLICES {
                    if number < 2 {
                        shelf.change(TOPIC, 1, || join % entries).await?;
                    }
                    if number != 1 {
                        rejoin(&mut client, [TOPIC, "", BYTES, EMPTY][number]).await?;
                    }
                }
                cost[number] += shelf.cpu()?.saturating_sub(before).as_secs_f64() * 1e6 / joins as f64;
            }
        }
        let [changed, change, written, empty] = cost;
        let (join, write) = (changed - change - empty, written - empty);
        eprintln!("round {round} of {rounds}, a join: {join:.0} µs, the bytes: {write:.0} µs");
        ratios.push(join / write);
    }
    let name =
        format!("join of a published state of {entries} entries after a change / writing its {bytes} bytes once");
    Ok(vec![Row::new(name, ratios, TARGET_JOIN)?])
}

/// Joins and leaves a topic. The state comes between the two replies.
async fn rejoin(client: &mut Client, topic: &str) -> Result<()> {
    client.send(message(topic, "phx_join", "{}")).await?;
    next_reply(client).await?;
    leave(client, topic).await
}

/// Leaves a topic, and waits for the reply and the end of the channel after it.
async fn leave(client: &mut Client, topic: &str) -> Result<()> {
    client.send(message(topic, "phx_leave", "{}")).await?;
    next_reply(client).await?;
    let end = client.next().await?;
    ensure!(Message::read(end.as_bytes()).is_some_and(|end| end.event == b"phx_close"), "unexpected: {end}");
    Ok(())
}

/// Joins and leaves a topic. Returns the bytes of the frame with its state.
async fn state_bytes(client: &mut Client, topic: &str) -> Result<usize> {
    client.send(message(topic, "phx_join", "{}")).await?;
    next_reply(client).await?;
    let frame = client.next().await?;
    leave(client, topic).await?;
    Ok(frame.len())
}

/// A host with a topic whose members get a message for each event that one of them sends.
struct Audience {
    shelf: ShelfHost,
    event: &'static str,
    sizes: Sizes,
    /// The bytes of the text in a broadcast.
    text_bytes: usize,
    random: Noise,
    received: Arc<Received>,
    /// They end with the host.
    _members: JoinSet<()>,
}

/// The messages that the other members have received.
#[derive(Default)]
struct Received {
    messages: AtomicUsize,
    /// The bytes of the last one.
    bytes: AtomicUsize,
    notify: Notify,
}

impl Audience {
    async fn start(setup: &Setup, event: &'static str) -> Result<Self> {
        let (mut shelf, sizes, received) = (setup.start().await?, sizes(setup), Arc::<Received>::default());
        shelf.join(TOPIC).await?;
        shelf.fill(TOPIC, sizes.entries).await?;
        let mut members = JoinSet::new();
        for _ in 1..sizes.members {
            let mut client = shelf.connect().await?;
            client.send(message(TOPIC, "phx_join", "{}")).await?;
            next_reply(&mut client).await?;
            members.spawn(hear(client, Arc::clone(&received)));
        }
        let random = Noise::new(3);
        Ok(Self { shelf, event, sizes, text_bytes: 0, random, received, _members: members })
    }

    /// The bytes of a message to a member.
    async fn frame_bytes(&mut self) -> Result<usize> {
        self.send(1).await?;
        Ok(self.received.bytes.load(Ordering::Relaxed))
    }

    /// Microseconds of the host's CPU time for each message, until all members have it.
    async fn cost(&mut self) -> Result<f64> {
        let (before, changes) = (self.shelf.cpu()?, self.sizes.changes / SLICES);
        self.send(changes).await?;
        let cpu = self.shelf.cpu()?.saturating_sub(before);
        Ok(cpu.as_secs_f64() * 1e6 / changes as f64)
    }

    async fn send(&mut self, count: usize) -> Result<()> {
        let Self { shelf, event, sizes, text_bytes, random, received, .. } = self;
        let wanted = received.messages.load(Ordering::Relaxed) + count * (sizes.members - 1);
        let payload = |_| {
            let payload = match *event {
                "noise" => format!(r#"{{"bytes":{text_bytes}}}"#),
                _ => format!(r#"{{"key":{}}}"#, random.below(sizes.entries)),
            };
            message(TOPIC, event, &payload)
        };
        ask(shelf.client(), count, payload).await?;
        while received.messages.load(Ordering::Relaxed) < wanted {
            received.notify.notified().await;
        }
        Ok(())
    }
}

/// Counts the messages of a member until its connection ends.
async fn hear(mut client: Client, received: Arc<Received>) {
    while let Ok(frame) = client.next().await {
        let is_counted = is_message(&frame).unwrap_or_else(|error| panic!("{error:#}"));
        if is_counted {
            received.bytes.store(frame.len(), Ordering::Relaxed);
            received.messages.fetch_add(1, Ordering::Relaxed);
            received.notify.notify_one();
        }
    }
}

/// Whether a frame is one of the messages that are counted, and not the state after the join.
fn is_message(frame: &str) -> Result<bool> {
    let message = Message::read(frame.as_bytes()).with_context(|| format!("not a message: {frame}"))?;
    match message.event {
        b"noise" | b"room_diff" => Ok(true),
        b"room_state" => Ok(false),
        _ => bail!("an unexpected message: {frame}"),
    }
}
