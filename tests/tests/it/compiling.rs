//! The host continues to serve while a component is compiled.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bennu_tests::crafted::Crafted;
use bennu_tests::{
    Cast, Ended, JSON, Loading, Setup, TestHost, bennu, check, compiled_name, copy_compiled, eventually, places,
    request_with,
};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::Signal;

/// A plugin that compiles for longer than a test runs.
fn endless() -> Result<Vec<u8>> {
    Crafted::serving("slow:*").slow_to_compile(3_000).build()
}

/// Holds the compilation of a component until [`release`]. The compiling thread first looks for the compiled file. It finds
/// a pipe, and waits until the test opens the pipe too. Then it compiles the component, because a pipe isn't a compiled file.
fn hold(cache: &Path, component: &[u8]) -> Result<PathBuf> {
    let pipe = cache.join(compiled_name(component)?);
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    Ok(pipe)
}

/// Continues the compilation of a held component.
fn release(pipe: &Path) -> Result<()> {
    // If no thread has the pipe open, this fails instead of waiting.
    fs::OpenOptions::new().write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(pipe)?;
    Ok(())
}

/// Runs `bennu plugins`. After a load, waits for its log line, so that the test doesn't take this line for the next load's.
async fn plugins(host: &TestHost, action: &str, name: &str) -> Result<Ended> {
    let (address, mark) = (host.address().to_string(), host.log().len());
    let ended = bennu(host.home(), &["plugins", "--host", &address, action, name])?;
    if ended.code == Some(0) && action != "unload" {
        host.decision(mark, name).await?;
    }
    Ok(ended)
}

/// Saves a plugin without waiting for it, until the host is loading it.
async fn save(host: &TestHost, name: &str, bytes: &[u8]) -> Result<()> {
    fs::write(host.home().join("part"), bytes)?;
    fs::rename(host.home().join("part"), host.plugin_file(name))?;
    is_loading(host, name).await
}

async fn is_loading(host: &TestHost, name: &str) -> Result<()> {
    host.shows("it is being loaded", |shown| shown["plugins"][name]["is_loading"] == true).await?;
    Ok(())
}

/// Waits until the file was read and the compiler runs.
async fn is_compiling(host: &TestHost) -> Result<()> {
    let is_compiler = |name: &String| name == "bennu-compile";
    eventually("a component compiles", async || Ok(host.threads()?.iter().any(is_compiler).then_some(()))).await
}

/// Fails if a load has ended. Then the test's earlier actions didn't happen during the load.
async fn still_loads(host: &TestHost, name: &str) -> Result<()> {
    let shown = host.inspect().await?;
    ensure!(shown["plugins"][name]["is_loading"] == true, "{name} should still be compiling: {shown}");
    Ok(())
}

