//! Hand-overs that fail: one of the two processes serves.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use bennu_tests::{eventually, within};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::{ask, join, join_answer, reply, setup, start};
use crate::limit_counts::stop_after_hits;

#[tokio::test]
async fn a_new_process_that_fails_leaves_the_old_one_as_it_was() -> Result<()> {
    let mut host = start().await?;
    let mut alice = join(host.address(), "table:1", &json!({ "user": "alice", "grace": 0 })).await?;
    ask(&mut alice, "table:1", "add", &json!({ "n": 5 })).await?;
    let cases: [(&[&str], &str); 2] =
        [(&["/bin/false"], "has ended with exit status: 1"), (&["/nowhere"], "starting /nowhere")];
    for (arguments, says) in cases {
        let ended = host.upgrade(arguments).await?;
        ensure!(ended.code == Some(1) && ended.errors.contains(says), "{ended:?}");
    }
    let config = host.home().join("bennu.toml");
    let text = fs::read_to_string(&config)?;
    fs::write(&config, "nonsense = 1\n")?;
    let ended = host.upgrade(&[]).await?;
    ensure!(ended.code == Some(1) && ended.errors.contains("the old process serves on"), "{ended:?}");
    fs::write(&config, &text)?;
    // A plugin that the old process serves can't be loaded by the new one.
    let plugin = host.home().join("plugins/table.ts");
    let mark = host.log().len();
    fs::write(&plugin, "export default 1;")?;
    host.log().find(mark, "the file is refused", |line| line.message().starts_with("plugin_refused")).await?;
    fs::remove_dir_all(host.home().join("data/builds"))?;
    let ended = host.upgrade(&[]).await?;
    ensure!(ended.code == Some(1) && ended.errors.contains("doesn't serve the plugins table"), "{ended:?}");
    ensure!(ask(&mut alice, "table:1", "add", &json!({ "n": 1 })).await? == json!({ "sum": 6 }));
    let room = ask(&mut alice, "table:1", "show", &json!({})).await?;
    ensure!(room["left"] == json!([]) && room["seats"] == json!(["taken alice"]), "{room}");
    drop(alice);
    // The log has the errors of the new processes, too, which aren't log lines.
    host.signal(Signal::TERM)?;
    ensure!(host.ended().await?.success());
    Ok(())
}

/// A process that speaks the protocol of hand-overs, as far as a test needs.
pub(super) struct Peer(UnixStream);

impl Peer {
    async fn to(home: &Path) -> Result<Self> {
        let path = home.join("data/upgrade.sock");
        ensure!(fs::metadata(&path)?.permissions().mode() & 0o777 == 0o600);
        Ok(Self(UnixStream::connect(path).await?))
    }

    pub(super) async fn send(&mut self, message: &Value) -> Result<()> {
        let text = message.to_string();
        self.0.write_all(&u32::try_from(text.len())?.to_be_bytes()).await?;
        Ok(self.0.write_all(text.as_bytes()).await?)
    }

    pub(super) async fn next(&mut self) -> Result<Value> {
        within("a message of the host", async {
            let length = self.0.read_u32().await?;
            let mut text = vec![0; length as usize];
            self.0.read_exact(&mut text).await?;
            Ok(serde_json::from_slice(&text)?)
        })
        .await?
    }

    pub(super) async fn hello(home: &Path) -> Result<Self> {
        let mut peer = Self::to(home).await?;
        peer.send(&json!({ "is": "hello", "protocol": 1, "parcels": 1, "version": "test" })).await?;
        let welcome = peer.next().await?;
        ensure!(welcome["is"] == "welcome" && welcome["plugins"] == json!(["table"]), "{welcome}");
        Ok(peer)
    }
}

