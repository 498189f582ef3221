//! What every table of nodes does.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bennu_cluster::{Epoch, Hello, Incarnation, NodeId, NodeRow, NodeTable, Renewal, Speaks};
use bennu_test_tiers::rounds;
use tokio::task::JoinSet;

/// The versions that the nodes of the tests understand.
const SPEAKS: Speaks = Speaks { from: 3, to: 5 };

/// What the tests run on.
pub(crate) trait Tables: Sync {
    /// A table with a connection of its own, of the same nodes as the others.
    fn table(&self) -> Result<Arc<dyn NodeTable>>;

    /// Bits that no other start of a node has.
    fn incarnation(&self) -> Incarnation;
}

async fn start(tables: &impl Tables, table: &dyn NodeTable, name: &str) -> Result<NodeId> {
    let incarnation = tables.incarnation();
    match table.hello(name, "0.1.0", incarnation, SPEAKS).await? {
        Hello::Welcome(epoch) => Ok(NodeId { epoch, incarnation }),
        refused => bail!("{refused:?}"),
    }
}

/// Renews a node that has to be alive, and returns its beat.
async fn renew(table: &dyn NodeTable, id: NodeId) -> Result<u64> {
    match table.renew(id).await? {
        Renewal::Good(beat) => Ok(beat),
        Renewal::Fenced => bail!("{id:?} is fenced"),
    }
}

async fn find(table: &dyn NodeTable, epoch: Epoch) -> Result<NodeRow> {
    table.roll().await?.into_iter().find(|row| row.id.epoch == epoch).context("there is no such row")
}

pub(crate) async fn a_node_that_starts_gets_a_greater_epoch(tables: &impl Tables) -> Result<()> {
    let table = tables.table()?;
    let first = start(tables, &*table, "first").await?;
    let second = start(tables, &*tables.table()?, "second").await?;
    ensure!(second.epoch > first.epoch);
    let row = find(&*table, first.epoch).await?;
    let (name, version) = ("first".to_owned(), "0.1.0".to_owned());
    let beat = row.beat;
    let whole = NodeRow { id: first, name, version, speaks: SPEAKS, beat, is_dead: false, is_draining: false };
    ensure!(row == whole, "{row:?}");
    ensure!(table.roll().await?.len() == 2);
    Ok(())
}

/// The answer to a start was lost: it is asked for again.
pub(crate) async fn a_start_that_is_repeated_has_the_same_epoch(tables: &impl Tables) -> Result<()> {
    let table = tables.table()?;
    let first = start(tables, &*table, "first").await?;
    let again = table.hello("first", "0.1.0", first.incarnation, SPEAKS).await?;
    ensure!(again == Hello::Welcome(first.epoch), "{again:?}");
    ensure!(table.roll().await?.len() == 1);
    Ok(())
}

pub(crate) async fn a_living_namesake_is_in_the_way_until_it_is_buried(tables: &impl Tables) -> Result<()> {
    let table = tables.table()?;
    let first = start(tables, &*table, "host-1").await?;
    let beat = renew(&*table, first).await?;
    let Hello::NameTaken(row) = table.hello("host-1", "0.2.0", tables.incarnation(), SPEAKS).await? else {
        bail!("two nodes have one name")
    };
    ensure!((row.id, row.beat) == (first, beat));
    ensure!(table.bury(first.epoch, row.beat).await?);
    let second = start(tables, &*table, "host-1").await?;
    ensure!(second.epoch > first.epoch);
    ensure!(find(&*table, first.epoch).await?.is_dead);
    Ok(())
}

pub(crate) async fn a_node_without_a_common_version_is_in_the_way(tables: &impl Tables) -> Result<()> {
    let table = tables.table()?;
    let first = start(tables, &*table, "first").await?;
    for (from, to, is_common) in [(1, 2, false), (6, 9, false), (1, 3, true), (5, 5, true), (4, 4, true), (1, 9, true)]
    {
        let name = format!("{from}-{to}");
        match table.hello(&name, "0.2.0", tables.incarnation(), Speaks { from, to }).await? {
            Hello::Welcome(epoch) if is_common => {
                let row = find(&*table, epoch).await?;
                ensure!(row.speaks == Speaks { from, to });
                // So that it isn't in the way of the next one.
                ensure!(table.bury(epoch, row.beat).await?);
            }
            Hello::NoCommonVersion(row) if !is_common => ensure!(row.id == first),
            other => bail!("{from} to {to}: {other:?}"),
        }
    }
    Ok(())
}

pub(crate) async fn a_renewal_raises_the_beat_of_the_living_node_only(tables: &impl Tables) -> Result<()> {
    let (table, other) = (tables.table()?, tables.table()?);
    let first = start(tables, &*table, "first").await?;
    let mut beat = find(&*other, first.epoch).await?.beat;
    for _ in 0..3 {
        beat += 1;
        ensure!(renew(&*table, first).await? == beat);
        ensure!(find(&*other, first.epoch).await?.beat == beat);
    }
    let impostor = NodeId { epoch: first.epoch, incarnation: tables.incarnation() };
    let missing = NodeId { epoch: Epoch(first.epoch.0 + 1_000), incarnation: first.incarnation };
    for id in [impostor, missing] {
        ensure!(table.renew(id).await? == Renewal::Fenced);
    }
    ensure!(find(&*other, first.epoch).await?.beat == beat);
    ensure!(other.bury(first.epoch, beat).await?);
    ensure!(table.renew(first).await? == Renewal::Fenced);
    Ok(())
}

