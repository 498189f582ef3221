//! Output without a reader or on a full disk: the log, the line with the host's address, and the output of commands.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, PipeReader, Write, pipe};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use bennu_tests::crafted::another_build;
use bennu_tests::{Cast, Setup, TestHost, bennu, compile_once, eventually, get, places, within};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Signal;
use serde_json::{Value, json};

fn full() -> Result<File> {
    OpenOptions::new().write(true).open("/dev/full").context("opening /dev/full")
}

/// A pipe whose reader is closed.
fn closed() -> Result<Stdio> {
    let (reader, writer) = pipe()?;
    drop(reader);
    Ok(writer.into())
}

/// Causes all kinds of log lines: lines of plugins, a fault, a reload. The host must work even if it can't write them.
async fn serves_and_logs(host: &TestHost) -> Result<()> {
    let generation =
        async || -> Result<Option<u64>> { Ok(host.inspect().await?["plugins"]["naughty"]["generation"].as_u64()) };
    let before = eventually("the plugin serves", async || Ok(generation().await?.filter(|it| *it > 0))).await?;
    let mut cast = Cast::new(host);
    // Each call uses its own topic. No member of an earlier call leaves this topic.
    let topic = format!("naughty:of-{before}");
    cast.play(&format!(
        "
        alice > join {topic}
        alice < ok …
        bob   > join {topic}
        bob   < ok …
        alice > log
        alice < ok {{}}
        alice > panic
        alice < phx_error
        bob   < gone …
        carol > join {topic}
        carol < ok …
        "
    ))
    .await?;
    let part = host.home().join("plugins/naughty.part");
    let build = another_build(&places::guest("naughty")?, &format!("build {before}"));
    compile_once(&build)?;
    std::fs::write(&part, build)?;
    std::fs::rename(&part, host.plugin_file("naughty"))?;
    eventually("the plugin is reloaded", async || Ok(generation().await?.filter(|it| *it > before))).await?;
    cast.play("bob > echo {\"a\": 1}\nbob < ok {\"a\": 1}\ncarol > log\ncarol < ok {}").await?;
    Ok(())
}

