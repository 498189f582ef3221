//! The log: what guests write, what is known of a fault, and its forms.

use anyhow::{Result, ensure};
use bennu_tests::{Line, Setup, check, play};

#[tokio::test]
async fn a_guests_lines_carry_whose_they_are() -> Result<()> {
    let host = Setup::new().guests(&["naughty"])?.arguments(&["--log", "info,guest=trace"]).start().await?;
    check(&host, "alice > join naughty:of-logs\nalice < ok …\nalice > log\nalice < ok {}").await?;
    let lines: Vec<Line> = host.stop().await?.since(0).into_iter().filter(Line::is_guest).collect();
    let said: Vec<(&str, &str)> = lines.iter().map(|line| (line.field("level"), line.message())).collect();
    let expected = [
        ("TRACE", "a trace"),
        ("DEBUG", "a debug line"),
        ("INFO", "an info"),
        ("WARN", "a warning"),
        ("ERROR", "an error"),
    ];
    ensure!(said[..5] == expected, "{said:?}");
    for line in &lines[..5] {
        let whose = (line.field("plugin"), line.field("topic"), line.fields["generation"].as_u64());
        ensure!(whose == ("naughty", "naughty:of-logs", Some(1)), "{}", line.text);
    }
    Ok(())
}

#[tokio::test]
async fn the_finer_levels_are_off_by_default() -> Result<()> {
    let log = play(&["naughty"], "alice > join naughty:1\nalice < ok …\nalice > log\nalice < ok {}").await?;
    let guests = log.since(0).into_iter().filter(Line::is_guest);
    let levels: Vec<String> = guests.map(|line| line.field("level").to_owned()).collect();
    ensure!(levels[..3] == ["INFO", "WARN", "ERROR"], "{levels:?}");
    Ok(())
}

/// A trap carries no words. The panic's own are written by the SDK, and the names of functions come from the component.
#[tokio::test]
async fn a_panic_is_logged_with_its_words_its_place_and_who_called() -> Result<()> {
    let log = play(&["naughty"], "eve > join naughty:1\neve < ok …\neve > panic\neve < phx_error").await?;
    let lines = log.since(0);
    let at = lines.iter().position(|line| line.message().starts_with("panicked at"));
    let panic = at.map(|at| &lines[at]);
    let words = panic.map(Line::message).unwrap_or_default();
    ensure!(words.contains("naughty/src/faults.rs:") && words.ends_with(": asked to panic"), "{words}");
    ensure!(panic.is_some_and(|line| line.is_guest() && line.field("level") == "ERROR"), "{panic:?}");
    let fault = lines.iter().find(|line| line.field("kind") == "trap");
    let words = fault.map(Line::message).unwrap_or_default();
    ensure!(words.contains("; in naughty::faults::blow_up, called by "), "{words}");
    ensure!(!words.contains("core::") && !words.contains("rust_panic"), "{words}");
    ensure!(fault.is_some_and(|line| line.field("callback") == "handle_in" && line.fields["member"] == 1), "{fault:?}");
    Ok(())
}

#[tokio::test]
async fn what_a_guest_fails_with_is_logged() -> Result<()> {
    let log = play(
        &["naughty"],
        r#"
        eve > join naughty:1
        eve < ok …
        eve > info_fail
        eve < ok {}
        eve < phx_error
        eve > join naughty:1
        eve < ok …
        eve > timers
        eve < phx_error
        "#,
    )
    .await?;
    let faults: Vec<Line> = log.since(0).into_iter().filter(|line| line.message().starts_with("fault: ")).collect();
    let [failed, timers] = &faults[..] else { anyhow::bail!("{faults:?}") };
    ensure!(failed.field("callback") == "handle_info", "{}", failed.text);
    ensure!(failed.message().contains("asked to fail in handle_info"), "{}", failed.text);
    ensure!(timers.message().contains("a member has at most 16 timers under way; in "), "{}", timers.text);
    Ok(())
}

/// For a person a line is a line, without colours where nobody looks.
#[tokio::test]
async fn the_log_is_for_people_where_nobody_says_otherwise() -> Result<()> {
    let host = Setup::new().guests(&["naughty"])?.human().start().await?;
    check(&host, "eve > join naughty:1\neve < ok …\neve > panic\neve < phx_error").await?;
    let line = host.log().find(0, "the fault", |line| line.text.contains("fault: ")).await?;
    ensure!(line.text.contains("WARN") && line.text.contains("plugin=\"naughty\""), "{}", line.text);
    ensure!(!line.text.contains('\u{1b}'), "{}", line.text);
    Ok(())
}
