//! The official Phoenix client at the nodes of a cluster, behind a balancer.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Relay, TestHost, eventually, get, places, within};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::database;
use crate::plan::{Plan, knows};
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

/// The number of clients of the rolling restart.
const CLIENTS: u64 = 300;

/// All nodes are stopped and started one after the other, while many clients work. Each of them is back at another node, and nothing that it
/// was told is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_nothing_that_clients_were_told() -> Result<()> {
    let (_, url) = database()?;
    let plan = Plan::on(&url);
    let mut hosts: VecDeque<TestHost> = plan.start_three().await?.into();
    let balancer = Relay::start(&ports(&hosts)).await?;
    let mut payers = Page::run("payers.mjs", balancer.port(), &[&CLIENTS.to_string()])?;
    all_have_joined(&hosts).await?;
    for _ in 0..hosts.len() {
        let stopping = hosts.pop_front().context("a host")?;
        balancer.redirect(&ports(&hosts));
        hosts.push_back(stopping.restart(Signal::TERM).await?);
        balancer.redirect(&ports(&hosts));
        all_have_joined(&hosts).await?;
    }
    payers.send("")?;
    let total = payers.next().await?;
    println!("{CLIENTS} clients in a rolling restart: {total}");
    let count = |name: &str| total[name].as_u64().context("a count");
    let (acknowledged, unknown) = (count("acknowledged")?, count("unknown")?);
    let found = audit(&hosts[0]).await?;
    let sum = found["sum"].as_u64().context("a sum")?;
    ensure!((acknowledged..=acknowledged + unknown).contains(&sum), "{found}, and the clients say {total}");
    ensure!(acknowledged > 0 && count("joins")? >= 2 * CLIENTS, "the clients did too little: {total}");
    Ok(())
}

/// Waits until the hosts have the members of all clients.
async fn all_have_joined(hosts: &VecDeque<TestHost>) -> Result<()> {
    eventually("all clients have joined", async || {
        let mut channels = 0;
        for host in hosts {
            channels += host.inspect().await?["channels"].as_u64().unwrap_or_default();
        }
        Ok((channels == CLIENTS).then_some(()))
    })
    .await
}
