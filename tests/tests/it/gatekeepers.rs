//! Gatekeepers that are gone, damaged or replaced: a mount that names nobody who decides never stands open for it.

use std::fs;

use anyhow::{Result, ensure};
use bennu_tests::crafted::Crafted;
use bennu_tests::{Ended, Gate, Loading, Log, Setup, TestHost, bennu, check, get};
use rustix::process::Signal;

/// What a client without a token gets, asking without an upgrade: 400 where it would be let in.
async fn knocked(host: &TestHost) -> Result<u16> {
    Ok(get(host.address(), "/socket/websocket?vsn=2.0.0").await?.status)
}

/// A host with a plugin and a gatekeeper that has served there.
async fn guarded() -> Result<TestHost> {
    let host = Setup::new().guests(&["echo"])?.plugin("gate", Gate::Refuses.build()?).start().await?;
    ensure!(knocked(&host).await? == 418, "the gatekeeper decides");
    Ok(host)
}

fn plugins(host: &TestHost, arguments: &[&str]) -> Result<Ended> {
    let address = host.address().to_string();
    bennu(host.home(), &[&["plugins", "--host", &address][..], arguments].concat())
}

/// The first bytes of a gatekeeper, before the name of its export.
fn cut() -> Result<Vec<u8>> {
    Ok(Gate::Grants.build()?[..40].to_vec())
}

#[tokio::test]
async fn a_gatekeeper_that_is_gone_or_damaged_at_a_start_lets_nobody_in() -> Result<()> {
    let module = bennu_tests::crafted::component("(module)")?;
    let cases = [None, Some(vec![]), Some(b"hello".to_vec()), Some(cut()?), Some(module)];
    for content in cases {
        let host = guarded().await?;
        match &content {
            Some(bytes) => fs::write(host.plugin_file("gate"), bytes)?,
            None => fs::remove_file(host.plugin_file("gate"))?,
        }
        let host = host.restart(Signal::KILL).await?;
        ensure!(knocked(&host).await? == 503, "{content:?}");
        let says = |line: &bennu_tests::Line| line.text.contains("bennu plugins forget gate");
        host.log().find(0, "what to do about it", says).await?;
        let shown = host.inspect().await?;
        ensure!(shown["plugins"]["gate"]["last_error"].is_string(), "{shown}");
        // It comes back, and decides again.
        ensure!(host.put("gate", &Gate::Refuses.build()?).await? == Loading::Done(1));
        ensure!(knocked(&host).await? == 418, "{content:?}");
        host.stop().await?;
    }
    Ok(())
}

/// Nothing is known of the file: it may have been the gatekeeper.
#[tokio::test]
async fn a_file_that_is_no_component_at_the_first_start_may_be_the_gatekeeper() -> Result<()> {
    for content in [vec![], b"hello".to_vec(), cut()?] {
        let host = Setup::new().guests(&["echo"])?.plugin("gate", content.clone()).start().await?;
        ensure!(knocked(&host).await? == 503, "{content:?}");
        // It turns out to be another plugin.
        ensure!(host.put("gate", &Crafted::serving("new:*").build()?).await? == Loading::Done(1));
        ensure!(knocked(&host).await? == 400, "there is no gatekeeper");
        // What is known to be a plugin is none when it is damaged.
        fs::write(host.plugin_file("gate"), b"")?;
        let host = host.restart(Signal::KILL).await?;
        ensure!(knocked(&host).await? == 400, "the plugin was no gatekeeper");
        check(&host, "alice > join echo:1\nalice < ok {}").await?;
        host.stop().await?;
    }
    Ok(())
}

/// A file that appears while the host runs may be half written. It takes no gatekeeper away.
#[tokio::test]
async fn a_new_file_that_is_no_component_shuts_nothing_while_the_host_runs() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    for content in [&b""[..], b"hello"] {
        host.refusal("new", content).await?;
        ensure!(knocked(&host).await? == 400, "{content:?}");
    }
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_gatekeeper_that_is_gone_for_good_is_forgotten_by_name() -> Result<()> {
    let host = guarded().await?;
    let ended = plugins(&host, &["forget", "gate"])?;
    ensure!(ended.code == Some(1) && ended.errors.contains("its file is there"), "{ended:?}");
    ensure!(plugins(&host, &["unload", "gate"])?.code == Some(0));
    ensure!(plugins(&host, &["forget", "gate"])?.code == Some(1), "its file is still there");
    ensure!(knocked(&host).await? == 503, "nothing has changed");
    fs::remove_file(host.plugin_file("gate"))?;
    // While the host runs, and after a restart.
    ensure!(knocked(&host).await? == 503, "a file that is gone doesn't open the mount");
    let host = host.restart(Signal::KILL).await?;
    ensure!(knocked(&host).await? == 503, "nor does a restart");
    let shown = plugins(&host, &[])?;
    ensure!(shown.output.contains("gatekeeper gate: not served"), "{shown:?}");
    let ended = plugins(&host, &["forget", "gate"])?;
    ensure!(ended.code == Some(0) && ended.output == "forgotten: gate\n", "{ended:?}");
    ensure!(knocked(&host).await? == 400, "anybody is let in now");
    let ended = plugins(&host, &["forget", "gate"])?;
    ensure!(ended.code == Some(1) && ended.errors.contains("there is no plugin `gate`"), "{ended:?}");
    let host = host.restart(Signal::TERM).await?;
    ensure!(knocked(&host).await? == 400, "and after a restart");
    host.stop().await?;
    Ok(())
}

