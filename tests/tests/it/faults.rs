//! Faults of plugins: each fault ends the member whose message caused it. Other members aren't affected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bennu_tests::{Setup, TestClient, TestHost, check, eventually, play};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Events with their payload, and the kind of fault that each causes.
const FAULTS: [(&str, &str); 22] = [
    ("panic {}", "trap"),
    ("push_then_trap {}", "trap"),
    ("info_panic {}", "trap"),
    ("fail {}", "failed"),
    ("info_fail {}", "failed"),
    ("info_reply {}", "failed"),
    ("push_array {}", "failed"),
    ("bad_json {}", "failed"),
    ("bad_ref {}", "failed"),
    ("publish_elsewhere {}", "failed"),
    ("loop {}", "deadline"),
    (r#"slow {"ms": 60000}"#, "deadline"),
    ("grow {}", "memory"),
    // A hundred megabytes don't fit into the instance's memory.
    ("huge {}", "memory"),
    (r#"huge {"bytes": 5000000}"#, "oversize"),
    // A million effects.
    ("effects {}", "oversize"),
    ("huge_assigns {}", "oversize"),
    ("long_event {}", "oversize"),
    ("long_status {}", "oversize"),
    ("timers {}", "oversize"),
    ("log_lines {}", "oversize"),
    ("flood {}", "overflow"),
];

/// The maximum time that a neighbour may wait for its echo. It is long, because it isn't a measurement. It detects a
/// neighbour that has to wait until the other member's call ends.
const BOUND: Duration = Duration::from_secs(5);

/// A host whose plugin can fill its memory long before the CPU time limit, also on a slow machine. One client may cause any
/// number of faults.
async fn host() -> Result<TestHost> {
    let setup = Setup::new().guests(&["naughty", "echo"])?;
    let setup = setup.limit("user.faults_per_minute", 0).limit("address.faults_per_minute", 0);
    setup.limit("memory_bytes", 32 << 20).limit("call_cpu_ms", 300).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_ends_only_the_member_that_caused_it() -> Result<()> {
    let host = host().await?;
    let neighbour = Neighbour::start(host.connect().await?, "naughty:1").await?;
    let mut eve = host.connect().await?;
    eve.join("echo:1", &json!({})).await?;
    for (round, (event, kind)) in FAULTS.into_iter().enumerate() {
        let mark = host.log().len();
        ask_for_it(&mut eve, event).await.with_context(|| event.to_owned())?;
        // The other channel of the same socket isn't affected.
        ensure!(eve.call("echo:1", "count", &json!({})).await?["count"] == round + 1);
        let is_fault = |line: &bennu_tests::Line| line.message().starts_with("fault: ");
        let line = host.log().find(mark, &format!("the fault of {event}"), is_fault).await?;
        ensure!(line.field("kind") == kind, "{event}: {}", line.text);
        ensure!(line.field("plugin") == "naughty" && line.field("topic") == "naughty:1", "{}", line.text);
    }
    let (seen, slowest) = neighbour.stop().await?;
    let kinds: Vec<&str> = seen.iter().filter_map(|frame| frame[4]["detail"].as_str()).collect();
    ensure!(seen.iter().all(|frame| frame[3] == "gone" && frame[4]["cause"] == "fault"), "{seen:?}");
    ensure!(kinds == FAULTS.map(|(_, kind)| kind), "{kinds:?}");
    ensure!(slowest < BOUND, "the neighbour waited {slowest:?} for an echo");
    ensure!(host.inspect().await?["faults"] == FAULTS.len());
    drop(eve);
    host.stop().await?;
    Ok(())
}

/// Joins and causes a fault. After the reply to an earlier turn, if there is one, only `phx_error` arrives.
async fn ask_for_it(eve: &mut TestClient, event: &str) -> Result<()> {
    let topic = "naughty:1";
    eve.join(topic, &json!({})).await?;
    let join_ref = eve.join_ref(topic).map(str::to_owned);
    let (event, payload) = event.split_once(' ').unwrap_or((event, "{}"));
    let asked = eve.push(topic, event, &serde_json::from_str(payload)?).await?;
    // These events succeed, and send the member a message that causes the fault.
    if event.starts_with("info_") || event == "flood" {
        ensure!(eve.reply(topic, &asked).await?.status == "ok");
    }
    eve.expect(&json!([join_ref, join_ref, topic, "phx_error", {"reason": "channel_crash"}])).await?;
    let reply = eve.ask(topic, "echo", &json!({})).await?;
    ensure!(reply.response == json!({"reason": "unmatched topic"}), "{reply:?}");
    Ok(())
}

/// A member of the same topic that sends echoes without pause.
struct Neighbour {
    may_stop: Arc<AtomicBool>,
    task: JoinHandle<Result<(Vec<Value>, Duration)>>,
}

impl Neighbour {
    async fn start(mut client: TestClient, topic: &'static str) -> Result<Self> {
        client.join(topic, &json!({})).await?;
        let may_stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&may_stop);
        let task = tokio::spawn(async move {
            let (mut seen, mut slowest) = (Vec::new(), Duration::ZERO);
            while !is_over.load(Ordering::Relaxed) {
                let asked_at = Instant::now();
                let asked = client.push(topic, "count", &json!({})).await?;
                let mut frame = client.json().await?;
                while frame[1] != asked {
                    seen.push(frame);
                    frame = client.json().await?;
                }
                slowest = slowest.max(asked_at.elapsed());
                // The join had the ref 1, and the first count the ref 2.
                ensure!(frame[4]["response"]["count"].as_u64().map(|count| count + 1) == asked.parse().ok(), "{frame}");
            }
            // The answer to a heartbeat arrives after all other frames.
            client.push("phoenix", "heartbeat", &json!({})).await?;
            loop {
                let frame = client.json().await?;
                if frame[2] == "phoenix" {
                    return Ok((seen, slowest));
                }
                seen.push(frame);
            }
        });
        Ok(Self { may_stop, task })
    }

    /// Returns all frames except its own echoes, and the longest time that it waited for an echo.
    async fn stop(self) -> Result<(Vec<Value>, Duration)> {
        self.may_stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

#[tokio::test]
async fn effects_before_a_trap_are_not_carried_out() -> Result<()> {
    play(
        &["naughty"],
        r#"
        bob > join naughty:1
        bob < ok …
        eve > join naughty:1
        eve < ok …
        eve > count
        eve < ok {"count": 1}
        eve > push_then_trap
        eve < phx_error
        bob < gone {"member": 2, "cause": "fault", "detail": "trap"}
        bob ~
        eve > join naughty:1
        eve < ok {"member": 3}
        eve > count
        eve < ok {"count": 1}
        "#,
    )
    .await?;
    Ok(())
}

/// A message that waits behind the faulty event is unmatched. The two answers can arrive in either order, because
/// `phx_error` is sent after `terminate`.
#[tokio::test]
async fn a_message_that_waits_behind_a_fault_is_unmatched() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let mut eve = host.connect().await?;
    eve.join("naughty:1", &json!({})).await?;
    eve.push("naughty:1", "panic", &json!({})).await?;
    let behind = eve.push("naughty:1", "echo", &json!({})).await?;
    let error = json!(["1", "1", "naughty:1", "phx_error", {"reason": "channel_crash"}]);
    let response = json!({"status": "error", "response": {"reason": "unmatched topic"}});
    let unmatched = json!([null, behind, "naughty:1", "phx_reply", response]);
    let received = [eve.json().await?, eve.json().await?];
    ensure!(received.contains(&error) && received.contains(&unmatched), "{received:?}");
    eve.quiet().await?;
    drop(eve);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_join_that_fails_is_refused() -> Result<()> {
    let log = play(
        &["naughty"],
        r#"
        eve > join naughty:join_panic
        eve < error {"reason": "join crashed"}
        eve > join naughty:join_fail
        eve < error {"reason": "join crashed"}
        eve > join naughty:join_loop
        eve < error {"reason": "join crashed"}
        eve > echo
        eve < unmatched
        eve > join naughty:1
        eve < ok …
        eve ~
        "#,
    )
    .await?;
    let faults = log.since(0);
    let kinds: Vec<&str> =
        faults.iter().filter(|line| line.field("callback") == "join").map(|line| line.field("kind")).collect();
    ensure!(kinds == ["trap", "failed", "deadline"], "{kinds:?}");
    Ok(())
}

#[tokio::test]
async fn a_fault_in_terminate_has_no_further_effect() -> Result<()> {
    let log = play(
        &["naughty"],
        r#"
        bob > join naughty:terminate_panic
        bob < ok …
        eve > join naughty:terminate_panic
        eve < ok …
        eve > leave
        eve < ok {}
        eve < phx_close
        eve > join naughty:terminate_panic
        eve < ok …
        eve > panic
        eve < phx_error
        bob ~
        bob > count
        bob < ok {"count": 1}
        "#,
    )
    .await?;
    let failed = log.since(0).iter().filter(|line| line.field("callback") == "terminate").count();
    // Two calls for Eve, and one for Bob when the host stops.
    ensure!(failed == 3, "terminate failed {failed} times");
    Ok(())
}

/// If a plugin has enough memory to return a hundred megabytes, the host refuses the result.
#[tokio::test]
async fn a_result_of_a_hundred_megabytes_is_refused() -> Result<()> {
    let setup = Setup::new().guests(&["naughty"])?.limit("memory_bytes", 1 << 30).limit("call_cpu_ms", 60_000);
    let host = setup.limit("call_wall_ms", 60_000).start().await?;
    check(
        &host,
        r#"
        bob > join naughty:1
        bob < ok …
        eve > join naughty:1
        eve < ok …
        eve > huge
        eve < phx_error
        bob < gone {"member": 2, "cause": "fault", "detail": "oversize"}
        bob > count
        bob < ok {"count": 1}
        "#,
    )
    .await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn memory_is_freed_after_faults() -> Result<()> {
    let host = host().await?;
    let mut eve = host.connect().await?;
    let all = async |eve: &mut TestClient| {
        for (event, _) in FAULTS {
            ask_for_it(eve, event).await.with_context(|| event.to_owned())?;
        }
        anyhow::Ok(())
    };
    // The first round allocates the memory that a host keeps.
    all(&mut eve).await?;
    let before = host.memory()?;
    for _ in 0..4 {
        all(&mut eve).await?;
    }
    drop(eve);
    host.holds(0, 0).await?;
    let most = before + (32 << 20);
    eventually("the host has freed its memory", async || Ok((host.memory()? < most).then_some(())))
        .await
        .with_context(|| format!("{before} bytes before, {:?} now", host.memory().ok()))?;
    host.stop().await?;
    Ok(())
}
