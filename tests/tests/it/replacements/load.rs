//! Clients that send without pause while the host is replaced again and again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bennu_test_tiers::{bound, note_figures, rounds};
use bennu_tests::{ConnectRequest, Received, TestClient};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{start, upgraded};

/// The acknowledged sums of one client.
#[derive(Default)]
struct Acknowledged {
    sums: u64,
    slowest: Duration,
    reconnects: u64,
}

/// Adds 1 again and again to a room of its own, and connects again after each close, at once.
async fn adds(address: SocketAddr, number: usize, is_over: Arc<AtomicBool>) -> Result<Acknowledged> {
    let topic = format!("table:{number}");
    let mut done = Acknowledged::default();
    let mut closed: Option<Instant> = None;
    while !is_over.load(Ordering::Relaxed) {
        let mut client = ConnectRequest::to(address).connect().await.context("a connection was refused")?;
        // A slow client must find its room: only `back_ms` limits how late it may be.
        let params = json!({ "user": "it", "grace": 600_000 });
        let reference = client.push(&topic, "phx_join", &params).await?;
        let Some(joined) = reply_or_close(&mut client, &reference).await? else {
            // It has connected to the old process, which is about to end.
            closed = Some(Instant::now());
            done.reconnects += 1;
            continue;
        };
        // What was acknowledged is there. A message without a reply may be there, too.
        let sum = joined["sum"].as_u64().context("the sum")?;
        ensure!(sum >= done.sums, "room {number} has {sum}, and {} was acknowledged", done.sums);
        done.sums = sum;
        if let Some(closed) = closed.take() {
            done.slowest = done.slowest.max(closed.elapsed());
            done.reconnects += 1;
        }
        while !is_over.load(Ordering::Relaxed) {
            let reference = client.push(&topic, "add", &json!({ "n": 1 })).await.unwrap_or_default();
            let Some(answer) = reply_or_close(&mut client, &reference).await? else {
                closed = Some(Instant::now());
                break;
            };
            ensure!(answer["sum"] == done.sums + 1, "{answer} after {}", done.sums);
            done.sums += 1;
        }
    }
    Ok(done)
}

/// Waits for a reply. Returns none if the host closes the connection.
async fn reply_or_close(client: &mut TestClient, reference: &str) -> Result<Option<Value>> {
    loop {
        match client.next().await? {
            Received::Json(frame) if frame[3] == "phx_reply" && frame[1] == reference => {
                ensure!(frame[4]["status"] == "ok", "{frame}");
                return Ok(Some(frame[4]["response"].clone()));
            }
            Received::Closed(Some(1012)) => return Ok(None),
            Received::Closed(code) => bail!("closed with {code:?}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_send_without_pause_lose_nothing_that_was_acknowledged() -> Result<()> {
    let (clients, replacements) = (rounds("replacements::clients"), rounds("replacements"));
    let mut host = start().await?;
    let address = host.address();
    let is_over = Arc::<AtomicBool>::default();
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        tasks.spawn(adds(address, number, Arc::clone(&is_over)));
    }
    for _ in 0..replacements {
        host.shows("all clients are back", |shown| shown["sockets"] == clients).await?;
        upgraded(&mut host).await?;
    }
    host.shows("all clients are back", |shown| shown["sockets"] == clients).await?;
    is_over.store(true, Ordering::Relaxed);
    let (mut slowest, mut reconnects) = (Duration::ZERO, BTreeMap::<u64, usize>::new());
    while let Some(done) = tasks.join_next().await {
        let done = done??;
        slowest = slowest.max(done.slowest);
        *reconnects.entry(done.reconnects).or_default() += 1;
    }
    note_figures(&format!(
        "{clients} clients, {replacements} replacements: the slowest client was back after {slowest:?}; {reconnects:?}"
    ));
    ensure!(reconnects.keys().all(|count| *count >= replacements as u64), "{reconnects:?}");
    // On a machine with other work, the clients themselves may be slower.
    let allowed = bound("replacements::back_ms").map(Duration::from_millis);
    ensure!(allowed.is_none_or(|allowed| slowest < allowed), "{slowest:?}");
    host.stop().await?;
    Ok(())
}
