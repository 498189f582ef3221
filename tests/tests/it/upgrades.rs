//! Reloads of live rooms: new builds upgrade states, pass their probation, or are rolled back.

use anyhow::{Result, ensure};
use bennu_tests::{Cast, Loading, Setup, TestHost, bennu, check, places};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A host with the counter, without probation.
async fn without_probation(guest: &str) -> Result<TestHost> {
    let setup = Setup::new().plugin("counter", places::guest(guest)?);
    setup.config("[reload]\nprobation_ms = 0").start().await
}

/// A host with the counter. The next build stays on probation until the end of a test.
async fn with_probation() -> Result<TestHost> {
    Setup::new().guests(&["counter"])?.start().await
}

/// Waits until the counter's build was rolled back automatically, and returns the counter's entry in `GET /api/inspect`.
async fn await_rollback(host: &TestHost) -> Result<Value> {
    let shown = host.shows("the build is rolled back", |shown| !shown["plugins"]["counter"]["taken_back"].is_null());
    Ok(shown.await?["plugins"]["counter"].clone())
}

const TWO_WITH_A_SUM: &str = r#"
    alice > join count:1
    alice < ok {}
    bob   > join count:1
    bob   < ok {}
    alice > add {"n": 5}
    alice < sum {"sum": 5}
    alice < ok {"sum": 5}
    bob   < sum {"sum": 5}
"#;

