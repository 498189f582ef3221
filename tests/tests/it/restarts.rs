//! Restarts of the host onto another build: as when host and plugin come in one image.

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

/// Waits until the counter's build has that standing, and gives what is said of it.
async fn stands(host: &TestHost, standing: &str) -> Result<Value> {
    let shown = host.shows(standing, |shown| shown["plugins"]["counter"]["standing"] == standing).await?;
    Ok(shown["plugins"]["counter"].clone())
}

/// Waits until the counter's build was taken back and the one before it serves, and gives what is said of it.
async fn taken_back(host: &TestHost) -> Result<Value> {
    let is_back = |shown: &Value| !shown["plugins"]["counter"]["taken_back"].is_null();
    let plugin = host.shows("the build is taken back", is_back).await?["plugins"]["counter"].clone();
    ensure!(plugin["generation"] == 1 && plugin["standing"] == "proved", "{plugin}");
    Ok(plugin)
}

/// A command about the host's plugins, and what it has printed.
fn plugins(host: &TestHost, arguments: &[&str]) -> Result<String> {
    let address = host.address().to_string();
    let ended = bennu(host.home(), &[&["plugins"], arguments, &["--host", &address]].concat())?;
    Ok(ended.output + &ended.errors)
}

/// A durable room with a sum of 5, and a build that is proved.
async fn durable_with_a_sum() -> Result<TestHost> {
    let host = host_with(DURABLE).await?;
    check(&host, "alice > join count:1\nalice < ok {}\nalice > add {\"n\": 5}\nalice < sum {\"sum\": 5}\nalice < ok {\"sum\": 5}")
        .await?;
    stands(&host, "proved").await?;
    Ok(host)
}

