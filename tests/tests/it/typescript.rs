//! Plugins in JavaScript and TypeScript: the file is the plugin, without a toolchain.

use std::fs;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Cast, Loading, Setup, TestHost, bennu, check, places};
use serde_json::json;

/// A host with one script.
pub(crate) async fn host(file: &str, source: &str) -> Result<TestHost> {
    Setup::new().file(&format!("plugins/{file}"), source.as_bytes().to_vec()).start().await
}

const COUNTER: &str = r#"
import { channel, entries, plugin, refuse, reply, stop, store, topics, type Socket } from "bennu";

interface Member { name: string; count: number }

export default plugin({
  "count:*": channel({
    state: { name: "", count: 0 } as Member,
    room: { total: 0 },
    join({ name }: { name?: string }, socket) {
      if (!name) refuse({ reason: "who?" });
      socket.state.name = name!;
      return { total: socket.room.total };
    },
    on: {
      add({ by }: { by: number }, socket: Socket) {
        socket.room.total += by;
        socket.state.count += 1;
        socket.broadcastFrom("added", { by, name: socket.state.name });
        return { total: socket.room.total, count: socket.state.count };
      },
      bytes: (payload: Uint8Array) => payload.map((byte) => byte + 1),
      store({ key, value }: any) {
        store.put(key, value);
        store.put(`${key}2`, [value]);
        return { list: store.list({ prefix: key }), one: store.get(key), none: store.get("none") ?? null };
      },
      ranges() {
        for (const key of ["a", "b", "b1", "b2", "bü", "c"]) store.put(key, 0);
        const keys = (range: object) => store.list(range).map(([key]) => key).join(" ");
        return [{}, { from: "b1" }, { to: "b1" }, { prefix: "b" }, { prefix: "b", from: "a" }, { prefix: "b", from: "b1" },
          { prefix: "b", to: "b2" }, { prefix: "b", to: "z" }, { from: "c", to: "b" }, { prefix: "" }].map(keys).reduce(
            (all, list, at) => ({ ...all, [at]: list }), {});
      },
      entries(_: unknown) {
        entries.put("a/1", { ü: 1 });
        entries.put("a/2", "two");
        entries.put("b", null);
        const all = entries.list({ prefix: "a/", reverse: true });
        return { all, removed: entries.deleteRange({ prefix: "a/" }), left: entries.list() };
      },
      raw(_: unknown) {
        store.putBytes("raw", new Uint8Array([0, 255]));
        entries.putBytes("raw", new Uint8Array([1]));
        const lists = [store.listBytes({ prefix: "raw" }), entries.listBytes()].map((list) => list.map(([key, value]) => [key, ...value]));
        const many = entries.getMany(["none", "many"].filter((key) => key !== "many" || !entries.putMany([["many", 7]])));
        return { lists, one: [...store.getBytes("raw")!], none: entries.getBytes("none") ?? null, many: many.map((value) => value ?? null) };
      },
      look: () => ({ all: topics.presences("count:1"), one: topics.presence("count:1", "x"), count: topics.count("count:1") }),
      busy: () => reply("busy", { later: true }),
      last: () => stop("done", reply("gone", {})),
      later: ({ ms }: any, socket: Socket) => ({ timer: typeof socket.sendAfter(ms, "rang", { ms }) }),
      bye: () => stop("done", { bye: true }),
      nothing: () => {},
      refused: () => refuse("no"),
      user: (_: unknown, socket: Socket) => ({ user: socket.user ?? null, transport: socket.transport, id: socket.id > 0 }),
      sit: (_: unknown, socket: Socket) => { socket.takeSeat(socket.state.name, 0); return {}; },
      tick: (_: unknown, socket: Socket) => { socket.tick(10); return {}; },
    },
    info: { rang: ({ ms }: any, socket, { source }) => socket.push("rang", { ms, source }) },
    message: { total: (_: unknown, topic) => ({ total: topic.room.total, members: topic.memberCount }) },
    seat: (change, name, topic) => topic.broadcast("seat", { change, name }),
    tick: ({ number }, topic) => { topic.tick(0); topic.broadcast("ticked", { counted: number > 0 }); },
    leave: (cause, socket) => socket.broadcast("left", { cause, name: socket.state.name }),
  }),
});
"#;