async fn stops_successfully(mut host: TestHost) -> Result<()> {
    host.signal(Signal::TERM)?;
    let status = host.ended().await?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[tokio::test]
async fn a_host_continues_without_a_reader_of_its_log_and_counts_the_lost_lines() -> Result<()> {
    let (reader, writer) = pipe()?;
    let host = Setup::new().guests(&["naughty"])?.start_logging_to(writer).await?;
    serves_and_logs(&host).await?;
    ensure!(host.inspect().await?["log_lines_lost"] == 0, "the pipe has room for these lines");
    drop(reader);
    serves_and_logs(&host).await?;
    let lost = |shown: &Value| shown["log_lines_lost"].as_u64() >= Some(8);
    host.shows("the lost lines are counted", lost).await?;
    let shown = bennu(host.home(), &["inspect", "--host", &host.address().to_string()])?;
    ensure!(shown.output.contains(" lines of the log were lost"), "{shown:?}");
    stops_successfully(host).await
}

#[tokio::test]
async fn a_host_continues_while_the_disk_of_its_log_is_full() -> Result<()> {
    let host = Setup::new().guests(&["naughty"])?.start_logging_to(full()?).await?;
    serves_and_logs(&host).await?;
    host.shows("the lost lines are counted", |shown| shown["log_lines_lost"].as_u64() >= Some(8)).await?;
    stops_successfully(host).await
}

/// Reads the log to its end, in a new thread.
fn read_all(reader: PipeReader) -> std::thread::JoinHandle<Vec<Value>> {
    std::thread::spawn(move || {
        let lines = BufReader::new(reader).lines().map_while(Result::ok);
        lines.map(|line| serde_json::from_str(&line).unwrap_or(Value::String(line))).collect()
    })
}

fn is_report(line: &Value) -> bool {
    line["message"].as_str().is_some_and(|message| message.starts_with("lines of the log were lost"))
}

#[tokio::test]
async fn a_host_continues_while_its_log_is_not_read_and_reports_the_lost_lines_later() -> Result<()> {
    let (reader, writer) = pipe()?;
    let host = Setup::new().guests(&["naughty"])?.start_logging_to(writer).await?;
    let mut alice = host.connect().await?;
    alice.join("naughty:1", &json!({})).await?;
    // Each line has eight kilobytes. Together they are more than the pipe and the host can hold.
    for _ in 0..1000 {
        alice.ask("naughty:1", "long_line", &json!({})).await?;
    }
    serves_and_logs(&host).await?;
    let shown = host.inspect().await?;
    let lost = shown["log_lines_lost"].as_u64().context("a count")?;
    ensure!(lost > 100, "{shown}");
    drop(alice);
    let lines = read_all(reader);
    stops_successfully(host).await?;
    let lines = within("the log's end", tokio::task::spawn_blocking(|| lines.join())).await??;
    let lines = lines.map_err(|_| anyhow::anyhow!("the reader panicked"))?;
    ensure!(lines.iter().all(Value::is_object), "a line is incomplete");
    let reported: u64 = lines.iter().filter(|line| is_report(line)).filter_map(|line| line["lines"].as_u64()).sum();
    ensure!(reported >= lost, "{lost} were lost, and {reported} are reported");
    Ok(())
}

/// Another process that shares the pipe may have set it to non-blocking.
#[tokio::test]
async fn a_host_continues_while_a_nonblocking_log_pipe_is_full_and_writes_the_lines_later() -> Result<()> {
    let (reader, mut writer) = pipe()?;
    let host = Setup::new().guests(&["naughty"])?.start_logging_to(writer.try_clone()?).await?;
    let flags = fcntl_getfl(writer.as_fd())?;
    fcntl_setfl(writer.as_fd(), flags | OFlags::NONBLOCK)?;
    let filled = loop {
        if let Err(error) = writer.write(b"{}\n") {
            break error;
        }
    };
    ensure!(filled.kind() == ErrorKind::WouldBlock, "{filled}");
    drop(writer);
    serves_and_logs(&host).await?;
    let lines = read_all(reader);
    stops_successfully(host).await?;
    let lines = within("the log's end", tokio::task::spawn_blocking(|| lines.join())).await??;
    let lines = lines.map_err(|_| anyhow::anyhow!("the reader panicked"))?;
    let panics = lines.iter().filter(|line| line["kind"] == "trap").count();
    ensure!(panics == 1 && lines.iter().any(|line| line["message"] == "stopping"), "{panics} faults");
    Ok(())
}

#[tokio::test]
async fn a_log_that_is_not_read_does_not_keep_a_host_from_stopping() -> Result<()> {
    let (_reader, writer) = pipe()?;
    let host = Setup::new().guests(&["naughty"])?.start_logging_to(writer).await?;
    let mut alice = host.connect().await?;
    alice.join("naughty:1", &json!({})).await?;
    for _ in 0..50 {
        alice.ask("naughty:1", "long_line", &json!({})).await?;
    }
    drop(alice);
    stops_successfully(host).await
}

/// If nobody reads the log, the host can't write why it doesn't start. It ends nevertheless.
#[tokio::test]
async fn a_host_that_cannot_start_ends_even_if_it_cannot_write_its_error() -> Result<()> {
    let (_reader, mut writer) = pipe()?;
    let home = tempfile::tempdir()?;
    fcntl_setfl(writer.as_fd(), OFlags::NONBLOCK)?;
    while writer.write(b"{}\n").is_ok() {}
    fcntl_setfl(writer.as_fd(), OFlags::empty())?;
    for errors in [writer.into(), closed()?, full()?.into()] {
        let mut command = command(home.path(), &["serve", "absent"])?;
        let mut process = command.stdout(Stdio::piped()).stderr::<Stdio>(errors).spawn()?;
        let status = eventually("the process ends", async || Ok(process.try_wait()?)).await?;
        ensure!(status.code() == Some(1), "{status}");
    }
    Ok(())
}

#[tokio::test]
async fn a_host_serves_with_a_closed_or_full_standard_output() -> Result<()> {
    for out in [closed()?, full()?.into()] {
        let (mut command, home) = Setup::new().guests(&["echo"])?.command()?;
        let mut process = command.stdout::<Stdio>(out).spawn()?;
        let log = BufReader::new(process.stderr.take().context("the log")?);
        let mut lines = log.lines().map_while(Result::ok);
        // The host couldn't print its address.
        let report = lines.find(|line| line.contains("could not be written to standard output"));
        ensure!(report.is_some(), "the log reports it");
        let address = eventually("the host listens", async || Ok(listening(process.id())?)).await?;
        let answer = get(address, "/api/inspect").await?;
        ensure!(answer.status != 404, "{answer:?}");
        rustix::process::kill_process(rustix::process::Pid::from_child(&process), Signal::TERM)?;
        let status = eventually("the process ends", async || Ok(process.try_wait()?)).await?;
        ensure!(status.success(), "{status}");
        drop(home);
    }
    Ok(())
}

/// The address that a process listens on, according to the operating system.
fn listening(process: u32) -> Result<Option<std::net::SocketAddr>> {
    let mut sockets = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{process}/fd"))? {
        let Ok(target) = std::fs::read_link(entry?.path()) else { continue };
        let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'));
        sockets.extend(inode.map(str::to_owned));
    }
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp"))?;
    let port = table.lines().skip(1).find_map(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        // 0A is the state LISTEN.
        let is_it = cells.get(3) == Some(&"0A") && sockets.iter().any(|inode| cells.get(9) == Some(&inode.as_str()));
        is_it.then(|| u16::from_str_radix(cells[1].rsplit(':').next()?, 16).ok()).flatten()
    });
    Ok(port.map(|port| ([127, 0, 0, 1], port).into()))
}

