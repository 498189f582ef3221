//! Restarts of the host with another build of a plugin, as when host and plugin are deployed as one image.

use std::fs;

use anyhow::{Context, Result, ensure};
use bennu_tests::crafted::Crafted;
use bennu_tests::{Cast, Setup, TestHost, bennu, check, places};
use rustix::process::Signal;
use serde_json::Value;

const DURABLE: &str = "variants/counter-durable";
const DURABLE_2: &str = "variants/counter-durable-v2";
const DURABLE_2_REFUSES: &str = "variants/counter-durable-v2-refuses";

async fn host_with(guest: &str) -> Result<TestHost> {
    Setup::new().plugin("counter", places::guest(guest)?).start().await
}

/// Waits until the counter's build has this standing, and returns the counter's entry in `GET /api/inspect`.
async fn await_standing(host: &TestHost, standing: &str) -> Result<Value> {
    let shown = host.shows(standing, |shown| shown["plugins"]["counter"]["standing"] == standing).await?;
    Ok(shown["plugins"]["counter"].clone())
}

/// Waits until the counter's build was rolled back automatically and the previous build serves. Returns the counter's entry
/// in `GET /api/inspect`.
async fn await_rollback(host: &TestHost) -> Result<Value> {
    let is_back = |shown: &Value| !shown["plugins"]["counter"]["taken_back"].is_null();
    let plugin = host.shows("the build is rolled back", is_back).await?["plugins"]["counter"].clone();
    ensure!(plugin["generation"] == 1 && plugin["standing"] == "proved", "{plugin}");
    Ok(plugin)
}

/// Runs `bennu plugins` with these arguments and returns its output.
fn plugins(host: &TestHost, arguments: &[&str]) -> Result<String> {
    let address = host.address().to_string();
    let ended = bennu(host.home(), &[&["plugins"], arguments, &["--host", &address]].concat())?;
    Ok(ended.output + &ended.errors)
}

/// A host with a durable room with the sum 5. Its build has passed its probation.
async fn durable_with_a_sum() -> Result<TestHost> {
    let host = host_with(DURABLE).await?;
    check(&host, "alice > join count:1\nalice < ok {}\nalice > add {\"n\": 5}\nalice < sum {\"sum\": 5}\nalice < ok {\"sum\": 5}")
        .await?;
    await_standing(&host, "proved").await?;
    Ok(host)
}

/// The second build upgrades the sum and adds 2.
async fn add_with_the_second_build(host: &TestHost) -> Result<()> {
    check(
        host,
        r#"
        bob   > join count:1
        bob   < ok {}
        bob   > get
        bob   < ok {"total": 5, "times": 0}
        bob   > add {"n": 2}
        bob   < sum {"sum": 7}
        bob   < ok {"sum": 7}
        "#,
    )
    .await
}

const SUM_OF_THE_FIRST_BUILD: &str = r#"
    carol > join count:1
    carol < ok {}
    carol > get
    carol < ok {"sum": 5}
"#;

#[tokio::test]
async fn a_build_that_cant_read_the_durable_rooms_is_rolled_back_after_a_restart() -> Result<()> {
    for signal in [Signal::TERM, Signal::KILL] {
        let host = durable_with_a_sum().await?;
        let host = host.restart_onto(signal, "counter", DURABLE_2_REFUSES).await?;
        let plugin = await_standing(&host, "on-probation").await?;
        ensure!(plugin["generation"] == 2 && plugin["probation"]["instead"] == 1, "{plugin}");
        let shown = plugins(&host, &[])?;
        let words = "on probation: 0 calls answered, 0 faults on calls that generation 1 answered";
        ensure!(shown.contains(words), "{shown}");
        // The previous build answers the calls on which the new build fails. Members notice nothing.
        let mut cast = Cast::new(&host);
        cast.play("bob > join count:1\nbob < ok {}").await?;
        for sum in 6..=9 {
            cast.play(&format!("bob > add {{\"n\": 1}}\nbob < sum {{\"sum\": {sum}}}\nbob < ok {{\"sum\": {sum}}}"))
                .await?;
        }
        let plugin = await_rollback(&host).await?;
        ensure!(plugin["taken_back"]["generation"] == 2, "{plugin}");
        cast.play("bob > get\nbob < ok {\"sum\": 9}\nbob ~").await?;
        drop(cast);

        // At the next start, the file still has the bad build, which isn't loaded again.
        let host = host.restart(signal).await?;
        check(&host, "bob > join count:1\nbob < ok {}\nbob > get\nbob < ok {\"sum\": 9}").await?;
        let plugin = await_standing(&host, "proved").await?;
        let why = plugin["last_error"].as_str().unwrap_or_default();
        ensure!(plugin["generation"] == 1 && why.contains("until then the previous build serves"), "{plugin}");
        host.stop().await?;
    }
    Ok(())
}

