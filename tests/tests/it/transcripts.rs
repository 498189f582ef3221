//! The transcripts of a running Phoenix, replayed against the reference channel.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bennu_tests::transcript::{self, Frame, Line, Row};
use bennu_tests::{DEADLINE, Difference, Setup, bearer, places, replay};
use futures_util::{StreamExt, TryStreamExt, stream};

/// The ways in which a scenario may differ.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Differs {
    /// Only in the order of some frames.
    InOrder,
    /// In the content: every frame that differs contains one of these texts.
    InContent(&'static [&'static str]),
}

/// The scenarios that differ, with the way and the reason.
pub(crate) const DIFFERENCES: &[(&str, Differs, &str)] = &[
    (
        "binary",
        Differs::InContent(&["phx_error"]),
        "a binary broadcast skips members of version 1 instead of failing its sender",
    ),
    (
        "control",
        Differs::InContent(&["utf8: closed"]),
        "the transcript lacks the text that wasn't UTF-8; `bad_input` tests such a client",
    ),
    ("dup_join_bye", Differs::InContent(&["\"room:bye\",\"bye"]), "the reasons of a fault are Elixir's own texts"),
    (
        "dup_presence",
        Differs::InContent(&["presence_diff"]),
        "in Phoenix, a race decides whether a client that joins again sees its old presence leave; here it never does",
    ),
    (
        "handshake",
        Differs::InContent(&["\"sec-websocket-version\": \"8\"", "\"sec-websocket-key\": \"\""]),
        "another version is answered with 426, and an empty key counts as missing",
    ),
    (
        "leave_then_join_back_to_back",
        Differs::InContent(&["[\"1\",\"2\",\"room:lj\",\"phx_reply\""]),
        "a leave is always answered, even if a join follows at once",
    ),
    (
        "longpoll",
        Differs::InContent(&["\"phoenix\""]),
        "a heartbeat is answered before messages that wait for their plugin, which can happen in Phoenix too",
    ),
    (
        "longpoll_disconnect",
        Differs::InContent(&["Number(410)"]),
        "the poll was open when its socket was disconnected; `longpoll` tests such a poll",
    ),
    (
        "lp_binary_invalid_utf8",
        Differs::InContent(&["/longpoll"]),
        "bytes that long-poll can't carry are left out; long bodies are cut in the transcript",
    ),
    ("max_channels", Differs::InOrder, "joins of one socket don't wait for one another"),
    ("order_join_push", Differs::InOrder, "a heartbeat is answered after earlier messages, unless they have to wait"),
    (
        "oversized",
        Differs::InContent(&["xxxx", "yyyy", "7900000", "instead of 1009"]),
        "long messages are cut in the transcript; `limits` and `bad_input` test long messages",
    ),
    ("presence", Differs::InOrder, "effects keep their order, but in Phoenix a diff may come after the reply"),
    ("slow_channel", Differs::InOrder, "a plugin can't block, so later messages don't wait"),
    ("slow_join", Differs::InOrder, "a slow join blocks only its own channel"),
    ("types", Differs::InContent(&["[1,9,"]), "duplicate keys are passed on unchanged, and readers use the last one"),
];

/// The scenarios among them that differ only at some timings, such as with a slow turn or an open poll.
const TIMING_DEPENDENT: [&str; 5] = ["longpoll", "longpoll_disconnect", "max_channels", "order_join_push", "slow_join"];

/// The number of hosts that replay scenarios at the same time.
const AT_ONCE: usize = 4;

