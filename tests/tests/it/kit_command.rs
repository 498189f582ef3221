//! The test kit for compiled plugins, used by `bennu test`.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use bennu_tests::{bennu, places};
use rustix::process::{Pid, Signal, kill_process};

const SCRIPT: &str = r#"
    -- Two clients, a timer, and another build of the plugin.
    alice = {"user": "1", "socket_id": "user:1"}
    alice > join naughty:1
    alice < ok …
    bob   > join naughty:1
    bob   < ok {"member": 2}
    alice > timer #t {"ms": 60000}
    alice < ok #t …
    alice ~
    clock + 61s
    alice < rang {}
    host  ! broadcast naughty:1 news {"a": 1}
    alice < news {"a": …}
    bob   < news {"a": 1}
    host  ! send nobody:1 hello
    host  < error …
    host  ! disconnect user:1
    alice < close 1001
    bob   < gone …
    bob   > panic
    bob   < phx_error
    bob   > echo
    bob   < unmatched
"#;

#[test]
fn scripts_are_played_by_the_command() -> Result<()> {
    let home = tempfile::tempdir()?;
    std::fs::write(home.path().join("good.script"), SCRIPT)?;
    std::fs::write(home.path().join("bad.script"), SCRIPT.replace("alice < rang", "alice < sang"))?;
    std::fs::write(home.path().join("odd.script"), "alice ? what")?;
    let cache = places::compiled()?;
    std::fs::write(home.path().join("bennu.toml"), format!("cache = {:?}", cache.display().to_string()))?;
    let plugin = places::guest_file("naughty")?.display().to_string();
    let test = |scripts: &[&str]| bennu(home.path(), &[&["test", &plugin, "--config", "bennu.toml"], scripts].concat());
    let good = test(&["good.script"])?;
    ensure!(good.code == Some(0) && good.output == "ok      good.script\n", "{good:?}");
    let both = test(&["good.script", "bad.script", "odd.script"])?;
    ensure!(both.code == Some(1) && both.output.contains("ok      good.script"), "{both:?}");
    let says = [
        "line 12: alice < sang",
        r#"came  ["1",null,"naughty:1","rang",{}]"#,
        "line 1: alice ? what\nno such verb",
        "2 of 3 scripts failed",
    ];
    for words in says {
        ensure!(both.errors.contains(words), "{words} isn't in:\n{}", both.errors);
    }
    let absent = test(&["absent.script"])?;
    ensure!(absent.code == Some(1) && absent.errors.contains("reading absent.script"), "{absent:?}");
    Ok(())
}

#[test]
fn the_help_has_the_language_and_missing_arguments_are_named() -> Result<()> {
    let home = tempfile::tempdir()?;
    let help = bennu(home.path(), &["test", "--help"])?;
    ensure!(help.code == Some(0) && help.errors.is_empty(), "{help:?}");
    for words in ["Usage: bennu test [OPTIONS] [PLUGIN] [SCRIPT]...", "BENNU_LOG", "clock + 5s"] {
        ensure!(help.output.contains(words), "{words} isn't in:\n{}", help.output);
    }
    let incomplete = bennu(home.path(), &["test", "chat.wasm"])?;
    ensure!(
        incomplete.code == Some(1) && incomplete.errors.contains("`bennu test chat.wasm SCRIPT`"),
        "{incomplete:?}"
    );
    Ok(())
}

/// The command needs no other file beside the binary.
#[test]
fn the_binary_alone_plays_scripts() -> Result<()> {
    // A hard link must be in the same file system as its target, so the directory is in the target directory.
    let home = tempfile::tempdir_in(places::target()?)?;
    let alone = home.path().join("bennu");
    fs::hard_link(places::binary()?, &alone)?;
    fs::write(home.path().join("a.script"), SCRIPT)?;
    let mut command = Command::new(&alone);
    command.arg("test").arg(places::guest_file("naughty")?).arg("a.script").current_dir(home.path());
    let ended = command.env("XDG_CACHE_HOME", places::cache_home()?).env_remove("BENNU_LOG").output()?;
    ensure!(ended.status.success() && ended.stdout == b"ok      a.script\n", "{ended:?}");
    Ok(())
}

/// `bennu test` with a script from standard input.
fn with_a_script_from_a_pipe() -> Result<Command> {
    let mut command = Command::new(places::binary()?);
    command.arg("test").arg(places::guest_file("naughty")?).arg("/dev/stdin");
    command.env("XDG_CACHE_HOME", places::cache_home()?).env_remove("BENNU_LOG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

#[test]
fn a_script_may_come_from_a_pipe() -> Result<()> {
    let mut process = with_a_script_from_a_pipe()?.spawn()?;
    process.stdin.take().context("standard input")?.write_all(SCRIPT.as_bytes())?;
    let ended = process.wait_with_output()?;
    ensure!(ended.status.success() && ended.stdout == b"ok      /dev/stdin\n", "{ended:?}");
    Ok(())
}

#[test]
fn a_signal_ends_the_command() -> Result<()> {
    // The command waits for the rest of its script.
    let mut process = with_a_script_from_a_pipe()?.spawn()?;
    kill_process(Pid::from_child(&process), Signal::TERM)?;
    let status = process.wait()?;
    ensure!(status.signal() == Some(Signal::TERM.as_raw()), "{status}");
    Ok(())
}