/// A plugin without rooms. Its new build gives every member assigns above the limit.
#[tokio::test]
async fn a_build_that_fails_on_every_join_is_rolled_back_after_a_restart() -> Result<()> {
    let setup = Setup::new().plugin("counter", Crafted::serving("plain:*").build()?);
    let host = setup.limit("assigns_bytes", 100).start().await?;
    check(&host, "alice > join plain:1\nalice < ok {}").await?;
    await_standing(&host, "proved").await?;
    let faulty = Crafted::serving("plain:*").assigns(&[1; 200]).build()?;
    let host = host.restart_after(Signal::KILL, |host| Ok(fs::write(host.plugin_file("counter"), faulty)?)).await?;
    for number in 1..=4 {
        check(&host, &format!("alice > join plain:{number}\nalice < ok {{}}")).await?;
    }
    let plugin = await_rollback(&host).await?;
    ensure!(plugin["taken_back"]["faults"] == 4, "{plugin}");
    host.stop().await?;
    Ok(())
}

/// A plugin without durable rooms. Its new build fails on one event.
#[tokio::test]
async fn a_build_that_fails_on_one_event_is_rolled_back_after_a_restart() -> Result<()> {
    let host = host_with("counter").await?;
    check(&host, "alice > join count:1\nalice < ok {}").await?;
    await_standing(&host, "proved").await?;
    let host = host.restart_onto(Signal::TERM, "counter", "variants/counter-v1-faulty").await?;
    let mut cast = Cast::new(&host);
    // A call on which both builds fail doesn't count.
    cast.play("bob > join count:1 {\"tick\": 1}\nbob < error {\"reason\": \"join crashed\"}").await?;
    let plugin = await_standing(&host, "on-probation").await?;
    ensure!(plugin["probation"]["faults"] == 0, "{plugin}");
    cast.play("carol > join count:2\ncarol < ok {}").await?;
    for sum in 1..=4 {
        cast.play(&format!("carol > add {{\"n\": 1}}\ncarol < sum {{\"sum\": {sum}}}\ncarol < ok {{\"sum\": {sum}}}"))
            .await?;
    }
    await_rollback(&host).await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// A rollback stays possible during the whole probation, however often the host is restarted.
#[tokio::test]
async fn a_probation_continues_after_a_restart_with_the_earlier_states() -> Result<()> {
    for signal in [Signal::TERM, Signal::KILL] {
        let host = durable_with_a_sum().await?;
        let host = host.restart_onto(signal, "counter", DURABLE_2).await?;
        add_with_the_second_build(&host).await?;
        let host = host.restart(signal).await?;
        await_standing(&host, "on-probation").await?;
        let mut cast = Cast::new(&host);
        cast.play(
            "bob > join count:1\nbob < ok {}\nbob > add {\"n\": 1}\nbob < sum {\"sum\": 8}\nbob < ok {\"sum\": 8}",
        )
        .await?;
        let rolled_back = plugins(&host, &["rollback", "counter"])?;
        ensure!(rolled_back.contains("generation 1") && rolled_back.contains("rolled back"), "{rolled_back}");
        cast.play("bob < phx_error").await?;
        cast.play(SUM_OF_THE_FIRST_BUILD).await?;
        let returned = |line: &bennu_tests::Line| line.message().starts_with("state_returned");
        let line = host.log().find(0, "the discarded commits", returned).await?;
        ensure!(line.fields["commits"] == 2, "the commits of both starts count: {}", line.text);
        drop(cast);
        host.stop().await?;
    }
    Ok(())
}

/// An operator deploys the previous image again.
#[tokio::test]
async fn a_start_with_the_previous_build_restores_the_upgraded_states() -> Result<()> {
    for signal in [Signal::TERM, Signal::KILL] {
        let host = durable_with_a_sum().await?;
        let host = host.restart_onto(signal, "counter", DURABLE_2).await?;
        add_with_the_second_build(&host).await?;
        let host = host.restart_onto(signal, "counter", DURABLE).await?;
        ensure!(await_standing(&host, "proved").await?["generation"] == 1);
        check(&host, SUM_OF_THE_FIRST_BUILD).await?;
        // The next build begins a new probation, and upgrades the restored state.
        let host = host.restart_onto(signal, "counter", DURABLE_2).await?;
        await_standing(&host, "on-probation").await?;
        add_with_the_second_build(&host).await?;
        host.stop().await?;
    }
    Ok(())
}

/// No client opens the room between the rollback and the end of the host.
#[tokio::test]
async fn a_room_that_no_client_opens_is_restored_too() -> Result<()> {
    let host = durable_with_a_sum().await?;
    let host = host.restart_onto(Signal::TERM, "counter", DURABLE_2).await?;
    add_with_the_second_build(&host).await?;
    let host = host.restart(Signal::TERM).await?;
    plugins(&host, &["rollback", "counter"])?;
    host.log().find(0, "the room", |line| line.message().starts_with("state_returned")).await?;
    let home = host.keep_home();
    host.stop().await?;
    let exported = bennu(home.path(), &["store", "export"])?.output;
    ensure!(exported.contains("\"room\":\"count:1\"") && !exported.contains("room_before"), "{exported}");
    Ok(())
}

#[tokio::test]
async fn a_build_that_passes_probation_after_a_restart_keeps_the_upgraded_states() -> Result<()> {
    let setup = Setup::new().plugin("counter", places::guest(DURABLE)?);
    let host = setup.config("[reload]\nprobation_ms = 1\nprobation_calls = 3").start().await?;
    check(&host, "alice > join count:1\nalice < ok {}\nalice > add {\"n\": 5}\nalice < sum …\nalice < ok {\"sum\": 5}")
        .await?;
    await_standing(&host, "proved").await?;
    let host = host.restart_onto(Signal::KILL, "counter", DURABLE_2).await?;
    add_with_the_second_build(&host).await?;
    check(&host, "bob > join count:2\nbob < ok {}").await?;
    await_standing(&host, "proved").await?;
    let home = host.keep_home();
    host.stop().await?;
    let exported = bennu(home.path(), &["store", "export"])?.output;
    ensure!(exported.contains("\"room\":\"count:1\"") && !exported.contains("room_before"), "{exported}");
    Ok(())
}

#[tokio::test]
async fn a_rollback_after_a_restart_loads_the_build_before_the_last_passed_one() -> Result<()> {
    let setup = Setup::new().plugin("counter", places::guest("counter")?);
    let host = setup.config("[reload]\nprobation_ms = 1\nprobation_calls = 3").start().await?;
    let calls = "alice > join count:1\nalice < ok {}\nalice > get\nalice < ok …\nalice > get\nalice < ok …";
    check(&host, calls).await?;
    let first = await_standing(&host, "proved").await?["digest"].clone();
    host.reload("counter", "variants/counter-v2").await?;
    check(&host, calls).await?;
    let second = await_standing(&host, "proved").await?["digest"].clone();
    let host = host.restart(Signal::TERM).await?;
    ensure!(await_standing(&host, "proved").await?["digest"] == second);
    let shown = plugins(&host, &["rollback", "counter"])?;
    ensure!(shown.contains("rolled back: a later build is in its file"), "{shown}");
    ensure!(await_standing(&host, "proved").await?["digest"] == first);
    // Only one rollback is possible, and it lasts until the next start.
    let again = plugins(&host, &["rollback", "counter"])?;
    ensure!(again.contains("there is no generation before the one that serves"), "{again}");
    let host = host.restart(Signal::TERM).await?;
    ensure!(await_standing(&host, "proved").await?["digest"] == second);
    host.stop().await?;
    Ok(())
}

/// If another plugin gets the name of a forgotten plugin, it has no probation against the forgotten plugin's build.
#[tokio::test]
async fn a_plugin_with_the_name_of_a_forgotten_one_has_no_probation() -> Result<()> {
    let host = host_with("counter").await?;
    check(&host, "alice > join count:1\nalice < ok {}").await?;
    await_standing(&host, "proved").await?;
    fs::remove_file(host.plugin_file("counter"))?;
    host.shows("its file is gone", |shown| shown["plugins"]["counter"]["file_is_gone"] == true).await?;
    let shown = plugins(&host, &["forget", "counter"])?;
    ensure!(shown == "forgotten: counter\n", "{shown}");
    let builds = host.home().join("data/builds");
    let known = fs::read_to_string(builds.join("proved.json"))?;
    ensure!(!known.contains("counter"), "{known}");
    let is_component = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|extension| extension == "wasm");
    ensure!(
        !fs::read_dir(&builds)?.flatten().any(|entry| is_component(&entry)),
        "the build of the forgotten plugin is still stored"
    );
    let host = host.restart_onto(Signal::KILL, "counter", "variants/counter-v2").await?;
    await_standing(&host, "unproved").await?;
    host.stop().await?;
    Ok(())
}

