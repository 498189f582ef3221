//! Reload under load: many clients send messages without pause while their plugin is replaced repeatedly.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use bennu_tests::{Setup, TestClient, TestHost, eventually};
use serde_json::json;
use tokio::task::JoinSet;

const CLIENTS: u64 = 200;
const RELOADS: u64 = 20;

/// The number of messages of a client that wait for their replies at any time.
const IN_FLIGHT: usize = 3;

/// The progress of a client, which the test reads. The client's task writes with `Release` or `AcqRel`, and the test reads
/// with `Acquire`. So a test that sees a build also sees the change to that build.
#[derive(Default)]
struct Progress {
    /// The build that sent the last answer.
    build: AtomicU64,
    /// How often the build changed.
    changes: AtomicU64,
}

/// No client is disconnected or gets an error. No reply is lost, repeated or out of order. The count in each member's state
/// continues over all reloads. After the first answer of the new build, a client gets no answer of the old build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_lose_nothing_and_change_only_the_answers() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    let mut progress = Vec::new();
    for n in 0..CLIENTS {
        let (client, seen) = (host.connect().await?, Arc::new(Progress::default()));
        progress.push(Arc::clone(&seen));
        clients.spawn(ask_without_pause(client, format!("echo:{n}"), seen, Arc::clone(&is_over)));
    }
    all_have_seen(&progress, 1, 0, &mut clients).await?;
    for reload in 1..=RELOADS {
        let build = reload % 2 + 1;
        let guest = if build == 2 { "variants/echo-v2" } else { "echo" };
        ensure!(host.reload("echo", guest).await? == reload + 1);
        all_have_seen(&progress, build, reload, &mut clients).await?;
    }
    is_over.store(true, Ordering::Relaxed);
    let mut answers = 0;
    while let Some(counted) = clients.join_next().await {
        answers += counted??;
    }
    ensure!(answers >= CLIENTS * (RELOADS + 1), "only {answers} answers");
    host.holds(0, 0).await?;
    ensure!(host.inspect().await?["faults"] == 0);
    host.stop().await?;
    Ok(())
}

/// Waits until this build has answered every client, and asserts that each client has seen exactly `changes` changes.
async fn all_have_seen(
    progress: &[Arc<Progress>],
    build: u64,
    changes: u64,
    clients: &mut JoinSet<Result<u64>>,
) -> Result<()> {
    eventually(&format!("all clients are answered by build {build}"), async || {
        if let Some(ended) = clients.try_join_next() {
            ended?.context("a client ended too soon")?;
        }
        Ok(progress.iter().all(|seen| seen.build.load(Ordering::Acquire) == build).then_some(()))
    })
    .await?;
    for (n, seen) in progress.iter().enumerate() {
        let seen = seen.changes.load(Ordering::Acquire);
        ensure!(seen == changes, "client {n} saw {seen} changes of its answers, after {changes} reloads");
    }
    Ok(())
}

async fn ask_without_pause(
    mut client: TestClient,
    topic: String,
    progress: Arc<Progress>,
    is_over: Arc<AtomicBool>,
) -> Result<u64> {
    client.join(&topic, &json!({})).await?;
    let mut waiting = VecDeque::new();
    let mut count = 0;
    loop {
        while waiting.len() < IN_FLIGHT && !is_over.load(Ordering::Relaxed) {
            waiting.push_back(client.push(&topic, "count", &json!({})).await?);
        }
        let Some(asked) = waiting.pop_front() else { break };
        let reply = client.reply(&topic, &asked).await?;
        count += 1;
        ensure!(reply.status == "ok" && reply.response["count"] == count, "the {count}th answer is {reply:?}");
        let build = reply.response["build"].as_str().and_then(|build| build.parse().ok()).context("a build")?;
        let before = progress.build.load(Ordering::Acquire);
        if before != 0 && before != build {
            progress.changes.fetch_add(1, Ordering::AcqRel);
        }
        progress.build.store(build, Ordering::Release);
    }
    client.quiet().await?;
    client.close().await?;
    Ok(count)
}

/// Members send so many broadcasts at once that an outbox can't hold all of them. As long as the members read, all
/// broadcasts arrive, and those of each sender are in order. This holds with one thread for all connections and with
/// several.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_broadcasts_arrives_at_all_members() -> Result<()> {
    for threads in [1, 4] {
        let setup = Setup::new().guests(&["echo"])?.config(&format!("wire_threads = {threads}"));
        burst(setup.limit("outbox_frames", 256).start().await?).await?;
    }
    Ok(())
}

async fn burst(host: TestHost) -> Result<()> {
    const MEMBERS: u64 = 32;
    const EACH: u64 = 20;
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        let mut member = host.connect().await?;
        member.join("echo:1", &json!({})).await?;
        members.push(member);
    }
    let mut bursts = JoinSet::new();
    for (who, mut member) in members.into_iter().enumerate() {
        bursts.spawn(async move {
            for n in 0..EACH {
                member.push("echo:1", "shout", &json!({"who": who, "n": n})).await?;
            }
            let mut next = vec![0; usize::try_from(MEMBERS)?];
            for _ in 0..MEMBERS * EACH {
                let frame = member.json().await?;
                let (who, n) = (frame[4]["who"].as_u64(), frame[4]["n"].as_u64());
                let next = next.get_mut(usize::try_from(who.context("a shout")?)?).context("a member")?;
                ensure!(n == Some(*next), "{frame}: expected number {next}");
                *next += 1;
            }
            anyhow::Ok(member)
        });
    }
    let members: Vec<TestClient> = bursts.join_all().await.into_iter().collect::<Result<_>>()?;
    drop(members);
    host.holds(0, 0).await?;
    host.stop().await?;
    Ok(())
}