#[tokio::test]
async fn a_live_room_and_its_members_are_upgraded() -> Result<()> {
    let host = with_probation().await?;
    let mut cast = Cast::new(&host);
    cast.play(TWO_WITH_A_SUM).await?;
    cast.play(
        r#"
        host  ! reload counter variants/counter-v2
        bob   > get
        bob   < ok {"total": 5, "times": 0}
        alice > mine
        alice < ok {"given": 5, "times": 0}
        bob   > add {"n": 2}
        alice < sum {"sum": 7}
        bob   < sum {"sum": 7}
        bob   < ok {"sum": 7}
        -- The next reload comes before the second build has passed its probation.
        host  ! reload counter variants/counter-v3
        bob   > get
        bob   < ok {"amount": 7, "times": 1}
        alice > mine
        alice < ok {"amount": 5, "times": 0}
        alice ~
        bob ~
        "#,
    )
    .await?;
    let shown = host.inspect().await?;
    let probation = &shown["plugins"]["counter"]["probation"];
    ensure!(probation["instead"] == 1 && probation["faults"] == 0, "{shown}");
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// The room wasn't used during the generation in between.
#[tokio::test]
async fn a_state_of_any_older_build_is_upgraded() -> Result<()> {
    let host = without_probation("counter").await?;
    let mut cast = Cast::new(&host);
    cast.play(TWO_WITH_A_SUM).await?;
    cast.play(
        r#"
        host  ! reload counter variants/counter-v2
        host  ! reload counter variants/counter-v3
        alice > get
        alice < ok {"amount": 5, "times": 0}
        -- Back to an older build, which can read the state of the newer one.
        host  ! reload counter variants/counter-v2
        alice > get
        alice < ok {"total": 5, "times": 0}
        bob   > mine
        bob   < ok {"given": 0, "times": 0}
        "#,
    )
    .await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn ticks_continue_during_a_reload() -> Result<()> {
    let host = with_probation().await?;
    let mut client = host.connect().await?;
    client.join("count:1", &json!({ "tick": 20 })).await?;
    let mut beats = Vec::new();
    for build in ["variants/counter-v2", "variants/counter-v3", ""] {
        for _ in 0..5 {
            let frame = client.json().await?;
            ensure!(frame[3] == "beat", "{frame}");
            beats.push((frame[4]["number"].as_u64().unwrap_or(0), frame[4]["missed"].as_u64().unwrap_or(0)));
        }
        if !build.is_empty() {
            host.reload("counter", build).await?;
        }
    }
    // The ticks are in order, and missed ticks are counted.
    let mut last = 0;
    for (number, missed) in beats {
        ensure!(number == last + missed + 1, "tick {number} came after {last}, with {missed} missed");
        last = number;
    }
    drop(client);
    host.stop().await?;
    Ok(())
}

/// Without probation, a failed upgrade ends the membership that needs it. The room stays unchanged, for a better build.
#[tokio::test]
async fn a_failed_upgrade_ends_memberships_and_keeps_the_room() -> Result<()> {
    for (build, kind) in [("refuses", "failed"), ("traps", "trap"), ("loops", "deadline")] {
        let host = without_probation("counter").await?;
        let mut cast = Cast::new(&host);
        cast.play(TWO_WITH_A_SUM).await?;
        cast.play(&format!(
            r#"
            host  ! reload counter variants/counter-v2-{build}
            alice > get
            alice < phx_error
            alice > join count:1
            alice < error {{"reason": "join crashed"}}
            host  ! reload counter variants/counter-v2
            bob   > get
            bob   < ok {{"total": 5, "times": 0}}
            alice > join count:1
            alice < ok {{}}
            "#
        ))
        .await?;
        host.log().find(0, "the fault", |line| line.field("kind") == kind).await?;
        drop(cast);
        host.stop().await?;
    }
    Ok(())
}

/// On probation, members notice nothing: the previous build answers, and soon serves again.
#[tokio::test]
async fn a_build_whose_upgrade_fails_is_rolled_back_unnoticed() -> Result<()> {
    for build in ["refuses", "traps", "loops"] {
        let host = with_probation().await?;
        let mut cast = Cast::new(&host);
        cast.play(TWO_WITH_A_SUM).await?;
        cast.play(&format!("host ! reload counter variants/counter-v2-{build}")).await?;
        for n in 1..=4 {
            let sum = 5 + n;
            cast.play(&format!(
                "alice > add {{\"n\": 1}}\nalice < sum {{\"sum\": {sum}}}\nalice < ok {{\"sum\": {sum}}}\nbob < sum {{\"sum\": {sum}}}"
            ))
            .await?;
        }
        let plugin = await_rollback(&host).await?;
        ensure!(plugin["generation"] == 1 && plugin["taken_back"]["generation"] == 2, "{plugin}");
        ensure!(plugin["taken_back"]["commits_given_up"] == 0, "{plugin}");
        cast.play("bob > get\nbob < ok {\"sum\": 9}\nalice ~\nbob ~").await?;
        drop(cast);
        host.stop().await?;
    }
    Ok(())
}

/// The build fails on only one event, which the previous build answers.
#[tokio::test]
async fn a_build_that_fails_on_one_event_is_rolled_back_and_not_loaded_again() -> Result<()> {
    let host = with_probation().await?;
    let mut cast = Cast::new(&host);
    cast.play(TWO_WITH_A_SUM).await?;
    cast.play("host ! reload counter variants/counter-v1-faulty\nalice > get\nalice < ok {\"sum\": 5}").await?;
    for sum in 6..=9 {
        cast.play(&format!(
            "bob > add {{\"n\": 1}}\nbob < sum {{\"sum\": {sum}}}\nbob < ok {{\"sum\": {sum}}}\nalice < sum {{\"sum\": {sum}}}"
        ))
        .await?;
    }
    await_rollback(&host).await?;
    // The state version is the same, so every commit is kept and no member had to join again.
    cast.play("alice > get\nalice < ok {\"sum\": 9}\nalice ~\nbob ~").await?;
    let port = host.address().to_string();
    let shown = bennu(host.home(), &["plugins", "--host", &port])?;
    let rolled_back = "generation 2 was rolled back automatically after 4 faults; 0 commits were discarded";
    ensure!(shown.output.contains(rolled_back), "{shown:?}");

    // From now on the same bytes are refused.
    let faulty = places::guest("variants/counter-v1-faulty")?;
    let Loading::Refused(why) = host.put("counter", &faulty).await? else {
        anyhow::bail!("the build was loaded again")
    };
    ensure!(why.contains("was rolled back automatically after 4 faults; `bennu plugins reload counter`"), "{why}");
    drop(cast);

    // They are also refused at the next start. There the previous build serves, although no file has it any more.
    let host = host.restart(Signal::TERM).await?;
    check(
        &host,
        r#"
        carol > join count:1
        carol < ok {}
        carol > add {"n": 1}
        carol < sum {"sum": 1}
        carol < ok {"sum": 1}
        "#,
    )
    .await?;
    let shown = host.inspect().await?;
    let error = shown["plugins"]["counter"]["last_error"].as_str().unwrap_or_default().to_owned();
    ensure!(error.contains("until then the previous build serves"), "{shown}");

    // An operator can still load the build with `bennu plugins reload`.
    let port = host.address().to_string();
    let reloaded = bennu(host.home(), &["plugins", "reload", "counter", "--host", &port])?;
    ensure!(reloaded.code == Some(0) && reloaded.output.contains("generation 2"), "{reloaded:?}");
    host.stop().await?;
    Ok(())
}

/// A client can't force a rollback by sending messages on which both builds fail.
#[tokio::test]
async fn a_client_cannot_force_a_rollback() -> Result<()> {
    let host = with_probation().await?;
    let mut cast = Cast::new(&host);
    cast.play(TWO_WITH_A_SUM).await?;
    cast.play("host ! reload counter variants/counter-v2").await?;
    // After more, the host would refuse her.
    for _ in 0..20 {
        // Such a short tick interval is a fault in every build.
        cast.play("mallory > join count:1 {\"tick\": 1}\nmallory < error {\"reason\": \"join crashed\"}").await?;
    }
    let shown = host.inspect().await?;
    let plugin = &shown["plugins"]["counter"];
    ensure!(plugin["generation"] == 2 && plugin["probation"]["faults"] == 0, "{plugin}");
    ensure!(shown["faults"].as_u64() >= Some(20), "{shown}");
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// If the file of the previous build is put back during a probation, the upgraded states and the commits since then are
/// discarded.
#[tokio::test]
async fn putting_the_old_build_back_restores_the_upgraded_states() -> Result<()> {
    let host = with_probation().await?;
    let mut cast = Cast::new(&host);
    cast.play(TWO_WITH_A_SUM).await?;
    cast.play(
        r#"
        host  ! reload counter variants/counter-v2
        alice > add {"n": 1}
        alice < sum {"sum": 6}
        alice < ok {"sum": 6}
        bob   < sum {"sum": 6}
        host  ! reload counter counter
        alice < phx_error
        bob   < phx_error
        alice > join count:1
        alice < ok {}
        alice > get
        alice < ok {"sum": 5}
        "#,
    )
    .await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_build_passes_probation_by_time_and_calls() -> Result<()> {
    let setup = Setup::new().guests(&["counter"])?.config("[reload]\nprobation_ms = 1\nprobation_calls = 3");
    let host = setup.start().await?;
    let mut cast = Cast::new(&host);
    cast.play(TWO_WITH_A_SUM).await?;
    cast.play("host ! reload counter variants/counter-v1-faulty").await?;
    for _ in 0..3 {
        cast.play("alice > get\nalice < ok {\"sum\": 5}").await?;
    }
    host.shows("the probation has ended", |shown| shown["plugins"]["counter"]["probation"].is_null()).await?;
    // From now on, the previous build doesn't answer any more.
    cast.play("alice > add {\"n\": 1}\nalice < phx_error").await?;
    ensure!(host.inspect().await?["plugins"]["counter"]["generation"] == 2);
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// Without a probation, a rollback loads the previous build. A second rollback isn't possible.
#[tokio::test]
async fn only_one_rollback_in_a_row_is_possible() -> Result<()> {
    let setup = Setup::new().guests(&["echo"])?.config("[reload]\nprobation_ms = 0");
    let host = setup.start().await?;
    host.reload("echo", "variants/echo-v2").await?;
    let port = host.address().to_string();
    let rollback = || bennu(host.home(), &["plugins", "rollback", "echo", "--host", &port]);
    let back = rollback()?;
    ensure!(back.output.contains("generation 1") && back.output.contains("a later build is in its file"), "{back:?}");
    let again = rollback()?;
    ensure!(again.code == Some(1) && again.errors.contains("no generation before"), "{again:?}");
    host.stop().await?;
    Ok(())
}

/// Two builds are loaded within one probation, so the first of them never passes. A rollback doesn't load it.
#[tokio::test]
async fn a_rollback_loads_the_last_build_that_passed_before() -> Result<()> {
    let setup = Setup::new().guests(&["counter"])?.config("[reload]\nprobation_ms = 1\nprobation_calls = 3");
    let host = setup.start().await?;
    let mut cast = Cast::new(&host);
    cast.play(TWO_WITH_A_SUM).await?;
    let digest = async || Ok::<_, anyhow::Error>(host.inspect().await?["plugins"]["counter"]["digest"].clone());
    host.shows("the first build has passed", |shown| shown["plugins"]["counter"]["probation"].is_null()).await?;
    let passed = digest().await?;
    cast.play("host ! reload counter variants/counter-v1-faulty\nhost ! reload counter variants/counter-v2").await?;
    for _ in 0..3 {
        cast.play("alice > get\nalice < ok …").await?;
    }
    host.shows("the third build has passed", |shown| shown["plugins"]["counter"]["probation"].is_null()).await?;
    let address = host.address().to_string();
    let back = bennu(host.home(), &["plugins", "rollback", "counter", "--host", &address])?;
    ensure!(back.code == Some(0) && digest().await? == passed, "{back:?}");
    drop(cast);
    host.stop().await?;
    Ok(())
}
