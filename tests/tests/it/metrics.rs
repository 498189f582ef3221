//! `GET /metrics`: what a scrape of a real host says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use bennu_tests::{Cast, Scrape, Setup, TestHost, eventually, request};
use serde_json::{Value, json};

use crate::documents;

/// The metrics that no step of [`each_metric_moves_when_its_thing_happens`] moves, with the reason.
const UNMOVED: [(&str, &str); 23] = [
    ("bennu_build_info", "it is always 1"),
    ("bennu_start_time_seconds", "the start is over"),
    ("process_max_fds", "the limit is set before the start"),
    ("process_resident_memory_bytes", "it may move at any time"),
    ("process_cpu_seconds_total", "it may move at any time"),
    ("bennu_log_lines_lost_total", "the log is read"),
    ("bennu_log_waiting_bytes_max", "it may move at any time"),
    ("bennu_outbox_bytes_max", "`limits.rs` has a slow client"),
    ("bennu_queue_length_max", "the same"),
    ("bennu_broadcasts_dropped_total", "it needs 1,024 waiting jobs"),
    ("bennu_state_updates_skipped_total", "`rooms.rs` has a slow client of a state"),
    ("bennu_backpressure_seconds_total", "`limits.rs` has a slow client"),
    ("bennu_http_requests_under_way", "no request is under way at its end"),
    ("bennu_http_sent_bytes_total", "it needs a server: `http.rs` has one"),
    ("bennu_http_received_bytes_total", "it needs a server"),
    ("bennu_plugin_instance_waits_total", "`call_limits.rs` has a wait"),
    ("bennu_plugin_instance_wait_seconds_total", "the same"),
    ("bennu_plugin_generation", "the rollback returns to the generation before"),
    ("bennu_plugin_on_probation", "`reload.rs` has probations"),
    ("bennu_self_test_up", "`health.rs` has a full disk"),
    ("bennu_store_up", "`health.rs` has a full disk"),
    ("bennu_store_page_reads_total", "all pages are in memory"),
    ("bennu_store_checkpoint_waits_total", "it needs commits that are faster than a checkpoint"),
];

pub(crate) async fn scrape(host: &TestHost) -> Result<Scrape> {
    let answer = request(host.address(), "GET", "/metrics", &[]).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Scrape::read(&answer.body)
}

/// Waits until a value is at least this much larger than in an earlier scrape.
async fn grows(host: &TestHost, before: &Scrape, name: &str, labels: &[(&str, &str)], by: f64) -> Result<()> {
    let mut last = 0.0;
    let grown = eventually(name, async || {
        last = scrape(host).await?.sum(name, labels);
        Ok((last >= before.sum(name, labels) + by).then_some(()))
    });
    grown.await.with_context(|| format!("{name}{labels:?} is {last}, and was {}", before.sum(name, labels)))
}

#[tokio::test]
async fn a_scrape_is_valid_and_needs_the_key() -> Result<()> {
    let host = TestHost::start(&["naughty", "echo"]).await?;
    let no_key = [("authorization", "Bearer no")];
    let refused = request(host.address(), "GET", "/metrics", &no_key).await?;
    ensure!(refused.status == 401, "{refused:?}");
    let answer = request(host.address(), "GET", "/metrics", &[]).await?;
    let kind = answer.header("content-type");
    ensure!(kind.as_deref() == Some("text/plain; version=0.0.4; charset=utf-8"), "{kind:?}");
    Scrape::read(&answer.body)?;
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let open = request(host.address(), "GET", "/metrics", &[("accept", accept)]).await?;
    let kind = open.header("content-type").unwrap_or_default();
    ensure!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    ensure!(open.body.ends_with("# EOF\n") && open.body.contains("# TYPE bennu_sockets gauge\n"), "{}", open.body);
    host.stop().await?;
    Ok(())
}

