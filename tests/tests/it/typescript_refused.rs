//! Scripts with mistakes: each is refused or ends in a fault, with its place, and nobody else is affected.

use anyhow::{Context, Result, bail, ensure};
use bennu_tests::{Loading, Setup, TestHost};
use serde_json::json;

/// A host whose neighbour of the scripts under test is a plugin in Rust. On a busy machine, the CPU time may take long.
async fn host() -> Result<TestHost> {
    Setup::new().guests(&["echo"])?.limit("init_cpu_ms", 1000).limit("call_wall_ms", 60_000).start().await
}

async fn refusal(host: &TestHost, file: &str, source: &str) -> Result<String> {
    match host.put_file(file, source.as_bytes()).await? {
        Loading::Refused(why) => Ok(why),
        Loading::Done(generation) => bail!("{file} should have been refused, and serves as {generation}"),
    }
}

#[tokio::test]
async fn a_script_with_a_mistake_is_refused_with_its_place() -> Result<()> {
    let host = host().await?;
    let big = format!("export default {{}};\n// {}", "x".repeat(10 << 20));
    let cases = [
        (
            "syntax.ts",
            "const a: number = 1;\nconst b = ;",
            "syntax.ts:2:11: Unexpected token\n  2 | const b = ;\n    |           ^",
        ),
        ("enums.ts", "enum Color { Red }", "enums.ts:1:1: only types can be removed, and this is an `enum`"),
        (
            "endless.js",
            "\nwhile (true) {}",
            "endless.js: deadline: the evaluation of the script ran for more than 1000 ms of CPU time",
        ),
        (
            "missing.js",
            "import _ from \"lodash\";\n_();",
            "missing.js:1:15: there is no module `lodash`: a script is one file",
        ),
        ("beside.ts", "import { x } from './x.ts';\nx();", "beside.ts:1:19: there is no module `./x.ts`"),
        ("big.js", &big, "it has 10485782 bytes; a script has at most 4194304"),
        ("thrown.js", "throw { code: 7 };", "thrown.js: {\"code\":7} was thrown; throw an `Error` to see where"),
        ("error.ts", "type A = 1;\nthrow new Error('oh');", "Error: oh; in <anonymous> (error.ts:2:"),
        ("deep.js", "function f() { return f() + 1; }\nf();", "deep.js: a function calls itself without an end"),
        (
            "never.js",
            "await new Promise(() => {});",
            "never.js: a top-level `await` waits for a promise that never settles",
        ),
        ("regexp.js", "/^(a+)+$/.test('a'.repeat(40) + 'b');", "regexp.js: deadline: the evaluation of the script"),
        ("memory.js", "const a = []; for (;;) a.push(new Array(10000).fill(a));", "out of memory"),
        ("nothing.js", "const a = 1;", "nothing.js: TypeError: a script's default export must be its channels"),
        ("field.js", "export default { 'a:*': { jion() {} } };", "the channel of `a:*` has an unknown field `jion`"),
        (
            "effect.js",
            "import { store } from 'bennu';\nstore.put('a', 1);",
            "`store.put` can't be used while the script is evaluated; use it in a \
         callback; in <anonymous> (effect.js:2:",
        ),
        (
            "raw.js",
            "import { broadcast } from 'bennu:channel/socket@0.1.0';\nbroadcast('a', { tag: 'json', val: '{}' });",
            "raw.js: while a \
         script is evaluated, it can have no effects",
        ),
        (
            "frozen.js",
            "Array.prototype.push = () => 0;",
            "TypeError: 'push' is read-only; in <anonymous> (frozen.js:1:",
        ),
        ("process.js", "process.exit(1);", "ReferenceError: process is not defined; in <anonymous> (process.js:1:"),
    ];
    for (file, source, expected) in cases {
        let why = refusal(&host, file, source).await?;
        ensure!(why.contains(expected), "{file}: {why}");
    }
    let why = match host.put_file("latin.js", b"// \xfc").await? {
        Loading::Refused(why) => why,
        Loading::Done(_) => bail!("it isn't UTF-8"),
    };
    ensure!(why.contains("it is not UTF-8"), "{why}");
    let mut neighbour = host.connect().await?;
    neighbour.join("echo:1", &json!({})).await?;
    neighbour.call("echo:1", "echo", &json!({})).await?;
    neighbour.close().await?;
    host.stop().await?;
    Ok(())
}