#[tokio::test]
async fn operators_are_answered_while_a_plugin_compiles() -> Result<()> {
    let host = TestHost::start(&["echo", "counter"]).await?;
    ensure!(host.reload("echo", "variants/echo-v2").await? == 2);
    save(&host, "slow", &endless()?).await?;
    for (action, name, words) in [
        ("rollback", "echo", "generation 1"),
        ("reload", "echo", "generation 3"),
        ("unload", "counter", "not served"),
        ("reload", "counter", "generation 2"),
    ] {
        let ended = plugins(&host, action, name).await?;
        ensure!(ended.code == Some(0) && ended.output.contains(words), "{action} {name}: {ended:?}");
        still_loads(&host, "slow").await?;
    }
    // A saved file is loaded too.
    ensure!(host.reload("counter", "variants/counter-v2").await? == 3);
    still_loads(&host, "slow").await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_bad_build_is_rolled_back_while_a_plugin_compiles() -> Result<()> {
    let host = TestHost::start(&["counter"]).await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join count:1\nalice < ok {}").await?;
    ensure!(host.reload("counter", "variants/counter-v1-faulty").await? == 2);
    save(&host, "slow", &endless()?).await?;
    for sum in 1..=4 {
        let script = r#"
            alice > add {"n": 1}
            alice < sum {"sum": SUM}
            alice < ok {"sum": SUM}
        "#;
        cast.play(&script.replace("SUM", &sum.to_string())).await?;
    }
    let is_rolled_back = |shown: &serde_json::Value| !shown["plugins"]["counter"]["taken_back"].is_null();
    host.shows("the build is rolled back", is_rolled_back).await?;
    still_loads(&host, "slow").await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// The sizes of the files with compiled functions in a cache, from the smallest.
fn packs(cache: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(cache.join("functions"))? {
        let entry = entry?;
        found.push((entry.metadata()?.len(), entry.path()));
    }
    found.sort();
    Ok(found)
}

/// A second build compiles only the functions that the first one lacks. Damaged files with functions are no obstacle.
#[tokio::test]
async fn the_compiled_functions_of_an_earlier_build_are_reused() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let compiled = cache.path().join("compiled");
    let host = Setup::new().cache(&compiled).start().await?;
    // The builds differ in one number, in a small function.
    let build = |number: u8| {
        let small = format!("(drop (i32.add (local.get 1) (i32.const {number}))) i32.const 0");
        Crafted::serving("slow:*").slow_to_compile(600).handling_in_by(&small).build()
    };
    ensure!(host.put("slow", &build(77)?).await? == Loading::Done(1));
    let first = packs(&compiled)?;
    ensure!(first.len() == 1, "{first:?}");
    // A function has one of two keys (`host/src/plugin/functions.rs`). So the large function is missing in one of the next packs, at
    // the latest when both keys are stored.
    let mut generation = 1;
    while packs(&compiled)?[0].0 * 4 > first[0].0 {
        generation += 1;
        ensure!(generation < 12, "the large function is compiled again and again: {:?}", packs(&compiled)?);
        let number = 76 + u8::try_from(generation)?;
        ensure!(host.put("slow", &build(number)?).await? == Loading::Done(generation));
    }
    let all = packs(&compiled)?;
    ensure!(all.len() as u64 == generation, "{all:?}");
    for (_, path) in all {
        let mut bytes = fs::read(&path)?;
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes[20] ^= 1;
        fs::write(&path, bytes)?;
    }
    ensure!(host.put("slow", &build(99)?).await? == Loading::Done(generation + 1));
    check(&host, "alice > join slow:1\nalice < ok {}").await?;
    host.stop().await?;
    Ok(())
}

/// Waits until the compiled file has replaced the pipe.
async fn is_compiled(pipe: &Path) -> Result<()> {
    eventually("the component is compiled", async || Ok(pipe.is_file().then_some(()))).await
}

/// The last save counts. The result of the earlier save is dropped when it is ready.
#[tokio::test]
async fn a_file_that_is_saved_again_while_it_compiles_is_loaded_with_its_last_content() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let compiled = cache.path().join("compiled");
    for build in ["echo", "variants/echo-v2"] {
        copy_compiled(&places::guest(build)?, &compiled)?;
    }
    let host = Setup::new().guests(&["echo"])?.cache(&compiled).start().await?;
    let slow = Crafted::serving("slow:*").build()?;
    let pipe = hold(&compiled, &slow)?;
    save(&host, "echo", &slow).await?;
    is_compiling(&host).await?;
    ensure!(host.reload("echo", "variants/echo-v2").await? == 2);
    release(&pipe)?;
    is_compiled(&pipe).await?;
    // Results are handled in order. When this load has ended, the earlier result was handled too.
    ensure!(host.put("later", &Crafted::serving("later:*").build()?).await? == Loading::Done(1));
    let shown = host.inspect().await?;
    ensure!(shown["plugins"]["echo"]["generation"] == 2 && shown["plugins"]["echo"]["is_loading"] == false, "{shown}");
    check(&host, "alice > join echo:1\nalice < ok {}\nalice > version\nalice < ok {\"version\": 2}").await?;
    host.stop().await?;
    Ok(())
}

/// An unload or a rollback cancels a running load. Its build isn't published later.
#[tokio::test]
async fn an_unload_or_a_rollback_cancels_the_load_of_a_build_that_compiles() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    ensure!(host.reload("echo", "variants/echo-v2").await? == 2);
    let endless = endless()?;
    save(&host, "echo", &endless).await?;
    let ended = plugins(&host, "rollback", "echo").await?;
    ensure!(ended.code == Some(0) && ended.output.contains("generation 1"), "{ended:?}");
    let echo = &host.inspect().await?["plugins"]["echo"];
    ensure!(echo["is_loading"] == false && echo["is_rolled_back"] == true, "{echo}");
    // The file changes, and the new content is loaded.
    ensure!(host.put("echo", &places::guest("variants/echo-v2")?).await? == Loading::Done(3));
    save(&host, "echo", &endless).await?;
    ensure!(plugins(&host, "unload", "echo").await?.code == Some(0));
    let echo = &host.inspect().await?["plugins"]["echo"];
    ensure!(echo["is_loading"] == false && echo["generation"] == 0, "{echo}");
    check(&host, "alice > join echo:1\nalice < unmatched").await?;
    host.stop().await?;
    Ok(())
}

