//! Plugin files that change while the host runs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use bennu_tests::crafted::{Crafted, another_build};
use bennu_tests::{Cast, Line, Loading, Setup, TestHost, check, places, play};
use serde_json::{Value, json};

#[tokio::test]
async fn joined_channels_continue_with_the_new_code_and_their_state() -> Result<()> {
    play(
        &["echo"],
        r#"
        alice > join echo:1
        alice < ok {}
        bob   > join echo:1
        bob   < ok {}
        alice > count
        alice < ok {"count": 1, "build": "1"}
        host  ! reload echo variants/echo-v2
        alice > count
        alice < ok {"count": 2, "build": "2"}
        bob   > count
        bob   < ok {"count": 1, "build": "2"}
        alice > shout {"still": "here"}
        alice < shout {"still": "here"}
        bob   < shout {"still": "here"}
        host  ! reload echo echo
        alice > count
        alice < ok {"count": 3, "build": "1"}
        alice ~
        bob ~
        "#,
    )
    .await?;
    Ok(())
}

/// Calls, timers and late replies that are pending during a reload are completed.
#[tokio::test]
async fn pending_calls_timers_and_replies_are_completed() -> Result<()> {
    let host = Setup::new().guests(&["naughty"])?.limit("call_cpu_ms", 10_000).start().await?;
    let mut cast = Cast::new(&host);
    cast.play(
        r#"
        alice > join naughty:1
        alice < ok …
        bob   > join naughty:1
        bob   < ok …
        carol > join naughty:1
        carol < ok …
        alice > slow {"ms": 500}
        alice > echo #behind {"n": 1}
        bob   > timer {"ms": 400}
        bob   < ok …
        carol > later {"ms": 400}
        carol ~
        "#,
    )
    .await?;
    let again = another_build(&places::guest("naughty")?, "again");
    ensure!(host.put("naughty", &again).await? == Loading::Done(2));
    cast.play(
        r#"
        bob   < rang {}
        carol < ok {"late": true}
        "#,
    )
    .await?;
    // The slow call began on the first generation. The message behind it runs on the second.
    let alice = cast.client("alice")?;
    ensure!(alice.reply("naughty:1", "2").await?.status == "ok");
    ensure!(alice.reply("naughty:1", "3").await?.response == json!({"n": 1}));
    cast.play("alice > panic\nalice < phx_error").await?;
    let fault = host.log().find(0, "the fault", |line| line.field("kind") == "trap").await?;
    ensure!(fault.fields["generation"] == 2, "{}", fault.text);
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn an_unchanged_file_is_not_reloaded() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let file = host.plugin_file("echo");
    fs::write(host.home().join("same"), places::guest("echo")?)?;
    fs::rename(host.home().join("same"), &file)?;
    // The next build becomes generation 2, so there was no reload before it.
    host.put("later", &Crafted::serving("later").build()?).await?;
    ensure!(host.inspect().await?["plugins"]["echo"]["generation"] == 1);
    ensure!(host.reload("echo", "variants/echo-v2").await? == 2);
    host.stop().await?;
    Ok(())
}

/// This happens if reproducible builds are copied with their times: the size, the time and the file are the same.
#[tokio::test]
async fn a_build_with_the_size_and_time_of_the_previous_one_is_noticed() -> Result<()> {
    let build = |topic: &str| Crafted::serving(&format!("{topic}:*")).build();
    let host = Setup::new().plugin("ours", build("topic0")?).start().await?;
    let file = host.plugin_file("ours");
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for number in 1..=6 {
        let topic = format!("topic{number}");
        let bytes = build(&topic)?;
        ensure!(fs::metadata(&file)?.len() == bytes.len() as u64, "the builds have the same size");
        let mark = host.log().len();
        let opened = fs::OpenOptions::new().write(true).open(&file)?;
        (&opened).write_all(&bytes)?;
        opened.set_modified(old)?;
        drop(opened);
        let generation = host.decision(mark, "ours").await?;
        ensure!(generation == Loading::Done(number + 1), "{generation:?}");
        check(&host, &format!("alice > join {topic}:1\nalice < ok {{}}")).await?;
    }
    host.stop().await?;
    Ok(())
}

