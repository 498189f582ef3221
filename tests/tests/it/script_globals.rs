//! What a script finds in its global scope next to the built-ins of the engine.

use anyhow::{Context, Result, ensure};
use bennu_tests::{Reply, Setup, TestClient, check};
use serde_json::json;

use crate::typescript::host;

#[tokio::test]
async fn texts_are_encoded_and_decoded_as_in_browsers() -> Result<()> {
    let source = r#"
        const bytes = (...list) => new Uint8Array(list);
        const raised = (call) => { try { return call(); } catch (error) { return error.name; } };
        export default { "a:*": { on: {
          text: ({ text }) => {
            const encoded = new TextEncoder().encode(text);
            return { length: encoded.length, again: new TextDecoder().decode(encoded) === text };
          },
          // A character is written whole or not at all.
          into: ({ text, room }) => {
            const to = new Uint8Array(room);
            return { ...new TextEncoder().encodeInto(text, to), bytes: [...to] };
          },
          decode: () => ({
            lossy: new TextDecoder().decode(bytes(97, 255, 226, 130, 98)),
            fatal: raised(() => new TextDecoder("UTF-8", { fatal: true }).decode(bytes(255))),
            label: raised(() => new TextDecoder("latin1")),
            marks: [false, true].map((ignoreBOM) => new TextDecoder("utf8", { ignoreBOM }).decode(bytes(239, 187, 191, 97)).length),
          }),
          stream: () => {
            const decoder = new TextDecoder(), parts = [bytes(240, 159), bytes(144), bytes(172, 97)];
            return { parts: [...parts.map((part) => decoder.decode(part, { stream: true })), decoder.decode()] };
          },
        } } };
    "#;
    let host = host("codec.js", source).await?;
    check(
        &host,
        r#"
        alice > join a:1
        alice < ok {}
        alice > text {"text": "ü🐬 plain"}
        alice < ok {"length": 12, "again": true}
        alice > into {"text": "aü🐬", "room": 6}
        alice < ok {"read": 2, "written": 3, "bytes": [97, 195, 188, 0, 0, 0]}
        alice > into {"text": "aü🐬", "room": 8}
        alice < ok {"read": 4, "written": 7, "bytes": [97, 195, 188, 240, 159, 144, 172, 0]}
        alice > decode
        alice < ok {"lossy": "a\ufffd\ufffdb", "fatal": "TypeError", "label": "RangeError", "marks": [1, 2]}
        alice > stream
        alice < ok {"parts": ["", "", "🐬a", ""]}
        "#,
    )
    .await?;
    host.stop().await?;
    Ok(())
}

