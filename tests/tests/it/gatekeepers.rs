//! Gatekeepers that are missing, damaged or replaced. A mount that relies on a gatekeeper is never open without it.

use std::fs;

use anyhow::{Result, ensure};
use bennu_tests::crafted::Crafted;
use bennu_tests::{Ended, Gate, Loading, Log, Setup, TestHost, bennu, check, get};
use rustix::process::Signal;

/// The status of a request without a token and without an upgrade. It is 400 if the client would be admitted.
async fn connect_status(host: &TestHost) -> Result<u16> {
    Ok(get(host.address(), "/socket/websocket?vsn=2.0.0").await?.status)
}

/// A host with a plugin and a gatekeeper that has already decided once.
async fn guarded() -> Result<TestHost> {
    let host = Setup::new().guests(&["echo"])?.plugin("gate", Gate::Refuses.build()?).start().await?;
    ensure!(connect_status(&host).await? == 418, "the gatekeeper decides");
    Ok(host)
}

fn plugins(host: &TestHost, arguments: &[&str]) -> Result<Ended> {
    let address = host.address().to_string();
    bennu(host.home(), &[&["plugins", "--host", &address][..], arguments].concat())
}

/// The first bytes of a gatekeeper. They end before the name of its export.
fn cut() -> Result<Vec<u8>> {
    Ok(Gate::Grants.build()?[..40].to_vec())
}

#[tokio::test]
async fn without_its_gatekeeper_at_the_start_a_host_admits_no_client() -> Result<()> {
    let module = bennu_tests::crafted::component("(module)")?;
    let cases = [None, Some(vec![]), Some(b"hello".to_vec()), Some(cut()?), Some(module)];
    for content in cases {
        let host = guarded().await?;
        match &content {
            Some(bytes) => fs::write(host.plugin_file("gate"), bytes)?,
            None => fs::remove_file(host.plugin_file("gate"))?,
        }
        let host = host.restart(Signal::KILL).await?;
        ensure!(connect_status(&host).await? == 503, "{content:?}");
        let says = |line: &bennu_tests::Line| line.text.contains("bennu plugins forget gate");
        host.log().find(0, "the advice", says).await?;
        let shown = host.inspect().await?;
        ensure!(shown["plugins"]["gate"]["last_error"].is_string(), "{shown}");
        // The file is back, and the gatekeeper decides again.
        ensure!(host.put("gate", &Gate::Refuses.build()?).await? == Loading::Done(1));
        ensure!(connect_status(&host).await? == 418, "{content:?}");
        host.stop().await?;
    }
    Ok(())
}

/// The host knows nothing about the file, so it may have been the gatekeeper.
#[tokio::test]
async fn an_unreadable_file_at_the_first_start_counts_as_a_gatekeeper() -> Result<()> {
    for content in [vec![], b"hello".to_vec(), cut()?] {
        let host = Setup::new().guests(&["echo"])?.plugin("gate", content.clone()).start().await?;
        ensure!(connect_status(&host).await? == 503, "{content:?}");
        // The file is replaced by a channel plugin.
        ensure!(host.put("gate", &Crafted::serving("new:*").build()?).await? == Loading::Done(1));
        ensure!(connect_status(&host).await? == 400, "there is no gatekeeper");
        // A damaged file that is known to be a channel plugin doesn't count as a gatekeeper.
        fs::write(host.plugin_file("gate"), b"")?;
        let host = host.restart(Signal::KILL).await?;
        ensure!(connect_status(&host).await? == 400, "the plugin was a channel plugin");
        check(&host, "alice > join echo:1\nalice < ok {}").await?;
        host.stop().await?;
    }
    Ok(())
}

/// A file that appears while the host runs may be incomplete. It doesn't close the mounts.
#[tokio::test]
async fn a_new_unreadable_file_closes_no_mount_of_a_running_host() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    for content in [&b""[..], b"hello"] {
        host.refusal("new", content).await?;
        ensure!(connect_status(&host).await? == 400, "{content:?}");
    }
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_removed_gatekeeper_can_be_forgotten_by_command() -> Result<()> {
    let host = guarded().await?;
    let ended = plugins(&host, &["forget", "gate"])?;
    ensure!(ended.code == Some(1) && ended.errors.contains("its file is there"), "{ended:?}");
    ensure!(plugins(&host, &["unload", "gate"])?.code == Some(0));
    ensure!(plugins(&host, &["forget", "gate"])?.code == Some(1), "its file is still there");
    ensure!(connect_status(&host).await? == 503, "nothing has changed");
    fs::remove_file(host.plugin_file("gate"))?;
    // While the host runs, and after a restart.
    ensure!(connect_status(&host).await? == 503, "a file that is gone doesn't open the mount");
    let host = host.restart(Signal::KILL).await?;
    ensure!(connect_status(&host).await? == 503, "a restart doesn't open the mount either");
    let shown = plugins(&host, &[])?;
    ensure!(shown.output.contains("gatekeeper gate: not served"), "{shown:?}");
    let ended = plugins(&host, &["forget", "gate"])?;
    ensure!(ended.code == Some(0) && ended.output == "forgotten: gate\n", "{ended:?}");
    ensure!(connect_status(&host).await? == 400, "there is no gatekeeper any more, so every client is admitted");
    let ended = plugins(&host, &["forget", "gate"])?;
    ensure!(ended.code == Some(1) && ended.errors.contains("there is no plugin `gate`"), "{ended:?}");
    let host = host.restart(Signal::TERM).await?;
    ensure!(connect_status(&host).await? == 400, "the same after a restart");
    host.stop().await?;
    Ok(())
}