fn command(home: &Path, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(places::binary()?);
    command.args(arguments).current_dir(home).stdin(Stdio::null()).env_remove("BENNU_LOG");
    command.env("XDG_CACHE_HOME", places::cache_home()?).env("SECRET", "a secret of more than twenty bytes");
    Ok(command)
}

fn run(home: &Path, arguments: &[&str], out: impl Into<Stdio>) -> Result<Output> {
    Ok(command(home, arguments)?.stdout(out).stderr(Stdio::piped()).spawn()?.wait_with_output()?)
}

/// Runs the test with each kind of command that prints something.
async fn with_each_command(test: impl Fn(&Path, &[&str]) -> Result<()>) -> Result<()> {
    let host = Setup::new().guests(&["naughty"])?.start().await?;
    let mut alice = host.connect().await?;
    alice.join("naughty:1", &json!({})).await?;
    alice.ask("naughty:1", "store_put", &json!({ "key": "k", "value": 1 })).await?;
    let address = host.address().to_string();
    let home = host.home().to_owned();
    let requests: [&[&str]; 6] = [
        &["inspect"],
        &["inspect", "--json"],
        &["topics"],
        &["plugins"],
        &["send", "naughty:1", "echo", "{}"],
        &["disconnect", "nobody"],
    ];
    for arguments in requests {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--host", &address]).collect();
        test(&home, &arguments)?;
    }
    drop(alice);
    let _home = host.keep_home();
    host.stop().await?;
    std::fs::write(home.join("talk.script"), "alice > join naughty:1\nalice < ok …\n")?;
    let others: [&[&str]; 9] = [
        &["--help"],
        &["serve", "--help"],
        &["--version"],
        &["check", "plugins/naughty.wasm"],
        &["test", "plugins/naughty.wasm", "talk.script"],
        &["token", "sign", "--salt", "user", "--secret-env", "SECRET", "42"],
        &["store", "usage", "--data", "data"],
        &["store", "export", "--data", "data"],
        &["help"],
    ];
    others.iter().try_for_each(|arguments| test(&home, arguments))
}

#[tokio::test]
async fn a_command_with_a_closed_output_ends_without_an_error() -> Result<()> {
    with_each_command(|home, arguments| {
        let ended = run(home, arguments, closed()?)?;
        let errors = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "{arguments:?}: {} {errors}", ended.status);
        let is_quiet = errors.is_empty() || arguments[..2] == ["store", "export"] && errors.ends_with(" exported\n");
        ensure!(is_quiet, "{arguments:?}: {errors}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_command_whose_output_cannot_be_written_fails_with_one_sentence() -> Result<()> {
    with_each_command(|home, arguments| {
        let ended = run(home, arguments, full()?)?;
        let errors = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.code() == Some(1), "{arguments:?}: {} {errors}", ended.status);
        let is_sentence = errors.starts_with("bennu: writing to standard output: No space left on device")
            || errors.contains(" exported\nbennu: writing to standard output: No space left");
        ensure!(is_sentence && errors.lines().count() <= 2, "{arguments:?}: {errors}");
        // The status is the same if the error can't be written either.
        let status = command(home, arguments)?.stdout(full()?).stderr(full()?).status()?;
        ensure!(status.code() == Some(1), "{arguments:?}: {status}");
        Ok(())
    })
    .await
}

/// The status of a command depends on its work, and not on whether its output was read.
#[tokio::test]
async fn a_failed_command_has_its_exit_status_without_a_reader_too() -> Result<()> {
    let home = tempfile::tempdir()?;
    std::fs::write(home.path().join("naughty.wasm"), places::guest("naughty")?)?;
    std::fs::write(home.path().join("wrong.script"), "alice > join naughty:1\nalice < error …\n")?;
    for arguments in [&["test", "naughty.wasm", "wrong.script"][..], &["check", "absent.wasm"], &["srve"]] {
        for errors in [closed()?, full()?.into(), Stdio::piped()] {
            let ended = command(home.path(), arguments)?.stdout(closed()?).stderr::<Stdio>(errors).spawn()?;
            let status = ended.wait_with_output()?.status;
            ensure!(matches!(status.code(), Some(1 | 2)), "{arguments:?}: {status}");
        }
    }
    Ok(())
}
