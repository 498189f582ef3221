//! What only the registry on PostgreSQL does: builds come in parts, and rows may be anything.

use anyhow::{Context, Result, ensure};
use bennu_cluster::Epoch;
use bennu_cluster::rollout::{BuildDigest, ChangeResult, RecordsChange};
use bytes::Bytes;

use crate::postgres::{PostgresEngine, SCHEMA};
use crate::registry::Registries;

/// A node brings a build, and meanwhile changes the records for another one. What has come stays until the build is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_is_being_brought_is_not_removed() -> Result<()> {
    let Some(engine) = PostgresEngine::shared().await? else { return Ok(()) };
    let (me, registry, client) = (engine.row("one").await?, engine.registry()?, engine.client().await?);
    let bits = u128::from_be_bytes(me.incarnation.0);
    let call = |function: &str, rest: &str| {
        format!("SELECT {SCHEMA}.{function}({}, '\\x{bits:032x}', decode(repeat('02', 32), 'hex'), {rest})", me.epoch)
    };
    client.batch_execute(&call("build_begin", "2")).await?;
    client.batch_execute(&call("build_add", "0, '\\x00'")).await?;
    let change = |former| registry.change(me, RecordsChange { former, ..RecordsChange::default() });
    ensure!(change(0).await? == ChangeResult::Done);
    client.batch_execute(&call("build_add", "1, '\\x01'")).await?;
    let builds = format!("SELECT count(*) FROM {SCHEMA}.build");
    ensure!(client.query_one(&builds, &[]).await?.get::<_, i64>(0) == 1, "it was removed");
    // It is whole, and no record needs it.
    ensure!(change(1).await? == ChangeResult::Done);
    ensure!(client.query_one(&builds, &[]).await?.get::<_, i64>(0) == 0, "it was kept");
    Ok(())
}

/// Records and reports that no version of bennu has written, and some that are too large. The others are read, and can be changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_can_not_be_read_hides_no_other_row() -> Result<()> {
    let Some(engine) = PostgresEngine::shared().await? else { return Ok(()) };
    let (me, registry, client) = (engine.row("one").await?, engine.registry()?, engine.client().await?);
    let rows = format!(
        "INSERT INTO {SCHEMA}.plugin VALUES ('chat', '{{\"last\": 3}}'), ('list', '[1]'), ('text', '{{\"last\": \"x\"}}'), \
             ('none', 'null'), ('wide', jsonb_build_object('store', repeat('x', 1048576))); \
         INSERT INTO {SCHEMA}.plugin_report VALUES ('chat', 1, '{{\"calls\": 4}}'), ('chat', 2, '{{\"calls\": -4}}'), \
             ('list', 1, jsonb_build_object('trouble', repeat('x', 262144))); \
         UPDATE {SCHEMA}.registry SET revision = 1"
    );
    client.batch_execute(&rows).await?;
    let found = registry.read(None).await?;
    let records = found.records.context("records")?;
    ensure!(records.iter().map(|(name, record)| (&**name, record.last)).eq([("chat", 3)]), "{records:?}");
    ensure!(found.unread.keys().eq(["list", "none", "text", "wide"]), "{:?}", found.unread);
    ensure!(found.unread["wide"].contains("too large") && found.unread["none"].contains("isn't an object"));
    let reports = found.reports.iter().map(|report| (&*report.plugin, report.epoch, report.report.calls));
    ensure!(reports.eq([("chat", Epoch(1), 4)]), "{:?}", found.reports);
    let (told, count) = (found.unread_reports.len(), found.unread_report_count);
    ensure!((told, count) == (2, 2), "{count}: {:?}", found.unread_reports);
    ensure!(registry.read(Some(1)).await?.unread.is_empty(), "nothing has changed");
    // A build that a record may need stays, and goes once all records can be read.
    registry.keep_build(me, BuildDigest([7; 32]), Bytes::from_static(b"build")).await?;
    let change = |former, keeps_all_builds| {
        registry.change(me, RecordsChange { former, keeps_all_builds, ..RecordsChange::default() })
    };
    ensure!(change(1, true).await? == ChangeResult::Done);
    ensure!(registry.build(BuildDigest([7; 32])).await?.is_some(), "it was removed");
    ensure!(change(2, false).await? == ChangeResult::Done);
    ensure!(registry.build(BuildDigest([7; 32])).await?.is_none(), "it was kept");
    let left = format!("SELECT count(*) FROM {SCHEMA}.plugin");
    ensure!(client.query_one(&left, &[]).await?.get::<_, i64>(0) == 5, "a record was removed");
    Ok(())
}
