//! What only the registry on PostgreSQL does: builds come in parts.

use anyhow::{Result, ensure};
use bennu_cluster::rollout::{ChangeResult, RecordsChange};

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
