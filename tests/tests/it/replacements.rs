//! A running host is replaced by a new process: `bennu upgrade`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bennu_test_tiers::{Tier, rounds};
use bennu_tests::{ConnectRequest, Received, Setup, TestClient, TestHost, eventually, places, within};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

const TABLE: &str = r#"
import { channel, entries, plugin, store } from "bennu";

export default plugin({
  "table:*": channel({
    state: { user: "" },
    room: { sum: 0, tick: 0, missed: 0, seats: [] as string[], left: [] as string[] },
    lingerMs: 100,

    join({ user, grace, ticks }: { user: string; grace: number; ticks: number }, socket) {
      socket.state.user = user;
      socket.takeSeat(user, grace);
      if (ticks) socket.tick(ticks);
      return { sum: socket.room.sum };
    },

    on: {
      add({ n }: { n: number }, socket) {
        socket.room.sum += n;
        entries.put(`by:${socket.state.user}`, socket.room.sum);
        socket.publishState({ sum: socket.room.sum });
        return { sum: socket.room.sum };
      },
      show(_payload, socket) {
        return { ...socket.room, entries: entries.list({ prefix: "by:" }) };
      },
      wait(_payload, socket) {
        let sum = 0;
        for (let round = 0; round < 2_000_000; round += 1) sum = (sum + round) % 1000;
        socket.room.sum += 1;
        return { sum: socket.room.sum };
      },
    },

    tick({ number, missed }, topic) {
      topic.room.tick = number;
      topic.room.missed += missed;
    },

    seat(change, user, topic) {
      topic.room.seats.push(`${change} ${user}`);
    },

    leave(cause, socket) {
      socket.room.left.push(`${cause} ${socket.state.user}`);
    },
  }),

  "alone:*": channel({
    state: { user: "" },
    join({ user }: { user: string }, socket) {
      socket.state.user = user;
      return { left: store.get("left") ?? "" };
    },
    leave(cause, socket) {
      store.put("left", `${store.get("left") ?? ""}${cause} ${socket.state.user};`);
    },
  }),

  "news:*": channel({
    history: { count: 100, ms: 60_000 },
    join() {},
    on: {
      say(payload: { n: number }, socket) {
        socket.broadcast("said", payload);
        return {};
      },
    },
  }),
});
"#;

fn setup() -> Setup {
    Setup::new().file("plugins/table.ts", TABLE.into()).limit("call_cpu_ms", 20_000)
}

async fn start() -> Result<TestHost> {
    setup().start().await
}

/// Upgrades a host while its clients answer.
async fn upgraded(host: &mut TestHost) -> Result<()> {
    let ended = host.upgrade(&[]).await?;
    ensure!(ended.code == Some(0), "{}{}\nthe log has\n{}", ended.output, ended.errors, host.log().tail(40));
    Ok(())
}

/// Reads until the client is closed, in a task.
fn until_closed(mut client: TestClient) -> tokio::task::JoinHandle<Result<Option<u16>>> {
    tokio::spawn(async move { Ok(client.until_closed().await?.1) })
}

async fn join(address: SocketAddr, topic: &str, params: &Value) -> Result<TestClient> {
    let mut client = ConnectRequest::to(address).connect().await?;
    let reference = client.push(topic, "phx_join", params).await?;
    reply(&mut client, &reference).await?;
    Ok(client)
}

/// Waits for the reply to a message, and skips other frames.
async fn reply(client: &mut TestClient, reference: &str) -> Result<Value> {
    loop {
        let frame = client.json().await?;
        if frame[3] == "phx_reply" && frame[1] == reference {
            ensure!(frame[4]["status"] == "ok", "{frame}");
            return Ok(frame[4]["response"].clone());
        }
    }
}

async fn ask(client: &mut TestClient, topic: &str, event: &str, payload: &Value) -> Result<Value> {
    let reference = client.push(topic, event, payload).await?;
    reply(client, &reference).await
}

