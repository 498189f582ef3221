//! The official Phoenix client at the nodes of a cluster, behind a balancer.

use std::collections::{BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use bennu_test_tiers::note_figures;
use bennu_tests::{Relay, TestClient, TestHost, eventually, get, places, within};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::balancer::Balancer;
use crate::database;
use crate::plan::{Plan, is_ready, knows};
use crate::together::audit;

/// A program with `phoenix.js`, of `tests/phoenix`. It ends with the value.
struct Page {
    process: Child,
    said: mpsc::UnboundedReceiver<Value>,
}

impl Page {
    /// Opens a page of a user in a chat room, which connects to this port.
    fn open(port: u16, user: &str) -> Result<Self> {
        Self::run("roaming.mjs", port, &["room:lobby", user])
    }

    fn run(program: &str, port: u16, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new("node");
        command.arg(format!("tests/phoenix/{program}")).arg(format!("ws://127.0.0.1:{port}/socket"));
        command.args(arguments).current_dir(places::workspace()?);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting Node")?;
        let (told, said) = mpsc::unbounded_channel();
        let lines = BufReader::new(process.stdout.take().context("an output")?).lines();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Nobody hears it after the test.
                let _ = told.send(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        Ok(Self { process, said })
    }

    /// Sends a line to its standard input.
    fn send(&mut self, body: &str) -> Result<()> {
        Ok(writeln!(self.process.stdin.as_mut().context("an input")?, "{body}")?)
    }

    /// Waits until the page says this. What it says before is skipped.
    async fn says(&mut self, wanted: &Value) -> Result<()> {
        while self.next().await.with_context(|| format!("waiting for {wanted}"))? != *wanted {}
        Ok(())
    }

    /// Waits for the next thing that it says.
    async fn next(&mut self) -> Result<Value> {
        within("the page says something", self.said.recv()).await?.context("the page has ended")
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The ports of hosts, for a balancer.
fn ports<'a>(hosts: impl IntoIterator<Item = &'a TestHost>) -> Vec<u16> {
    hosts.into_iter().map(|host| host.address().port()).collect()
}

/// A page whose node is killed goes to another one, joins there, and is online once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_goes_on_at_another_node() -> Result<()> {
    let (_, url) = database()?;
    let plan = Plan::on(&url).guests(&["chat"]).key("sticky = [\"room:*\"]").lease();
    let (one, two) = (plan.start("one").await?, plan.start("two").await?);
    let (here, there) = (Relay::start(&ports([&one])).await?, Relay::start(&ports([&two])).await?);
    let mut alice = Page::open(here.port(), "alice")?;
    alice.says(&json!({ "what": "joined" })).await?;
    let mut bob = Page::open(there.port(), "bob")?;
    let both = json!({ "what": "online", "users": { "alice": 1, "bob": 1 } });
    alice.says(&both).await?;
    bob.says(&both).await?;
    alice.send("hi")?;
    bob.says(&json!({ "what": "heard", "user": "alice", "body": "hi" })).await?;
    bob.send("hello")?;
    alice.says(&json!({ "what": "heard", "user": "bob", "body": "hello" })).await?;

    there.redirect(&ports([&one]));
    two.signal(Signal::KILL)?;
    bob.says(&json!({ "what": "disconnected" })).await?;
    bob.says(&json!({ "what": "joined" })).await?;
    // His presence at the dead node leaves after its lease.
    knows(&one, "two", "dead").await?;
    bob.send("here again")?;
    alice.says(&json!({ "what": "heard", "user": "bob", "body": "here again" })).await?;
    let online = get(one.address(), "/api/topics/room:lobby/presence").await?.json()?;
    let metas = online["bob"]["metas"].as_array().map(Vec::len);
    ensure!(metas == Some(1), "{online}");
    Ok(())
}

/// The number of clients of the rolling restart, and how many of them also broadcast.
const CLIENTS: u64 = 300;
const SPEAKERS: u64 = 10;

/// The delays of phoenix.js before its attempts to connect again, in milliseconds. Those after the tenth attempt are 5 s, too.
const RECONNECT_DELAYS_MS: [u64; 10] = [10, 50, 100, 150, 200, 250, 500, 1_000, 2_000, 5_000];

/// All nodes are stopped and started one after the other, while many clients work. Each client of a node that stops is soon back at another
/// one, and joins there once. Nothing that was acknowledged is lost: neither a payment nor a broadcast.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_nothing_that_was_acknowledged() -> Result<()> {
    let (_, url) = database()?;
    let mut hosts: VecDeque<TestHost> = Plan::on(&url).start_three().await?.into();
    for host in &hosts {
        is_ready(host).await?;
    }
    let balancer = Balancer::start(&hosts).await?;
    let mut payers = Page::run("payers.mjs", balancer.port(), &[&CLIENTS.to_string(), &SPEAKERS.to_string()])?;
    have_joined(&hosts, CLIENTS).await?;
    let (mut spoken, mut unknown) = (0, 0);
    for _ in 0..hosts.len() {
        let (moved, round) = restart_next(&mut hosts, &balancer, &mut payers).await?;
        check_return(moved, &round)?;
        spoken += spoken_in(&round)?.len() as u64;
        unknown += count(&round, "unknown")?;
    }
    payers.send("end")?;
    let total = payers.next().await?;
    let found = audit(&hosts[0]).await?;
    let paid = count(&total, "acknowledged")?;
    for (what, least, unknown) in [("sum", paid, count(&total, "unknown")?), ("entries", spoken, unknown)] {
        let stored = count(&found, what)?;
        ensure!(least > 0, "the clients did too little: {total}, {spoken} broadcasts");
        ensure!(
            (least..=least + unknown).contains(&stored),
            "{what}: {stored} are stored, {least} were acknowledged, and of {unknown} nobody knows"
        );
    }
    Ok(())
}

fn count(from: &Value, name: &str) -> Result<u64> {
    from[name].as_u64().with_context(|| format!("no {name} in {from}"))
}

/// The ids of the broadcasts that were acknowledged.
fn spoken_in(round: &Value) -> Result<&Vec<Value>> {
    round["spoken"].as_array().context("no broadcasts")
}

/// Restarts the node at the front, which is the last one then. The balancer isn't told that it stops. Returns how many clients had to go to
/// another node, and what they say.
async fn restart_next(hosts: &mut VecDeque<TestHost>, balancer: &Balancer, payers: &mut Page) -> Result<(u64, Value)> {
    let stopping = hosts.pop_front().context("a host")?;
    let moved = channels(&stopping).await?;
    let listener = Listener::at(&hosts[0]).await?;
    payers.send("speak")?;
    let restarted = stopping.restart(Signal::TERM).await?;
    is_ready(&restarted).await?;
    hosts.push_back(restarted);
    balancer.know(&*hosts);
    have_joined(hosts, CLIENTS + SPEAKERS).await?;
    payers.send("hush")?;
    let round = payers.next().await?;
    listener.has_heard(spoken_in(&round)?).await?;
    have_joined(hosts, CLIENTS).await?;
    Ok((moved, round))
}

/// Checks how the clients of a node have come back that was stopped, and notes the figures.
fn check_return(moved: u64, round: &Value) -> Result<()> {
    let [longest, median] = [count(round, "longest_away_ms")?, count(round, "median_away_ms")?];
    let [rejoins, most] = [count(round, "rejoins")?, count(round, "most_rejoins_in_a_second")?];
    let spoken = spoken_in(round)?.len();
    note_figures(&format!(
        "a node of {moved} clients was restarted: half of them were back after {median} ms, the last one after {longest} ms; \
         at most {most} joins in a second; {spoken} acknowledged broadcasts were heard at another node"
    ));
    // Two of three nodes serve all the time, and the balancer passes over the one that stops. So one of the first five attempts succeeds,
    // and these begin within half a second. The rest is for a busy machine, on which many joins take long. A client that is away for longer
    // than all these delays together was refused ten times, or its join had no answer: phoenix.js waits 10 s for one.
    let longest_max: u64 = RECONNECT_DELAYS_MS.iter().sum();
    ensure!(longest <= longest_max, "a client was away for {longest} ms; at most {longest_max} are allowed");
    // A node closes up to a thousand sockets each tenth of a second. So all its clients may come back within the same second, each once.
    // More joins in a second mean that clients are closed again as soon as they are back, or that clients of other nodes join as well.
    ensure!(most <= moved, "{most} joins in a second, after {moved} clients had lost their node");
    ensure!((moved..=2 * moved).contains(&rejoins), "{rejoins} joins, after {moved} clients had lost their node");
    // Otherwise nothing is known of the broadcasts meanwhile.
    ensure!(spoken > 0, "no broadcast was acknowledged");
    Ok(())
}

/// A client that stays at its node, in the topics of all speakers.
struct Listener(TestClient);

impl Listener {
    async fn at(host: &TestHost) -> Result<Self> {
        let mut client = host.connect().await?;
        for speaker in 0..SPEAKERS {
            client.join(&format!("ledger:{speaker}"), &json!({})).await?;
        }
        Ok(Self(client))
    }

    /// Waits until it has heard the broadcasts with these ids.
    async fn has_heard(mut self, spoken: &[Value]) -> Result<()> {
        let mut missing: BTreeSet<&str> = spoken.iter().filter_map(Value::as_str).collect();
        while !missing.is_empty() {
            let frame = self.0.json().await.with_context(|| format!("{} broadcasts are missing", missing.len()))?;
            // `phx_error` would say that messages were lost, and that it has to join again.
            ensure!(frame[3] == "moved", "{frame}, and {} broadcasts are missing", missing.len());
            missing.remove(frame[4]["entry"].as_str().unwrap_or_default());
        }
        Ok(())
    }
}

async fn channels(host: &TestHost) -> Result<u64> {
    count(&host.inspect().await?, "channels")
}

/// Waits until the hosts have so many members together.
async fn have_joined(hosts: &VecDeque<TestHost>, members: u64) -> Result<()> {
    eventually(&format!("{members} members have joined"), async || {
        let mut found = 0;
        for host in hosts {
            found += channels(host).await?;
        }
        Ok((found == members).then_some(()))
    })
    .await
}