/// The event, and a part of the fault's text.
const FAULTS: [(&str, &str); 17] = [
    ("error", "TypeError: not a function; in helper (faulty.ts:4:"),
    ("thrown", "\"text\" was thrown"),
    ("endless", "the call ran for more than"),
    ("regexp", "the call ran for more than"),
    ("deep", "call stack exhausted"),
    ("memory", "out of memory"),
    ("promise", "`promise` of `a:1` returned a promise; a callback can't be async"),
    ("array", "TypeError: the payload of `news` must be an object, and not an array; in array (faulty.ts:14:"),
    ("cycle", "TypeError: circular reference"),
    ("answer", "function is not a JSON value"),
    ("long", "RangeError: an event has at most 255 bytes; in long (faulty.ts:18:"),
    ("key", "TypeError: a key must be a string, and not number; in key (faulty.ts:19:"),
    ("timer", "TypeError: a time must be a whole number, and not 1.5; in timer (faulty.ts:20:"),
    ("grace", "RangeError: a grace period is at most 86400000 ms; in grace (faulty.ts:21:"),
    ("prefix", "RangeError: a prefix has at most 255 bytes; in prefix (faulty.ts:22:"),
    ("request", "RangeError: a key has at most 255 bytes; in request (faulty.ts:23:"),
    ("order", "RangeError: an order key has at most 255 bytes; in order (faulty.ts:24:"),
];

const FAULTY: &str = r#"import { channel, entries, http, plugin, type Socket } from "bennu";

function helper(socket: Socket) {
  return (socket as any).missing();
}

const faulty = channel({ onFault: "keep", state: { n: 0 }, on: {
  error: (_: unknown, socket) => helper(socket),
  thrown: () => { throw "text"; },
  endless: () => { for (;;); },
  regexp: () => ({ found: /^(a+)+$/.test("a".repeat(40) + "b") }),
  deep: function deep(): any { return [deep()]; },
  memory: () => { const all: any[] = []; for (;;) all.push(new Array(10000).fill(1)); },
  array: (_: unknown, socket) => { socket.broadcast("news", [1]); },
  promise: async () => ({}),
  cycle: () => { const a: any = {}; a.a = a; return a; },
  answer: () => (() => 1),
  long: (_: unknown, socket) => { socket.push("ü".repeat(128)); },
  key: (_: unknown, socket) => { socket.track(1 as any); },
  timer: (_: unknown, socket) => { socket.sendAfter(1.5, "late"); },
  grace: (_: unknown, socket) => { socket.takeSeat("me", 1e9); },
  prefix: () => { entries.follow("p".repeat(256)); },
  request: () => { http.request("k".repeat(256), "https://a.example"); },
  order: () => { http.deliver("https://a.example", { order: "o".repeat(256) }); },
  fine: (_: unknown, socket) => ({ n: ++socket.state.n }),
} });

export default plugin({ "a:*": faulty });
"#;

#[tokio::test]
async fn a_faulty_callback_is_a_fault_with_its_place_and_others_are_unharmed() -> Result<()> {
    // On a busy machine, a call takes much longer than its CPU time.
    let setup = Setup::new().file("plugins/faulty.ts", FAULTY.into()).limit("call_cpu_ms", 1000);
    let host = setup.limit("call_wall_ms", 60_000).start().await?;
    let mut neighbour = host.connect().await?;
    neighbour.join("a:2", &json!({})).await?;
    let mut client = host.connect().await?;
    client.join("a:1", &json!({})).await?;
    for (at, (event, expected)) in FAULTS.into_iter().enumerate() {
        let mark = host.log().len();
        let reply = client.ask("a:1", event, &json!({})).await?;
        ensure!(reply.status == "error", "{event}: {reply:?}");
        let fault =
            host.log().find(mark, &format!("the fault of `{event}`"), |line| line.field("event") == event).await?;
        ensure!(fault.message().contains(expected), "{event}: {}", fault.message());
        let fine = neighbour.call("a:2", "fine", &json!({})).await?;
        ensure!(fine["n"].as_u64() == u64::try_from(at + 1).ok(), "{event}: {fine}");
    }
    let fine = client.call("a:1", "fine", &json!({})).await.context("after all faults")?;
    ensure!(fine["n"] == 1, "{fine}");
    client.close().await?;
    neighbour.close().await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn state_that_a_module_keeps_is_warned_of() -> Result<()> {
    let host = host().await?;
    let mark = host.log().len();
    let source = "const users: Map<string, string> = new Map();\nexport default { 'a:*': {} };";
    ensure!(matches!(host.put_file("users.ts", source.as_bytes()).await?, Loading::Done(1)));
    let warned = |line: &bennu_tests::Line| line.message().starts_with("users.ts:1:7: `users` is kept in the module");
    let line = host.log().find(mark, "the warning", warned).await?;
    ensure!(line.message().ends_with("\n    |       ^"), "{}", line.message());
    host.stop().await?;
    Ok(())
}
