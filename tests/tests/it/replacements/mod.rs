//! A running host is replaced by a new process: `bennu upgrade`.

mod answering;
mod carried;
mod failing;
mod jobs;
mod load;

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use bennu_tests::{ConnectRequest, Setup, TestClient, TestHost};
use serde_json::Value;

const TABLE: &str = r#"
import { channel, entries, plugin, schedule, store } from "bennu";

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

  "clock:*": channel({
    history: { count: 200, ms: 60_000 },
    on: {
      plan({ count, every }: { count: number; every: number }, socket) {
        for (let n = 0; n < count; n += 1) schedule.after(socket.topic, every * (n + 1), `ring${n}`, "ring", { n });
        return {};
      },
    },
    topicInfo: {
      ring({ n }: { n: number }, topic) {
        store.put("rings", [...((store.get("rings") as number[]) ?? []), n]);
        topic.broadcast("rang", { n });
      },
    },
  }),

  "asks:*": channel({
    on: {
      rings() {
        return { rings: store.get("rings") ?? [] };
      },
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

/// A host whose calls have time on a busy machine, too.
fn setup() -> Setup {
    Setup::new().file("plugins/table.ts", TABLE.into()).limit("call_cpu_ms", 20_000).limit("call_wall_ms", 60_000)
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

/// Joins, and returns the response.
async fn join_answer(address: SocketAddr, topic: &str, params: &Value) -> Result<Value> {
    let mut client = ConnectRequest::to(address).connect().await?;
    let reference = client.push(topic, "phx_join", params).await?;
    reply(&mut client, &reference).await
}