/// Any byte of a client's message can be none of UTF-8. A message has at most 1 MiB.
#[tokio::test]
async fn bytes_that_are_no_text_are_decoded_within_the_time_of_a_call() -> Result<()> {
    let source = r#"
        export default { "a:*": { on: {
          decode: ({ pair }) => {
            const bytes = new Uint8Array(new Uint16Array(1 << 19).fill(pair).buffer);
            const text = new TextDecoder().decode(bytes);
            return { length: text.length, begins: text.slice(0, 2) };
          },
        } } };
    "#;
    // On a busy machine, a call takes much longer than its CPU time.
    let setup = Setup::new().file("plugins/lossy.js", source.into()).limit("call_wall_ms", 60_000);
    let host = setup.start().await?;
    check(
        &host,
        r#"
        alice > join a:1
        alice < ok {}
        alice > decode {"pair": 65535}
        alice < ok {"length": 1048576, "begins": "\ufffd\ufffd"}
        alice > decode {"pair": 65377}
        alice < ok {"length": 1048576, "begins": "a\ufffd"}
        "#,
    )
    .await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn values_are_cloned_as_in_browsers() -> Result<()> {
    let source = r#"
        class MyError extends Error { constructor() { super("mine"); this.name = "MyError"; } }
        const raised = (call) => { try { return call(); } catch (error) { return error.name; } };
        export default { "a:*": { on: {
          clone: () => {
            const a = { list: [1, { b: 2 }], map: new Map([["k", new Set([1])]]), at: new Date(5) };
            a.self = a;
            const b = structuredClone(a);
            b.list[1].b = 3;
            return { a: a.list[1].b, b: b.list[1].b, map: [...b.map.get("k")], at: b.at.getTime(), self: b.self === b };
          },
          // Two views of a buffer are two views of its copy.
          views: () => {
            const buffer = new Uint8Array([1, 2, 3, 4]).buffer;
            const copy = structuredClone({ view: new DataView(buffer, 1, 2), all: new Uint8Array(buffer) });
            copy.view.setUint8(0, 9);
            return { all: [...copy.all], before: [...new Uint8Array(buffer)], length: copy.view.byteLength };
          },
          errors: () => {
            const copy = structuredClone(new RangeError("far", { cause: { a: 1 } })), mine = structuredClone(new MyError());
            return { text: String(copy), is: copy instanceof RangeError, cause: copy.cause, mine: String(mine) };
          },
          own: () => ({ name: new MyError().name, text: String({ toString: () => "own" }) }),
          buffers: () => {
            const buffer = new ArrayBuffer(2, { maxByteLength: 4 });
            new Uint8Array(buffer)[1] = 7;
            const copy = structuredClone(buffer);
            return { most: copy.maxByteLength, all: [...new Uint8Array(copy)] };
          },
          refused: () => [
            () => {}, Symbol("s"), new WeakMap(), Promise.resolve(), Object(Symbol("s")), new SharedArrayBuffer(1),
            new Uint8Array(new SharedArrayBuffer(1)), (function* () {})(), (async function* () {})(), new Map().keys(),
          ].map((value) => raised(() => structuredClone({ value }))),
        } } };
    "#;
    let host = host("clone.js", source).await?;
    check(
        &host,
        r#"
        alice > join a:1
        alice < ok {}
        alice > clone
        alice < ok {"a": 2, "b": 3, "map": [1], "at": 5, "self": true}
        alice > views
        alice < ok {"all": [1, 9, 3, 4], "before": [1, 2, 3, 4], "length": 2}
        alice > errors
        alice < ok {"text": "RangeError: far", "is": true, "cause": {"a": 1}, "mine": "Error: mine"}
        alice > own
        alice < ok {"name": "MyError", "text": "own"}
        alice > buffers
        alice < ok {"most": 4, "all": [0, 7]}
        alice > refused
        alice < ok ["TypeError", "TypeError", "TypeError", "TypeError", "TypeError", "TypeError", "TypeError", "TypeError", "TypeError", "TypeError"]
        "#,
    )
    .await?;
    host.stop().await?;
    Ok(())
}

/// The lines of the script below: the level, and the beginning of the text.
const LINES: [(&str, &str); 18] = [
    ("INFO", r#"hello {"a":1} ["2n"]"#),
    ("INFO", "5 of 7 left"),
    ("WARN", "Error: oh; in "),
    ("ERROR", "RangeError: far; in "),
    ("INFO", "list"),
    ("INFO", "  (index) | a | Values"),
    ("INFO", "  0       | 1 |"),
    ("INFO", "  1       |   | 2"),
    ("INFO", "n: 1"),
    ("INFO", "n: 2"),
    ("INFO", "t: "),
    ("ERROR", "Assertion failed: no"),
    ("INFO", "open"),
    // The next callback has a new count, and no group.
    ("INFO", "n: 1"),
    ("INFO", r#"NaN Symbol(s) {"list":["-Infinity","undefined"],"f":"[function f]","at":"Invalid Date"}"#),
    ("INFO", "[a value that can't be shown] Error: a"),
    ("INFO", "[a value that can't be shown]: 1"),
    ("INFO", "end"),
];

#[tokio::test]
async fn the_console_writes_to_the_log() -> Result<()> {
    let source = r#"
        const raised = (call) => { try { return call(); } catch (error) { return error.name; } };
        export default { "a:*": { on: {
          log: () => {
            console.log("hello", { a: 1 }, [2n]);
            console.info("%d of %s", 5, "7", "left");
            console.warn(new Error("oh"));
            console.error(new RangeError("far"));
            console.group("list");
            console.table([{ a: 1 }, 2]);
            console.groupEnd();
            console.count("n");
            console.count("n");
            console.time("t");
            console.timeEnd("t");
            console.assert(1 > 2, "no");
            console.assert(true, "yes");
            console.groupCollapsed("open");
            return {};
          },
          again: () => {
            console.count("n");
            console.log(NaN, Symbol("s"), { list: [-Infinity, undefined], f() {}, at: new Date(NaN) });
            const throwing = { get() { throw new Error("no"); } };
            console.log(new Proxy({}, throwing), Object.defineProperty(new Error("a"), "stack", throwing));
            console.count({ toString: throwing.get });
            console.dir("end");
            return { frozen: raised(() => { console.log = null; }) };
          },
        } } };
    "#;
    let host = host("globals.js", source).await?;
    let mark = host.log().len();
    let script = "alice > join a:1\nalice < ok {}\nalice > log\nalice < ok {}\nalice > again\nalice < ok {\"frozen\": \"TypeError\"}";
    check(&host, script).await?;
    host.log().find(mark, "the last line", |line| line.is_guest() && line.message() == "end").await?;
    let lines = host.log().since(mark);
    let lines: Vec<_> =
        lines.iter().filter(|line| line.is_guest()).map(|line| (line.field("level"), line.message())).collect();
    ensure!(lines.len() == LINES.len(), "{lines:#?}");
    for ((level, begins), (found, text)) in LINES.iter().zip(&lines) {
        ensure!(level == found && text.starts_with(begins), "{begins}: {lines:#?}");
    }
    let error = lines.iter().find(|(level, _)| *level == "ERROR").map(|(_, text)| *text).unwrap_or_default();
    ensure!(error.contains("globals.js:8:"), "{error} has not the line of the script");
    host.stop().await?;
    Ok(())
}

/// Half of a surrogate pair is valid in JSON, so each `text` below can be one.
const HALVES: &str = r#"import { http, stop, store, token, topics } from "bennu";

export default { "a:*": { onFault: "keep", on: {
  log: ({ text }) => { console.log(text); console.warn("%s", text); return {}; },
  table: () => { console.table([{ a: "x".repeat(58) + "🐬yyy" }]); return {}; },
  verify: ({ text }) => {
    try { token.verify("salt", text); } catch (problem) { return { problem: problem.problem }; }
  },
  track: ({ text }, socket) => { socket.track(text); },
  push: ({ text }, socket) => { socket.push(text); },
  stop: ({ text }) => stop(text),
  get: ({ text }) => ({ found: store.get(text) }),
  list: ({ text }) => store.list({ prefix: text }),
  count: ({ text }) => topics.count(text),
  url: ({ text }) => { http.request("key", text); },
  header: ({ text }) => { http.request("key", "https://a.example", { headers: { "x-a": text } }); },
  error: ({ text }) => { throw new Error(text); },
  thrown: ({ text }) => { throw text; },
} } };
"#;

/// The events that are faults, and the fault's text.
const HALF_FAULTS: [(&str, &str); 10] = [
    ("track", "TypeError: a key has half of a surrogate pair, which is no text; in track (halves.js:9:"),
    ("push", "TypeError: an event has half of a surrogate pair, which is no text; in push (halves.js:10:"),
    ("stop", "TypeError: a reason has half of a surrogate pair, which is no text; in stop (halves.js:11:"),
    ("get", "TypeError: a key has half of a surrogate pair, which is no text; in get (halves.js:12:"),
    ("list", "TypeError: a key has half of a surrogate pair, which is no text; in list (halves.js:13:"),
    ("count", "TypeError: a topic has half of a surrogate pair, which is no text; in count (halves.js:14:"),
    ("url", "TypeError: a URL has half of a surrogate pair, which is no text; in url (halves.js:15:"),
    ("header", "TypeError: the header `x-a` has half of a surrogate pair, which is no text; in header (halves.js:16:"),
    ("error", "Error: \u{fffd}; in error (halves.js:17:"),
    ("thrown", r#""\ud83d" was thrown"#),
];

/// Sends half of a surrogate pair as the field `text`. The event is also the ref.
async fn ask_with_half(client: &mut TestClient, event: &str) -> Result<Reply> {
    let join_ref = client.join_ref("a:1").context("it has joined")?;
    let frame = format!(r#"["{join_ref}","{event}","a:1","{event}",{{"text":"\ud83d"}}]"#);
    client.send(frame).await?;
    client.reply("a:1", event).await
}

/// A trap would cost the instance, and the log would have no line of the script.
#[tokio::test]
async fn half_of_a_surrogate_pair_is_no_trap() -> Result<()> {
    let host = host("halves.js", HALVES).await?;
    let mut client = host.connect().await?;
    client.join("a:1", &json!({})).await?;
    let mark = host.log().len();
    for (event, response) in [("log", json!({})), ("table", json!({})), ("verify", json!({ "problem": "invalid" }))] {
        let reply = ask_with_half(&mut client, event).await?;
        ensure!(reply == Reply { status: "ok".to_owned(), response }, "{event}: {reply:?}");
    }
    let row = format!("0       | {}…", "x".repeat(58));
    host.log().find(mark, "the row", |line| line.is_guest() && line.message() == row).await?;
    for level in ["INFO", "WARN"] {
        let is_it = |line: &bennu_tests::Line| line.is_guest() && line.field("level") == level;
        let line = host.log().find(mark, "the half", is_it).await?;
        ensure!(line.message() == "\u{fffd}", "{line:?}");
    }
    for (event, expected) in HALF_FAULTS {
        let mark = host.log().len();
        let reply = ask_with_half(&mut client, event).await?;
        ensure!(reply.status == "error", "{event}: {reply:?}");
        let fault =
            host.log().find(mark, &format!("the fault of `{event}`"), |line| line.field("event") == event).await?;
        ensure!(fault.field("kind") == "failed" && fault.message().contains(expected), "{event}: {}", fault.text);
    }
    client.close().await?;
    host.stop().await?;
    Ok(())
}