/// A renamed file may have an older time, and a link may get another target. Touching a file is no change.
#[tokio::test]
async fn older_files_and_links_are_noticed_and_a_touch_is_not() -> Result<()> {
    let host = Setup::new().plugin("ours", Crafted::serving("a:*").build()?).start().await?;
    let file = host.plugin_file("ours");
    let builds = host.home().join("builds");
    fs::create_dir(&builds)?;
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for (number, topic) in [(2, "b:*"), (3, "c:*"), (4, "d:*")] {
        let build = builds.join(format!("{number}.wasm"));
        fs::write(&build, Crafted::serving(topic).build()?)?;
        fs::File::options().write(true).open(&build)?.set_modified(old)?;
        let mark = host.log().len();
        if number == 2 {
            fs::rename(&build, &file)?;
        } else {
            symlink(&build, host.home().join("link"))?;
            fs::rename(host.home().join("link"), &file)?;
        }
        ensure!(host.decision(mark, "ours").await? == Loading::Done(number));
    }
    // The target of the link changes, in another directory.
    let mark = host.log().len();
    fs::write(builds.join("4.wasm"), Crafted::serving("e:*").build()?)?;
    ensure!(host.decision(mark, "ours").await? == Loading::Done(5));
    fs::File::options().write(true).open(builds.join("4.wasm"))?.set_modified(old)?;
    host.put("later", &Crafted::serving("later").build()?).await?;
    ensure!(
        host.put("ours", &Crafted::serving("f:*").build()?).await? == Loading::Done(6),
        "touching the file was no reload"
    );
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_half_written_file_keeps_the_running_build() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join echo:1\nalice < ok {}\nalice > count\nalice < ok {\"count\": 1, \"build\": \"1\"}").await?;
    let whole = places::guest("variants/echo-v2")?;
    let (first, rest) = whole.split_at(whole.len() / 2);
    let mark = host.log().len();
    // Writes the file in place, instead of replacing it by a rename.
    let mut file = fs::File::create(host.plugin_file("echo"))?;
    file.write_all(first)?;
    let is_refused = |line: &Line| line.field("plugin") == "echo" && line.message().contains("damaged or incomplete");
    host.log().find(mark, "half a file is refused", is_refused).await?;
    cast.play("alice > count\nalice < ok {\"count\": 2, \"build\": \"1\"}").await?;
    file.write_all(rest)?;
    drop(file);
    let is_reloaded = |line: &Line| line.field("plugin") == "echo" && line.message() == "plugin_reloaded";
    let line = host.log().find(mark, "the whole file is loaded", is_reloaded).await?;
    ensure!(line.fields["generation"] == 2, "{}", line.text);
    cast.play("alice > count\nalice < ok {\"count\": 3, \"build\": \"2\"}").await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn new_files_become_new_plugins() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join room:1 {\"user\": \"alice\"}\nalice < unmatched").await?;
    ensure!(host.reload("chat", "chat").await? == 1);
    cast.play("alice > join room:1 {\"user\": \"alice\"}\nalice < ok {}").await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_plugin_whose_file_is_removed_continues_to_serve() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    check(
        &host,
        r#"
        alice > join echo:1
        alice < ok {}
        host  ! remove echo
        alice > count
        alice < ok {"count": 1, "build": "1"}
        bob   > join echo:1
        bob   < ok {}
        host  ! reload echo variants/echo-v2
        alice > count
        alice < ok {"count": 2, "build": "2"}
        "#,
    )
    .await?;
    host.log().find(0, "the warning", |line| line.message().starts_with("plugin_file_gone")).await?;
    let serves = |shown: &Value| {
        let echo = &shown["plugins"]["echo"];
        echo["generation"] == 2 && echo["file_is_gone"] == false
    };
    host.shows("the file is back", serves).await?;
    host.stop().await?;
    Ok(())
}

