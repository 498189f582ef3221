//! Components that import WASI 0.2: it has the host's clock, randomness and log, and nothing else.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use bennu_tests::crafted::Crafted;
use bennu_tests::{Setup, check};

use crate::core_modules::each_is_a_fault;

/// The part of WASI that the component imports. The version isn't one that the host knows by itself.
const WASI: &str = r"
    package wasi:io@0.2.77 {
        interface error { resource error; }
        interface poll {
            resource pollable { ready: func() -> bool; block: func(); }
            poll: func(in: list<borrow<pollable>>) -> list<u32>;
        }
        interface streams {
            use error.{error};
            variant stream-error { last-operation-failed(error), closed }
            resource input-stream { read: func(len: u64) -> result<list<u8>, stream-error>; }
            resource output-stream {
                check-write: func() -> result<u64, stream-error>;
                blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
            }
        }
    }
    package wasi:clocks@0.2.77 {
        interface monotonic-clock {
            use wasi:io/poll@0.2.77.{pollable};
            now: func() -> u64;
            subscribe-duration: func(when: u64) -> pollable;
        }
        interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }
    }
    package wasi:cli@0.2.77 {
        interface environment { get-environment: func() -> list<tuple<string, string>>; }
        interface exit { exit: func(status: result); }
        interface stdin { use wasi:io/streams@0.2.77.{input-stream}; get-stdin: func() -> input-stream; }
        interface stdout { use wasi:io/streams@0.2.77.{output-stream}; get-stdout: func() -> output-stream; }
        interface stderr { use wasi:io/streams@0.2.77.{output-stream}; get-stderr: func() -> output-stream; }
    }
    package wasi:random@0.2.77 { interface random { get-random-bytes: func(len: u64) -> list<u8>; } }
    package wasi:filesystem@0.2.77 {
        interface types { resource descriptor { sync: func(); } }
        interface preopens { use types.{descriptor}; get-directories: func() -> list<tuple<descriptor, string>>; }
    }
    package wasi:sockets@0.2.77 {
        interface network { resource network; enum error-code { unknown, access-denied, not-supported } }
        interface instance-network { use network.{network}; instance-network: func() -> network; }
        interface tcp { resource tcp-socket; }
        interface tcp-create-socket {
            use network.{error-code};
            use tcp.{tcp-socket};
            create-tcp-socket: func(family: u32) -> result<tcp-socket, error-code>;
        }
        interface ip-name-lookup {
            use network.{network, error-code};
            resource resolve-address-stream;
            resolve-addresses: func(network: borrow<network>, name: string) -> result<resolve-address-stream, error-code>;
        }
    }
";

/// The imported functions: interface, name, name in the module, and type.
const IMPORTS: [(&str, &str, &str, &str); 18] = [
    ("io/poll", "[method]pollable.ready", "ready", "(param i32) (result i32)"),
    ("io/poll", "[method]pollable.block", "block", "(param i32)"),
    ("io/poll", "poll", "poll", "(param i32 i32 i32)"),
    ("io/streams", "[method]input-stream.read", "read", "(param i32 i64 i32)"),
    ("io/streams", "[method]output-stream.blocking-write-and-flush", "write", "(param i32 i32 i32 i32)"),
    ("clocks/monotonic-clock", "now", "now", "(result i64)"),
    ("clocks/monotonic-clock", "subscribe-duration", "sleep", "(param i64) (result i32)"),
    ("clocks/wall-clock", "now", "wall", "(param i32)"),
    ("cli/environment", "get-environment", "environment", "(param i32)"),
    ("cli/exit", "exit", "exit", "(param i32)"),
    ("cli/stdin", "get-stdin", "stdin", "(result i32)"),
    ("cli/stdout", "get-stdout", "stdout", "(result i32)"),
    ("cli/stderr", "get-stderr", "stderr", "(result i32)"),
    ("random/random", "get-random-bytes", "random", "(param i64 i32)"),
    ("filesystem/preopens", "get-directories", "directories", "(param i32)"),
    ("sockets/instance-network", "instance-network", "network", "(result i32)"),
    ("sockets/tcp-create-socket", "create-tcp-socket", "socket", "(param i32 i32)"),
    ("sockets/ip-name-lookup", "resolve-addresses", "resolve", "(param i32 i32 i32 i32)"),
];

