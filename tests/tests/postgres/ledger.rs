//! The store of several hosts of a cluster: calls of all of them have the results of calls that run one after another.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bennu::store::{
    CommitError, Direction, Draft, InUse, Owner, Page, PostgresPlace, QUOTA_BYTES, ReadError, Scan, Store, StoreLimits,
    StorePlace,
};
use bennu_cluster::{Epoch, Incarnation, NodeId};
use bennu_test_tiers::{Noise, rounds};
use bennu_tests::{eventually, within};
use bytes::Bytes;
use tokio::task::JoinSet;

use crate::engine::{key, place};
use crate::node::{Node, connect, prepared};

fn limits(noise: &mut Noise) -> StoreLimits {
    StoreLimits { reads_per_call: [2, 3, 1000][noise.below(3)], ..StoreLimits::default() }
}

/// How long calls wait for the database.
const WAIT: Duration = Duration::from_secs(10);

fn shared_place(url: &str, wait: Duration) -> Result<PostgresPlace> {
    Ok(place(url)?.with(4, wait))
}

/// Opens the store of a host as a node of a cluster.
pub(crate) async fn join(url: &str, name: &str, wait: Duration, limits: StoreLimits) -> Result<(Store, NodeId)> {
    let node = Node::start(url, name).await?;
    let incarnation = Incarnation(node.incarnation.as_slice().try_into()?);
    let id = NodeId { epoch: Epoch(node.epoch.cast_unsigned()), incarnation };
    Ok((Store::open_shared(&shared_place(url, wait)?, id, None, limits).await?, id))
}

fn owner(name: &str) -> Result<Owner> {
    Ok(Owner::new(name, QUOTA_BYTES)?)
}

/// An operation of a call, with its result.
#[derive(Debug)]
enum Operation {
    Get(Bytes, Option<Bytes>),
    Scan(Scan, Page),
    Write(Bytes, Option<Bytes>),
}

/// A call that is running on one of the hosts.
struct Running {
    host: usize,
    plugin: usize,
    draft: Draft,
    steps: Vec<Operation>,
    /// Whether a read has found that an earlier one is outdated.
    is_outdated: bool,
}

impl Running {
    async fn step(&mut self, noise: &mut Noise) -> Result<()> {
        match noise.below(8) {
            0..3 => self.get(key(noise)).await,
            3..5 => {
                let scan = Scan {
                    from: key(noise),
                    until: Some(key(noise)).filter(|_| noise.below(3) > 0),
                    direction: [Direction::Forward, Direction::Backward][noise.below(2)],
                    rows: [usize::MAX, 1 + noise.below(4)][noise.below(2)],
                    bytes: [usize::MAX, noise.below(40)][noise.below(2)],
                };
                match self.draft.scan(&scan).await {
                    Ok(page) => self.steps.push(Operation::Scan(scan, page)),
                    Err(error) => self.is_outdated = is_outdated(&error)?,
                }
                Ok(())
            }
            _ => {
                let key = key(noise);
                // It reads what it writes, so two calls of one batch never write the same key.
                self.get(key.clone()).await?;
                let value = Some(Bytes::from(noise.below(1000).to_string())).filter(|_| noise.below(4) > 0);
                match value.clone() {
                    Some(value) => self.draft.put(&key, value)?,
                    None => self.draft.delete(&key)?,
                }
                self.steps.push(Operation::Write(key, value));
                Ok(())
            }
        }
    }

    async fn get(&mut self, key: Bytes) -> Result<()> {
        match self.draft.get(&key).await {
            Ok(value) => self.steps.push(Operation::Get(key, value)),
            Err(error) => self.is_outdated = is_outdated(&error)?,
        }
        Ok(())
    }
}

fn is_outdated(error: &ReadError) -> Result<bool> {
    match error {
        ReadError::Failed(error) if error.is_outdated() => Ok(true),
        error => Err(error.clone().into()),
    }
}

/// Repeats the operations of a call on the model, and compares the results.
fn replay(keys: &mut BTreeMap<Bytes, Bytes>, steps: &[Operation]) -> Result<()> {
    for step in steps {
        match step {
            Operation::Get(key, value) => ensure!(keys.get(key) == value.as_ref(), "{key:?} of {steps:?}"),
            Operation::Scan(scan, page) => {
                let rows = expected(keys, scan);
                ensure!(rows == page.rows, "{rows:?} for {scan:?} of {steps:?}");
            }
            Operation::Write(key, Some(value)) => drop(keys.insert(key.clone(), value.clone())),
            Operation::Write(key, None) => drop(keys.remove(key)),
        }
    }
    Ok(())
}