#[tokio::test]
async fn rooms_seats_ticks_entries_and_published_states_are_carried_over() -> Result<()> {
    let mut host = start().await?;
    let address = host.address();
    let mut alice = join(address, "table:1", &json!({ "user": "alice", "grace": 0, "ticks": 20 })).await?;
    let bob = join(address, "table:1", &json!({ "user": "bob", "grace": 60_000 })).await?;
    bob.close().await?;
    let carol = join(address, "alone:1", &json!({ "user": "carol" })).await?;
    ensure!(ask(&mut alice, "table:1", "add", &json!({ "n": 5 })).await? == json!({ "sum": 5 }));
    let before = eventually("bob's seat is kept, and there were ticks", async || {
        let room = ask(&mut alice, "table:1", "show", &json!({})).await?;
        let is_kept = room["seats"] == json!(["taken alice", "taken bob", "dropped bob"]);
        Ok((is_kept && room["tick"].as_u64() > Some(3)).then_some(room))
    })
    .await?;

    let closed = [until_closed(alice), until_closed(carol)];
    upgraded(&mut host).await?;
    for closed in closed {
        let code = closed.await??;
        ensure!(code == Some(1012), "{code:?}");
    }
    let mut alice = ConnectRequest::to(address).connect().await?;
    let reference = alice.push("table:1", "phx_join", &json!({ "user": "alice", "grace": 0 })).await?;
    ensure!(reply(&mut alice, &reference).await? == json!({ "sum": 5 }));
    let published = eventually("the published state comes", async || {
        let frame = alice.json().await?;
        Ok((frame[3] == "room_state").then_some(frame))
    });
    ensure!(published.await?[4]["state"] == json!({ "sum": 5 }));
    let room = eventually("the seat's changes are told, and there are more ticks", async || {
        let room = ask(&mut alice, "table:1", "show", &json!({})).await?;
        let seats = json!(["taken alice", "taken bob", "dropped bob", "dropped alice", "returned alice"]);
        Ok((room["seats"] == seats && room["tick"].as_u64() > before["tick"].as_u64()).then_some(room))
    })
    .await?;
    ensure!(room["left"] == json!(["closed bob", "shutdown alice"]), "{room}");
    ensure!(room["entries"] == json!([["by:alice", 5]]), "{room}");
    let told = join_answer(address, "alone:1", &json!({ "user": "dave" })).await?;
    ensure!(told == json!({ "left": "shutdown carol;" }), "{told}");

    // The new process can be replaced, too.
    let closed = until_closed(alice);
    upgraded(&mut host).await?;
    closed.await??;
    let told = join_answer(address, "table:1", &json!({ "user": "erin", "grace": 0 })).await?;
    ensure!(told == json!({ "sum": 5 }), "{told}");
    host.stop().await?;
    Ok(())
}

async fn join_answer(address: SocketAddr, topic: &str, params: &Value) -> Result<Value> {
    let mut client = ConnectRequest::to(address).connect().await?;
    let reference = client.push(topic, "phx_join", params).await?;
    reply(&mut client, &reference).await
}

#[tokio::test]
async fn a_client_gets_what_it_missed_from_the_new_process() -> Result<()> {
    let mut host = start().await?;
    let address = host.address();
    let mut reader = ConnectRequest::to(address).connect().await?;
    let reference = reader.push("news:1", "phx_join", &json!({ "since": { "client": "reader" } })).await?;
    reply(&mut reader, &reference).await?;
    let position = position(&mut reader).await?;
    reader.close().await?;
    let mut writer = join(address, "news:1", &json!({})).await?;
    for n in 0..3 {
        ask(&mut writer, "news:1", "say", &json!({ "n": n })).await?;
    }
    let closed = until_closed(writer);
    upgraded(&mut host).await?;
    closed.await??;
    let mut reader = ConnectRequest::to(address).connect().await?;
    let since = json!({ "client": "reader", "epoch": position["epoch"], "n": position["n"] });
    let reference = reader.push("news:1", "phx_join", &json!({ "since": since })).await?;
    reply(&mut reader, &reference).await?;
    for n in 0..3 {
        let said = eventually("a missed broadcast comes", async || {
            let frame = reader.json().await?;
            Ok((frame[3] == "said").then_some(frame))
        })
        .await?;
        ensure!(said[4]["n"] == n, "{said}");
    }
    host.stop().await?;
    Ok(())
}