/// Prometheus' own checker, if the machine has it, finds nothing wrong. Debian's package `prometheus` contains it.
#[tokio::test]
async fn promtool_accepts_a_scrape() -> Result<()> {
    let program = std::env::var("BENNU_PROMTOOL").unwrap_or_else(|_| "promtool".into());
    let command = Command::new(program).args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut command) = command else {
        bennu_test_tiers::note_skipped("promtool isn't installed");
        return Ok(());
    };
    let host = TestHost::start(&["echo"]).await?;
    let answer = request(host.address(), "GET", "/metrics", &[]).await?;
    host.stop().await?;
    command.stdin.take().context("an input")?.write_all(answer.body.as_bytes())?;
    let output = command.wait_with_output()?;
    ensure!(output.status.success(), "promtool: {}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

/// A step of a test: its name, the values that it moves, and by how much at least.
type Moves<'a> = &'a [(&'a str, &'a [(&'a str, &'a str)], f64)];

#[tokio::test]
async fn each_metric_moves_when_its_thing_happens() -> Result<()> {
    let setup =
        Setup::new().guests(&["naughty", "echo", "counter"])?.limit("call_cpu_ms", 50).limit("frame_bytes", 10_000);
    // Little memory, so that a call that grows meets this limit before that of its CPU time, also where pages of memory are slow to get.
    let setup = setup.limit("presence_burst", 1).limit("entries_cache_bytes", 1_000).limit("memory_bytes", 8 << 20);
    let host = setup.start().await?;
    let first = scrape(&host).await?;
    let mut cast = Cast::new(&host);
    let calls = "bennu_plugin_calls_total";
    step(
        &host,
        &mut cast,
        "alice > join echo:1\nalice < ok …\nbob > join naughty:1\nbob < ok …",
        &[
            ("bennu_sockets", &[], 2.0),
            ("bennu_sockets_opened_total", &[], 2.0),
            ("bennu_channels", &[], 2.0),
            ("bennu_topics", &[], 2.0),
            ("bennu_messages_received_total", &[], 2.0),
            ("bennu_frames_sent_total", &[], 2.0),
            ("bennu_websocket_received_bytes_total", &[], 50.0),
            ("bennu_websocket_sent_bytes_total", &[], 50.0),
            (calls, &[("plugin", "echo"), ("callback", "join")], 1.0),
            ("bennu_plugin_call_duration_seconds_count", &[("plugin", "naughty")], 1.0),
            ("bennu_plugin_instances", &[("plugin", "echo"), ("state", "idle")], 0.0),
            ("bennu_plugin_memory_bytes", &[("plugin", "echo")], 0.0),
        ],
    )
    .await?;
    step(
        &host,
        &mut cast,
        "alice > echo {\"a\": 1}\nalice < ok {\"a\": 1}",
        &[(calls, &[("plugin", "echo"), ("callback", "handle_in")], 1.0)],
    )
    .await?;
    step(
        &host,
        &mut cast,
        "bob > broadcast_droppable {\"event\": \"e\", \"key\": \"k\", \"payload\": {}}",
        &[
            ("bennu_broadcasts_total", &[], 1.0),
            ("bennu_deliveries_total", &[], 1.0),
            ("bennu_droppable_messages_total", &[], 1.0),
        ],
    )
    .await?;
    faults(&host, &mut cast).await?;
    clients(&host).await?;
    builds(&host).await?;
    let stored = scrape(&host).await?;
    let put = json!({ "topic": "naughty:1", "event": "put", "payload": { "key": "k", "value": "v" } });
    ensure!(host.post("/api/send", &put).await?.status == 200, "the key is stored");
    for (name, labels) in [
        ("bennu_store_commits_total", [("result", "stored")].as_slice()),
        ("bennu_store_batch_duration_seconds_count", &[]),
        ("bennu_store_written_bytes_total", &[]),
        ("bennu_store_log_bytes", &[]),
        (calls, &[("plugin", "naughty"), ("callback", "handle_message")]),
    ] {
        grows(&host, &stored, name, labels, 1.0).await.context("a commit")?;
    }
    checkpoint(&host).await?;
    let last = scrape(&host).await?;
    unmoved(&first, &last)?;
    let labels = last.all_labels();
    ensure!(!labels.iter().any(|label| label.contains("naughty:") || label.contains("echo:")), "{labels:?}");
    drop(cast);
    host.stop().await?;
    Ok(())
}

async fn step(host: &TestHost, cast: &mut Cast<'_>, script: &str, moves: Moves<'_>) -> Result<()> {
    let before = scrape(host).await?;
    cast.play(script).await?;
    for (name, labels, by) in moves {
        grows(host, &before, name, labels, *by).await.with_context(|| script.to_owned())?;
    }
    Ok(())
}

async fn faults(host: &TestHost, cast: &mut Cast<'_>) -> Result<()> {
    let (faults, hits) = ("bennu_plugin_faults_total", "bennu_limit_hits_total");
    for (event, kind, limit) in [
        ("panic", "trap", None),
        ("fail", "failed", None),
        ("effects", "oversize", Some("effects_per_call")),
        ("timers", "oversize", Some("timers_per_member")),
        ("short_timer", "oversize", Some("timer_shortest_ms")),
        ("huge_assigns", "oversize", Some("assigns_bytes")),
        ("loop", "deadline", Some("call_cpu_ms")),
        ("grow", "memory", Some("memory_bytes")),
    ] {
        let before = scrape(host).await?;
        cast.play(&format!("carl > join naughty:2\ncarl < ok …\ncarl > {event} {{}}\ncarl < phx_error")).await?;
        grows(host, &before, faults, &[("plugin", "naughty"), ("kind", kind)], 1.0).await.context(event)?;
        if let Some(limit) = limit {
            grows(host, &before, hits, &[("limit", limit)], 1.0).await.context(event)?;
        }
    }
    Ok(())
}

/// Stores more than a log file of the store takes. It is then written to the tree.
async fn checkpoint(host: &TestHost) -> Result<()> {
    let before = scrape(host).await?;
    let value = "x".repeat(900_000);
    for number in 0..6 {
        let payload = json!({ "key": format!("large {number}"), "value": value });
        let put = json!({ "topic": "naughty:1", "event": "put", "payload": payload });
        ensure!(host.post("/api/send", &put).await?.status == 200, "the key is stored");
    }
    grows(host, &before, "bennu_store_checkpoints_total", &[], 1.0).await
}

/// Clients that are refused, and closed.
async fn clients(host: &TestHost) -> Result<()> {
    let before = scrape(host).await?;
    // Of lines about the same reason, five a second are logged.
    eventually("a line that is left out", async || {
        for _ in 0..20 {
            host.connect_request().at("/nowhere").refused().await?;
        }
        let left_out = scrape(host).await?.sum("bennu_log_lines_left_out_total", &[("kind", "client")]);
        Ok((left_out >= 1.0).then_some(()))
    })
    .await?;
    request(host.address(), "GET", "/api/topics", &[("authorization", "Bearer no")]).await?;
    let refused = "bennu_clients_refused_total";
    grows(host, &before, refused, &[("reason", "unknown_mount")], 1.0).await?;
    grows(host, &before, refused, &[("reason", "api_key_wrong")], 1.0).await?;
    let mut dora = host.connect().await?;
    dora.send("no message").await?;
    dora.closed_with(1011).await?;
    let mut emil = host.connect().await?;
    emil.send("x".repeat(10_001)).await?;
    emil.closed_with(1009).await?;
    let closed = "bennu_connections_closed_total";
    grows(host, &before, closed, &[("reason", "malformed_message")], 1.0).await?;
    grows(host, &before, closed, &[("reason", "message_too_large")], 1.0).await?;
    grows(host, &before, "bennu_limit_hits_total", &[("limit", "frame_bytes")], 1.0).await
}

/// Builds that are loaded, refused and rolled back.
async fn builds(host: &TestHost) -> Result<()> {
    let before = scrape(host).await?;
    host.refusal("echo", b"no component").await?;
    let loads = "bennu_plugin_loads_total";
    grows(host, &before, loads, &[("plugin", "echo"), ("result", "refused")], 1.0).await?;
    let counter = bennu_tests::crafted::another_build(&std::fs::read(host.plugin_file("counter"))?, "another one");
    host.put("counter", &counter).await?;
    grows(host, &before, loads, &[("plugin", "counter"), ("result", "published")], 1.0).await?;
    grows(host, &before, "bennu_plugin_generation", &[("plugin", "counter")], 1.0).await?;
    ensure!(host.post("/api/plugins/counter/rollback", &json!({})).await?.status == 200, "it is rolled back");
    grows(host, &before, "bennu_plugin_rollbacks_total", &[("plugin", "counter"), ("by", "operator")], 1.0).await
}

/// Checks that all metrics have moved except the listed ones, and those that are moved elsewhere.
fn unmoved(first: &Scrape, last: &Scrape) -> Result<()> {
    let series = |name: &str, kind: &str| if kind == "histogram" { format!("{name}_count") } else { name.to_owned() };
    let of = |scrape: &Scrape| -> BTreeMap<String, f64> {
        let names = scrape.types.iter().map(|(name, kind)| (name.clone(), scrape.sum(&series(name, kind), &[])));
        names.collect()
    };
    let (first, last) = (of(first), of(last));
    let still: BTreeSet<&str> =
        last.iter().filter(|(name, value)| first.get(*name) == Some(value)).map(|(name, _)| name.as_str()).collect();
    let known: BTreeSet<&str> = UNMOVED.iter().map(|(name, _)| *name).chain(MOVED_ELSEWHERE).collect();
    let new: Vec<_> = still.difference(&known).collect();
    ensure!(new.is_empty(), "nothing moves {new:?}");
    let gone: Vec<_> = known.iter().filter(|name| !last.contains_key(**name)).collect();
    ensure!(gone.is_empty(), "these metrics don't exist: {gone:?}");
    Ok(())
}

/// The metrics whose counts other tests check by `inspect`, which reads the same counts.
const MOVED_ELSEWHERE: [&str; 22] = [
    "bennu_deflate_input_bytes_total",
    "bennu_deflate_output_bytes_total",
    "bennu_deflated_messages_total",
    "bennu_droppable_messages_lost_total",
    "bennu_entries_bytes",
    "bennu_entries_evicted_total",
    "bennu_entries_loaded_total",
    "bennu_history_broadcasts",
    "bennu_history_bytes",
    "bennu_history_rejoins_total",
    "bennu_history_topics",
    "bennu_http_deliveries_stored",
    "bennu_http_deliveries_total",
    "bennu_http_delivery_failures_total",
    "bennu_http_requests_total",
    "bennu_inflate_input_bytes_total",
    "bennu_inflate_output_bytes_total",
    "bennu_inflated_messages_total",
    "bennu_presence_diffs_merged_total",
    "bennu_schedules",
    "bennu_ticks_skipped_total",
    "bennu_ticks_total",
];

/// Every metric that the dashboard and the alerts name exists, with the labels that they use.
#[tokio::test]
async fn the_dashboard_and_the_alerts_name_metrics_that_exist() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    // Only callbacks that were called have counts.
    let mut alice = host.connect().await?;
    alice.join("echo:1", &json!({})).await?;
    let scrape = scrape(&host).await?;
    drop(alice);
    host.stop().await?;
    let dashboard = std::fs::read_to_string(bennu_tests::places::workspace()?.join("deploy").join("grafana.json"))?;
    let panels: Value = serde_json::from_str(&dashboard)?;
    let panels = panels["panels"].as_array().context("panels")?;
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut expressions: Vec<String> =
        targets.map(|target| target["expr"].as_str().unwrap_or_default().to_owned()).collect();
    ensure!(expressions.len() > 20 && panels.iter().all(|panel| panel["title"].is_string()), "a dashboard has panels");
    let document = documents::read("operating.md")?;
    let alerts = document.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    expressions.extend(alerts.map(str::to_owned));
    // The metrics in the text of the document.
    expressions
        .extend(document.split('`').skip(1).step_by(2).filter(|quoted| quoted.starts_with("bennu_")).map(Into::into));
    for expression in expressions {
        for (name, labels) in metrics_of(&expression) {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            let is_there =
                scrape.types.contains_key(name) || scrape.types.get(family).is_some_and(|it| it == "histogram");
            ensure!(is_there, "there is no metric {name}: {expression}");
            for label in labels {
                let values = scrape.labels(name, label);
                // Prometheus itself adds these two.
                ensure!(
                    ["instance", "le"].contains(&label) || !values.is_empty(),
                    "{name} has no label {label}: {expression}"
                );
            }
        }
        // `sum by (label)`, in an expression about one or several metrics.
        for by in expression.split(" by (").skip(1) {
            let grouped = by.split(')').next().unwrap_or_default().split(',').map(str::trim);
            let known = |label: &str| {
                ["instance", "le"].contains(&label)
                    || metrics_of(&expression).iter().all(|(name, _)| !scrape.labels(name, label).is_empty())
            };
            let unknown: Vec<_> = grouped.filter(|label| !known(label)).collect();
            ensure!(unknown.is_empty(), "no metric of this has {unknown:?}: {expression}");
        }
    }
    Ok(())
}