/// Only a member whose state the new build can't read has to join again.
#[tokio::test]
async fn an_unreadable_state_ends_only_its_membership() -> Result<()> {
    let odd = Crafted::serving("echo:*").assigns(b"\xc1 is no state of echo's").build()?;
    // Without probation, because on probation the previous build would answer.
    let host = Setup::new().plugin("echo", odd).config("[reload]\nprobation_ms = 0").start().await?;
    check(
        &host,
        r#"
        alice > join echo:1
        alice < ok {}
        bob   > join echo:1
        bob   < ok {}
        host  ! reload echo echo
        carol > join echo:1
        carol < ok {}
        -- Alice gets the error at her next message.
        alice > count
        alice < phx_error
        alice > join echo:1
        alice < ok {}
        alice > count
        alice < ok {"count": 1, "build": "1"}
        -- Bob has sent nothing, and still gets broadcasts.
        carol > shout {"a": 1}
        carol < shout {"a": 1}
        alice < shout {"a": 1}
        bob   < shout {"a": 1}
        bob ~
        carol ~
        "#,
    )
    .await?;
    let fault = |line: &Line| line.field("callback") == "handle_in" && line.message().contains("can't be read");
    host.log().find(0, "the fault", fault).await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn members_of_a_removed_route_get_an_error() -> Result<()> {
    let both = Crafted::serving("old:*").route("kept:*").build()?;
    let host = Setup::new().guests(&["echo"])?.plugin("ours", both).start().await?;
    let mut cast = Cast::new(&host);
    cast.play(
        r#"
        alice > join old:1
        alice < ok {}
        bob   > join kept:1
        bob   < ok {}
        carol > join echo:1
        carol < ok {}
        "#,
    )
    .await?;
    ensure!(host.put("ours", &Crafted::serving("kept:*").build()?).await? == Loading::Done(2));
    cast.play(
        r#"
        alice < phx_error
        alice > join old:1
        alice < unmatched
        bob ~
        bob   > leave
        bob   < ok {}
        bob   < phx_close
        carol > count
        carol < ok {"count": 1, "build": "1"}
        "#,
    )
    .await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// Another plugin with a longer pattern now serves the topic. It can't read the states of the members.
#[tokio::test]
async fn members_of_a_topic_that_moves_to_another_plugin_get_an_error() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let mut cast = Cast::new(&host);
    cast.play(
        r#"
        alice > join echo:vip:1
        alice < ok {}
        bob   > join echo:1
        bob   < ok {}
        "#,
    )
    .await?;
    ensure!(host.put("vip", &Crafted::serving("echo:vip:*").build()?).await? == Loading::Done(1));
    cast.play(
        r#"
        alice < phx_error
        alice > join echo:vip:1
        alice < ok {}
        -- The new plugin doesn't answer.
        alice > count
        alice ~
        bob   > count
        bob   < ok {"count": 1, "build": "1"}
        "#,
    )
    .await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// A plugin that was refused because of another plugin's topic is loaded when the topic is free. The order of their names
/// doesn't matter.
#[tokio::test]
async fn a_plugin_refused_for_a_topic_is_loaded_when_the_topic_is_free() -> Result<()> {
    for waiting in ["alpha", "zeta"] {
        let host = Setup::new().plugin("owner", Crafted::serving("new:*").build()?).start().await?;
        let why = host.refusal(waiting, &Crafted::serving("new:*").build()?).await?;
        ensure!(why.contains("already belongs to the plugin `owner`"), "{why}");
        let mark = host.log().len();
        host.put("owner", &Crafted::serving("else:*").build()?).await?;
        let loaded = |line: &Line| line.field("plugin") == waiting && line.message().starts_with("plugin_loaded");
        host.log().find(mark, &format!("`{waiting}` is loaded"), loaded).await?;
        check(&host, "alice > join new:1\nalice < ok {}\nalice > join else:1\nalice < ok {}").await?;
        host.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_host_starts_with_a_broken_plugin() -> Result<()> {
    // The broken file may have been a gatekeeper. So a mount without `auth = "none"` would admit no client.
    let setup = Setup::new().guests(&["echo"])?.plugin("broken", b"hello".to_vec());
    let host = setup.config("[mounts.\"/socket\"]\nauth = \"none\"").start().await?;
    check(&host, "alice > join echo:1\nalice < ok {}\nalice > join room:1\nalice < unmatched").await?;
    let shown = &host.inspect().await?["plugins"]["broken"];
    ensure!(shown["generation"] == 0 && shown["last_error"].as_str().is_some_and(|why| why.contains("WebAssembly")));
    ensure!(host.reload("broken", "chat").await? == 1);
    check(&host, "alice > join room:1 {\"user\": \"alice\"}\nalice < ok {}").await?;
    host.stop().await?;
    Ok(())
}

/// The host watches a single file like a directory.
#[tokio::test]
async fn a_plugin_may_be_a_file_elsewhere() -> Result<()> {
    let setup = Setup::new().file("elsewhere/echo.wasm", places::guest("echo")?);
    let host = setup.config("load = [\"elsewhere/echo.wasm\"]").start().await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join echo:1\nalice < ok {}\nalice > version\nalice < ok {\"version\": 1}").await?;
    let mark = host.log().len();
    fs::write(host.home().join("elsewhere/part"), places::guest("variants/echo-v2")?)?;
    // Another file in the same directory isn't loaded.
    fs::write(host.home().join("elsewhere/chat.wasm"), places::guest("chat")?)?;
    fs::rename(host.home().join("elsewhere/part"), host.home().join("elsewhere/echo.wasm"))?;
    ensure!(host.decision(mark, "echo").await? == Loading::Done(2));
    cast.play("alice > version\nalice < ok {\"version\": 2}").await?;
    cast.play("alice > join room:1 {\"user\": \"alice\"}\nalice < unmatched").await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// The next host finds the compiled code of a plugin in the cache.
#[tokio::test]
async fn compiled_code_is_cached() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let compiled = cache.path().join("compiled");
    for is_cached in [false, true] {
        let plugin = Crafted::serving("new:*").build()?;
        let host = Setup::new().plugin("ours", plugin).cache(&compiled).start().await?;
        let loaded = |line: &Line| line.message() == "plugin_loaded";
        let line = host.log().find(0, "the plugin is loaded", loaded).await?;
        ensure!(line.fields["cached"] == is_cached, "{}", line.text);
        check(&host, "alice > join new:1\nalice < ok {}").await?;
        host.stop().await?;
    }
    Ok(())
}

/// Damaged compiled code is never run: the test flips bits, overwrites pages and truncates the file.
#[tokio::test]
async fn a_plugin_is_compiled_again_if_its_compiled_code_is_damaged() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let compiled = cache.path().join("compiled");
    let start = async || Setup::new().plugin("ours", Crafted::serving("new:*").build()?).cache(&compiled).start().await;
    start().await?.stop().await?;
    // Beside it is the directory of compiled functions. The order of both depends on the file system.
    let mut entries = compiled.read_dir()?.filter_map(|entry| Some(entry.ok()?.path()));
    let file = entries.find(|path| path.is_file()).context("a compiled plugin")?;
    let good = fs::read(&file)?;
    let flipped = (0..24).map(|place| {
        let mut bytes = good.clone();
        bytes[good.len() * place / 24] ^= 1;
        bytes
    });
    let overwritten = (0..4).map(|place| {
        let mut bytes = good.clone();
        bytes.iter_mut().skip(good.len() * place / 4).take(4096).for_each(|byte| *byte = !*byte);
        bytes
    });
    let cut = [0, 1, 40, good.len() / 2, good.len() - 1].map(|length| good[..length].to_vec());
    for (case, damaged) in flipped.chain(overwritten).chain(cut).chain([b"damaged".to_vec()]).enumerate() {
        fs::write(&file, damaged)?;
        let host = start().await?;
        let warned = |line: &Line| line.message().contains("can't be used, so it is compiled again");
        host.log().find(0, &format!("a warning about case {case}"), warned).await?;
        check(&host, "alice > join new:1\nalice < ok {}").await?;
        host.stop().await?;
        ensure!(fs::read(&file)?.len() == good.len(), "case {case}: the compiled code wasn't replaced");
    }
    Ok(())
}
