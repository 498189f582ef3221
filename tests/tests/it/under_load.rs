//! Reload under load: many clients ask without pause while their plugin is replaced again and again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use bennu_tests::{Setup, TestClient, TestHost, eventually};
use serde_json::json;
use tokio::task::JoinSet;

const CLIENTS: u64 = 200;
const RELOADS: u64 = 20;

/// Messages that a client has on the way at any time.
const IN_FLIGHT: usize = 3;

/// What is known of a client from outside.
#[derive(Default)]
struct Progress {
    /// The build that answered last.
    build: AtomicU64,
    /// How often that changed.
    changes: AtomicU64,
}

/// No client is disconnected or gets an error; no reply is lost, repeated or out of order; the count in each member's
/// state goes on over all reloads; and each client sees the old build's answers, and then the new one's, and never the
/// old one's again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_but_by_the_answers() -> Result<()> {
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

/// Waits until every client was answered by this build, and asserts that each has seen exactly so many changes.
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

/// Members who speak all at once, so that far more is for each than its outbox holds: as long as they read, all of it comes, and
/// each member's in its order. So it does where one thread serves them all, and where many do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_from_many_comes_to_all_of_them() -> Result<()> {
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
                ensure!(n == Some(*next), "{frame}: it isn't number {next}");
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