/// The rows that a scan finds.
fn expected(keys: &BTreeMap<Bytes, Bytes>, scan: &Scan) -> Vec<(Bytes, Bytes)> {
    let within = |key: &Bytes| *key >= scan.from && scan.until.as_ref().is_none_or(|until| key < until);
    let mut rows: Vec<_> = keys.iter().filter(|(key, _)| within(key)).collect();
    if scan.direction == Direction::Backward {
        rows.reverse();
    }
    let (mut found, mut bytes) = (Vec::new(), 0_usize);
    for (key, value) in rows {
        bytes = bytes.saturating_add(key.len() + value.len());
        if !found.is_empty() && (found.len() >= scan.rows || bytes > scan.bytes) {
            break;
        }
        found.push((key.clone(), value.clone()));
    }
    found
}

/// Three hosts, two plugins, few keys. Each call that was committed has the results that it would have if all calls had run one after
/// another, in the order of their revisions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_several_hosts_have_the_results_of_calls_that_run_one_after_another() -> Result<()> {
    let (mut committed, mut conflicts, mut outdated) = (0, 0, 0);
    for seed in 0..rounds("postgres::nodes") as u64 {
        let mut noise = Noise::new(seed);
        let (_, url) = prepared().await?;
        let mut hosts = Vec::new();
        for name in ["a", "bb", "ccc"] {
            hosts.push(join(&url, name, WAIT, limits(&mut noise)).await?.0);
        }
        let owners = [owner("first")?, owner("second")?];
        let mut models = [BTreeMap::new(), BTreeMap::new()];
        let mut running: Vec<Running> = Vec::new();
        for _ in 0..200 {
            if running.len() < 6 && noise.below(3) == 0 {
                let (host, plugin) = (noise.below(hosts.len()), noise.below(owners.len()));
                let draft = hosts[host].begin(&owners[plugin]);
                running.push(Running { host, plugin, draft, steps: Vec::new(), is_outdated: false });
            }
            if running.is_empty() {
                continue;
            }
            if noise.below(6) > 0 {
                let at = noise.below(running.len());
                running[at].step(&mut noise).await?;
                if running[at].is_outdated {
                    running.swap_remove(at);
                    outdated += 1;
                }
                continue;
            }
            // Some of them commit at the same time, on all hosts.
            let mut batch = Vec::new();
            for _ in 0..=noise.below(running.len()) {
                batch.push(running.swap_remove(noise.below(running.len())));
            }
            let commits = batch.into_iter().map(|Running { host, plugin, draft, steps, .. }| {
                let store = hosts[host].clone();
                async move {
                    let has_writes = draft.has_writes();
                    let is_current = has_writes || store.is_current(&draft).await?;
                    let outcome = if is_current { store.commit(draft).await } else { Err(CommitError::Conflict) };
                    anyhow::Ok((plugin, steps, outcome, has_writes))
                }
            });
            let mut stored = Vec::new();
            for ended in futures_util::future::join_all(commits).await {
                match ended? {
                    (plugin, steps, Ok(revision), true) => stored.push((revision, plugin, steps)),
                    // It has only read: what it has read was true at a moment of its own.
                    (_, _, Ok(_), false) => {}
                    (_, _, Err(CommitError::Conflict), _) => conflicts += 1,
                    (_, _, Err(error), _) => return Err(error.into()),
                }
            }
            // Within one revision, in the order in which they were given to their host.
            stored.sort_by_key(|(revision, ..)| *revision);
            committed += stored.len();
            for (_, plugin, steps) in &stored {
                replay(&mut models[*plugin], steps).with_context(|| format!("seed {seed}"))?;
            }
        }
        for (owner, model) in owners.iter().zip(&models) {
            for host in &hosts {
                let page = host.begin(owner).scan(&Scan::all(Direction::Forward)).await?;
                let rows: Vec<(Bytes, Bytes)> = model.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
                ensure!(page.rows == rows, "seed {seed}: {:?} and {rows:?}", page.rows);
                let bytes: usize = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
                ensure!(host.usage(owner.name()).await? == bytes as u64, "seed {seed}");
            }
        }
        for host in &hosts {
            host.close().await;
        }
    }
    ensure!(committed > 50 && conflicts > 5 && outdated > 2, "{committed}, {conflicts}, {outdated}");
    Ok(())
}

