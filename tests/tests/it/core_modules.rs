//! Plugins that are core modules: the host wraps them as components, and gives WASI preview 1 to those that import it.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use bennu_tests::crafted::Crafted;
use bennu_tests::{Cast, Setup, TestHost, bennu, check, places};
use rustix::process::Signal;

/// A plugin in Rust that no tool has wrapped. The digest that the host shows is that of the file.
#[tokio::test]
async fn a_plugin_in_rust_is_loaded_as_a_core_module() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join echo:1\nalice < ok {}\nalice > count\nalice < ok {\"count\": 1, \"build\": \"1\"}").await?;
    ensure!(host.reload("echo", "variants/echo-core").await? == 2);
    cast.play("alice > count\nalice < ok {\"count\": 2, \"build\": \"1\"}").await?;
    let file = host.plugin_file("echo");
    let checked = bennu(host.home(), &["check", file.to_str().context("a path in UTF-8")?])?;
    ensure!(checked.code == Some(0), "{checked:?}");
    let shown = host.inspect().await?;
    let digest = shown["plugins"]["echo"]["digest"].as_str().context("a digest")?;
    ensure!(checked.output.contains(&format!("sha256    {digest}")), "{digest}: {checked:?}");
    ensure!(checked.output.contains(&format!("size      {} bytes", std::fs::metadata(&file)?.len())), "{checked:?}");
    drop(cast);
    // The compiled form is found by the file's digest.
    let host = host.restart(Signal::TERM).await?;
    let loaded =
        |line: &bennu_tests::Line| line.field("plugin") == "echo" && line.message().starts_with("plugin_loaded");
    let line = host.log().find(0, "the plugin is loaded", loaded).await?;
    ensure!(line.fields["cached"] == true, "{}", line.text);
    check(&host, "alice > join echo:1\nalice < ok {}").await?;
    host.stop().await?;
    Ok(())
}

