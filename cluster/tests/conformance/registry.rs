//! What every registry of plugins does.

use std::sync::Arc;

use anyhow::{Result, ensure};
use bennu_cluster::NodeId;
use bennu_cluster::rollout::{
    Build, BuildDigest, BuildPhase, ChangeResult, LoadedBuild, Offer, OfferResult, PluginRecord, PreparedReport,
    Records, RecordsChange, Registry, RegistryError, Report, ServingBuild, offer,
};
use bytes::Bytes;
use tokio::task::JoinSet;

/// What the tests run on.
pub(crate) trait Registries: Sync {
    /// A registry with a connection of its own, of the same records as the others.
    fn registry(&self) -> Result<Arc<dyn Registry>>;

    /// A node that has started.
    async fn start(&self, name: &str) -> Result<NodeId>;

    /// Sets a node dead.
    async fn end(&self, node: NodeId) -> Result<()>;

    /// The generation whose calls may write data that is stored under a name.
    async fn writes(&self, store: &str) -> Result<Option<u32>>;
}

fn digest(of: u8) -> BuildDigest {
    BuildDigest([of; 32])
}

/// Records with a rollout of a build.
fn offered(before: &Records, plugin: &str, build: u8) -> Result<Records> {
    let mut records = before.clone();
    let (plugin, store) = (plugin.to_owned(), format!("{plugin}-data"));
    let wish = Offer { plugin, digest: digest(build), store, is_asked: true, by: "one".into() };
    ensure!(matches!(offer(&mut records, &wish), OfferResult::Begun(_)));
    Ok(records)
}

fn serving(record: &mut PluginRecord, generation: u32, build: u8) {
    let build = Build { generation, digest: digest(build), topics: vec!["a:*".into()], is_gatekeeper: false };
    (record.serving, record.rollout) = (Some(ServingBuild { build, phase: BuildPhase::Unproved }), None);
}

/// Reads the records, changes them, and writes them.
async fn change(
    registry: &dyn Registry,
    me: NodeId,
    change: impl FnOnce(&Records) -> Result<Records>,
) -> Result<ChangeResult> {
    let found = registry.read(None).await?;
    let before = found.records.unwrap_or_default();
    let after = change(&before)?;
    Ok(registry.change(me, RecordsChange::between(found.revision, &before, &after)).await?)
}

pub(crate) async fn records_are_read_as_they_were_written(registries: &impl Registries) -> Result<()> {
    let (registry, me) = (registries.registry()?, registries.start("one").await?);
    let found = registry.read(None).await?;
    ensure!((found.revision, found.records) == (0, Some(Records::new())) && found.reports.is_empty(), "it is empty");
    ensure!(found.nodes.iter().map(|node| (node.epoch, &*node.name)).eq([(me.epoch, "one")]), "{:?}", found.nodes);
    registry.keep_build(me, digest(1), Bytes::from_static(b"build")).await?;
    let written = offered(&Records::new(), "chat", 1)?;
    ensure!(change(&*registry, me, |_| Ok(written.clone())).await? == ChangeResult::Done);
    let found = registries.registry()?.read(None).await?;
    ensure!((found.revision, found.records) == (1, Some(written)));
    ensure!(registry.read(Some(1)).await?.records.is_none(), "nothing has changed");
    ensure!(change(&*registry, me, |_| Ok(Records::new())).await? == ChangeResult::Done);
    ensure!(registry.read(Some(1)).await?.records == Some(Records::new()));
    Ok(())
}

pub(crate) async fn of_changes_of_the_same_records_one_is_written(registries: &impl Registries) -> Result<()> {
    let me = registries.start("one").await?;
    registries.registry()?.keep_build(me, digest(1), Bytes::from_static(b"build")).await?;
    let mut changes = JoinSet::new();
    for plugin in ["a", "b", "c", "d", "e"] {
        let registry = registries.registry()?;
        let after = offered(&Records::new(), plugin, 1)?;
        changes.spawn(async move { registry.change(me, RecordsChange::between(0, &Records::new(), &after)).await });
    }
    let results = changes.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    ensure!(results.iter().filter(|result| **result == ChangeResult::Done).count() == 1, "{results:?}");
    ensure!(results.iter().filter(|result| **result == ChangeResult::Outdated).count() == 4, "{results:?}");
    let records = registries.registry()?.read(None).await?.records.unwrap_or_default();
    ensure!(records.len() == 1, "{records:?}");
    Ok(())
}