/// How long a replay waits for a frame that the transcript has. Some listed differences are frames that never arrive, so this is most of
/// the time that the replays take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Adds the frames that clients sent but the transcript lacks.
fn complete(scenario: &str, lines: &mut Vec<Line>) {
    let sent = |who: &str, text: String| Line { who: who.to_owned(), row: Row::Sent(Frame::Text(text)) };
    match scenario {
        "max_channels" => {
            let joins = (1..=101).map(|n| sent("a", format!(r#"["{n}","{n}","room:mc{n}","phx_join",{{}}]"#)));
            lines.splice(1..1, joins);
        }
        "timeout" => {
            let is_push = |line: &Line| matches!(&line.row, Row::Got(Frame::Text(text)) if text.contains("shout_from"));
            let pushes: Vec<usize> = (0..lines.len()).filter(|&at| is_push(&lines[at])).collect();
            for at in pushes.into_iter().rev() {
                lines.insert(at, sent("b", r#"["1","2","room:to","shout_from",{}]"#.to_owned()));
            }
        }
        _ => {}
    }
}

/// The headers that the transcript lacks, for a scenario's n-th connection.
fn offered(scenario: &str, connection: usize) -> Vec<(&'static str, String)> {
    let protocol = |list: &str| vec![("sec-websocket-protocol", list.to_owned())];
    match (scenario, connection) {
        ("params", _) => vec![("x-application", "Phoenix".to_owned()), ("x-other", "1".to_owned())],
        ("auth", 0) => protocol(&format!("phoenix, {}", bearer("secret-token.with_chars~~~"))),
        ("auth", 1) => protocol("phoenix"),
        ("auth", 3) => protocol("other"),
        ("subproto", 0) => protocol("sip"),
        ("subproto", 1) => protocol("phx.custom, sip"),
        ("subproto", 2) => protocol("other"),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn replayed_transcripts_of_phoenix_differ_only_as_listed() -> Result<()> {
    replay_all(places::guest("reference")?, places::guest("reference-gate")?).await
}

/// The transcript of Supabase Realtime was not recorded. It was written from the sources of its server.
#[tokio::test]
async fn the_transcript_of_supabase_realtime_has_no_difference() -> Result<()> {
    let root = places::workspace()?;
    let text = std::fs::read_to_string(root.join("tests/transcripts/supabase-realtime.jsonl"))?;
    let script = std::fs::read(root.join("guest-examples/realtime/realtime.ts"))?;
    let setup = Setup::new()
        .file("plugins/realtime.ts", script)
        .config("[mounts.\"/realtime/v1\"]\nserializer = \"supabase\"\n");
    let differ = replay_on_several_hosts(&setup, transcript::read(&text)?).await?;
    ensure!(differ.is_empty(), "{differ:#?}");
    Ok(())
}

/// Replays every transcript against a host with these builds of the reference channel and of its gatekeeper.
pub(crate) async fn replay_all(reference_plugin: Vec<u8>, gatekeeper: Vec<u8>) -> Result<()> {
    let root = places::workspace()?;
    let text = std::fs::read_to_string(root.join("tests/transcripts/phoenix-1.8.12.jsonl"))?;
    let reference = root.join("guest-examples/reference");
    let config = std::fs::read_to_string(reference.join("bennu.toml"))?;
    // The test uses its own directories.
    let is_directory = |line: &&str| line.starts_with("load") || line.starts_with("data");
    let config: String = config.lines().filter(|line| !is_directory(line)).map(|line| format!("{line}\n")).collect();
    let secret = std::fs::read(reference.join("secret_key_base.txt"))?;
    let setup = Setup::new()
        .plugin("reference", reference_plugin)
        .plugin("reference-gate", gatekeeper)
        .file("secret_key_base.txt", secret)
        .config(&config);
    let only = std::env::var("SCENARIO").ok();
    let mut scenarios = transcript::read(&text)?;
    scenarios.retain(|(scenario, _)| only.as_ref().is_none_or(|only| only == scenario));
    let differ = replay_on_several_hosts(&setup, scenarios).await?;
    let mut findings: Vec<String> =
        differ.iter().filter_map(|(scenario, differences)| unlisted(scenario, differences)).collect();
    for (scenario, _, why) in DIFFERENCES {
        if only.is_none() && !TIMING_DEPENDENT.contains(scenario) && !differ.contains_key(*scenario) {
            findings.push(format!("{scenario} doesn't differ any more: {why}"));
        }
    }
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(())
}

/// What differs in a scenario, and isn't listed.
fn unlisted(scenario: &str, differences: &[Difference]) -> Option<String> {
    let listed = DIFFERENCES.iter().find(|(listed, ..)| *listed == scenario).map(|(_, how, _)| *how);
    let is_listed = |difference: &&Difference| match listed {
        None => false,
        Some(Differs::InContent(words)) => {
            let said = difference.to_string();
            matches!(difference, Difference::Early(_)) || words.iter().any(|word| said.contains(word))
        }
        Some(Differs::InOrder) => matches!(difference, Difference::Early(_)),
    };
    let new: Vec<String> = differences.iter().filter(|it| !is_listed(it)).map(ToString::to_string).collect();
    (!new.is_empty()).then(|| format!("{scenario} differs:\n  {}", new.join("\n  ")))
}

/// Replays several scenarios at once, because a replay mostly waits for frames that don't arrive. Each replay has its own
/// host, because scenarios use the same topics and ids. Returns the differences of the scenarios that differ.
async fn replay_on_several_hosts(
    setup: &Setup,
    scenarios: Vec<(String, Vec<Line>)>,
) -> Result<BTreeMap<String, Vec<Difference>>> {
    let replays = stream::iter(scenarios).map(|(scenario, mut lines)| async move {
        complete(&scenario, &mut lines);
        let mut differences = replay_on_a_host(setup, &scenario, &lines, PATIENCE).await?;
        // On a busy machine, a frame may take longer. So only what differs with much patience counts.
        if unlisted(&scenario, &differences).is_some() {
            differences = replay_on_a_host(setup, &scenario, &lines, DEADLINE).await?;
        }
        anyhow::Ok((scenario, differences))
    });
    let differ: BTreeMap<_, _> = replays.buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(differ.into_iter().filter(|(_, differences)| !differences.is_empty()).collect())
}

async fn replay_on_a_host(
    setup: &Setup,
    scenario: &str,
    lines: &[Line],
    patience: Duration,
) -> Result<Vec<Difference>> {
    let host = setup.clone().start().await?;
    let played = replay(host.address(), lines, patience, |connection| offered(scenario, connection)).await;
    let differences = played.with_context(|| scenario.to_owned())?;
    host.stop().await?;
    Ok(differences)
}