#[tokio::test]
async fn a_channel_in_typescript_has_all_of_a_channels_callbacks() -> Result<()> {
    let host = host("counter.ts", COUNTER).await?;
    check(
        &host,
        r#"
        alice > join count:1
        alice < error {"reason": "who?"}
        alice > join count:1 {"name": "alice"}
        alice < ok {"total": 0}
        bob   > join count:1 {"name": "bob"}
        bob   < ok {"total": 0}
        alice > add {"by": 2}
        alice < ok {"total": 2, "count": 1}
        bob   < added {"by": 2, "name": "alice"}
        bob   > add {"by": 3}
        bob   < ok {"total": 5, "count": 1}
        alice < added {"by": 3, "name": "bob"}
        alice > ranges
        alice < ok {"0": "a b b1 b2 bü c", "1": "b1 b2 bü c", "2": "a b", "3": "b b1 b2 bü", "4": "b b1 b2 bü", "5": "b1 b2 bü", "6": "b b1", "7": "b b1 b2 bü", "8": "", "9": "a b b1 b2 bü c"}
        alice > store {"key": "k", "value": {"ü": "🐬"}}
        alice < ok {"list": [["k", {"ü": "🐬"}], ["k2", [{"ü": "🐬"}]]], "one": {"ü": "🐬"}, "none": null}
        alice > entries
        alice < ok {"all": [["a/2", "two"], ["a/1", {"ü": 1}]], "removed": 2, "left": [["b", null]]}
        alice > raw
        alice < ok {"lists": [[["raw", 0, 255]], [["b", 110, 117, 108, 108], ["raw", 1]]], "one": [0, 255], "none": null, "many": [null, 7]}
        alice > look
        alice < ok {"all": {}, "one": [], "count": 2}
        alice > busy
        alice < reply busy {"later": true}
        alice > later {"ms": 20}
        alice < ok {"timer": "number"}
        alice < rang {"ms": 20, "source": "self"}
        alice > refused
        alice < error {"reason": "no"}
        alice > wink
        alice < error {"reason": "unknown event \"wink\""}
        alice > user
        alice < ok {"user": null, "transport": "websocket", "id": true}
        alice > sit
        alice < ok {}
        alice < seat {"change": "taken", "name": "alice"}
        bob   < seat {"change": "taken", "name": "alice"}
        bob   > tick
        bob   < ok {}
        bob   < ticked {"counted": true}
        alice < ticked {"counted": true}
        bob   > bye
        bob   < ok {"bye": true}
        bob   < phx_close
        alice < left {"cause": "stopped", "name": "bob"}
        "#,
    )
    .await?;
    host.stop().await?;
    Ok(())
}

/// Every instance is the same: it doesn't matter which of them evaluates the module.
#[tokio::test]
async fn time_and_random_numbers_of_a_module_are_those_of_the_build_and_of_a_call_are_real() -> Result<()> {
    let source = r#"
        import { channel, plugin } from "bennu";
        const first = [Date.now(), Math.random(), crypto.randomUUID()];
        export default plugin({ "a:*": channel({ on: {
          first: () => ({ first, now: Date.now(), random: Math.random(), uuid: crypto.randomUUID(), year: new Date().getFullYear() }),
          fail: () => { throw new Error("a new instance, please"); },
        }, onFault: "keep" }) });
    "#;
    let host = host("same.js", source).await?;
    let mut client = host.connect().await?;
    client.join("a:1", &json!({})).await?;
    let one = client.call("a:1", "first", &json!({})).await?;
    client.ask("a:1", "fail", &json!({})).await?;
    let two = client.call("a:1", "first", &json!({})).await?;
    ensure!(one["first"] == two["first"], "{one} {two}");
    ensure!(one["random"] != two["random"] && one["uuid"] != two["uuid"], "{one} {two}");
    let year = one["year"].as_u64().context("a year")?;
    ensure!(year >= 2026 && one["now"].as_u64() <= two["now"].as_u64(), "{one} {two}");
    let uuid = one["uuid"].as_str().context("a text")?;
    ensure!(uuid.len() == 36 && uuid.as_bytes()[14] == b'4', "{uuid}");
    client.close().await?;
    host.stop().await?;
    Ok(())
}