pub(crate) async fn the_generation_that_serves_may_write_and_no_other_one(registries: &impl Registries) -> Result<()> {
    let (registry, me) = (registries.registry()?, registries.start("one").await?);
    registry.keep_build(me, digest(1), Bytes::from_static(b"build")).await?;
    change(&*registry, me, |before| offered(before, "chat", 1)).await?;
    ensure!(registries.writes("chat-data").await?.is_none());
    for generation in [1, 2] {
        let switched = change(&*registry, me, |before| {
            let mut after = before.clone();
            after.values_mut().for_each(|record| serving(record, generation, 1));
            Ok(after)
        });
        ensure!(switched.await? == ChangeResult::Done);
        ensure!(registries.writes("chat-data").await? == Some(generation));
    }
    change(&*registry, me, |_| Ok(Records::new())).await?;
    ensure!(registries.writes("chat-data").await?.is_none());
    Ok(())
}

pub(crate) async fn reports_replace_each_other_and_outlive_their_node(registries: &impl Registries) -> Result<()> {
    let (registry, me, other) =
        (registries.registry()?, registries.start("one").await?, registries.start("two").await?);
    registry.keep_build(me, digest(1), Bytes::from_static(b"build")).await?;
    change(&*registry, me, |before| offered(before, "chat", 1)).await?;
    let loaded = LoadedBuild { topics: vec!["a:*".into(), "\"ö\\".into()], is_gatekeeper: false };
    let prepared = |result| Some(PreparedReport { number: 1, result });
    let first = Report { prepared: prepared(Err("no \"import\"".into())), ..Report::default() };
    let last = Report {
        prepared: prepared(Ok(loaded)),
        serving: Some(u32::MAX),
        calls: u64::MAX >> 1,
        faults: 4,
        trouble: Some("why".into()),
    };
    registry.report(me, vec![("chat".into(), first.clone()), ("nobody".into(), first.clone())]).await?;
    registry.report(other, vec![("chat".into(), first.clone())]).await?;
    registry.report(me, vec![("chat".into(), last.clone())]).await?;
    registries.end(other).await?;
    let found = registry.read(None).await?;
    let mut reports: Vec<_> =
        found.reports.iter().map(|report| (&*report.plugin, report.epoch, &report.report)).collect();
    reports.sort_by_key(|(_, epoch, _)| *epoch);
    ensure!(reports == [("chat", me.epoch, &last), ("chat", other.epoch, &first)], "{reports:?}");
    ensure!(found.nodes.len() == 1, "{:?}", found.nodes);
    Ok(())
}

pub(crate) async fn a_dead_node_changes_nothing(registries: &impl Registries) -> Result<()> {
    let (registry, me, dead) = (registries.registry()?, registries.start("one").await?, registries.start("two").await?);
    registry.keep_build(me, digest(1), Bytes::from_static(b"build")).await?;
    registries.end(dead).await?;
    let after = offered(&Records::new(), "chat", 1)?;
    let change = registry.change(dead, RecordsChange::between(0, &Records::new(), &after)).await;
    ensure!(matches!(change, Err(RegistryError::Refused(_))), "{change:?}");
    let kept = registry.keep_build(dead, digest(2), Bytes::from_static(b"other")).await;
    ensure!(matches!(kept, Err(RegistryError::Refused(_))), "{kept:?}");
    ensure!(registry.build(digest(2)).await?.is_none() && registry.read(None).await?.revision == 0);
    Ok(())
}

pub(crate) async fn builds_of_all_sizes_are_kept_as_long_as_they_are_needed(
    registries: &impl Registries,
) -> Result<()> {
    let (registry, me) = (registries.registry()?, registries.start("one").await?);
    for (number, size) in [(1, 0), (2, 1), (3, (1 << 20) - 1), (4, 1 << 20), (5, (2 << 20) + 7)] {
        let bytes: Bytes = (0..size).map(|at: usize| (at % 251) as u8).collect::<Vec<_>>().into();
        registry.keep_build(me, digest(number), bytes.clone()).await?;
        // A second node has it, too.
        registries.registry()?.keep_build(me, digest(number), bytes.clone()).await?;
        ensure!(registries.registry()?.build(digest(number)).await? == Some(bytes), "{size}");
    }
    let other = registries.start("two").await?;
    registry.keep_build(other, digest(6), Bytes::from_static(b"of another node")).await?;
    ensure!(change(&*registry, me, |before| offered(before, "chat", 9)).await? == ChangeResult::BuildMissing);
    ensure!(change(&*registry, me, |before| offered(before, "chat", 3)).await? == ChangeResult::Done);
    ensure!(registry.build(digest(3)).await?.is_some(), "a record needs it");
    ensure!(registry.build(digest(2)).await?.is_none(), "no record needs it");
    ensure!(registry.build(digest(6)).await?.is_some(), "the other node may be about to need it");
    registries.end(other).await?;
    change(&*registry, me, |_| Ok(Records::new())).await?;
    ensure!(registry.build(digest(3)).await?.is_none() && registry.build(digest(6)).await?.is_none());
    Ok(())
}
