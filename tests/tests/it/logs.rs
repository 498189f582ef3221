//! The log: the lines of plugins, the fields of a fault, and the formats.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use bennu_tests::{Line, Setup, bennu, check, play};
use serde_json::json;

#[tokio::test]
async fn the_lines_of_a_plugin_have_its_name_topic_and_generation() -> Result<()> {
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
async fn debug_and_trace_are_off_by_default() -> Result<()> {
    let log = play(&["naughty"], "alice > join naughty:1\nalice < ok …\nalice > log\nalice < ok {}").await?;
    let guests = log.since(0).into_iter().filter(Line::is_guest);
    let levels: Vec<String> = guests.map(|line| line.field("level").to_owned()).collect();
    ensure!(levels[..3] == ["INFO", "WARN", "ERROR"], "{levels:?}");
    Ok(())
}

/// A trap has no message. The SDK writes the message of the panic, and the component has the names of functions.
#[tokio::test]
async fn a_panic_is_one_line_with_message_place_callers_and_member() -> Result<()> {
    let key = b"a secret of twenty bytes or more";
    let setup = Setup::new().guests(&["naughty"])?.file("secret", key.to_vec()).config(
        r#"
        secret_key_base = { file = "secret" }
        mounts."/socket".token = { salt = "user" }
        "#,
    );
    let host = setup.start().await?;
    let sign = ["token", "sign", "--salt", "user", "--secret-file", "secret", "eve"];
    let token = bennu(host.home(), &sign)?.output;
    let mut eve = host.connect_request().query(&format!("vsn=2.0.0&token={}", token.trim())).connect().await?;
    eve.join("naughty:1", &json!({})).await?;
    let mark = host.log().len();
    eve.push("naughty:1", "panic", &json!({})).await?;
    host.log().find(mark, "the end", |line| line.message().starts_with("gone: fault")).await?;
    drop(eve);
    let lines = host.stop().await?.since(mark);
    let about: Vec<&Line> = lines.iter().filter(|line| line.text.contains("asked to panic")).collect();
    let [line] = about[..] else { anyhow::bail!("{about:?}") };
    let words = line.message();
    ensure!(words.starts_with("fault: panicked at ") && words.contains("naughty/src/faults.rs:"), "{words}");
    ensure!(words.contains(": asked to panic; in naughty::faults::blow_up, called by "), "{words}");
    ensure!(!words.contains("core::") && !words.contains("rust_panic"), "{words}");
    let fields = [
        ("level", "WARN"),
        ("plugin", "naughty"),
        ("topic", "naughty:1"),
        ("callback", "handle_in"),
        ("event", "panic"),
        ("user", "eve"),
        ("socket", "user_socket:eve"),
        ("kind", "trap"),
    ];
    for (name, value) in fields {
        ensure!(line.field(name) == value, "{name}: {}", line.text);
    }
    ensure!(line.fields["generation"] == 1 && line.fields["member"] == 1, "{}", line.text);
    Ok(())
}

#[tokio::test]
async fn a_panic_in_a_join_is_one_line_too() -> Result<()> {
    let log = play(&["naughty"], "eve > join naughty:join_panic\neve < error …").await?;
    let lines = log.since(0);
    let about: Vec<&Line> = lines.iter().filter(|line| line.text.contains("panicked at")).collect();
    let [line] = about[..] else { anyhow::bail!("{about:?}") };
    ensure!(line.field("callback") == "join" && line.field("kind") == "trap", "{}", line.text);
    Ok(())
}

/// The log names the configuration key of a limit, so that an operator knows which key to change.
#[tokio::test]
async fn a_limit_is_logged_with_its_key() -> Result<()> {
    let cases = [
        ("timers", "`limits.timers_per_member = 16`"),
        ("effects", "`limits.effects_per_call = 1024`"),
        ("huge_assigns", "`limits.assigns_bytes = 16384`"),
        ("log_lines", "`limits.log_lines_per_call = 256`"),
        ("loop", "`limits.call_cpu_ms = 2000`"),
        (r#"huge {"bytes": 100000000}"#, "`limits.memory_bytes = 67108864`"),
        (r#"huge {"bytes": 5000000}"#, "`limits.effect_bytes = 4194304`"),
        ("store_many", "`limits.store_writes_per_call = 1024`"),
    ];
    // The time of the processor comes first, however busy the machine is.
    let host = Setup::new().guests(&["naughty"])?.limit("call_wall_ms", 60_000).start().await?;
    for (event, key) in cases {
        let mark = host.log().len();
        check(&host, &format!("eve > join naughty:1\neve < ok …\neve > {event}\neve < phx_error")).await?;
        let fault = host.log().find(mark, "the fault", |line| line.message().starts_with("fault: ")).await?;
        ensure!(fault.message().contains(key), "{event}: {}", fault.text);
        let name = event.split(' ').next().unwrap_or_default();
        ensure!(fault.field("event") == name, "{event}: {}", fault.text);
    }
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn an_empty_log_filter_is_ignored() -> Result<()> {
    let host = Setup::new().guests(&["naughty"])?.variable("BENNU_LOG", "").start().await?;
    check(&host, "eve > join naughty:1\neve < ok …\neve > panic\neve < phx_error").await?;
    host.log().find(0, "the fault", |line| line.message().starts_with("fault: ")).await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn the_error_of_a_plugin_is_logged() -> Result<()> {
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
    ensure!(
        timers.message().contains("a member has at most 16 pending timers (`limits.timers_per_member = 16`); in "),
        "{}",
        timers.text
    );
    Ok(())
}

/// The human-readable format has one line for each event, and no colours if standard error isn't a terminal.
#[tokio::test]
async fn the_log_is_human_readable_by_default() -> Result<()> {
    let host = Setup::new().guests(&["naughty"])?.human().start().await?;
    check(&host, "eve > join naughty:1\neve < ok …\neve > panic\neve < phx_error").await?;
    let line = host.log().find(0, "the fault", |line| line.text.contains("fault: ")).await?;
    ensure!(line.text.contains("WARN") && line.text.contains("plugin=\"naughty\""), "{}", line.text);
    ensure!(!line.text.contains('\u{1b}'), "{}", line.text);
    Ok(())
}

/// The fields of an event of `tracing` in the source: the names before its text.
fn fields_of(arguments: &str) -> Vec<&str> {
    let named = arguments.split(',').map(str::trim).take_while(|argument| !argument.starts_with('"'));
    let names = named.map(|argument| argument.split('=').next().unwrap_or_default().trim());
    let is_name = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    names.filter(is_name).collect()
}

/// docs/logs.md lists the fields of all lines that the host logs by default.
#[test]
fn every_field_is_documented() -> Result<()> {
    let document = crate::documents::read("logs.md")?;
    let rows = document.lines().filter(|line| line.starts_with("| `"));
    let first = rows.filter_map(|row| row.trim_start_matches("| ").split(" | ").next());
    let documented: BTreeSet<&str> = first.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let (mut found, mut findings) = (BTreeSet::new(), Vec::new());
    for path in crate::tidy::sources(&bennu_tests::places::workspace()?.join("host").join("src"))? {
        let text = std::fs::read_to_string(&path)?;
        for level in ["info", "warn", "error"] {
            for event in text.split(&format!("tracing::{level}!(")).skip(1) {
                for field in fields_of(event).into_iter().filter(|field| *field != "target" && *field != "level") {
                    found.insert(field.to_owned());
                    if !documented.contains(field) {
                        findings.push(format!("{}: docs/logs.md doesn't have the field `{field}`", path.display()));
                    }
                }
            }
        }
    }
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    ensure!(found.contains("trace_id") && found.contains("kind") && found.len() > 20, "{found:?}");
    Ok(())
}