/// The client's place in the history, which comes after its join.
async fn position(client: &mut TestClient) -> Result<Value> {
    loop {
        let frame = client.json().await?;
        if frame[3] == "history" {
            return Ok(frame[4].clone());
        }
    }
}

#[tokio::test]
async fn a_turn_that_has_begun_is_answered_by_the_old_process_and_kept_by_the_new_one() -> Result<()> {
    let mut host = start().await?;
    let mut alice = join(host.address(), "table:1", &json!({ "user": "alice", "grace": 0 })).await?;
    let reference = alice.push("table:1", "wait", &json!({})).await?;
    let answered = tokio::spawn(async move {
        let (frames, code) = alice.until_closed().await?;
        let is_it = |frame: &&Received| matches!(frame, Received::Json(frame) if frame[1] == reference.as_str());
        Ok::<_, anyhow::Error>((frames.iter().find(is_it).cloned(), code))
    });
    upgraded(&mut host).await?;
    let (answer, code) = answered.await??;
    let Some(Received::Json(answer)) = answer else { bail!("there is no reply: {code:?}") };
    ensure!(answer[4]["response"] == json!({ "sum": 1 }) && code == Some(1012), "{answer} {code:?}");
    let told = join_answer(host.address(), "table:1", &json!({ "user": "bob", "grace": 0 })).await?;
    ensure!(told == json!({ "sum": 1 }), "{told}");
    host.stop().await?;
    Ok(())
}

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

/// The new process has another build of the plugin than the old one, which never sees it.
#[tokio::test]
async fn states_are_upgraded_if_the_new_process_has_another_build() -> Result<()> {
    let first = Setup::new().file("a/counter.wasm", places::guest("counter")?);
    let setup = first.file("b/counter.wasm", places::guest("variants/counter-v2")?).config("load = [\"a\"]\n");
    let mut host = setup.start().await?;
    let mut alice = join(host.address(), "count:1", &json!({})).await?;
    ensure!(ask(&mut alice, "count:1", "add", &json!({ "n": 5 })).await? == json!({ "sum": 5 }));
    let config = host.home().join("bennu.toml");
    let text = fs::read_to_string(&config)?;
    fs::write(&config, text.replace("\"a\"", "\"b\""))?;
    let closed = until_closed(alice);
    upgraded(&mut host).await?;
    closed.await??;
    let mut alice = join(host.address(), "count:1", &json!({})).await?;
    let got = ask(&mut alice, "count:1", "get", &json!({})).await?;
    ensure!(got == json!({ "total": 5, "times": 0 }), "{got}");
    drop(alice);
    host.stop().await?;
    Ok(())
}

/// A process that speaks the protocol of hand-overs, as far as a test needs.
struct Peer(UnixStream);

impl Peer {
    async fn to(home: &Path) -> Result<Self> {
        let path = home.join("data/upgrade.sock");
        ensure!(fs::metadata(&path)?.permissions().mode() & 0o777 == 0o600);
        Ok(Self(UnixStream::connect(path).await?))
    }

    async fn send(&mut self, message: &Value) -> Result<()> {
        let text = message.to_string();
        self.0.write_all(&u32::try_from(text.len())?.to_be_bytes()).await?;
        Ok(self.0.write_all(text.as_bytes()).await?)
    }

    async fn next(&mut self) -> Result<Value> {
        within("a message of the host", async {
            let length = self.0.read_u32().await?;
            let mut text = vec![0; length as usize];
            self.0.read_exact(&mut text).await?;
            Ok(serde_json::from_slice(&text)?)
        })
        .await?
    }