/// If the file of a gatekeeper is removed, the loaded build continues to decide. `bennu plugins forget` ends that.
#[tokio::test]
async fn a_gatekeeper_whose_file_is_removed_decides_until_it_is_forgotten() -> Result<()> {
    let host = guarded().await?;
    fs::remove_file(host.plugin_file("gate"))?;
    host.shows("its file is gone", |shown| shown["plugins"]["gate"]["file_is_gone"] == true).await?;
    ensure!(connect_status(&host).await? == 418, "the loaded build decides");
    ensure!(plugins(&host, &["forget", "gate"])?.code == Some(0));
    ensure!(connect_status(&host).await? == 400, "there is no gatekeeper any more");
    ensure!(host.inspect().await?["plugins"]["gate"].is_null(), "it isn't listed");
    host.stop().await?;
    Ok(())
}

/// Under another name, the file is another gatekeeper, and the first one is missing.
#[tokio::test]
async fn a_renamed_gatekeeper_admits_no_client_until_the_old_name_is_forgotten() -> Result<()> {
    let host = guarded().await?;
    fs::rename(host.plugin_file("gate"), host.plugin_file("door"))?;
    let host = host.restart(Signal::KILL).await?;
    ensure!(connect_status(&host).await? == 503, "two gatekeepers are known");
    ensure!(plugins(&host, &["forget", "gate"])?.code == Some(0));
    ensure!(connect_status(&host).await? == 418, "only the new name is known");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_channel_plugin_cannot_replace_a_gatekeeper() -> Result<()> {
    let host = guarded().await?;
    let plugin = Crafted::serving("new:*").build()?;
    let why = host.refusal("gate", &plugin).await?;
    ensure!(why.contains("it is not a gatekeeper, but `gate` was one"), "{why}");
    ensure!(connect_status(&host).await? == 418, "the gatekeeper still decides");
    let mut host = host.restart(Signal::KILL).await?;
    ensure!(connect_status(&host).await? == 503, "not at a start either");
    for _ in 0..2 {
        let mark = host.log().len();
        ensure!(plugins(&host, &["forget", "gate"])?.code == Some(0));
        ensure!(host.decision(mark, "gate").await? == Loading::Done(1), "the file is loaded now");
        ensure!(connect_status(&host).await? == 400, "there is no gatekeeper any more");
        // A gatekeeper replaces a channel plugin. A rollback must not open the mount.
        ensure!(host.put("gate", &Gate::Refuses.build()?).await? == Loading::Done(2));
        let ended = plugins(&host, &["rollback", "gate"])?;
        ensure!(ended.code == Some(1) && ended.errors.contains("mounts would be open to everyone"), "{ended:?}");
        ensure!(connect_status(&host).await? == 418, "the gatekeeper still decides");
        // The same again, after a restart with the channel plugin's file.
        fs::write(host.plugin_file("gate"), &plugin)?;
        host = host.restart(Signal::KILL).await?;
        ensure!(connect_status(&host).await? == 503, "the name is known as a gatekeeper again");
    }
    host.stop().await?;
    Ok(())
}

/// Each single file in `load` must exist at the start.
#[tokio::test]
async fn a_host_does_not_start_without_a_file_that_load_names() -> Result<()> {
    let setup = Setup::new().guests(&["echo"])?.file("elsewhere/gate.wasm", Gate::Refuses.build()?);
    let host = setup.config("load = [\"elsewhere/gate.wasm\"]").start().await?;
    ensure!(connect_status(&host).await? == 418, "the gatekeeper decides");
    let home = host.keep_home();
    host.stop().await?;
    fs::remove_file(home.path().join("elsewhere/gate.wasm"))?;
    let arguments = ["serve", "plugins", "--config", "bennu.toml", "--listen", "127.0.0.1:0"];
    let ended = bennu(home.path(), &arguments)?;
    ensure!(ended.code == Some(1) && ended.errors.contains("looking for plugins at elsewhere/gate.wasm"), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn mounts_without_authentication_are_logged_if_other_machines_can_connect() -> Result<()> {
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