/// A build that has answered no call hasn't passed, and is never the target of a rollback.
#[tokio::test]
async fn a_build_passes_by_answered_calls_and_not_by_a_start() -> Result<()> {
    let host = host_with("counter").await?;
    let plugin = await_standing(&host, "unproved").await?;
    ensure!(plugin["probation"].is_null(), "{plugin}");
    ensure!(plugins(&host, &[])?.contains("unproved: it has answered no call yet"));
    let host = host.restart_onto(Signal::TERM, "counter", "variants/counter-v2").await?;
    await_standing(&host, "unproved").await?;
    // A call on which the build fails isn't an answered call.
    check(&host, "bob > join count:1 {\"tick\": 1}\nbob < error {\"reason\": \"join crashed\"}").await?;
    await_standing(&host, "unproved").await?;
    check(&host, "bob > join count:1\nbob < ok {}").await?;
    let plugin = await_standing(&host, "proved").await?;
    ensure!(plugin["generation"] == 1, "{plugin}");
    ensure!(plugins(&host, &[])?.contains("  proved"));
    let host = host.restart(Signal::TERM).await?;
    await_standing(&host, "proved").await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_plugin_without_a_file_at_the_start_is_not_served_from_its_stored_build() -> Result<()> {
    let host = durable_with_a_sum().await?;
    let host = host.restart_after(Signal::TERM, |host| Ok(fs::remove_file(host.plugin_file("counter"))?)).await?;
    let absent = |line: &bennu_tests::Line| line.message().starts_with("plugin_file_absent");
    host.log().find(0, "the warning", absent).await?;
    check(&host, "alice > join count:1\nalice < unmatched").await?;
    // A build that appears later is on probation against the stored build.
    host.reload("counter", DURABLE_2).await?;
    let plugin = await_standing(&host, "on-probation").await?;
    ensure!(plugin["probation"]["instead"] == 1, "{plugin}");
    host.stop().await?;
    Ok(())
}

/// This also happens if a new version of the host can't load the previous build any more.
#[tokio::test]
async fn a_lost_previous_build_is_logged_and_the_rollback_works_when_it_is_back() -> Result<()> {
    let host = durable_with_a_sum().await?;
    let second = places::guest(DURABLE_2)?;
    let host = host.restart_after(Signal::TERM, |host| {
        for entry in fs::read_dir(host.home().join("data/builds"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "wasm") {
                fs::write(path, "damaged")?;
            }
        }
        Ok(fs::write(host.plugin_file("counter"), second)?)
    });
    let host = host.await?;
    let lost = |line: &bennu_tests::Line| line.message().contains("no rollback to it is possible");
    host.log().find(0, "the warning", lost).await?;
    let plugin = await_standing(&host, "on-probation").await?;
    ensure!(plugin["generation"] == 1 && plugin["probation"]["instead"].is_null(), "{plugin}");
    add_with_the_second_build(&host).await?;
    let refused = plugins(&host, &["rollback", "counter"])?;
    ensure!(refused.contains("can't be loaded any more"), "{refused}");
    let host = host.restart_onto(Signal::KILL, "counter", DURABLE).await?;
    check(&host, SUM_OF_THE_FIRST_BUILD).await?;
    host.stop().await?;
    Ok(())
}

/// Export and import include the earlier states of rooms on probation.
#[tokio::test]
async fn an_export_includes_the_states_for_a_rollback() -> Result<()> {
    let host = durable_with_a_sum().await?;
    let host = host.restart_onto(Signal::TERM, "counter", DURABLE_2).await?;
    add_with_the_second_build(&host).await?;
    let host = host.restart_after(Signal::TERM, |host| {
        let exported = bennu(host.home(), &["store", "export", "--output", "backup.jsonl"])?;
        ensure!(exported.code == Some(0), "{exported:?}");
        ensure!(fs::read_to_string(host.home().join("backup.jsonl"))?.contains("\"room_before\":\"count:1\""));
        let imported = bennu(host.home(), &["store", "import", "backup.jsonl", "--replace"])?;
        ensure!(imported.code == Some(0), "{imported:?}");
        Ok(())
    });
    let host = host.await?;
    plugins(&host, &["rollback", "counter"])?;
    check(&host, SUM_OF_THE_FIRST_BUILD).await?;
    // Another host with the old build doesn't know the probation, but still uses the earlier states.
    let home = host.keep_home();
    host.stop().await?;
    let other = host_with(DURABLE).await?;
    let backup = home.path().join("backup.jsonl");
    let other = other.restart_after(Signal::TERM, |other| {
        let path = backup.to_str().context("the path isn't UTF-8")?;
        let imported = bennu(other.home(), &["store", "import", path])?;
        ensure!(imported.code == Some(0), "{imported:?}");
        Ok(())
    });
    let other = other.await?;
    check(&other, SUM_OF_THE_FIRST_BUILD).await?;
    other.stop().await?;
    Ok(())
}

/// A power loss or an operator may have damaged the files.
#[tokio::test]
async fn a_host_starts_with_unreadable_files_about_builds() -> Result<()> {
    let mut host = host_with("counter").await?;
    for content in ["", "{\"", "[1]", "null"] {
        host = host
            .restart_after(Signal::KILL, |host| {
                let builds = host.home().join("data/builds");
                fs::write(builds.join("taken-back.json"), content)?;
                Ok(fs::write(builds.join("proved.json"), content)?)
            })
            .await?;
        for file in ["taken-back.json", "proved.json"] {
            let aside = |line: &bennu_tests::Line| line.text.contains(&format!("{file}.unreadable"));
            host.log().find(0, "the warning", aside).await?;
        }
        check(&host, "alice > join count:1\nalice < ok {}").await?;
    }
    ensure!(host.home().join("data/builds/taken-back.json.unreadable-4").exists());
    host.stop().await?;
    Ok(())
}

/// Unlike the files about builds, the store's file is required for a start.
#[tokio::test]
async fn a_host_does_not_start_with_an_empty_store_file() -> Result<()> {
    let host = durable_with_a_sum().await?;
    let home = host.keep_home();
    let emptied =
        host.restart_after(Signal::TERM, |host| Ok(fs::write(host.home().join("data/bennu.redb"), "")?)).await;
    let why = format!("{:#}", emptied.err().context("the host started")?);
    ensure!(why.contains("bennu.redb is empty, though a store never is"), "{why}");
    ensure!(fs::metadata(home.path().join("data/bennu.redb"))?.len() == 0);
    Ok(())
}

/// A gatekeeper has no probation, so another gatekeeper never decides instead of it.
#[tokio::test]
async fn gatekeepers_have_no_probation_after_a_restart_either() -> Result<()> {
    let host = TestHost::start(&["echo", "reference-gate"]).await?;
    ensure!(host.inspect().await?["plugins"]["reference-gate"]["standing"].is_null());
    let host = host.restart(Signal::TERM).await?;
    let plugin = &host.inspect().await?["plugins"]["reference-gate"];
    ensure!(plugin["standing"].is_null() && plugin["probation"].is_null() && plugin["generation"] == 1, "{plugin}");
    // A gatekeeper that replaces a plugin of the same name has none either.
    let gate = places::guest("reference-gate")?;
    let host = host.restart_after(Signal::TERM, |host| Ok(fs::write(host.plugin_file("echo"), gate)?)).await?;
    let plugin = &host.inspect().await?["plugins"]["echo"];
    ensure!(plugin["kind"] == "gatekeeper" && plugin["standing"].is_null(), "{plugin}");
    host.stop().await?;
    Ok(())
}

/// The builds of this plugin differ in their topics.
#[tokio::test]
async fn a_rollback_removes_topics_that_the_previous_build_doesnt_serve() -> Result<()> {
    let first = Crafted::serving("old:*").build()?;
    let host = Setup::new().plugin("ours", first).start().await?;
    check(&host, "alice > join old:1\nalice < ok {}").await?;
    host.shows("the build has passed", |shown| shown["plugins"]["ours"]["standing"] == "proved").await?;
    let second = Crafted::serving("old:*").route("new:*").build()?;
    let host = host.restart_after(Signal::TERM, |host| Ok(fs::write(host.plugin_file("ours"), second)?)).await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join new:1\nalice < ok {}").await?;
    plugins(&host, &["rollback", "ours"])?;
    cast.play("alice < phx_error\nalice > join new:1\nalice < unmatched\nbob > join old:1\nbob < ok {}").await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}