pub(crate) async fn a_burial_needs_the_beat_that_was_seen(tables: &impl Tables) -> Result<()> {
    let table = tables.table()?;
    let first = start(tables, &*table, "first").await?;
    let beat = renew(&*table, first).await?;
    for other in [beat - 1, beat + 1] {
        ensure!(!table.bury(first.epoch, other).await?, "buried by the beat {other}");
    }
    ensure!(renew(&*table, first).await? == beat + 1);
    ensure!(table.bury(first.epoch, beat + 1).await?);
    // Who asks again is told that it is dead, whatever beat was seen.
    ensure!(table.bury(first.epoch, beat + 1).await? && table.bury(first.epoch, 7).await?);
    ensure!(table.bury(Epoch(first.epoch.0 + 1_000), 0).await?, "a missing node isn't dead");
    Ok(())
}

pub(crate) async fn a_node_leaves_and_its_name_is_free(tables: &impl Tables) -> Result<()> {
    let table = tables.table()?;
    let first = start(tables, &*table, "first").await?;
    table.leave(NodeId { epoch: first.epoch, incarnation: tables.incarnation() }).await?;
    ensure!(!find(&*table, first.epoch).await?.is_dead, "another one's leave has ended it");
    table.leave(first).await?;
    table.leave(first).await?;
    ensure!(find(&*table, first.epoch).await?.is_dead);
    ensure!(table.renew(first).await? == Renewal::Fenced);
    start(tables, &*table, "first").await?;
    Ok(())
}

pub(crate) async fn a_node_that_drains_says_so(tables: &impl Tables) -> Result<()> {
    let table = tables.table()?;
    let first = start(tables, &*table, "first").await?;
    table.drain(NodeId { epoch: first.epoch, incarnation: tables.incarnation() }).await?;
    ensure!(!find(&*table, first.epoch).await?.is_draining, "another one's drain has changed it");
    table.drain(first).await?;
    table.drain(first).await?;
    let row = find(&*table, first.epoch).await?;
    ensure!(row.is_draining && !row.is_dead);
    renew(&*table, first).await?;
    Ok(())
}

/// Several nodes with one name start at once. One of them gets a row, and the others are told which one.
pub(crate) async fn of_several_namesakes_one_starts(tables: &impl Tables) -> Result<()> {
    const NODES: usize = 6;
    let connected: Vec<Arc<dyn NodeTable>> = (0..NODES).map(|_| tables.table()).collect::<Result<_>>()?;
    for round in 0..rounds("cluster::races") {
        let mut starts = JoinSet::new();
        for table in &connected {
            let (table, incarnation) = (Arc::clone(table), tables.incarnation());
            let name = format!("host-{round}");
            starts.spawn(async move { (incarnation, table.hello(&name, "0.1.0", incarnation, SPEAKS).await) });
        }
        let (mut started, mut found) = (Vec::new(), Vec::new());
        while let Some(start) = starts.join_next().await {
            match start? {
                (incarnation, Ok(Hello::Welcome(epoch))) => started.push(NodeId { epoch, incarnation }),
                (_, Ok(Hello::NameTaken(row))) => found.push(row.id),
                (_, other) => bail!("{other:?}"),
            }
        }
        let [one] = started[..] else { bail!("{started:?} have started with one name") };
        ensure!(found.len() == NODES - 1 && found.iter().all(|other| *other == one), "{found:?}");
        connected[0].leave(one).await?;
    }
    Ok(())
}

/// A node renews while two others bury it by the beat that they have seen. Either it was renewed first, and lives; or it is dead, and
/// isn't renewed any more.
pub(crate) async fn a_node_is_buried_or_renewed_and_never_both(tables: &impl Tables) -> Result<()> {
    let (own, first, second) = (tables.table()?, tables.table()?, tables.table()?);
    let (mut lived, mut died) = (0, 0);
    for round in 0..rounds("cluster::races") {
        let id = start(tables, &*own, &format!("host-{round}")).await?;
        let seen = find(&*own, id.epoch).await?.beat;
        // Who is first differs.
        let renewing = async {
            if round % 2 == 1 {
                first.roll().await?;
            }
            own.renew(id).await
        };
        let burying = async {
            if round % 3 == 1 {
                second.roll().await?;
            }
            first.bury(id.epoch, seen).await
        };
        let (renewed, buried, again) = tokio::join!(renewing, burying, second.bury(id.epoch, seen));
        let (buried, again) = (buried?, again?);
        match renewed? {
            Renewal::Good(beat) => {
                ensure!(beat == seen + 1 && !buried && !again, "buried although it was renewed to {beat}");
                ensure!(renew(&*own, id).await? == seen + 2);
                lived += 1;
            }
            Renewal::Fenced => {
                ensure!(buried && again, "neither renewed nor buried");
                ensure!(own.renew(id).await? == Renewal::Fenced);
                died += 1;
            }
        }
        own.leave(id).await?;
    }
    ensure!(lived + died == rounds("cluster::races"));
    Ok(())
}
