//! Files that can't be loaded as a plugin. Each is refused with an explanation, and the running generation continues.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use bennu_tests::crafted::{Crafted, component};
use bennu_tests::{Cast, Loading, Setup, TestHost, bennu, check, places};
use serde_json::Value;

/// Asserts that a host refuses each file with this explanation: under the name of a running plugin, and under a new name.
async fn refuses(cases: Vec<(&'static str, Vec<u8>, &'static str)>) -> Result<()> {
    // The time of the processor comes first, however busy the machine is.
    let host = Setup::new().guests(&["echo"])?.limit("call_wall_ms", 60_000).start().await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join echo:1\nalice < ok {}").await?;
    for (count, (what, bytes, words)) in cases.into_iter().enumerate() {
        let why = host.refusal("echo", &bytes).await.context(what)?;
        ensure!(why.contains(words), "{what}: {why}");
        ensure!(
            why.contains("echo.wasm") && why.ends_with("(the running generation continues to serve)"),
            "{what}: {why}"
        );
        let shows = |shown: &Value| {
            let echo = &shown["plugins"]["echo"];
            echo["generation"] == 1 && echo["last_error"].as_str().is_some_and(|why| why.contains(words))
        };
        host.shows("the reason is shown", shows).await.context(what)?;
        cast.play(&format!("alice > count\nalice < ok {{\"count\": {}, \"build\": \"1\"}}", count + 1)).await?;
        let why = host.refusal("newcomer", &bytes).await.context(what)?;
        ensure!(why.contains(words) && why.ends_with("(it is not served)"), "{what}: {why}");
        host.shows("the newcomer isn't served", |shown| shown["plugins"]["newcomer"]["generation"] == 0).await?;
    }
    // The running plugin can still be reloaded.
    ensure!(host.reload("echo", "variants/echo-v2").await? == 2);
    host.shows("there is no reason any more", |shown| shown["plugins"]["echo"]["last_error"].is_null()).await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn files_that_are_not_a_component_are_refused() -> Result<()> {
    let echo = places::guest("echo")?;
    let half = echo[..echo.len() / 2].to_vec();
    let mut damaged = echo.clone();
    damaged.truncate(echo.len() - 1);
    refuses(vec![
        ("nothing", Vec::new(), "it is not WebAssembly; give a component"),
        ("a script", b"#!/bin/sh\necho hello\n".to_vec(), "it is not WebAssembly; give a component"),
        ("a module", component("(module)")?, "a core module without a `component-type` section"),
        ("half of a plugin", half, "damaged or incomplete"),
        ("all of a plugin but a byte", damaged, "damaged or incomplete"),
    ])
    .await
}

/// A file that is too large isn't read.
#[tokio::test]
async fn a_file_that_is_too_large_is_refused() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let large = File::create(host.home().join("large"))?;
    large.set_len((128 << 20) + 1)?;
    let mark = host.log().len();
    std::fs::rename(host.home().join("large"), host.plugin_file("echo"))?;
    let decision = host.decision(mark, "echo").await?;
    let words = "it has 134217729 bytes; a plugin has at most 134217728";
    ensure!(matches!(&decision, Loading::Refused(why) if why.contains(words)), "{decision:?}");
    check(&host, "alice > join echo:1\nalice < ok {}").await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn components_for_another_contract_are_refused() -> Result<()> {
    let built_for = |version: &str| {
        let version = format!("package bennu:channel@{version}");
        Crafted::serving("new:*").altering("package bennu:channel@0.1.0", &version).build()
    };
    let other = "(component (instance $i) (export \"other:thing/x@1.0.0\" (instance $i)))";
    let program = "(component (instance $i) (export \"wasi:cli/run@0.2.0\" (instance $i)))";
    let asynchronous = "(component (core func (canon task.cancel)) (instance $i) \
                        (export \"bennu:channel/channel@0.1.0\" (instance $i)))";
    let newer = "was built for version 0.2.0 of the contract, but this host supports 0.1.0; use a newer host";
    let older =
        "was built for version 0.0.9 of the contract, but this host supports 0.1.0; build it against this host's";
    refuses(vec![
        ("a newer contract", built_for("0.2.0")?, newer),
        ("a newer patch of the contract", built_for("0.1.1")?, "use a newer host"),
        ("an older contract", built_for("0.0.9")?, older),
        ("no contract at all", component("(component)")?, "it exports nothing"),
        ("another contract", component(other)?, "it exports other:thing/x@1.0.0"),
        ("a program with `main`", component(program)?, "it is a program with `main`; build a library"),
        (
            "asynchronous functions",
            component(asynchronous)?,
            "build it without them, with `--sync` of componentize-qjs",
        ),
    ])
    .await
}

/// The version is checked before compilation, so the cache has no compiled code of a component with another version.
#[tokio::test]
async fn another_version_is_refused_before_it_is_compiled() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let compiled = cache.path().join("compiled");
    let host = Setup::new().cache(&compiled).start().await?;
    let newer = Crafted::serving("new:*").altering("package bennu:channel@0.1.0", "package bennu:channel@0.2.0");
    host.refusal("newer", &newer.build()?).await?;
    ensure!(compiled.read_dir()?.next().is_none(), "a refused component was compiled");
    let good = host.put("good", &Crafted::serving("new:*").build()?).await?;
    ensure!(good == Loading::Done(1), "{good:?}");
    ensure!(compiled.read_dir()?.next().is_some(), "the loaded component wasn't compiled");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn components_with_wrong_types_are_refused() -> Result<()> {
    let terminate = "terminate: func(member: membership, ending: ending) -> result<option<list<u8>>, string>;";
    let lacking = Crafted::serving("new:*").altering(terminate, "").without("terminate");
    let describing = Crafted::serving("new:*").altering("func() -> list<route>", "func() -> list<u8>");
    let renamed = Crafted::serving("new:*").altering("reason: string,", "motive: string,");
    let deciding = Crafted::serving("new:*")
        .handling_out()
        .altering("-> result<list<decision>, string>", "-> result<list<u8>, string>");
    let added = "now: func() -> u64;\n    sing: func();";
    let singing =
        Crafted::serving("new:*").altering("now: func() -> u64;", added).importing("bennu:channel/host@0.1.0", "sing");
    let empty = "(component (instance $i) (export \"bennu:channel/channel@0.1.0\" (instance $i)))";
    refuses(vec![
        ("an export without functions", component(empty)?, "its export `channel` does not have the type"),
        ("no terminate", lacking.build()?, "`terminate`"),
        ("describe returns bytes", describing.build()?, "its export `channel` does not have the type"),
        ("a stop with a renamed field", renamed.build()?, "its export `channel` does not have the type"),
        ("decisions are bytes", deciding.build()?, "its export `handle-out` does not have the type"),
        ("a function that this host lacks", singing.build()?, "it imports something that this host does not provide"),
    ])
    .await
}

#[tokio::test]
async fn plugins_whose_describe_or_start_fails_are_refused() -> Result<()> {
    let forever = "(loop br 0) unreachable";
    refuses(vec![
        ("describe traps", Crafted::default().describing_by("unreachable").build()?, "its `describe` failed with trap"),
        ("describe loops", Crafted::default().describing_by(forever).build()?, "its `describe` failed with deadline"),
        ("it traps at its start", Crafted::serving("new:*").starting_with("unreachable").build()?, "be instantiated"),
        ("it loops at its start", Crafted::serving("new:*").starting_with("(loop br 0)").build()?, "be instantiated"),
    ])
    .await
}

#[tokio::test]
async fn invalid_descriptions_are_refused() -> Result<()> {
    let many = (0..257).fold(Crafted::default(), |plugin, n| plugin.route(&format!("{n}")));
    let curious = (0..65).fold(Crafted::serving("a").handling_out(), |plugin, n| plugin.intercepting(&format!("{n}")));
    let cases = [
        ("no route", Crafted::default(), "`describe` names no route"),
        ("an empty pattern", Crafted::serving(""), "it is empty"),
        ("a star in the middle", Crafted::serving("a*b"), "a star may stand only at the end"),
        ("the heartbeat's topic", Crafted::serving("phoenix"), "belongs to the protocol's heartbeat"),
        ("a pattern twice", Crafted::serving("a").route("b").route("a"), "the pattern `a` twice"),
        ("an unknown option", Crafted::serving("a").option("speed", "high"), "the known options are `turns`"),
        (
            "an unknown value",
            Crafted::serving("a").option("turns", "mine"),
            "the allowed values are `member` and `topic`",
        ),
        ("too many routes", many, "`describe` names 257 routes; at most 256"),
        ("too many events", curious, "intercepts 65 events; at most 64"),
        ("no handle-out", Crafted::serving("a").intercepting("e"), "doesn't export `handle-out`"),
    ];
    let build =
        |(what, crafted, words): (&'static str, Crafted, &'static str)| anyhow::Ok((what, crafted.build()?, words));
    refuses(cases.into_iter().map(build).collect::<Result<_>>()?).await
}

#[tokio::test]
async fn topics_of_another_plugin_are_refused() -> Result<()> {
    let host = TestHost::start(&["echo", "chat"]).await?;
    let mut cast = Cast::new(&host);
    cast.play(
        "alice > join room:1 {\"user\": \"alice\"}\nalice < ok {}\nalice < presence_state …\nalice < presence_diff …",
    )
    .await?;
    let why = host.refusal("chat", &places::guest("echo")?).await?;
    ensure!(why.contains("already belongs to the plugin `echo`; give one of them another topic"), "{why}");
    cast.play("alice > new_msg {\"body\": \"hi\"}\nalice < new_msg …\nalice < ok …").await?;
    // Part of another plugin's topics is allowed, because the longer pattern wins.
    let part = host.put("part", &Crafted::serving("room:vip:*").build()?).await?;
    ensure!(part == Loading::Done(1), "{part:?}");
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// `bennu check` gives the same explanation and exits with status 1.
#[tokio::test]
async fn the_check_command_gives_the_same_explanation() -> Result<()> {
    let home = tempfile::tempdir()?;
    let newer = Crafted::serving("new:*").altering("package bennu:channel@0.1.0", "package bennu:channel@0.2.0");
    let cases = [
        (b"hello".to_vec(), "it is not WebAssembly; give a component"),
        (newer.build()?, "use a newer host"),
        (Crafted::default().build()?, "`describe` names no route"),
    ];
    for (bytes, words) in cases {
        std::fs::write(home.path().join("odd.wasm"), bytes)?;
        let ended = bennu(home.path(), &["check", "odd.wasm"])?;
        ensure!(ended.code == Some(1) && ended.output.is_empty(), "{ended:?}");
        ensure!(
            ended.errors.starts_with("bennu: odd.wasm can't be served: ") && ended.errors.contains(words),
            "{ended:?}"
        );
    }
    Ok(())
}