const TEXTS: &str = r#"
    (import "wasi:io/streams@0.2.77" "[resource-drop]output-stream" (func $drop (param i32)))
    (data (i32.const 60000) "one\ntwo")
    (data (i32.const 60020) "it broke: caf\c3\a9")
    ;; Asserts that a value is 1.
    (func $expect (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))
"#;

/// What the component does for each event, which it knows by the first letter.
const ACTS: [(char, &str); 10] = [
    ('p', "(call $write (call $stdout) (i32.const 60000) (i32.const 7) (i32.const 60100))
           (call $expect (i32.eqz (i32.load8_u (i32.const 60100))))"),
    ('b', "(call $write (call $stderr) (i32.const 60020) (i32.const 15) (i32.const 60100)) unreachable"),
    ('e', "(call $exit (i32.const 1))"),
    // Keeps streams without end, and drops each.
    ('k', "(loop (drop (call $stdout)) (br 0))"),
    ('d', "(local.set 0 (i64.const 5000))
           (loop (call $drop (call $stdout)) (local.set 0 (i64.sub (local.get 0) (i64.const 1)))
               (br_if 0 (i64.ne (local.get 0) (i64.const 0))))"),
    // A sleep of 100 seconds, and a poll.
    ('s', "(i32.store (i32.const 60200) (call $sleep (i64.const 100000000000)))
           (call $block (i32.load (i32.const 60200)))
           (call $expect (call $ready (i32.load (i32.const 60200))))
           (call $poll (i32.const 60200) (i32.const 1) (i32.const 60300))
           (call $expect (i32.eq (i32.load (i32.const 60304)) (i32.const 1)))
           (call $expect (i32.eqz (i32.load (i32.load (i32.const 60300)))))"),
    // The clocks are the host's: later than 2020. 39 bytes are random.
    ('c', "(call $wall (i32.const 60200))
           (call $expect (i64.gt_u (i64.load (i32.const 60200)) (i64.const 1577836800)))
           (call $expect (i32.lt_u (i32.load (i32.const 60208)) (i32.const 1000000000)))
           (call $expect (i64.ge_u (call $now) (i64.mul (i64.load (i32.const 60200)) (i64.const 1000000000))))
           (call $random (i64.const 39) (i32.const 60200))
           (call $expect (i32.eq (i32.load (i32.const 60204)) (i32.const 39)))
           (call $expect (i64.ne (i64.load (i32.load (i32.const 60200))) (i64.load offset=8 (i32.load (i32.const 60200)))))"),
    // There is no environment, no directory, no input, and no socket. `access-denied` is case 1 of the errors.
    ('n', "(call $environment (i32.const 60200)) (call $expect (i32.eqz (i32.load (i32.const 60204))))
           (call $directories (i32.const 60200)) (call $expect (i32.eqz (i32.load (i32.const 60204))))
           (call $read (call $stdin) (i64.const 10) (i32.const 60200))
           (call $expect (i32.eq (i32.load8_u (i32.const 60200)) (i32.const 1)))
           (call $expect (i32.eq (i32.load8_u (i32.const 60204)) (i32.const 1)))
           (call $socket (i32.const 0) (i32.const 60200))
           (call $expect (i32.eq (i32.load8_u (i32.const 60200)) (i32.const 1)))
           (call $expect (i32.eq (i32.load8_u (i32.const 60204)) (i32.const 1)))"),
    ('r', "(call $resolve (call $network) (i32.const 60000) (i32.const 3) (i32.const 60200))"),
    ('m', "(call $random (i64.const 100000000) (i32.const 60200))"),
];

fn program() -> Result<Crafted> {
    let (mut declarations, mut acts) = (String::new(), String::new());
    let mut plugin = Crafted::serving("c:*").with_packages(WASI);
    for (interface, function, name, ty) in IMPORTS {
        writeln!(declarations, "(import \"wasi:{interface}@0.2.77\" \"{function}\" (func ${name} {ty}))")?;
        plugin = plugin.importing_interface(&format!("wasi:{interface}@0.2.77"));
    }
    for (letter, instructions) in ACTS {
        let is_it = format!("(i32.eq (i32.load8_u (local.get 8)) (i32.const {}))", u32::from(letter));
        writeln!(acts, "(if {is_it} (then {instructions}))")?;
    }
    Ok(plugin.declaring(&declarations).declaring(TEXTS).handling_in_by(&(acts + "i32.const 0")))
}

/// The program checks the results itself, and traps if one is wrong.
#[tokio::test]
async fn a_component_has_the_hosts_clock_and_randomness_and_nothing_else() -> Result<()> {
    let host = Setup::new().plugin("program", program()?.build()?).start().await?;
    let script = "alice > join c:1\nalice < ok {}\nalice > sleep\nalice > clock\nalice > nothing\nalice > nothing\nalice > drop\nalice > print";
    check(&host, &format!("{script}\nalice > phx_leave\nalice < ok {{}}")).await?;
    let log = host.stop().await?;
    let faults: Vec<_> = log.since(0).into_iter().filter(|line| line.message().starts_with("fault")).collect();
    ensure!(faults.is_empty(), "{faults:?}");
    let printed: Vec<_> = log.since(0).into_iter().filter(bennu_tests::Line::is_guest).collect();
    let expected = [("INFO", "one"), ("INFO", "two")];
    ensure!(printed.iter().map(|line| (line.field("level"), line.message())).eq(expected), "{printed:?}");
    // A build that asks for what there isn't is warned of once, because the library of its language may hide the error.
    let warnings = log.since(0).into_iter().filter(|line| line.message().starts_with("it called `wasi:sockets/"));
    ensure!(warnings.filter(|line| line.field("plugin") == "program").count() == 1);
    Ok(())
}

/// Each ends the call with a fault that says why.
#[tokio::test]
async fn what_a_component_can_not_have_is_a_fault_that_names_it() -> Result<()> {
    let host = Setup::new().plugin("program", program()?.build()?).start().await?;
    let cases = [
        ("break", "trap", "it printed: it broke: café"),
        ("exit", "trap", "called `exit` with the status 1"),
        ("keep", "oversize", "at most 1000 streams"),
        ("resolve", "failed", "called `wasi:sockets/ip-name-lookup#resolve-addresses`"),
        ("much", "oversize", "at most 65536 random bytes"),
    ];
    each_is_a_fault(&host, &cases).await?;
    host.stop().await?;
    Ok(())
}

/// Some interfaces are refused when the component is loaded.
#[tokio::test]
async fn an_interface_that_the_host_does_not_have_is_refused_by_name() -> Result<()> {
    let host = Setup::new().start().await?;
    let cases = [
        ("wasi:http", "0.2.77", "makes requests by `bennu:channel/http`"),
        ("wasi:keyvalue", "0.2.77", "build it without that interface"),
        ("wasi:cli", "0.3.0", "build it for the target `wasip2`"),
    ];
    for (package, version, words) in cases {
        let name = format!("{package}/thing@{version}");
        let plugin = Crafted::serving("c:*")
            .with_packages(&format!("package {package}@{version} {{ interface thing {{ act: func(); }} }}"))
            .importing_interface(&name)
            .declaring(&format!("(import \"{name}\" \"act\" (func))"));
        let why = host.refusal("odd", &plugin.build()?).await.context(package)?;
        ensure!(why.contains(&name) && why.contains(words), "{why}");
    }
    host.stop().await?;
    Ok(())
}
