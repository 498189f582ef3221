//! The engine against a model, and commits while the server is killed or stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bennu::store::{
    CommitError, Direction, Draft, Engine, Owner, Postgres, PostgresPlace, QUOTA_BYTES, ReadError, ScanLimit, Snapshot,
    Span, Store, StoreLimits, StorePlace, Writes,
};
use bennu_test_tiers::{Noise, rounds};
use bennu_tests::{PostgresServer, eventually, within};
use bytes::Bytes;
use tokio::task::JoinSet;

use crate::cluster::SPEAKS;
use crate::database;
use crate::ledger::join;

type Map = BTreeMap<Bytes, Bytes>;

pub(crate) fn place(url: &str) -> Result<PostgresPlace> {
    PostgresPlace::new(url, None, "bennu")
}

/// One of few keys, so that equal keys are frequent. Some keys are prefixes of others.
pub(crate) fn key(noise: &mut Noise) -> Bytes {
    (0..=noise.below(3)).map(|_| b"\0ab\xff"[noise.below(4)]).collect()
}

fn writes(noise: &mut Noise) -> Writes {
    let value = |noise: &mut Noise| -> Bytes { (0..noise.below(12)).map(|_| noise.below(256) as u8).collect() };
    (0..noise.below(6)).map(|_| (key(noise), Some(value(noise)).filter(|_| noise.below(3) > 0))).collect()
}

/// The rows that a scan of this map returns, and whether these are all of the span.
fn rows(map: &Map, span: &Span, direction: Direction, limit: ScanLimit) -> (Vec<(Bytes, Bytes)>, bool) {
    let mut within: Vec<_> = map.iter().filter(|(key, _)| **key >= span.from && **key < span.until).collect();
    if direction == Direction::Backward {
        within.reverse();
    }
    let (mut found, mut bytes) = (Vec::new(), 0_usize);
    for (key, value) in within {
        bytes += key.len() + value.len();
        if !found.is_empty() && (found.len() >= limit.rows || bytes > limit.bytes) {
            return (found, false);
        }
        found.push((key.clone(), value.clone()));
    }
    (found, true)
}

async fn compare(snapshot: &dyn Snapshot, map: &Map, noise: &mut Noise) -> Result<()> {
    for _ in 0..3 {
        let key = key(noise);
        ensure!(snapshot.get(&key).await?.as_ref() == map.get(&key), "{key:?}");
        let span = Span { from: self::key(noise), until: self::key(noise) };
        let direction = [Direction::Forward, Direction::Backward][noise.below(2)];
        let limit = ScanLimit { rows: 1 + noise.below(5), bytes: [usize::MAX, noise.below(40)][noise.below(2)] };
        let read = snapshot.scan(&span, direction, limit).await?;
        ensure!((read.rows, read.ended) == rows(map, &span, direction, limit), "{span:?} {direction:?} {limit:?}");
    }
    Ok(())
}