/// The sum is taken over by the second build, which adds 2.
async fn taken_over_by_the_second(host: &TestHost) -> Result<()> {
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

const THE_SUM_OF_THE_FIRST: &str = r#"
    carol > join count:1
    carol < ok {}
    carol > get
    carol < ok {"sum": 5}
"#;

#[tokio::test]
async fn a_build_that_cant_read_the_durable_rooms_is_taken_back_after_a_restart() -> Result<()> {
    for signal in [Signal::TERM, Signal::KILL] {
        let host = durable_with_a_sum().await?;
        let host = host.restart_onto(signal, "counter", DURABLE_2_REFUSES).await?;
        let plugin = stands(&host, "on-probation").await?;
        ensure!(plugin["generation"] == 2 && plugin["probation"]["instead"] == 1, "{plugin}");
        let shown = plugins(&host, &[])?;
        let words = "on probation: 0 calls answered, 0 faults on calls that generation 1 answered";
        ensure!(shown.contains(words), "{shown}");
        // What it fails on, the build before answers. Nobody notices.
        let mut cast = Cast::new(&host);
        cast.play("bob > join count:1\nbob < ok {}").await?;
        for sum in 6..=9 {
            cast.play(&format!("bob > add {{\"n\": 1}}\nbob < sum {{\"sum\": {sum}}}\nbob < ok {{\"sum\": {sum}}}"))
                .await?;
        }
        let plugin = taken_back(&host).await?;
        ensure!(plugin["taken_back"]["generation"] == 2, "{plugin}");
        cast.play("bob > get\nbob < ok {\"sum\": 9}\nbob ~").await?;
        drop(cast);

        // The bad build is still in the file at the next start, and isn't loaded again.
        let host = host.restart(signal).await?;
        check(&host, "bob > join count:1\nbob < ok {}\nbob > get\nbob < ok {\"sum\": 9}").await?;
        let plugin = stands(&host, "proved").await?;
        let why = plugin["last_error"].as_str().unwrap_or_default();
        ensure!(plugin["generation"] == 1 && why.contains("until then the previous build serves"), "{plugin}");
        host.stop().await?;
    }
    Ok(())
}

/// A plugin without rooms, whose new build gives every member more than a member may have.
#[tokio::test]
async fn a_build_that_fails_on_every_join_is_taken_back_after_a_restart() -> Result<()> {
    let setup = Setup::new().plugin("counter", Crafted::serving("plain:*").build()?);
    let host = setup.limit("assigns_bytes", 100).start().await?;
    check(&host, "alice > join plain:1\nalice < ok {}").await?;
    stands(&host, "proved").await?;
    let faulty = Crafted::serving("plain:*").assigns(&[1; 200]).build()?;
    let host = host.restart_after(Signal::KILL, |host| Ok(fs::write(host.plugin_file("counter"), faulty)?)).await?;
    for number in 1..=4 {
        check(&host, &format!("alice > join plain:{number}\nalice < ok {{}}")).await?;
    }
    let plugin = taken_back(&host).await?;
    ensure!(plugin["taken_back"]["faults"] == 4, "{plugin}");
    host.stop().await?;
    Ok(())
}

/// A plugin without durable rooms, whose new build fails on one event.
#[tokio::test]
async fn a_build_that_fails_on_one_event_is_taken_back_after_a_restart() -> Result<()> {
    let host = host_with("counter").await?;
    check(&host, "alice > join count:1\nalice < ok {}").await?;
    stands(&host, "proved").await?;
    let host = host.restart_onto(Signal::TERM, "counter", "variants/counter-v1-faulty").await?;
    let mut cast = Cast::new(&host);
    // What both fail on is the fault of neither.
    cast.play("bob > join count:1 {\"tick\": 1}\nbob < error {\"reason\": \"join crashed\"}").await?;
    let plugin = stands(&host, "on-probation").await?;
    ensure!(plugin["probation"]["faults"] == 0, "{plugin}");
    cast.play("carol > join count:2\ncarol < ok {}").await?;
    for sum in 1..=4 {
        cast.play(&format!("carol > add {{\"n\": 1}}\ncarol < sum {{\"sum\": {sum}}}\ncarol < ok {{\"sum\": {sum}}}"))
            .await?;
    }
    taken_back(&host).await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// The way back is as long as the probation, however often the host is restarted meanwhile.
#[tokio::test]
async fn a_probation_goes_on_after_a_restart_with_what_rooms_were_before() -> Result<()> {
    for signal in [Signal::TERM, Signal::KILL] {
        let host = durable_with_a_sum().await?;
        let host = host.restart_onto(signal, "counter", DURABLE_2).await?;
        taken_over_by_the_second(&host).await?;
        let host = host.restart(signal).await?;
        stands(&host, "on-probation").await?;
        let mut cast = Cast::new(&host);
        cast.play(
            "bob > join count:1\nbob < ok {}\nbob > add {\"n\": 1}\nbob < sum {\"sum\": 8}\nbob < ok {\"sum\": 8}",
        )
        .await?;
        let rolled_back = plugins(&host, &["rollback", "counter"])?;
        ensure!(rolled_back.contains("generation 1") && rolled_back.contains("rolled back"), "{rolled_back}");
        cast.play("bob < phx_error").await?;
        cast.play(THE_SUM_OF_THE_FIRST).await?;
        let returned = |line: &bennu_tests::Line| line.message().starts_with("state_returned");
        let line = host.log().find(0, "the commits that were given up", returned).await?;
        ensure!(line.fields["commits"] == 2, "those of both starts count: {}", line.text);
        drop(cast);
        host.stop().await?;
    }
    Ok(())
}

/// An image that is rolled back.
#[tokio::test]
async fn the_build_before_in_the_file_at_a_start_returns_what_the_new_one_took_over() -> Result<()> {
    for signal in [Signal::TERM, Signal::KILL] {
        let host = durable_with_a_sum().await?;
        let host = host.restart_onto(signal, "counter", DURABLE_2).await?;
        taken_over_by_the_second(&host).await?;
        let host = host.restart_onto(signal, "counter", DURABLE).await?;
        ensure!(stands(&host, "proved").await?["generation"] == 1);
        check(&host, THE_SUM_OF_THE_FIRST).await?;
        // The next build begins a probation of its own, and takes over what is there now.
        let host = host.restart_onto(signal, "counter", DURABLE_2).await?;
        stands(&host, "on-probation").await?;
        taken_over_by_the_second(&host).await?;
        host.stop().await?;
    }
    Ok(())
}

/// Nobody opens the room between the verdict and the end of the host.
#[tokio::test]
async fn a_room_that_nobody_opens_returns_too() -> Result<()> {
    let host = durable_with_a_sum().await?;
    let host = host.restart_onto(Signal::TERM, "counter", DURABLE_2).await?;
    taken_over_by_the_second(&host).await?;
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
async fn a_build_that_is_proved_keeps_what_it_took_over_and_may_be_rolled_back_after_a_restart() -> Result<()> {
    let setup = Setup::new().plugin("counter", places::guest(DURABLE)?);
    let host = setup.config("[reload]\nprobation_ms = 1\nprobation_calls = 3").start().await?;
    check(&host, "alice > join count:1\nalice < ok {}\nalice > add {\"n\": 5}\nalice < sum …\nalice < ok {\"sum\": 5}")
        .await?;
    stands(&host, "proved").await?;
    let host = host.restart_onto(Signal::KILL, "counter", DURABLE_2).await?;
    taken_over_by_the_second(&host).await?;
    check(&host, "bob > join count:2\nbob < ok {}").await?;
    stands(&host, "proved").await?;
    let home = host.keep_home();
    host.stop().await?;
    let exported = bennu(home.path(), &["store", "export"])?.output;
    ensure!(exported.contains("\"room\":\"count:1\"") && !exported.contains("room_before"), "{exported}");
    Ok(())
}

#[tokio::test]
async fn a_rollback_after_a_restart_leads_to_the_build_before_the_proved_one() -> Result<()> {
    let setup = Setup::new().plugin("counter", places::guest("counter")?);
    let host = setup.config("[reload]\nprobation_ms = 1\nprobation_calls = 3").start().await?;
    let calls = "alice > join count:1\nalice < ok {}\nalice > get\nalice < ok …\nalice > get\nalice < ok …";
    check(&host, calls).await?;
    let first = stands(&host, "proved").await?["digest"].clone();
    host.reload("counter", "variants/counter-v2").await?;
    check(&host, calls).await?;
    let second = stands(&host, "proved").await?["digest"].clone();
    let host = host.restart(Signal::TERM).await?;
    ensure!(stands(&host, "proved").await?["digest"] == second);
    let shown = plugins(&host, &["rollback", "counter"])?;
    ensure!(shown.contains("rolled back: a later build is in its file"), "{shown}");
    ensure!(stands(&host, "proved").await?["digest"] == first);
    // It is one step, and it lasts until the next start.
    let again = plugins(&host, &["rollback", "counter"])?;
    ensure!(again.contains("there is no generation before the one that serves"), "{again}");
    let host = host.restart(Signal::TERM).await?;
    ensure!(stands(&host, "proved").await?["digest"] == second);
    host.stop().await?;
    Ok(())
}

/// Another plugin that gets the name has nothing to do with it.
#[tokio::test]
async fn a_plugin_that_is_forgotten_is_nothing_to_prove_oneself_against() -> Result<()> {
    let host = host_with("counter").await?;
    check(&host, "alice > join count:1\nalice < ok {}").await?;
    stands(&host, "proved").await?;
    fs::remove_file(host.plugin_file("counter"))?;
    host.shows("its file is gone", |shown| shown["plugins"]["counter"]["file_is_gone"] == true).await?;
    let shown = plugins(&host, &["forget", "counter"])?;
    ensure!(shown == "forgotten: counter\n", "{shown}");
    let builds = host.home().join("data/builds");
    let known = fs::read_to_string(builds.join("proved.json"))?;
    ensure!(!known.contains("counter"), "{known}");
    let is_component = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|extension| extension == "wasm");
    ensure!(!fs::read_dir(&builds)?.flatten().any(|entry| is_component(&entry)), "its build is kept");
    let host = host.restart_onto(Signal::KILL, "counter", "variants/counter-v2").await?;
    stands(&host, "unproved").await?;
    host.stop().await?;
    Ok(())
}

/// Without an answer nothing is proved, and nothing is gone back to.
#[tokio::test]
async fn a_build_is_proved_by_calls_that_it_answers_and_not_by_a_start() -> Result<()> {
    let host = host_with("counter").await?;
    let plugin = stands(&host, "unproved").await?;
    ensure!(plugin["probation"].is_null(), "{plugin}");
    ensure!(plugins(&host, &[])?.contains("unproved: it has answered no call yet"));
    let host = host.restart_onto(Signal::TERM, "counter", "variants/counter-v2").await?;
    stands(&host, "unproved").await?;
    // A call on which it fails is no answer.
    check(&host, "bob > join count:1 {\"tick\": 1}\nbob < error {\"reason\": \"join crashed\"}").await?;
    stands(&host, "unproved").await?;
    check(&host, "bob > join count:1\nbob < ok {}").await?;
    let plugin = stands(&host, "proved").await?;
    ensure!(plugin["generation"] == 1, "{plugin}");
    ensure!(plugins(&host, &[])?.contains("  proved"));
    let host = host.restart(Signal::TERM).await?;
    stands(&host, "proved").await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_plugin_without_a_file_at_the_start_is_not_served_from_what_is_kept() -> Result<()> {
    let host = durable_with_a_sum().await?;
    let host = host.restart_after(Signal::TERM, |host| Ok(fs::remove_file(host.plugin_file("counter"))?)).await?;
    let absent = |line: &bennu_tests::Line| line.message().starts_with("plugin_file_absent");
    host.log().find(0, "a word about it", absent).await?;
    check(&host, "alice > join count:1\nalice < unmatched").await?;
    // A build that appears later has the kept one to prove itself against.
    host.reload("counter", DURABLE_2).await?;
    let plugin = stands(&host, "on-probation").await?;
    ensure!(plugin["probation"]["instead"] == 1, "{plugin}");
    host.stop().await?;
    Ok(())
}

/// As with a new version of the host that can't load it any more.
#[tokio::test]
async fn a_way_back_that_is_lost_is_said_and_found_again_with_the_old_build() -> Result<()> {
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
    host.log().find(0, "a word about it", lost).await?;
    let plugin = stands(&host, "on-probation").await?;
    ensure!(plugin["generation"] == 1 && plugin["probation"]["instead"].is_null(), "{plugin}");
    taken_over_by_the_second(&host).await?;
    let refused = plugins(&host, &["rollback", "counter"])?;
    ensure!(refused.contains("can't be loaded any more"), "{refused}");
    let host = host.restart_onto(Signal::KILL, "counter", DURABLE).await?;
    check(&host, THE_SUM_OF_THE_FIRST).await?;
    host.stop().await?;
    Ok(())
}

/// What rooms were goes with them into an export and back.
#[tokio::test]
async fn an_export_carries_the_way_back() -> Result<()> {
    let host = durable_with_a_sum().await?;
    let host = host.restart_onto(Signal::TERM, "counter", DURABLE_2).await?;
    taken_over_by_the_second(&host).await?;
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
    check(&host, THE_SUM_OF_THE_FIRST).await?;
    // Another host that has the old build knows nothing of the probation, and finds the way back all the same.
    let home = host.keep_home();
    host.stop().await?;
    let other = host_with(DURABLE).await?;
    let backup = home.path().join("backup.jsonl");
    let other = other.restart_after(Signal::TERM, |other| {
        let path = backup.to_str().context("a path is text")?;
        let imported = bennu(other.home(), &["store", "import", path])?;
        ensure!(imported.code == Some(0), "{imported:?}");
        Ok(())
    });
    let other = other.await?;
    check(&other, THE_SUM_OF_THE_FIRST).await?;
    other.stop().await?;
    Ok(())
}

/// Whatever a power loss or a hand has left of them.
#[tokio::test]
async fn a_host_starts_with_files_about_builds_that_cant_be_read() -> Result<()> {
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
            host.log().find(0, "a word about it", aside).await?;
        }
        check(&host, "alice > join count:1\nalice < ok {}").await?;
    }
    ensure!(host.home().join("data/builds/taken-back.json.unreadable-4").exists());
    host.stop().await?;
    Ok(())
}

/// The one file that no host starts without.
#[tokio::test]
async fn an_empty_store_file_is_no_new_store() -> Result<()> {
    let host = durable_with_a_sum().await?;
    let home = host.keep_home();
    let emptied =
        host.restart_after(Signal::TERM, |host| Ok(fs::write(host.home().join("data/bennu.redb"), "")?)).await;
    let why = format!("{:#}", emptied.err().context("it started")?);
    ensure!(why.contains("bennu.redb is empty, though a store never is"), "{why}");
    ensure!(fs::metadata(home.path().join("data/bennu.redb"))?.len() == 0);
    Ok(())
}

/// What a gatekeeper decides isn't judged by another one.
#[tokio::test]
async fn gatekeepers_have_no_probation_after_a_restart_either() -> Result<()> {
    let host = TestHost::start(&["echo", "reference-gate"]).await?;
    ensure!(host.inspect().await?["plugins"]["reference-gate"]["standing"].is_null());
    let host = host.restart(Signal::TERM).await?;
    let plugin = &host.inspect().await?["plugins"]["reference-gate"];
    ensure!(plugin["standing"].is_null() && plugin["probation"].is_null() && plugin["generation"] == 1, "{plugin}");
    // Nor does one that takes a plugin's name.
    let gate = places::guest("reference-gate")?;
    let host = host.restart_after(Signal::TERM, |host| Ok(fs::write(host.plugin_file("echo"), gate)?)).await?;
    let plugin = &host.inspect().await?["plugins"]["echo"];
    ensure!(plugin["kind"] == "gatekeeper" && plugin["standing"].is_null(), "{plugin}");
    host.stop().await?;
    Ok(())
}

/// A plugin that was made to measure, whose builds differ in their topics.
#[tokio::test]
async fn a_topic_that_the_build_before_doesnt_serve_is_gone_with_the_rollback() -> Result<()> {
    let first = Crafted::serving("old:*").build()?;
    let host = Setup::new().plugin("ours", first).start().await?;
    check(&host, "alice > join old:1\nalice < ok {}").await?;
    host.shows("it is proved", |shown| shown["plugins"]["ours"]["standing"] == "proved").await?;
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