/// The new build has another field and its default, and the same file name may become TypeScript.
#[tokio::test]
async fn a_saved_script_takes_over_states_and_a_faulty_one_is_rolled_back() -> Result<()> {
    let host = host("counter.ts", COUNTER).await?;
    let mut cast = Cast::new(&host);
    cast.play(
        r#"
        alice > join count:1 {"name": "alice"}
        alice < ok {"total": 0}
        alice > add {"by": 1}
        alice < ok {"total": 1, "count": 1}
        "#,
    )
    .await?;
    let second = COUNTER.replace("count: 0 } as Member", "count: 0, level: 7 } as any").replace(
        "return { total: socket.room.total, count: socket.state.count };",
        "return { total: socket.room.total, level: socket.state.level++ };",
    );
    ensure!(matches!(host.put_file("counter.ts", second.as_bytes()).await?, Loading::Done(2)));
    cast.play(
        r#"
        alice > add {"by": 1}
        alice < ok {"total": 2, "level": 7}
        alice > add {"by": 1}
        alice < ok {"total": 3, "level": 8}
        "#,
    )
    .await?;
    let bad = second
        .replace("socket.room.total += by;", "socket.room.total += by;\n        throw new RangeError(\"a mistake\");");
    let mark = host.log().len();
    ensure!(matches!(host.put_file("counter.ts", bad.as_bytes()).await?, Loading::Done(3)));
    // The first build has passed its probation, and answers.
    cast.play("alice > add {\"by\": 1}\nalice < ok {\"total\": 4, \"count\": 4}").await?;
    let place = "RangeError: a mistake; in add (counter.ts:18:";
    host.log().find(mark, "the fault with its place", |line| line.message().contains(place)).await?;
    host.stop().await?;
    Ok(())
}

#[test]
fn check_and_test_take_scripts() -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::write(home.path().join("counter.ts"), COUNTER)?;
    fs::write(home.path().join("bennu.toml"), format!("cache = {:?}", places::compiled()?.display().to_string()))?;
    let script = "alice > join count:1 {\"name\": \"a\"}\nalice < ok {\"total\": 0}\nalice > add {\"by\": 4}\nalice < ok {\"total\": 4, \"count\": 1}";
    fs::write(home.path().join("good.script"), script)?;
    let checked = bennu(home.path(), &["check", "counter.ts", "--config", "bennu.toml"])?;
    ensure!(checked.code == Some(0) && checked.output.contains("count:*, a room"), "{checked:?}");
    for export in ["handle-message", "handle-tick", "handle-seat"] {
        ensure!(checked.output.contains(&format!("bennu:channel/{export}@")), "{checked:?}");
    }
    ensure!(!checked.output.contains("handle-out") && !checked.output.contains("wasi:"), "{checked:?}");
    let played = bennu(home.path(), &["test", "counter.ts", "good.script", "--config", "bennu.toml"])?;
    ensure!(played.code == Some(0) && played.output == "ok      good.script\n", "{played:?}");
    Ok(())
}

#[test]
fn the_documentation_shows_the_templates() -> Result<()> {
    let workspace = places::workspace()?;
    for (document, file) in [("typescript.md", "chat.ts"), ("testing.md", "chat.test.ts")] {
        let template = fs::read_to_string(workspace.join("templates/files/chat").join(file))?;
        let shown = template.replace("{{name}}", "chat");
        let page = fs::read_to_string(workspace.join("docs").join(document))?;
        ensure!(page.contains(&format!("```ts\n{shown}```")), "docs/{document} shows another {file} than {shown}");
    }
    Ok(())
}