#[tokio::test]
async fn snapshots_do_not_change_whatever_is_written_later() -> Result<()> {
    for seed in 0..rounds("postgres::model") as u64 {
        let mut noise = Noise::new(seed);
        let (_, url) = database()?;
        // Without a cache, all is read from the database; with little, keys leave the cache now and then.
        let mut engine = Postgres::open(&place(&url)?, [0, 3000, 1 << 20][seed as usize % 3]).await?;
        let mut map = Map::new();
        let mut snapshots: Vec<(Arc<dyn Snapshot>, Map)> = Vec::new();
        for _ in 0..60 {
            let writes = writes(&mut noise);
            engine.apply(&writes).await?;
            for (key, value) in writes {
                match value {
                    Some(value) => map.insert(key, value),
                    None => map.remove(&key),
                };
            }
            if noise.below(2) == 0 {
                snapshots.push((engine.snapshot().await?, map.clone()));
            }
            if snapshots.len() > 4 {
                snapshots.swap_remove(noise.below(5));
            }
            for (snapshot, map) in &snapshots {
                compare(&**snapshot, map, &mut noise).await.with_context(|| format!("seed {seed}"))?;
            }
        }
        engine.close().await?;
        // All of it is in the database.
        let mut engine = Postgres::open(&place(&url)?, 0).await?;
        let snapshot = engine.snapshot().await?;
        for _ in 0..20 {
            compare(&*snapshot, &map, &mut noise).await.with_context(|| format!("seed {seed}, opened again"))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_scan_returns_at_least_one_row_however_large() -> Result<()> {
    let (_, url) = database()?;
    let mut engine = Postgres::open(&place(&url)?, 0).await?;
    let large = Bytes::from(vec![7; 2 << 20]);
    engine.apply(&Writes::from([("a".into(), Some(large.clone())), ("b".into(), Some(Bytes::new()))])).await?;
    let snapshot = engine.snapshot().await?;
    let span = Span { from: "a".into(), until: "z".into() };
    let read = snapshot.scan(&span, Direction::Forward, ScanLimit { rows: 10, bytes: 0 }).await?;
    ensure!(read.rows == [("a".into(), large)] && !read.ended);
    let read = snapshot.scan(&span, Direction::Backward, ScanLimit { rows: 10, bytes: 3 << 20 }).await?;
    ensure!(read.rows.len() == 2 && read.ended);
    Ok(())
}

#[tokio::test]
async fn a_store_that_is_released_can_be_taken_over_and_taken_back() -> Result<()> {
    let (_, url) = database()?;
    let one = |value: &'static str| Writes::from([("a".into(), Some(Bytes::from(value)))]);
    let mut first = Postgres::open(&place(&url)?, 1 << 20).await?;
    first.apply(&one("1")).await?;
    let old = first.snapshot().await?;
    first.release().await?;
    let mut second = Postgres::open(&place(&url)?, 1 << 20).await?;
    ensure!(second.snapshot().await?.get(b"a").await? == Some("1".into()));
    second.apply(&one("2")).await?;
    ensure!(first.reclaim().await.is_err(), "two hosts have it");
    second.close().await?;
    first.reclaim().await?;
    // Not from the memory of the time before.
    ensure!(first.snapshot().await?.get(b"a").await? == Some("2".into()) && old.get(b"a").await.is_err());
    first.apply(&one("4")).await?;
    first.close().await?;
    Ok(())
}

fn owner() -> Result<Owner> {
    Ok(Owner::new("check", QUOTA_BYTES)?)
}

async fn store(url: &str, wait: Duration) -> Result<Store> {
    let limits = StoreLimits { cache_bytes: 0, ..StoreLimits::default() };
    Store::open_at(&StorePlace::Postgres(place(url)?.with(3, wait)), limits).await
}

/// Each commit sets many keys to one number, and moves another key. A call never sees two numbers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_sees_one_moment_while_others_write() -> Result<()> {
    let (_, url) = database()?;
    let store = store(&url, Duration::from_secs(10)).await?;
    let is_done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for reader in 0..4_usize {
        let (store, is_done) = (store.clone(), Arc::clone(&is_done));
        readers.spawn(async move {
            let mut seen = 0_u32;
            while !is_done.load(Ordering::Relaxed) {
                let mut draft = store.begin(&owner()?);
                let first = draft.get(b"key-0").await?;
                let other = draft.get(format!("key-{}", 1 + reader).as_bytes()).await?;
                let all = draft.scan(&bennu::store::Scan::prefix(b"key-", Direction::Forward)).await?;
                let moved = draft.scan(&bennu::store::Scan::prefix(b"moved-", Direction::Backward)).await?;
                let Some(first) = first else { continue };
                ensure!(other.as_ref() == Some(&first), "{first:?} and {other:?}");
                ensure!(all.rows.len() == 8 && all.rows.iter().all(|(_, value)| *value == first), "{:?}", all.rows);
                ensure!(moved.rows.len() == 1 && moved.rows[0].1 == first, "{:?} at {first:?}", moved.rows);
                seen += 1;
            }
            ensure!(seen > 0, "it has read nothing");
            anyhow::Ok(())
        });
    }
    for number in 1..=300_u32 {
        let mut draft = store.begin(&owner()?);
        let value = Bytes::from(number.to_string());
        for key in 0..8 {
            draft.put(format!("key-{key}").as_bytes(), value.clone())?;
        }
        draft.delete(format!("moved-{}", number - 1).as_bytes())?;
        draft.put(format!("moved-{number}").as_bytes(), value)?;
        store.commit(draft).await?;
    }
    is_done.store(true, Ordering::Relaxed);
    while let Some(read) = readers.join_next().await {
        read??;
    }
    store.close().await;
    Ok(())
}

/// What a client was told about an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Stored,
    Failed,
    Unknown,
}

/// Adds one to a counter.
async fn add(draft: &mut Draft, key: &str) -> Result<(), ReadError> {
    let value = draft.get(key.as_bytes()).await?.unwrap_or_default();
    let count: u64 = String::from_utf8_lossy(&value).parse().unwrap_or(0);
    draft.put(key.as_bytes(), (count + 1).to_string().into())?;
    Ok(())
}

/// Adds one to a counter that all writers share, and to the writer's own, and notes the operation under a name of its own.
async fn operate(store: &Store, writer: usize, number: usize) -> Result<Told> {
    loop {
        let mut draft = store.begin(&owner()?);
        let own = format!("count-{writer}");
        let added = match add(&mut draft, "count").await {
            Ok(()) => add(&mut draft, &own).await,
            failed => failed,
        };
        match added {
            Ok(()) => {}
            // Another host has written in between.
            Err(ReadError::Failed(error)) if error.is_outdated() => continue,
            Err(_) => return Ok(Told::Failed),
        }
        draft.put(format!("op-{writer}-{number:06}").as_bytes(), Bytes::new())?;
        match store.commit(draft).await {
            Ok(_) => return Ok(Told::Stored),
            Err(CommitError::Conflict) => {}
            Err(error) if error.is_uncertain() => return Ok(Told::Unknown),
            Err(CommitError::Failed(_)) => return Ok(Told::Failed),
            Err(error) => bail!("{error}"),
        }
    }
}

/// Checks what writers were told against what is stored: each acknowledged operation is there, no failed one is, and all counters are
/// those of the operations that are there.
async fn audit(store: &Store, told: &BTreeMap<String, Told>) -> Result<[usize; 3]> {
    let mut draft = store.begin(&owner()?);
    let mut found = Vec::new();
    let mut scan = Some(bennu::store::Scan::prefix(b"op-", Direction::Forward));
    while let Some(reading) = scan.take() {
        let page = draft.scan(&reading).await?;
        found.extend(page.rows.into_iter().map(|(key, _)| String::from_utf8_lossy(&key).into_owned()));
        scan = page.rest;
    }
    for (operation, told) in told {
        let is_there = found.binary_search(operation).is_ok();
        ensure!(
            *told == Told::Unknown || is_there == (*told == Told::Stored),
            "{operation}: {told:?}, and there: {is_there}"
        );
    }
    ensure!(found.iter().all(|operation| told.contains_key(operation)), "an operation that nobody made");
    let count = draft.get(b"count").await?.unwrap_or_default();
    ensure!(
        count == found.len().to_string() || (found.is_empty() && count.is_empty()),
        "{count:?} and {}",
        found.len()
    );
    let of = |what: Told| told.values().filter(|told| **told == what).count();
    Ok([of(Told::Stored), of(Told::Failed), of(Told::Unknown)])
}

/// Who writes.
#[derive(Clone, Copy, Debug)]
enum Hosts {
    One,
    /// Three nodes.
    Cluster,
}

/// What happens to the server in a round.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// All its processes are killed, and it starts again.
    Kill,
    /// Its processes are stopped for longer than calls wait, and go on.
    Pause,
}