/// The functions of WASI preview 1, with the types of their parameters: `i` for `i32`, and `l` for `i64`. Each returns an
/// `i32`, except `proc_exit`.
const PREVIEW1: [(&str, &str); 46] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "ili"),
    ("fd_advise", "illi"),
    ("fd_allocate", "ill"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "ill"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "il"),
    ("fd_filestat_set_times", "illi"),
    ("fd_pread", "iiili"),
    ("fd_prestat_get", "ii"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_pwrite", "iiili"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiili"),
    ("fd_renumber", "ii"),
    ("fd_seek", "ilii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiilli"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiillii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_exit", "i"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// Imports the whole of preview 1. Each function has its own name.
fn imports() -> Result<String> {
    let mut text = String::new();
    for (name, parameters) in PREVIEW1 {
        let types: Vec<&str> = parameters.chars().map(|kind| if kind == 'l' { "i64" } else { "i32" }).collect();
        let result = if name == "proc_exit" { "" } else { "(result i32)" };
        let signature = format!("(param {}) {result}", types.join(" "));
        writeln!(text, "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} {signature}))")?;
    }
    Ok(text)
}

/// Functions that print: `$write` to a descriptor, and `$lines` to the standard output until the call is ended.
const PRINT: &str = r#"
    (data (i32.const 60000) "one\n\ntwo\r\nthree")
    (data (i32.const 60020) "it broke: caf\c3\a9")
    (func $write (param $fd i32) (param $at i32) (param $size i32)
        (i32.store (i32.const 60100) (local.get $at))
        (i32.store (i32.const 60104) (local.get $size))
        (if (call $fd_write (local.get $fd) (i32.const 60100) (i32.const 1) (i32.const 60108)) (then unreachable))
        (if (i32.ne (i32.load (i32.const 60108)) (local.get $size)) (then unreachable)))
    ;; Asserts that a value is 1.
    (func $expect (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))
"#;

/// What the plugin does for each event, which it knows by the first letter.
const ACTS: [(char, &str); 9] = [
    // Prints lines, an empty one, and an unfinished one.
    ('p', "(call $write (i32.const 1) (i32.const 60000) (i32.const 2))
           (call $write (i32.const 1) (i32.const 60002) (i32.const 13))"),
    // Breaks after an unfinished line.
    ('b', "(call $write (i32.const 2) (i32.const 60020) (i32.const 15)) unreachable"),
    ('e', "(call $proc_exit (i32.const 3)) unreachable"),
    // Prints line after line, and a line without an end.
    ('l', "(loop (call $write (i32.const 1) (i32.const 60000) (i32.const 4)) (br 0))"),
    ('u', "(loop (call $write (i32.const 2) (i32.const 0) (i32.const 32000)) (br 0))"),
    // A sleep of 100 seconds: the subscription's type is 0, the clock is 1, and the time is in nanoseconds.
    ('s', "(i64.store (i32.const 60200) (i64.const 77)) (i64.store (i32.const 60208) (i64.const 0))
           (i32.store (i32.const 60216) (i32.const 1)) (i64.store (i32.const 60224) (i64.const 100000000000))
           (call $expect (i32.eqz (call $poll_oneoff (i32.const 60200) (i32.const 60300) (i32.const 1) (i32.const 60400))))
           (call $expect (i32.eq (i32.load (i32.const 60400)) (i32.const 1)))
           (call $expect (i64.eq (i64.load (i32.const 60300)) (i64.const 77)))
           (call $expect (i32.eqz (i32.load16_u (i32.const 60308))))"),
    // The clock is that of the host: later than 2020, and known to the millisecond. Randomness fills the bytes, and only them.
    ('c', "(call $expect (i32.eqz (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 60400))))
           (call $expect (i64.gt_u (i64.load (i32.const 60400)) (i64.const 1577836800000000000)))
           (call $expect (i64.eqz (i64.rem_u (i64.load (i32.const 60400)) (i64.const 1000000))))
           (call $expect (i32.eqz (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 60408))))
           (call $expect (i64.ge_u (i64.load (i32.const 60408)) (i64.load (i32.const 60400))))
           (call $expect (i32.eq (call $clock_time_get (i32.const 2) (i64.const 1) (i32.const 60400)) (i32.const 28)))
           (call $expect (i32.eqz (call $random_get (i32.const 60401) (i32.const 39))))
           (call $expect (i64.ne (i64.load (i32.const 60404)) (i64.load (i32.const 60412))))
           (call $expect (i64.ne (i64.load (i32.const 60420)) (i64.load (i32.const 60412))))
           (call $expect (i64.eqz (i64.load (i32.const 60440))))"),
    // There are no files, no directories, no sockets, no arguments, and no input. A stream isn't closed, and has no position.
    ('f', "(call $expect (i32.eq (call $fd_prestat_get (i32.const 3) (i32.const 60400)) (i32.const 8)))
           (call $expect (i32.eq (i32.const 8) (call $path_open (i32.const 3) (i32.const 0) (i32.const 60000) (i32.const 3)
               (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 60400))))
           (call $expect (i32.eq (i32.const 8) (call $sock_shutdown (i32.const 3) (i32.const 0))))
           (call $expect (i32.eqz (call $args_sizes_get (i32.const 60400) (i32.const 60404))))
           (call $expect (i64.eqz (i64.load (i32.const 60400))))
           (call $expect (i32.eqz (call $fd_read (i32.const 0) (i32.const 60100) (i32.const 1) (i32.const 60400))))
           (call $expect (i32.eqz (i32.load (i32.const 60400))))
           (call $expect (i32.eqz (call $fd_close (i32.const 1))))
           (call $expect (i32.eq (call $fd_close (i32.const 3)) (i32.const 8)))
           (call $expect (i32.eq (call $fd_tell (i32.const 1) (i32.const 60400)) (i32.const 70)))
           (call $expect (i32.eqz (call $fd_fdstat_get (i32.const 1) (i32.const 60400))))
           (call $expect (i64.eq (i64.load (i32.const 60400)) (i64.const 2)))"),
    // Writing anywhere else fails.
    ('w', "(call $expect (i32.eq (i32.const 8) (call $fd_write (i32.const 3) (i32.const 60100) (i32.const 0) (i32.const 60108))))
           (call $expect (i32.eq (i32.const 8) (call $fd_write (i32.const 0) (i32.const 60100) (i32.const 0) (i32.const 60108))))"),
];

fn crafted() -> Result<Crafted> {
    let mut acts = String::new();
    for (letter, instructions) in ACTS {
        let is_it = format!("(i32.eq (i32.load8_u (local.get 8)) (i32.const {}))", u32::from(letter));
        writeln!(acts, "(if {is_it} (then {instructions}))")?;
    }
    Ok(Crafted::serving("c:*").declaring(&imports()?).declaring(PRINT).handling_in_by(&(acts + "i32.const 0")))
}

fn program() -> Result<Vec<u8>> {
    crafted()?.build_module()
}

#[tokio::test]
async fn the_output_of_a_program_is_in_the_log_and_in_its_fault() -> Result<()> {
    let host = Setup::new().plugin("program", program()?).start().await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join c:1\nalice < ok {}").await?;
    let mark = host.log().len();
    // The second message is handled after the first, so all lines of the first are in the log then.
    cast.play("alice > print\nalice > break\nalice < phx_error").await?;
    let fault = host.log().find(mark, "a fault", |line| line.message().starts_with("fault")).await?;
    ensure!(fault.field("kind") == "trap" && fault.message().contains("it printed: it broke: café"), "{}", fault.text);
    let printed: Vec<(String, String)> = host
        .log()
        .since(mark)
        .iter()
        .filter(|line| line.field("topic") == "c:1" && line.is_guest())
        .map(|line| (line.field("level").to_owned(), line.message().to_owned()))
        .collect();
    let expected = [("INFO", "one"), ("INFO", "two"), ("INFO", "three"), ("WARN", "it broke: café")];
    ensure!(printed.iter().map(|(level, line)| (&**level, &**line)).eq(expected), "{printed:?}");
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// A member joins `c:1` and sends each event, which is a fault of this kind whose message contains these words.
pub(crate) async fn each_is_a_fault(host: &TestHost, cases: &[(&str, &str, &str)]) -> Result<()> {
    let mut cast = Cast::new(host);
    for (event, kind, words) in cases {
        let mark = host.log().len();
        cast.play(&format!("alice > join c:1\nalice < ok {{}}\nalice > {event}\nalice < phx_error")).await?;
        let fault = host.log().find(mark, "a fault", |line| line.message().starts_with("fault")).await?;
        ensure!(fault.field("kind") == *kind && fault.message().contains(words), "{event}: {}", fault.text);
    }
    Ok(())
}

/// Each program ends with a fault that says why, and nothing else is disturbed.
#[tokio::test]
async fn a_program_that_exits_or_prints_without_end_is_a_fault() -> Result<()> {
    let host = Setup::new().plugin("program", program()?).limit("call_wall_ms", 60_000).start().await?;
    let cases = [
        ("exit", "trap", "called `exit` with the status 3"),
        ("lines", "oversize", "`limits.log_lines_per_call = 256`"),
        ("unfinished", "oversize", "`limits.log_lines_per_call = 256`"),
    ];
    each_is_a_fault(&host, &cases).await?;
    host.stop().await?;
    Ok(())
}

/// The program checks the results itself, and traps if one is wrong.
#[tokio::test]
async fn clocks_and_randomness_are_the_hosts_and_there_is_nothing_else() -> Result<()> {
    let host = Setup::new().plugin("program", program()?).start().await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join c:1\nalice < ok {}\nalice > sleep\nalice > clock\nalice > files\nalice > write").await?;
    cast.play("alice > files").await?;
    cast.play("alice > phx_leave\nalice < ok {}").await?;
    drop(cast);
    let log = host.stop().await?;
    let faults: Vec<_> = log.since(0).into_iter().filter(|line| line.message().starts_with("fault")).collect();
    ensure!(faults.is_empty(), "{faults:?}");
    // The library of a language may hide the error, so the log says once what there isn't. A program that only looks for directories isn't
    // told of.
    let warnings: Vec<String> = log.since(0).iter().map(|line| line.message().to_owned()).collect();
    for (function, times) in [("path_open", 1), ("sock_shutdown", 1), ("path_link", 0), ("fd_prestat_get", 0)] {
        let start = format!("it called `wasi_snapshot_preview1#{function}`, but plugins have no files, no network");
        let said = warnings.iter().filter(|text| text.starts_with(&start)).count();
        ensure!(said == times, "{function}: {said} times");
    }
    Ok(())
}

/// What `bennu build` makes of a core module has the adapter of its own version inside, and imports what only that adapter does.
#[tokio::test]
async fn a_component_with_the_first_adapter_is_served() -> Result<()> {
    let kept = places::workspace()?.join("tests/compatibility/preview1/adapter.wasm");
    let adapter = std::fs::read(&kept).with_context(|| format!("reading {}", kept.display()))?;
    let component = crafted()?.build_with_adapter(&adapter)?;
    let import = b"bennu:preview1/absent@0.1.0";
    ensure!(component.windows(import.len()).any(|window| window == import), "the component has no such import");
    let host = Setup::new().plugin("program", component).start().await?;
    let mark = host.log().len();
    check(&host, "alice > join c:1\nalice < ok {}\nalice > clock\nalice > files\nalice > phx_leave\nalice < ok {}")
        .await?;
    let is_told = |line: &bennu_tests::Line| line.message().starts_with("it called `wasi_snapshot_preview1#path_open`");
    host.log().find(mark, "what there isn't", is_told).await?;
    host.stop().await?;
    Ok(())
}

/// Text that a program prints before it is served, and a program that can't be started.
#[tokio::test]
async fn a_program_that_breaks_at_its_start_is_refused_with_what_it_printed() -> Result<()> {
    let host = Setup::new().start().await?;
    let broken = Crafted::serving("c:*").declaring(&imports()?).declaring(PRINT);
    let act = "(call $write (i32.const 2) (i32.const 60020) (i32.const 15)) unreachable";
    let starting = broken.clone().declaring(&format!("(func (export \"_initialize\") {act})"));
    for (what, plugin) in [("_initialize", starting), ("describe", broken.describing_by(act))] {
        let why = host.refusal("broken", &plugin.build_module()?).await.context(what)?;
        ensure!(why.contains("it printed: it broke: café"), "{what}: {why}");
    }
    host.stop().await?;
    Ok(())
}

/// Modules that can't be wrapped are refused, and the reason says what they lack.
#[tokio::test]
async fn a_module_that_imports_something_else_is_refused() -> Result<()> {
    let host = Setup::new().start().await?;
    let cases = [
        (Crafted::serving("c:*").declaring("(import \"env\" \"system\" (func))"), "env"),
        (Crafted::serving("c:*").declaring("(import \"wasi_snapshot_preview1\" \"fork\" (func))"), "fork"),
        (Crafted::serving("c:*").without("join"), "join"),
    ];
    for (plugin, words) in cases {
        let why = host.refusal("odd", &plugin.build_module()?).await?;
        ensure!(why.contains("can't be wrapped") && why.contains(words), "{words}: {why}");
    }
    host.stop().await?;
    Ok(())
}

/// The echo example without its wrapping must be what the tests above take it for.
#[test]
fn the_core_variant_is_no_component() -> Result<()> {
    ensure!(places::guest("variants/echo-core")?.starts_with(b"\0asm\x01\0\0\0"));
    Ok(())
}