#[tokio::test]
async fn the_old_process_serves_on_if_the_new_one_dies_at_any_step() -> Result<()> {
    let host = start().await?;
    let mut alice = join(host.address(), "table:1", &json!({ "user": "alice", "grace": 0 })).await?;
    ask(&mut alice, "table:1", "add", &json!({ "n": 1 })).await?;
    let mut sum = 1;
    for step in ["greeted", "prepared", "received", "gives up"] {
        let mark = host.log().len();
        let mut peer = Peer::hello(host.home()).await?;
        if step != "greeted" {
            peer.send(&json!({ "is": "prepared" })).await?;
        }
        if step == "received" || step == "gives up" {
            let state = peer.next().await?;
            ensure!(state["is"] == "state", "{state}");
            // The host doesn't handle this message before it has its store back.
            let reference = alice.push("table:1", "add", &json!({ "n": 1 })).await?;
            sum += 1;
            if step == "gives up" {
                peer.send(&json!({ "is": "gives-up", "why": "it doesn't like this" })).await?;
            }
            drop(peer);
            ensure!(reply(&mut alice, &reference).await? == json!({ "sum": sum }));
        } else {
            drop(peer);
        }
        host.log().find(mark, "the host serves on", |line| line.message().starts_with("upgrade_failed")).await?;
        sum += 1;
        let answer = ask(&mut alice, "table:1", "add", &json!({ "n": 1 })).await?;
        ensure!(answer == json!({ "sum": sum }), "after {step}: {answer}");
        // New clients are accepted, and the store can be written.
        let other = join(host.address(), "alone:1", &json!({ "user": step })).await?;
        other.close().await?;
        eventually("the store has the write", async || {
            let told = join_answer(host.address(), "alone:1", &json!({ "user": "reader" })).await?;
            Ok(told["left"].as_str().is_some_and(|left| left.contains(&format!("closed {step};"))).then_some(()))
        })
        .await?;
    }
    let mut other = Peer::to(host.home()).await?;
    other.send(&json!({ "is": "hello", "protocol": 0, "parcels": 1, "version": "0.0.9" })).await?;
    let refused = other.next().await?;
    ensure!(
        refused["is"] == "refused" && refused["why"].as_str().is_some_and(|why| why.contains("0.0.9")),
        "{refused}"
    );
    drop(alice);
    stop_after_hits(host, &["hand_over"]).await
}

#[tokio::test]
async fn a_successor_without_a_host_or_whose_host_is_killed_starts_from_the_store() -> Result<()> {
    let host = setup().arguments(&["--take-over"]).start().await?;
    let alice = join(host.address(), "alone:1", &json!({ "user": "alice" })).await?;
    alice.close().await?;
    let left = eventually("the store has the write", async || {
        let told = join_answer(host.address(), "alone:1", &json!({ "user": "bob" })).await?;
        Ok(told["left"].as_str().is_some_and(|left| left.starts_with("closed alice;")).then_some(told))
    });
    left.await?;
    let host = host.restart(Signal::KILL).await?;
    let told = join_answer(host.address(), "alone:1", &json!({ "user": "carol" })).await?;
    ensure!(told["left"].as_str().is_some_and(|left| left.starts_with("closed alice;")), "{told}");
    host.stop().await?;
    Ok(())
}

/// The running host dies after it has greeted the new process, and its lock is free a little later.
#[tokio::test]
async fn a_successor_whose_host_dies_before_the_state_is_there_starts_from_the_store() -> Result<()> {
    let (mut command, home) = setup().arguments(&["--take-over"]).command()?;
    let data = home.path().join("data");
    fs::create_dir(&data)?;
    let lock = fs::File::open(&data)?;
    lock.lock()?;
    let listener = UnixListener::bind(data.join("upgrade.sock"))?;
    let mut process = command.stderr(Stdio::null()).spawn()?;
    let host = async {
        let (stream, _) = listener.accept().await?;
        let mut peer = Peer(stream);
        let hello = peer.next().await?;
        ensure!(hello["is"] == "hello", "{hello}");
        peer.send(&json!({ "is": "welcome", "listeners": [], "plugins": ["table"] })).await?;
        let prepared = peer.next().await?;
        ensure!(prepared["is"] == "prepared", "{prepared}");
        drop(peer);
        drop(lock);
        let mut printed = BufReader::new(process.stdout.take().context("it is piped")?);
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            printed.read_line(&mut line).map(|_| line)
        });
        let line = within("the address", line).await???;
        let address = line.trim_end().strip_prefix("Listening on http://").with_context(|| format!("{line:?}"))?;
        join_answer(address.parse()?, "table:1", &json!({ "user": "alice", "grace": 0 })).await
    };
    let joined = host.await;
    let _ = process.kill();
    process.wait()?;
    ensure!(joined? == json!({ "sum": 0 }));
    Ok(())
}