async fn write_while_harmed(harm: Harm, wait: Duration, hosts: Hosts) -> Result<[usize; 3]> {
    let server = Arc::new(PostgresServer::start()?);
    let url = server.database("harmed")?;
    let mut stores = Vec::new();
    match hosts {
        Hosts::One => stores.push(store(&url, wait).await?),
        Hosts::Cluster => {
            place(&url)?.make_schema_for_node(SPEAKS).await?;
            for name in ["a", "bb", "ccc"] {
                stores.push(join(&url, name, wait, StoreLimits::default()).await?.0);
            }
        }
    }
    let is_done = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..6 {
        let (store, is_done) = (stores[writer % stores.len()].clone(), Arc::clone(&is_done));
        writers.spawn(async move {
            let mut told = BTreeMap::new();
            for number in 0.. {
                if is_done.load(Ordering::Relaxed) {
                    break;
                }
                told.insert(format!("op-{writer}-{number:06}"), operate(&store, writer, number).await?);
                tokio::task::yield_now().await;
            }
            anyhow::Ok(told)
        });
    }
    let mut noise = Noise::new(7);
    for _ in 0..rounds("postgres::kill") {
        // The moments differ, so that they are in all parts of a commit. Nothing depends on the time.
        tokio::time::sleep(Duration::from_micros(20_000 + noise.below(80_000) as u64)).await;
        let server = Arc::clone(&server);
        tokio::task::spawn_blocking(move || -> Result<()> {
            match harm {
                Harm::Kill => {
                    server.kill()?;
                    server.start_again()
                }
                Harm::Pause => {
                    server.pause(true)?;
                    std::thread::sleep(wait.mul_f64(2.5));
                    server.pause(false)
                }
            }
        })
        .await??;
        let before: Vec<u64> = stores.iter().map(|store| store.counts().commits()).collect();
        // Some commits between two rounds, of each host.
        let works = |(store, before): (&Store, &u64)| store.counts().commits() > before + 3;
        eventually("the store works again", async || Ok(stores.iter().zip(&before).all(works).then_some(()))).await?;
    }
    is_done.store(true, Ordering::Relaxed);
    let mut told = BTreeMap::new();
    while let Some(writer) = within("a writer ends", writers.join_next()).await? {
        told.extend(writer??);
    }
    for store in &stores {
        // What a host does regularly to test itself.
        eventually("the store is well", async || {
            Ok((store.keep_ids().await.is_ok() && store.trouble().is_none()).then_some(()))
        })
        .await?;
    }
    let mut counts = [0; 3];
    for store in &stores {
        counts = audit(store, &told).await.with_context(|| format!("{harm:?}"))?;
        let seen = store.postgres_counts().context("it is on PostgreSQL")?;
        ensure!(seen.connects() > 0, "no connection was lost");
        store.close().await;
    }
    Ok(counts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_and_no_commit_fails_while_calls_wait() -> Result<()> {
    for hosts in [Hosts::One, Hosts::Cluster] {
        let [stored, failed, unknown] = write_while_harmed(Harm::Kill, Duration::from_secs(60), hosts).await?;
        ensure!(stored > 20 && failed == 0 && unknown == 0, "{stored} stored, {failed} failed, {unknown} unknown");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_told_of_a_failure_finds_nothing_stored() -> Result<()> {
    for hosts in [Hosts::One, Hosts::Cluster] {
        // Calls wait for a shorter time than the server needs to start.
        let [stored, failed, unknown] = write_while_harmed(Harm::Kill, Duration::from_millis(100), hosts).await?;
        ensure!(stored > 20 && failed + unknown > 0, "{stored} stored, {failed} failed, {unknown} unknown");
        let [stored, failed, unknown] = write_while_harmed(Harm::Pause, Duration::from_millis(300), hosts).await?;
        ensure!(stored > 20 && failed + unknown > 0, "{stored} stored, {failed} failed, {unknown} unknown");
    }
    Ok(())
}