    async fn hello(home: &Path) -> Result<Self> {
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
    host.stop().await?;
    Ok(())
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

/// The acknowledged sums of one client.
#[derive(Default)]
struct Acknowledged {
    sums: u64,
    slowest: Duration,
    reconnects: u64,
}

/// Adds 1 again and again to a room of its own, and connects again after each close, at once.
async fn adds(address: SocketAddr, number: usize, is_over: Arc<AtomicBool>) -> Result<Acknowledged> {
    let topic = format!("table:{number}");
    let mut done = Acknowledged::default();
    let mut closed: Option<Instant> = None;
    while !is_over.load(Ordering::Relaxed) {
        let mut client = ConnectRequest::to(address).connect().await.context("a connection was refused")?;
        let params = json!({ "user": "it", "grace": 1000 });
        let reference = client.push(&topic, "phx_join", &params).await?;
        let Some(joined) = reply_or_close(&mut client, &reference).await? else {
            // It has connected to the old process, which is about to end.
            closed = Some(Instant::now());
            done.reconnects += 1;
            continue;
        };
        // What was acknowledged is there. A message without a reply may be there, too.
        let sum = joined["sum"].as_u64().context("the sum")?;
        ensure!(sum >= done.sums, "room {number} has {sum}, and {} was acknowledged", done.sums);
        done.sums = sum;
        if let Some(closed) = closed.take() {
            done.slowest = done.slowest.max(closed.elapsed());
            done.reconnects += 1;
        }
        while !is_over.load(Ordering::Relaxed) {
            let reference = client.push(&topic, "add", &json!({ "n": 1 })).await.unwrap_or_default();
            let Some(answer) = reply_or_close(&mut client, &reference).await? else {
                closed = Some(Instant::now());
                break;
            };
            ensure!(answer["sum"] == done.sums + 1, "{answer} after {}", done.sums);
            done.sums += 1;
        }
    }
    Ok(done)
}

/// Waits for a reply. Returns none if the host closes the connection.
async fn reply_or_close(client: &mut TestClient, reference: &str) -> Result<Option<Value>> {
    loop {
        match client.next().await? {
            Received::Json(frame) if frame[3] == "phx_reply" && frame[1] == reference => {
                ensure!(frame[4]["status"] == "ok", "{frame}");
                return Ok(Some(frame[4]["response"].clone()));
            }
            Received::Closed(Some(1012) | None) => return Ok(None),
            Received::Closed(code) => bail!("closed with {code:?}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_send_without_pause_lose_nothing_that_was_acknowledged() -> Result<()> {
    let (clients, replacements) = (rounds("replacements::clients"), rounds("replacements"));
    let mut host = start().await?;
    let address = host.address();
    let is_over = Arc::<AtomicBool>::default();
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        tasks.spawn(adds(address, number, Arc::clone(&is_over)));
    }
    for _ in 0..replacements {
        host.shows("all clients are back", |shown| shown["sockets"] == clients).await?;
        upgraded(&mut host).await?;
    }
    host.shows("all clients are back", |shown| shown["sockets"] == clients).await?;
    is_over.store(true, Ordering::Relaxed);
    let (mut slowest, mut reconnects) = (Duration::ZERO, BTreeMap::<u64, usize>::new());
    while let Some(done) = tasks.join_next().await {
        let done = done??;
        slowest = slowest.max(done.slowest);
        *reconnects.entry(done.reconnects).or_default() += 1;
    }
    println!(
        "{clients} clients, {replacements} replacements: the slowest client was back after {slowest:?}; {reconnects:?}"
    );
    ensure!(reconnects.keys().all(|count| *count >= replacements as u64), "{reconnects:?}");
    // On a machine with other work, the clients themselves may be slower.
    ensure!(Tier::current() == Tier::Usual || slowest < Duration::from_secs(2), "{slowest:?}");
    host.stop().await?;
    Ok(())
}
