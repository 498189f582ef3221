//! The process of a host: its start and stop, its signals, and the output of commands for the operator.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use bennu_tests::crafted::Crafted;
use bennu_tests::{Cast, Setup, TestHost, bennu, eventually, get, places, request};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

#[tokio::test]
async fn a_stopping_host_ends_its_members_and_closes_its_connections() -> Result<()> {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let mut host = TestHost::start(&["naughty"]).await?;
        let mut alice = host.connect().await?;
        alice.join("naughty:1", &json!({})).await?;
        alice.join("naughty:2", &json!({})).await?;
        let mut idle = host.connect().await?;
        host.signal(signal)?;
        alice.closed_with(1012).await?;
        idle.closed_with(1012).await?;
        let status = host.ended().await?;
        ensure!(status.success(), "{status}");
        let gone = host.log().since(0).iter().filter(|line| line.message() == "gone: shutdown ").count();
        ensure!(gone == 2, "terminate ran {gone} times:\n{}", host.log().tail(20));
        host.log().check()?;
    }
    Ok(())
}

/// Messages that were sent before the stop are handled. After that, the member ends.
#[tokio::test]
async fn a_stopping_host_handles_the_messages_from_before_the_stop() -> Result<()> {
    let mut host = Setup::new().guests(&["naughty"])?.limit("call_cpu_ms", 10_000).start().await?;
    let mut cast = Cast::new(&host);
    cast.play(
        r#"
        alice > join naughty:1
        alice < ok …
        alice > slow {"ms": 500}
        alice > log
        alice ~
        "#,
    )
    .await?;
    drop(cast);
    host.signal(Signal::TERM)?;
    let status = host.ended().await?;
    ensure!(status.success(), "{status}");
    let lines: Vec<String> = host.log().since(0).into_iter().map(|line| line.message().to_owned()).collect();
    let place =
        |wanted: &str| lines.iter().position(|line| line.starts_with(wanted)).with_context(|| wanted.to_owned());
    ensure!(place("an error")? < place("gone: ")?, "{lines:#?}");
    ensure!(!lines.iter().any(|line| line.starts_with("fault")), "{lines:#?}");
    Ok(())
}

/// Calls have their time limits until the last call has ended. So an endless loop is interrupted, as at any other time.
#[tokio::test]
async fn a_stopping_host_interrupts_endless_loops() -> Result<()> {
    let mut host = Setup::new().guests(&["naughty"])?.limit("call_cpu_ms", 500).start().await?;
    let mut alice = host.connect().await?;
    alice.join("naughty:1", &json!({})).await?;
    alice.push("naughty:1", "loop", &json!({})).await?;
    alice.quiet().await?;
    host.signal(Signal::TERM)?;
    let status = host.ended().await?;
    ensure!(status.success(), "{status}");
    host.log().find(0, "the fault", |line| line.field("kind") == "deadline").await?;
    host.log().find(0, "the member's terminate", |line| line.message() == "gone: fault deadline").await?;
    Ok(())
}

/// A call that takes longer than `stop_ms` doesn't keep the host from stopping.
#[tokio::test]
async fn a_stop_has_a_time_limit() -> Result<()> {
    let setup = Setup::new().guests(&["naughty"])?.limit("stop_ms", 200);
    let mut host = setup.limit("call_cpu_ms", 600_000).limit("call_wall_ms", 600_000).start().await?;
    let mut alice = host.connect().await?;
    alice.join("naughty:1", &json!({})).await?;
    alice.push("naughty:1", "slow", &json!({"ms": 300_000})).await?;
    alice.quiet().await?;
    host.signal(Signal::TERM)?;
    let status = host.ended().await?;
    ensure!(status.success(), "{status}");
    let says = |line: &bennu_tests::Line| line.message().contains("`limits.stop_ms` says how long a stop may take");
    host.log().find(0, "a log line about the limit", says).await?;
    Ok(())
}