/// Each commit sets many keys to one number, and moves another key. A call of another host never sees two numbers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_sees_one_moment_while_another_host_writes() -> Result<()> {
    let (_, url) = prepared().await?;
    let (writer, _) = join(&url, "writer", WAIT, StoreLimits::default()).await?;
    let (reader, _) = join(&url, "reader", WAIT, StoreLimits::default()).await?;
    let writing = tokio::spawn(async move {
        for number in 1..=200_u32 {
            let mut draft = writer.begin(&owner("check")?);
            for key in 0..8 {
                draft.put(format!("key-{key}").as_bytes(), number.to_string().into())?;
            }
            draft.delete(format!("moved-{}", number - 1).as_bytes())?;
            draft.put(format!("moved-{number}").as_bytes(), number.to_string().into())?;
            writer.commit(draft).await?;
        }
        anyhow::Ok(writer)
    });
    let (mut seen, mut outdated) = (0, 0);
    loop {
        let is_last = writing.is_finished();
        let mut draft = reader.begin(&owner("check")?);
        match read_all(&mut draft).await {
            Ok(numbers) => {
                ensure!(numbers.windows(2).all(|two| two[0] == two[1]), "{numbers:?}");
                seen += usize::from(!numbers.is_empty());
            }
            Err(error) => outdated += usize::from(is_outdated(&error)?),
        }
        if is_last {
            break;
        }
    }
    let writer = writing.await??;
    // Nothing else writes now.
    ensure!(seen > 0, "{seen} calls have read everything, and {outdated} were outdated");
    writer.close().await;
    reader.close().await;
    Ok(())
}

async fn read_all(draft: &mut Draft) -> Result<Vec<Bytes>, ReadError> {
    let mut numbers: Vec<Bytes> = draft.get(b"key-0").await?.into_iter().collect();
    for prefix in [&b"key-"[..], b"moved-"] {
        let page = draft.scan(&Scan::prefix(prefix, Direction::Backward)).await?;
        numbers.extend(page.rows.into_iter().map(|(_, value)| value));
    }
    Ok(numbers)
}