/// A request for a reload is answered even if the load is cancelled.
#[tokio::test]
async fn a_cancelled_reload_is_answered() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    save(&host, "slow", &endless()?).await?;
    let address = host.address();
    let path = "/api/plugins/slow/reload";
    let reload = tokio::spawn(async move { request_with(address, "POST", path, JSON, b"{}").await });
    // The first unload may cancel the load that `save` has started. So the test repeats it until the reload is answered.
    let refused = eventually("the reload is cancelled", async || {
        let ended = plugins(&host, "unload", "slow").await?;
        ensure!(ended.code == Some(0), "{ended:?}");
        Ok(reload.is_finished().then_some(()))
    });
    refused.await?;
    let answer = reload.await.context("the request")??;
    ensure!(answer.status == 409 && answer.body.contains("unloaded meanwhile"), "{answer:?}");
    host.stop().await?;
    Ok(())
}

/// One of the plugins is held, so a host that waited for it would never end.
#[tokio::test]
async fn a_host_stops_while_plugins_compile() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let compiled = cache.path().join("compiled");
    copy_compiled(&places::guest("echo")?, &compiled)?;
    let mut host = Setup::new().guests(&["echo"])?.cache(&compiled).start().await?;
    let held = Crafted::serving("held:*").build()?;
    hold(&compiled, &held)?;
    save(&host, "held", &held).await?;
    save(&host, "slow", &endless()?).await?;
    is_compiling(&host).await?;
    still_loads(&host, "held").await?;
    host.signal(Signal::TERM)?;
    let status = host.ended().await?;
    ensure!(status.success(), "{status}");
    host.log().check()?;
    Ok(())
}

/// A restarted host whose stored previous build has no compiled file. The compilation of this build is held.
async fn with_a_kept_build_that_is_held(cache: &Path) -> Result<TestHost> {
    let first = Crafted::serving("ours:*").route("first:*").build()?;
    copy_compiled(&places::guest("echo")?, cache)?;
    let setup = Setup::new().guests(&["echo"])?.plugin("ours", first.clone()).cache(cache);
    let host = setup.config("[reload]\nprobation_ms = 1\nprobation_calls = 1").start().await?;
    let has_passed = |shown: &serde_json::Value| shown["plugins"]["ours"]["standing"] == "proved";
    check(&host, "alice > join ours:1\nalice < ok {}").await?;
    host.shows("the first build has passed", has_passed).await?;
    ensure!(host.put("ours", &Crafted::serving("ours:*").build()?).await? == Loading::Done(2));
    check(&host, "alice > join ours:1\nalice < ok {}").await?;
    host.shows("the second build has passed", has_passed).await?;
    let replace = |_: &TestHost| {
        fs::remove_file(cache.join(compiled_name(&first)?))?;
        hold(cache, &first)?;
        Ok(())
    };
    host.restart_after(Signal::TERM, replace).await
}

#[tokio::test]
async fn a_rollback_after_a_restart_blocks_nothing_while_the_previous_build_compiles() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let host = with_a_kept_build_that_is_held(&cache.path().join("compiled")).await?;
    let address = host.address();
    let roll_back = || {
        let path = "/api/plugins/ours/rollback";
        tokio::spawn(async move { request_with(address, "POST", path, JSON, b"{}").await })
    };
    // An unload cancels the rollback.
    let first = roll_back();
    is_loading(&host, "ours").await?;
    ensure!(plugins(&host, "unload", "ours").await?.code == Some(0));
    let answer = first.await??;
    ensure!(answer.status == 409 && answer.body.contains("unloaded meanwhile"), "{answer:?}");
    ensure!(plugins(&host, "reload", "ours").await?.code == Some(0));
    // During the rollback, another plugin is reloaded, and a saved file is loaded.
    let second = roll_back();
    is_loading(&host, "ours").await?;
    ensure!(plugins(&host, "reload", "echo").await?.code == Some(0));
    still_loads(&host, "ours").await?;
    let third = Crafted::serving("ours:*").route("third:*").build()?;
    ensure!(matches!(host.put("ours", &third).await?, Loading::Done(_)));
    let answer = second.await??;
    ensure!(answer.status == 409 && answer.body.contains("its file was loaded meanwhile"), "{answer:?}");
    check(&host, "alice > join third:1\nalice < ok {}").await?;
    host.stop().await?;
    Ok(())
}
