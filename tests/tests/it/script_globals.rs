//! What a script finds in its global scope next to the built-ins of the engine.

use anyhow::{Result, ensure};
use bennu_tests::check;

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
          refused: () => [() => {}, Symbol("s"), new WeakMap(), Promise.resolve()].map((value) => raised(() => structuredClone(value))),
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
        alice > refused
        alice < ok ["TypeError", "TypeError", "TypeError", "TypeError"]
        "#,
    )
    .await?;
    host.stop().await?;
    Ok(())
}

/// The lines of the script below: the level, and the beginning of the text.
const LINES: [(&str, &str); 15] = [
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