/// Many calls on three hosts raise the same counter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_host_loses_a_write_of_another() -> Result<()> {
    let (_, url) = prepared().await?;
    let mut hosts = Vec::new();
    for name in ["a", "bb", "ccc"] {
        hosts.push(join(&url, name, WAIT, StoreLimits::default()).await?.0);
    }
    let mut calls = JoinSet::new();
    for at in 0..30 {
        let store = hosts[at % 3].clone();
        calls.spawn(async move {
            loop {
                let mut draft = store.begin(&owner("count")?);
                let count =
                    draft.get(b"count").await?.map_or(0, |count| String::from_utf8_lossy(&count).parse().unwrap_or(0));
                draft.put(b"count", (count + 1_u32).to_string().into())?;
                draft.put(format!("call-{at}").as_bytes(), Bytes::new())?;
                match store.commit(draft).await {
                    Ok(_) => return anyhow::Ok(()),
                    Err(CommitError::Conflict) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        });
    }
    while let Some(ended) = within("the calls end", calls.join_next()).await? {
        ended??;
    }
    ensure!(hosts[1].begin(&owner("count")?).get(b"count").await? == Some("30".into()));
    let conflicts: u64 = hosts.iter().map(|host| host.counts().conflicts()).sum();
    ensure!(hosts.iter().map(|host| host.counts().commits()).sum::<u64>() == 30 && conflicts > 0, "{conflicts}");
    Ok(())
}

#[tokio::test]
async fn a_plugin_has_one_quota_on_all_hosts() -> Result<()> {
    let (_, url) = prepared().await?;
    let (first, _) = join(&url, "first", WAIT, StoreLimits::default()).await?;
    let (second, _) = join(&url, "second", WAIT, StoreLimits::default()).await?;
    let small = Owner::new("small", 100)?;
    let put = async |store: &Store, key: &str, bytes: usize| {
        let mut draft = store.begin(&small);
        draft.put(key.as_bytes(), vec![0; bytes].into())?;
        anyhow::Ok(store.commit(draft).await)
    };
    put(&first, "a", 59).await??;
    let refused = put(&second, "b", 40).await?;
    ensure!(refused == Err(CommitError::Quota { bytes: 101, most: 100 }), "{refused:?}");
    put(&second, "b", 39).await??;
    ensure!(first.usage("small").await? == 100 && second.counts().over_quota() == 1);
    Ok(())
}

#[tokio::test]
async fn rows_that_one_node_alone_may_write_are_refused() -> Result<()> {
    let (_, url) = prepared().await?;
    let (store, _) = join(&url, "one", WAIT, StoreLimits::default()).await?;
    let mut draft = store.begin(&owner("rooms")?);
    draft.put(b"key", "1".into())?;
    draft.set_room("room:1", Some("state".into()))?;
    let refused = store.commit(draft).await;
    ensure!(refused == Err(CommitError::NotShared("durable rooms")), "{refused:?}");
    ensure!(store.begin(&owner("rooms")?).get(b"key").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_cluster_and_a_host_without_one_do_not_share_a_store() -> Result<()> {
    let (_, url) = prepared().await?;
    let (node, id) = join(&url, "one", WAIT, StoreLimits::default()).await?;
    let mut draft = node.begin(&owner("keys")?);
    draft.put(b"a", "1".into())?;
    node.commit(draft).await?;
    let alone = || async {
        let place = StorePlace::Postgres(shared_place(&url, WAIT)?);
        Store::open_at(&place, StoreLimits::default()).await
    };
    let refused = alone().await.err().context("two of them have it")?;
    ensure!(refused.is::<InUse>() && refused.to_string().contains("the hosts of a cluster"), "{refused:#}");
    node.close().await;
    let single = eventually("the lock is free", async || match alone().await {
        Ok(store) => Ok(Some(store)),
        Err(error) if error.is::<InUse>() => Ok(None),
        Err(error) => Err(error),
    })
    .await?;
    ensure!(single.begin(&owner("keys")?).get(b"a").await? == Some("1".into()) && single.usage("keys").await? == 2);
    let refused = Store::open_shared(&shared_place(&url, WAIT)?, id, None, StoreLimits::default()).await;
    let refused = refused.err().context("two of them have it")?;
    ensure!(refused.is::<InUse>() && refused.to_string().contains("without `[cluster]`"), "{refused:#}");
    single.close().await;
    Ok(())
}

#[tokio::test]
async fn a_node_that_counts_as_dead_stores_nothing_and_says_so() -> Result<()> {
    let (_, url) = prepared().await?;
    let (store, id) = join(&url, "one", WAIT, StoreLimits::default()).await?;
    let put = async || {
        let mut draft = store.begin(&owner("keys")?);
        draft.put(b"a", "1".into())?;
        anyhow::Ok(store.commit(draft).await)
    };
    put().await??;
    let client = connect(&url).await?;
    let epoch = id.epoch.0.cast_signed();
    ensure!(client.query_one("SELECT bennu.node_declare_dead($1, 0)", &[&epoch]).await?.get::<_, bool>(0));
    let refused = put().await?;
    let is_told = matches!(&refused, Err(CommitError::Failed(error)) if error.to_string().contains("counts as dead"));
    ensure!(is_told && !refused.is_err_and(|error| error.is_uncertain()), "it is certain that nothing is stored");
    ensure!(store.trouble().is_some_and(|trouble| trouble.reason.contains("counts as dead")));
    Ok(())
}

#[tokio::test]
async fn ids_sort_after_the_mark_of_any_host() -> Result<()> {
    let (_, url) = prepared().await?;
    let (first, _) = join(&url, "first", WAIT, StoreLimits::default()).await?;
    first.keep_ids().await?;
    let last = (0..100).map(|_| first.unique_id()).max().context("no id")?;
    let (second, _) = join(&url, "second", WAIT, StoreLimits::default()).await?;
    second.keep_ids().await?;
    ensure!(second.unique_id() > last);
    // Its mark is earlier than the one of the second, and doesn't replace it.
    first.close().await;
    let later = second.unique_id();
    let (third, _) = join(&url, "third", WAIT, StoreLimits::default()).await?;
    ensure!(third.unique_id() > later);
    Ok(())
}

#[tokio::test]
async fn an_export_has_the_rows_of_one_moment_while_other_hosts_write() -> Result<()> {
    let (_, url) = prepared().await?;
    let (exporting, _) = join(&url, "exporting", WAIT, StoreLimits::default()).await?;
    let (writing, _) = join(&url, "writing", WAIT, StoreLimits::default()).await?;
    let keys: Vec<String> = (0..4).map(|key| format!("key-{key}")).collect();
    let mut draft = writing.begin(&owner("large")?);
    for key in &keys {
        draft.put(key.as_bytes(), vec![b'x'; 200 << 10].into())?;
    }
    writing.commit(draft).await?;
    let mut exporter = exporting.exporter(None);
    let mut text = exporter.next().await?.context("no first part")?;
    let mut draft = writing.begin(&owner("large")?);
    for key in &keys {
        draft.delete(key.as_bytes())?;
    }
    writing.commit(draft).await?;
    let mut parts = 1;
    while let Some(part) = exporter.next().await? {
        text.extend(part);
        parts += 1;
    }
    let text = String::from_utf8(text)?;
    ensure!(parts > 1 && keys.iter().all(|key| text.contains(key)), "{parts} parts");
    ensure!(exporting.begin(&owner("large")?).get(b"key-0").await?.is_none());
    Ok(())
}