/// An operator who sends a second signal doesn't want to wait.
#[tokio::test]
async fn a_second_signal_during_a_stop_ends_the_host_at_once() -> Result<()> {
    for second in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let setup = Setup::new().guests(&["naughty"])?.limit("stop_ms", 600_000);
        let mut host = setup.limit("call_cpu_ms", 600_000).limit("call_wall_ms", 600_000).start().await?;
        let mut alice = host.connect().await?;
        alice.join("naughty:1", &json!({})).await?;
        alice.push("naughty:1", "slow", &json!({"ms": 300_000})).await?;
        alice.quiet().await?;
        host.signal(Signal::TERM)?;
        host.log().find(0, "the stop", |line| line.message() == "stopping").await?;
        // SIGHUP doesn't count as a second signal. A closed terminal or a service manager may send it too.
        host.signal(Signal::HUP)?;
        host.log()
            .find(0, "the answer to SIGHUP", |line| line.message().starts_with("SIGHUP: nothing is reloaded"))
            .await?;
        host.signal(second)?;
        let status = host.ended().await?;
        ensure!(status.code() == Some(1), "{status}");
        ensure!(
            host.log().tail(1).contains("bennu: stopped at once because of a second signal"),
            "{}",
            host.log().tail(2)
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_signal_during_the_start_ends_the_host() -> Result<()> {
    // The plugin's `describe` never ends, and its time limit is long.
    let endless = Crafted::serving("endless:*").describing_by("(loop $forever br $forever) unreachable").build()?;
    let setup = Setup::new().plugin("endless", endless).limit("call_cpu_ms", 600_000).limit("call_wall_ms", 600_000);
    let (mut command, _home) = setup.command()?;
    let mut process = command.spawn()?;
    let status = format!("/proc/{}/status", process.id());
    let handles_term = async || {
        let text = std::fs::read_to_string(&status)?;
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).context("no SigCgt")?;
        let term = 1 << (Signal::TERM.as_raw() - 1);
        Ok((u64::from_str_radix(caught.trim(), 16)? & term != 0).then_some(()))
    };
    eventually("the process handles SIGTERM", handles_term).await?;
    kill_process(Pid::from_child(&process), Signal::TERM)?;
    let ended = eventually("the process ends", async || Ok(process.try_wait()?)).await;
    let _ = process.kill();
    ensure!(ended?.success());
    Ok(())
}

/// A terminal that is closed sends SIGHUP to its processes.
#[tokio::test]
async fn a_host_continues_after_a_hangup_and_reads_its_plugins_again() -> Result<()> {
    // The file appears after the start. At the start it could be a gatekeeper, and the host would admit no client.
    let host = TestHost::start(&["echo"]).await?;
    host.refusal("broken", b"no component").await?;
    let mut alice = host.connect().await?;
    alice.join("echo:1", &json!({})).await?;
    for _ in 0..2 {
        let mark = host.log().len();
        host.signal(Signal::HUP)?;
        let says = |line: &bennu_tests::Line| {
            line.message() == "SIGHUP: reading the configuration and all plugins' files again"
        };
        host.log().find(mark, "the answer to SIGHUP", says).await?;
        // The host reads the file again, although the file hasn't changed.
        host.decision(mark, "broken").await?;
    }
    alice.ask("echo:1", "echo", &json!({ "a": 1 })).await?;
    ensure!(host.inspect().await?["plugins"]["echo"]["generation"] == 1, "an unchanged plugin isn't reloaded");
    drop(alice);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn inspect_shows_sockets_channels_topics_and_plugins() -> Result<()> {
    let host = TestHost::start(&["echo", "chat"]).await?;
    let mut cast = Cast::new(&host);
    cast.play(
        r#"
        alice > join echo:1
        alice < ok {}
        alice > join echo:2
        alice < ok {}
        bob   > join echo:1
        bob   < ok {}
        "#,
    )
    .await?;
    let shown = host.inspect().await?;
    ensure!(shown["sockets"] == 2 && shown["channels"] == 3 && shown["faults"] == 0, "{shown}");
    ensure!(
        shown["topics"] == json!([{"topic": "echo:1", "members": 2}, {"topic": "echo:2", "members": 1}]),
        "{shown}"
    );
    let echo = &shown["plugins"]["echo"];
    ensure!(echo["topics"] == json!(["bench:*", "echo:*", "passed:*"]) && echo["contract"] == "0.1.0", "{echo}");
    ensure!(echo["bytes"] == places::guest("echo")?.len() && echo["last_error"] == json!(null), "{echo}");

    // The command shows the same as text.
    let address = host.address().to_string();
    let ended = bennu(host.home(), &["inspect", "--host", &address])?;
    ensure!(ended.code == Some(0), "{ended:?}");
    for words in
        ["2 sockets, 3 channels, 2 topics, 0 faults", "plugin chat: generation 1, serves room:*", "topic echo:1: 2"]
    {
        ensure!(ended.output.contains(words), "{words}: {}", ended.output);
    }
    let ended = bennu(host.home(), &["inspect", "--host", &address, "--json"])?;
    ensure!(serde_json::from_str::<serde_json::Value>(&ended.output)?["sockets"] == 2, "{ended:?}");

    // The host refuses a request with a wrong key.
    let answer = request(host.address(), "GET", "/api/inspect", &[("authorization", "Bearer guess")]).await?;
    ensure!(answer.status == 401, "{answer:?}");
    drop(cast);
    host.holds(0, 0).await?;
    host.stop().await?;
    Ok(())
}

/// A channel that was left, refused or failed isn't counted any more, even if its socket is still connected.
#[tokio::test]
async fn channels_that_have_ended_are_not_counted() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let mut cast = Cast::new(&host);
    cast.play(
        r#"
        alice > join naughty:join_refuse
        alice < error …
        alice > join naughty:1
        alice < ok …
        alice > leave
        alice < ok {}
        alice < phx_close
        alice > join naughty:2
        alice < ok …
        alice > panic
        alice < phx_error
        alice > join naughty:3
        alice < ok …
        "#,
    )
    .await?;
    host.holds(1, 1).await?;
    drop(cast);
    host.holds(0, 0).await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_host_serves_static_files_next_to_its_sockets() -> Result<()> {
    let setup = Setup::new().guests(&["echo"])?.file("public/index.html", b"<h1>hello</h1>".to_vec());
    let host = setup.file("secret.txt", b"secret".to_vec()).arguments(&["--static", "public"]).start().await?;
    let page = get(host.address(), "/").await?;
    ensure!(page.status == 200 && page.body == "<h1>hello</h1>" && page.head.contains("no-cache"), "{page:?}");
    ensure!(get(host.address(), "/absent.html").await?.status == 404);
    for path in ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt"] {
        let answer = get(host.address(), path).await?;
        ensure!(answer.status != 200 && !answer.body.contains("secret"), "{path}: {answer:?}");
    }
    host.connect().await?.close().await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn check_describes_a_component() -> Result<()> {
    let home = tempfile::tempdir()?;
    std::fs::write(home.path().join("naughty.wasm"), places::guest("naughty")?)?;
    let ended = bennu(home.path(), &["check", "naughty.wasm"])?;
    ensure!(ended.code == Some(0) && ended.errors.is_empty(), "{ended:?}");
    let says = [
        "naughty.wasm is a plugin for version 0.1.0 of the contract",
        "topics    naughty:*, intercepts secret",
        "bennu:channel/handle-out@0.1.0",
        "bennu:channel/socket@0.1.0",
    ];
    for words in says {
        ensure!(ended.output.contains(words), "{words}: {}", ended.output);
    }
    let absent = bennu(home.path(), &["check", "absent.wasm"])?;
    ensure!(absent.code == Some(1) && absent.errors.contains("absent.wasm"), "{absent:?}");
    Ok(())
}

#[tokio::test]
async fn mistakes_in_the_configuration_are_named_with_file_and_key() -> Result<()> {
    let home = tempfile::tempdir()?;
    std::fs::create_dir(home.path().join("plugins"))?;
    let cases = [
        ("lisen = \"127.0.0.1:0\"", "`listen`"),
        ("listen = 80", "string"),
        ("listen = ", "line 1"),
        ("log_format = \"xml\"", "`human` or `json`"),
        ("log = \"warning\"", "`log`: the log filter `warning` can't be read: `warning` is not a level"),
        ("load = \"plugins\"", "expected a list"),
        ("[limits]\nframe_byte = 1", "`frame_bytes`"),
        ("[limits]\noutbox_frames = 0", "`limits.outbox_frames` is 0; it must be at least 1"),
        ("[limits]\nmemory_bytes = 1", "`limits.memory_bytes` is 1; it must be from 65536"),
        ("[limits]\nidle_ms = -1", "idle_ms"),
        ("[plugins.chat]\npublish = [\"a*b\"]", "`plugins.chat.publish` has the pattern `a*b`"),
        ("[plugins.chat]\ngreeting = \"hello\"", "`config`"),
    ];
    for (text, words) in cases {
        std::fs::write(home.path().join("odd.toml"), text)?;
        let ended = bennu(home.path(), &["serve", "plugins", "--config", "odd.toml", "--listen", "127.0.0.1:0"])?;
        ensure!(ended.code == Some(1) && ended.output.is_empty(), "{text}: {ended:?}");
        ensure!(ended.errors.contains("odd.toml") && ended.errors.contains(words), "{text}: {}", ended.errors);
    }
    Ok(())
}

#[tokio::test]
async fn a_host_does_not_start_with_invalid_arguments_and_names_them() -> Result<()> {
    let home = tempfile::tempdir()?;
    std::fs::create_dir(home.path().join("plugins"))?;
    std::fs::write(home.path().join("notes.txt"), "")?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let taken = taken.local_addr()?.to_string();
    let free = "127.0.0.1:0";
    let cases: [(&[&str], &str); 11] = [
        (&["serve", "--listen", free], "name a directory of plugins (`bennu serve plugins`)"),
        (&["serve", "absent", "--listen", free], "looking for plugins at absent"),
        (&["serve", "notes.txt", "--listen", free], "a plugin's file is named NAME.wasm"),
        (&["serve", "plugins", "--config", "absent.toml"], "reading absent.toml"),
        (&["serve", "plugins", "--listen", &taken], "name another with --listen ADDRESS:PORT"),
        (&["serve", "plugins", "--listen", "nonsense"], "`nonsense`"),
        (&["serve", "plugins", "--listen", free, "--static", "absent"], "static files in absent"),
        (&["serve", "plugins", "--listen", free, "--log", "a=b=c"], "the log filter `a=b=c` can't be read"),
        (&["serve", "plugins", "--listen", free, "--log", "debgu"], "one of off, error, warn, info, debug, trace"),
        (&["serve", "plugins", "--listen", free, "--log", "gest=debug"], "the targets are `guest` for"),
        (&["test", "absent.wasm", "absent.script", "--log", "loud"], "`loud` is not a level"),
    ];
    for (arguments, words) in cases {
        let ended = bennu(home.path(), arguments)?;
        ensure!(ended.code == Some(1) && ended.output.is_empty(), "{arguments:?}: {ended:?}");
        ensure!(ended.errors.starts_with("bennu: ") && ended.errors.contains(words), "{arguments:?}: {}", ended.errors);
    }
    let nobody = bennu(home.path(), &["inspect", "--host", "127.0.0.1:1"])?;
    ensure!(nobody.code == Some(1) && nobody.errors.contains("is it running there?"), "{nobody:?}");
    Ok(())
}

#[tokio::test]
async fn the_help_describes_the_commands_and_their_options() -> Result<()> {
    let home = tempfile::tempdir()?;
    let help = bennu(home.path(), &["--help"])?;
    ensure!(help.code == Some(0), "{help:?}");
    for words in ["serve", "check", "inspect", "Examples:", "bennu serve plugins"] {
        ensure!(help.output.contains(words), "{words}: {}", help.output);
    }
    let serve = bennu(home.path(), &["serve", "--help"])?;
    for words in ["--config", "--listen", "--static", "--log", "port 0 takes a free port"] {
        ensure!(serve.output.contains(words), "{words}: {}", serve.output);
    }
    let version = bennu(home.path(), &["--version"])?;
    ensure!(version.output == concat!("bennu ", env!("CARGO_PKG_VERSION"), "\n"), "{version:?}");
    let unknown = bennu(home.path(), &["srve"])?;
    ensure!(unknown.code == Some(2) && unknown.errors.contains("serve"), "{unknown:?}");
    Ok(())
}