/// The last good build goes on deciding for a file that vanishes. To forget it ends that.
#[tokio::test]
async fn a_gatekeeper_that_vanishes_while_the_host_runs_goes_on_until_it_is_forgotten() -> Result<()> {
    let host = guarded().await?;
    fs::remove_file(host.plugin_file("gate"))?;
    host.shows("its file is gone", |shown| shown["plugins"]["gate"]["file_is_gone"] == true).await?;
    ensure!(knocked(&host).await? == 418, "it decides all the same");
    ensure!(plugins(&host, &["forget", "gate"])?.code == Some(0));
    ensure!(knocked(&host).await? == 400, "there is no gatekeeper any more");
    ensure!(host.inspect().await?["plugins"]["gate"].is_null(), "nor is it listed");
    host.stop().await?;
    Ok(())
}

/// Under another name it is another gatekeeper, beside one that is missed.
#[tokio::test]
async fn a_gatekeeper_that_is_renamed_lets_nobody_in_until_the_old_name_is_forgotten() -> Result<()> {
    let host = guarded().await?;
    fs::rename(host.plugin_file("gate"), host.plugin_file("door"))?;
    let host = host.restart(Signal::KILL).await?;
    ensure!(knocked(&host).await? == 503, "which of the two decides isn't known");
    ensure!(plugins(&host, &["forget", "gate"])?.code == Some(0));
    ensure!(knocked(&host).await? == 418, "the other one is the only one");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_is_no_gatekeeper_takes_no_gatekeepers_place() -> Result<()> {
    let host = guarded().await?;
    let plugin = Crafted::serving("new:*").build()?;
    let why = host.refusal("gate", &plugin).await?;
    ensure!(why.contains("it is not a gatekeeper, but `gate` was one"), "{why}");
    ensure!(knocked(&host).await? == 418, "the gatekeeper goes on");
    let mut host = host.restart(Signal::KILL).await?;
    ensure!(knocked(&host).await? == 503, "nor at a start");
    for _ in 0..2 {
        let mark = host.log().len();
        ensure!(plugins(&host, &["forget", "gate"])?.code == Some(0));
        ensure!(host.decision(mark, "gate").await? == Loading::Done(1), "it is meant");
        ensure!(knocked(&host).await? == 400, "anybody is let in");
        // The other way round: a plugin becomes a gatekeeper, and a rollback mustn't open the mount.
        ensure!(host.put("gate", &Gate::Refuses.build()?).await? == Loading::Done(2));
        let ended = plugins(&host, &["rollback", "gate"])?;
        ensure!(ended.code == Some(1) && ended.errors.contains("mounts would be open to everyone"), "{ended:?}");
        ensure!(knocked(&host).await? == 418, "the gatekeeper goes on");
        // And once more after a restart with the plugin in its place.
        fs::write(host.plugin_file("gate"), &plugin)?;
        host = host.restart(Signal::KILL).await?;
        ensure!(knocked(&host).await? == 503, "it was a gatekeeper again");
    }
    host.stop().await?;
    Ok(())
}

/// Each single file that `load` names has to be there at the start.
#[tokio::test]
async fn a_gatekeepers_file_in_load_that_is_absent_keeps_the_host_from_starting() -> Result<()> {
    let setup = Setup::new().guests(&["echo"])?.file("elsewhere/gate.wasm", Gate::Refuses.build()?);
    let host = setup.config("load = [\"elsewhere/gate.wasm\"]").start().await?;
    ensure!(knocked(&host).await? == 418, "the gatekeeper decides");
    let home = host.keep_home();
    host.stop().await?;
    fs::remove_file(home.path().join("elsewhere/gate.wasm"))?;
    let arguments = ["serve", "plugins", "--config", "bennu.toml", "--listen", "127.0.0.1:0"];
    let ended = bennu(home.path(), &arguments)?;
    ensure!(ended.code == Some(1) && ended.errors.contains("looking for plugins at elsewhere/gate.wasm"), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn mounts_that_let_anybody_in_are_named_where_others_can_connect() -> Result<()> {
    let config = "[mounts.\"/socket\"]\n[mounts.\"/open\"]\nauth = \"none\"\n";
    let says = |log: &Log, words: &str| log.since(0).iter().any(|line| line.message().contains(words));
    let host = Setup::new().guests(&["echo"])?.config(config).listen("0.0.0.0:0").start().await?;
    let log = host.stop().await?;
    ensure!(says(&log, "there is no authentication at /socket"), "{}", log.tail(20));
    ensure!(says(&log, "there is no authentication at /open"), "{}", log.tail(20));
    let gate = Setup::new().plugin("gate", Gate::Refuses.build()?).config(config).listen("0.0.0.0:0").start().await?;
    let log = gate.stop().await?;
    ensure!(!says(&log, "there is no authentication at /socket"), "{}", log.tail(20));
    let local = Setup::new().guests(&["echo"])?.config(config).start().await?;
    let log = local.stop().await?;
    ensure!(!says(&log, "there is no authentication"), "{}", log.tail(20));
    Ok(())
}