/// The metrics that an expression names, with the labels by which it chooses.
fn metrics_of(expression: &str) -> Vec<(&str, Vec<&str>)> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = ["bennu_", "process_"].iter().flat_map(|start| expression.match_indices(start)).map(|(at, _)| at);
    let begins = |at: &usize| !expression[..*at].ends_with(is_of_name);
    let found = starts.filter(begins).map(|at| {
        let rest = &expression[at..];
        let (name, rest) = rest.split_at(rest.find(|c| !is_of_name(c)).unwrap_or(rest.len()));
        let chosen = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
        // Every other piece between quotation marks is a value.
        let labels = chosen.split('"').step_by(2).map(|piece| piece.trim_matches([',', ' ', '=', '~', '!']));
        (name, labels.filter(|label| !label.is_empty()).collect())
    });
    found.collect()
}

#[test]
fn the_metrics_and_labels_of_an_expression_are_found() {
    let expression =
        r#"sum by (plugin) (rate(bennu_a_total{plugin=~"a|b", kind!="x,y"}[5m])) / (process_b + bennu_c{le="1"})"#;
    let found = metrics_of(expression);
    assert_eq!(found, [("bennu_a_total", vec!["plugin", "kind"]), ("bennu_c", vec!["le"]), ("process_b", vec![])]);
}
