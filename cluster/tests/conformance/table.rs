//! What every table of nodes does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bennu_cluster::{Epoch, Hello, Incarnation, NewNode, NodeId, NodeRow, NodeSettings, NodeTable, Renewal, Speaks};
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

/// A node that starts, with the settings that most nodes of the tests have.
pub(crate) fn new_node(name: &str, incarnation: Incarnation, speaks: Speaks) -> NewNode {
    let settings =
        NodeSettings { lease: Duration::from_secs(10), bus: "postgres".to_owned(), secret_mark: Some([7; 8]) };
    NewNode { name: name.to_owned(), version: "0.1.0".to_owned(), incarnation, speaks, settings }
}

async fn start(tables: &impl Tables, table: &dyn NodeTable, name: &str) -> Result<NodeId> {
    let incarnation = tables.incarnation();
    match table.hello(&new_node(name, incarnation, SPEAKS)).await? {
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
    table.list().await?.into_iter().find(|row| row.id.epoch == epoch).context("there is no such row")
}

pub(crate) async fn a_node_that_starts_gets_a_greater_epoch(tables: &impl Tables) -> Result<()> {
    let table = tables.table()?;
    let first = start(tables, &*table, "first").await?;
    let second = start(tables, &*tables.table()?, "second").await?;
    ensure!(second.epoch > first.epoch);
    let row = find(&*table, first.epoch).await?;
    let NewNode { name, version, speaks, settings, .. } = new_node("first", first.incarnation, SPEAKS);
    let beat = row.beat;
    let whole = NodeRow { id: first, name, version, speaks, settings, beat, is_dead: false, is_draining: false };
    ensure!(row == whole, "{row:?}");
    ensure!(table.list().await?.len() == 2);
    Ok(())
}

/// The answer to a start was lost: it is asked for again.
pub(crate) async fn a_start_that_is_repeated_has_the_same_epoch(tables: &impl Tables) -> Result<()> {
    let table = tables.table()?;
    let first = start(tables, &*table, "first").await?;
    let again = table.hello(&new_node("first", first.incarnation, SPEAKS)).await?;
    ensure!(again == Hello::Welcome(first.epoch), "{again:?}");
    ensure!(table.list().await?.len() == 1);
    Ok(())
}

pub(crate) async fn a_living_namesake_is_in_the_way_until_it_is_declared_dead(tables: &impl Tables) -> Result<()> {
    let table = tables.table()?;
    let first = start(tables, &*table, "host-1").await?;
    let beat = renew(&*table, first).await?;
    // With other settings, too: what an operator has to know first is that there are two.
    let mut namesake = new_node("host-1", tables.incarnation(), SPEAKS);
    namesake.settings.secret_mark = None;
    let Hello::NameTaken(row) = table.hello(&namesake).await? else { bail!("two nodes have one name") };
    ensure!((row.id, row.beat) == (first, beat));
    ensure!(table.declare_dead(first.epoch, row.beat).await?);
    let second = start(tables, &*table, "host-1").await?;
    ensure!(second.epoch > first.epoch);
    ensure!(find(&*table, first.epoch).await?.is_dead);
    Ok(())
}

pub(crate) async fn a_node_with_other_settings_is_in_the_way(tables: &impl Tables) -> Result<()> {
    let table = tables.table()?;
    let first = start(tables, &*table, "first").await?;
    let with = |change: &dyn Fn(&mut NodeSettings)| {
        let mut node = new_node("second", tables.incarnation(), SPEAKS);
        change(&mut node.settings);
        node
    };
    for node in [
        with(&|settings| settings.lease = Duration::from_millis(4_000)),
        with(&|settings| settings.bus = "nats".to_owned()),
        with(&|settings| settings.secret_mark = Some([8; 8])),
        with(&|settings| settings.secret_mark = None),
    ] {
        let Hello::OtherSettings(row) = table.hello(&node).await? else { bail!("{node:?} has started") };
        ensure!(row.id == first && row.settings == with(&|_| ()).settings, "{row:?}");
    }
    // Once all others are dead, a node may begin with other settings.
    table.leave(first).await?;
    let other = with(&|settings| settings.secret_mark = None);
    ensure!(matches!(table.hello(&other).await?, Hello::Welcome(_)));
    ensure!(matches!(table.hello(&new_node("third", tables.incarnation(), SPEAKS)).await?, Hello::OtherSettings(_)));
    Ok(())
}

pub(crate) async fn a_node_without_a_common_version_is_in_the_way(tables: &impl Tables) -> Result<()> {
    let table = tables.table()?;
    let first = start(tables, &*table, "first").await?;
    for (from, to, is_common) in [(1, 2, false), (6, 9, false), (1, 3, true), (5, 5, true), (4, 4, true), (1, 9, true)]
    {
        let name = format!("{from}-{to}");
        match table.hello(&new_node(&name, tables.incarnation(), Speaks { from, to })).await? {
            Hello::Welcome(epoch) if is_common => {
                let row = find(&*table, epoch).await?;
                ensure!(row.speaks == Speaks { from, to });
                // So that it isn't in the way of the next one.
                ensure!(table.declare_dead(epoch, row.beat).await?);
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
    ensure!(other.declare_dead(first.epoch, beat).await?);
    ensure!(table.renew(first).await? == Renewal::Fenced);
    Ok(())
}

pub(crate) async fn declaring_a_node_dead_needs_the_beat_that_was_seen(tables: &impl Tables) -> Result<()> {
    let table = tables.table()?;
    let first = start(tables, &*table, "first").await?;
    let beat = renew(&*table, first).await?;
    for other in [beat - 1, beat + 1] {
        ensure!(!table.declare_dead(first.epoch, other).await?, "declared dead by the beat {other}");
    }
    ensure!(renew(&*table, first).await? == beat + 1);
    ensure!(table.declare_dead(first.epoch, beat + 1).await?);
    // Who asks again is told that it is dead, whatever beat was seen.
    ensure!(table.declare_dead(first.epoch, beat + 1).await? && table.declare_dead(first.epoch, 7).await?);
    ensure!(table.declare_dead(Epoch(first.epoch.0 + 1_000), 0).await?, "a missing node isn't dead");
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
            let node = new_node(&name, incarnation, SPEAKS);
            starts.spawn(async move { (incarnation, table.hello(&node).await) });
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

/// A node renews while two others declare it dead by the beat that they have seen. Either it was renewed first, and lives; or it is dead, and
/// isn't renewed any more.
pub(crate) async fn a_node_is_declared_dead_or_renewed_and_never_both(tables: &impl Tables) -> Result<()> {
    let (own, first, second) = (tables.table()?, tables.table()?, tables.table()?);
    let (mut lived, mut died) = (0, 0);
    for round in 0..rounds("cluster::races") {
        let id = start(tables, &*own, &format!("host-{round}")).await?;
        let seen = find(&*own, id.epoch).await?.beat;
        // Who is first differs.
        let renewing = async {
            if round % 2 == 1 {
                first.list().await?;
            }
            own.renew(id).await
        };
        let declaring = async {
            if round % 3 == 1 {
                second.list().await?;
            }
            first.declare_dead(id.epoch, seen).await
        };
        let (renewed, declared, again) = tokio::join!(renewing, declaring, second.declare_dead(id.epoch, seen));
        let (declared, again) = (declared?, again?);
        match renewed? {
            Renewal::Good(beat) => {
                ensure!(beat == seen + 1 && !declared && !again, "declared dead although it was renewed to {beat}");
                ensure!(renew(&*own, id).await? == seen + 2);
                lived += 1;
            }
            Renewal::Fenced => {
                ensure!(declared && again, "neither renewed nor declared dead");
                ensure!(own.renew(id).await? == Renewal::Fenced);
                died += 1;
            }
        }
        own.leave(id).await?;
    }
    ensure!(lived + died == rounds("cluster::races"));
    Ok(())
}
