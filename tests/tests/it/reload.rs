//! Plugins that are saved while the host runs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use bennu_tests::crafted::{Crafted, another_build};
use bennu_tests::{Cast, Line, Loading, Setup, TestHost, check, places, play};
use serde_json::{Value, json};

#[tokio::test]
async fn joined_channels_go_on_with_the_new_code_and_their_state() -> Result<()> {
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

/// What is under way when a plugin is reloaded comes to its end: calls, timers, replies that were promised.
#[tokio::test]
async fn what_is_under_way_comes_to_its_end() -> Result<()> {
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
    // The slow call began on the first generation, and what came behind it runs on the second.
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
async fn a_file_that_is_saved_unchanged_is_no_reload() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let file = host.plugin_file("echo");
    fs::write(host.home().join("same"), places::guest("echo")?)?;
    fs::rename(host.home().join("same"), &file)?;
    // The next build is the second one.
    host.put("later", &Crafted::serving("later").build()?).await?;
    ensure!(host.inspect().await?["plugins"]["echo"]["generation"] == 1);
    ensure!(host.reload("echo", "variants/echo-v2").await? == 2);
    host.stop().await?;
    Ok(())
}

/// As a copy that keeps times does with reproducible builds: the same size, the same time, the same file.
#[tokio::test]
async fn a_build_that_is_written_in_place_with_size_and_time_of_the_one_before_is_noticed() -> Result<()> {
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

/// A rename over the file may bring an older time, and a link may lead elsewhere. To touch a file is no change.
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
    // The link's target changes, in another directory.
    let mark = host.log().len();
    fs::write(builds.join("4.wasm"), Crafted::serving("e:*").build()?)?;
    ensure!(host.decision(mark, "ours").await? == Loading::Done(5));
    fs::File::options().write(true).open(builds.join("4.wasm"))?.set_modified(old)?;
    host.put("later", &Crafted::serving("later").build()?).await?;
    ensure!(host.put("ours", &Crafted::serving("f:*").build()?).await? == Loading::Done(6), "the touch was no reload");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_half_written_file_leaves_what_runs_in_place() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join echo:1\nalice < ok {}\nalice > count\nalice < ok {\"count\": 1, \"build\": \"1\"}").await?;
    let whole = places::guest("variants/echo-v2")?;
    let (first, rest) = whole.split_at(whole.len() / 2);
    let mark = host.log().len();
    // As somebody writes who knows nothing of renames.
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
async fn new_files_become_new_channels() -> Result<()> {
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
async fn a_file_that_vanishes_keeps_serving() -> Result<()> {
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
    host.log().find(0, "a word about it", |line| line.message().starts_with("plugin_file_gone")).await?;
    let serves = |shown: &Value| {
        let echo = &shown["plugins"]["echo"];
        echo["generation"] == 2 && echo["file_is_gone"] == false
    };
    host.shows("the file is back", serves).await?;
    host.stop().await?;
    Ok(())
}

/// Only who was let in with a state that can't be read any more has to join again.
#[tokio::test]
async fn a_state_that_cannot_be_read_ends_that_membership() -> Result<()> {
    let odd = Crafted::serving("echo:*").assigns(b"\xc1 is no state of echo's").build()?;
    // On probation, the build before would answer in its place.
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
        -- Alice is told when it shows.
        alice > count
        alice < phx_error
        alice > join echo:1
        alice < ok {}
        alice > count
        alice < ok {"count": 1, "build": "1"}
        -- Bob, who has done nothing, still hears what is sent to all.
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
async fn members_of_a_route_that_is_gone_are_told() -> Result<()> {
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

/// A longer pattern of another plugin takes a topic over. That plugin can't know what to make of the members' state.
#[tokio::test]
async fn members_of_a_topic_that_passes_to_another_plugin_are_told() -> Result<()> {
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
        -- The one that has taken over answers nothing.
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

/// A plugin that was refused for another's topic is loaded once the other has let go of it, whatever their names.
#[tokio::test]
async fn a_topic_that_is_let_go_is_given_to_who_waits_for_it() -> Result<()> {
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
async fn a_broken_plugin_does_not_keep_a_host_from_starting() -> Result<()> {
    // Nobody knows what the broken one was. A mount that relies on a gatekeeper being there would let nobody in.
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

/// A single file is watched as a directory of them is.
#[tokio::test]
async fn a_plugin_may_be_a_file_elsewhere() -> Result<()> {
    let setup = Setup::new().file("elsewhere/echo.wasm", places::guest("echo")?);
    let host = setup.config("load = [\"elsewhere/echo.wasm\"]").start().await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join echo:1\nalice < ok {}\nalice > version\nalice < ok {\"version\": 1}").await?;
    let mark = host.log().len();
    fs::write(host.home().join("elsewhere/part"), places::guest("variants/echo-v2")?)?;
    // A neighbour of the file is no plugin.
    fs::write(host.home().join("elsewhere/chat.wasm"), places::guest("chat")?)?;
    fs::rename(host.home().join("elsewhere/part"), host.home().join("elsewhere/echo.wasm"))?;
    ensure!(host.decision(mark, "echo").await? == Loading::Done(2));
    cast.play("alice > version\nalice < ok {\"version\": 2}").await?;
    cast.play("alice > join room:1 {\"user\": \"alice\"}\nalice < unmatched").await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// A plugin that was compiled once is found compiled by the next host.
#[tokio::test]
async fn compiled_code_is_kept() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let compiled = cache.path().join("compiled");
    for is_cached in [false, true] {
        let host = Setup::new().guests(&["echo"])?.cache(&compiled).start().await?;
        let loaded = |line: &Line| line.message() == "plugin_loaded";
        let line = host.log().find(0, "echo is loaded", loaded).await?;
        ensure!(line.fields["cached"] == is_cached, "{}", line.text);
        check(&host, "alice > join echo:1\nalice < ok {}\nalice > echo {}\nalice < ok {}").await?;
        host.stop().await?;
    }
    Ok(())
}

/// Bits flip, pages are overwritten, files are cut: whatever the disk has made of compiled code, it isn't run.
#[tokio::test]
async fn compiled_code_that_was_damaged_is_compiled_anew() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let compiled = cache.path().join("compiled");
    let start = async || Setup::new().plugin("ours", Crafted::serving("new:*").build()?).cache(&compiled).start().await;
    start().await?.stop().await?;
    let file = compiled.read_dir()?.next().context("a compiled plugin")??.path();
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
        ensure!(fs::read(&file)?.len() == good.len(), "case {case}: it wasn't replaced");
    }
    Ok(())
}
