//! What only the table on PostgreSQL does.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bennu_cluster::{NodeTable, Renewal, TableError};
use bennu_test_engines::{eventually, within};
use tokio_postgres::{Client, IsolationLevel};

use crate::postgres::{PostgresEngine, SCHEMA, incarnation};
use crate::registry::Registries;

/// The error code of a statement.
fn code<T>(answer: Result<T, tokio_postgres::Error>) -> Result<String> {
    let error = answer.err().context("the statement has succeeded")?;
    Ok(error.code().context("the server didn't answer")?.code().to_owned())
}

/// Waits until a session waits for an advisory lock.
async fn somebody_waits(client: &Client) -> Result<()> {
    let query = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)";
    eventually("somebody waits for the lock", async || {
        Ok(client.query_one(query, &[]).await?.get::<_, bool>(0).then_some(()))
    })
    .await
}

/// A commit of a node is under way. Declaring it dead waits for that, and the node's next commit is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declaring_a_node_dead_waits_for_its_commit_under_way() -> Result<()> {
    // Of its own: the locks of all databases are looked at.
    let Some(engine) = PostgresEngine::own().await? else { return Ok(()) };
    let id = engine.row("one").await?;
    let table = Arc::new(engine.table()?);
    let (mut committing, watching) = (engine.client().await?, engine.client().await?);
    watching.batch_execute("CREATE TABLE kept (what text)").await?;
    let fence = format!("SELECT {SCHEMA}.node_fence($1, $2)");
    let (epoch, bits) = (id.epoch.0.cast_signed(), &id.incarnation.0[..]);

    let commit = committing.transaction().await?;
    commit.execute(&fence, &[&epoch, &bits]).await?;
    let declaring = tokio::spawn({
        let table = Arc::clone(&table);
        async move { table.declare_dead(id.epoch, 0).await }
    });
    somebody_waits(&watching).await?;
    // Others see it alive, and what it has begun is carried out.
    ensure!(!table_row_is_dead(&watching).await?);
    commit.execute("INSERT INTO kept VALUES ('begun')", &[]).await?;
    ensure!(!declaring.is_finished(), "it didn't wait");
    commit.commit().await?;
    ensure!(within("the declaration of death", declaring).await???);
    ensure!(table_row_is_dead(&watching).await?);
    ensure!(watching.query_one("SELECT count(*) FROM kept", &[]).await?.get::<_, i64>(0) == 1);
    let late = committing.transaction().await?;
    ensure!(code(late.execute(&fence, &[&epoch, &bits]).await)? == "BN010");
    Ok(())
}

async fn table_row_is_dead(client: &Client) -> Result<bool> {
    Ok(client.query_one(&format!("SELECT is_dead FROM {SCHEMA}.node"), &[]).await?.get(0))
}

/// While a declaration of death waits, the node can renew, with the same table even: then it isn't declared dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_does_not_wait_for_a_declaration_of_death_and_prevents_it() -> Result<()> {
    let Some(engine) = PostgresEngine::own().await? else { return Ok(()) };
    let id = engine.row("one").await?;
    let table = Arc::new(engine.table()?);
    let (mut committing, watching) = (engine.client().await?, engine.client().await?);
    let commit = committing.transaction().await?;
    let (epoch, bits) = (id.epoch.0.cast_signed(), &id.incarnation.0[..]);
    commit.execute(&format!("SELECT {SCHEMA}.node_fence($1, $2)"), &[&epoch, &bits]).await?;
    let declaring = tokio::spawn({
        let table = Arc::clone(&table);
        async move { table.declare_dead(id.epoch, 0).await }
    });
    somebody_waits(&watching).await?;
    ensure!(table.renew(id).await? == Renewal::Good(1));
    ensure!(!declaring.is_finished(), "it didn't wait");
    commit.commit().await?;
    ensure!(!within("the declaration of death", declaring).await???, "a node that has renewed was declared dead");
    ensure!(table.renew(id).await? == Renewal::Good(2));
    Ok(())
}

/// A commit that comes while a declaration of death waits is behind it, and is refused. Otherwise a busy node could never be declared dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_comes_later_waits_for_the_declaration_of_death() -> Result<()> {
    let Some(engine) = PostgresEngine::own().await? else { return Ok(()) };
    let id = engine.row("one").await?;
    let table = Arc::new(engine.table()?);
    let (mut first, mut second, watching) = (engine.client().await?, engine.client().await?, engine.client().await?);
    let fence = format!("SELECT {SCHEMA}.node_fence($1, $2)");
    let (epoch, bits) = (id.epoch.0.cast_signed(), id.incarnation.0.to_vec());
    let begun = first.transaction().await?;
    begun.execute(&fence, &[&epoch, &bits]).await?;
    let declaring = tokio::spawn(async move { table.declare_dead(id.epoch, 0).await });
    somebody_waits(&watching).await?;
    let late = tokio::spawn(async move {
        let late = second.transaction().await?;
        late.execute(&fence, &[&epoch, &bits]).await
    });
    let query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    eventually("both wait", async || Ok((watching.query_one(query, &[]).await?.get::<_, i64>(0) == 2).then_some(())))
        .await?;
    begun.commit().await?;
    ensure!(within("the declaration of death", declaring).await???);
    ensure!(code(within("the late commit", late).await??)? == "BN010");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fence_lets_only_the_living_node_pass() -> Result<()> {
    let Some(engine) = PostgresEngine::shared().await? else { return Ok(()) };
    let id = engine.row("one").await?;
    let client = engine.client().await?;
    let fence = format!("SELECT {SCHEMA}.node_fence($1, $2)");
    let (epoch, bits, others) = (id.epoch.0.cast_signed(), &id.incarnation.0[..], incarnation());
    client.execute(&fence, &[&epoch, &bits]).await?;
    ensure!(code(client.execute(&fence, &[&epoch, &&others.0[..]]).await)? == "BN010");
    ensure!(code(client.execute(&fence, &[&(epoch + 1), &bits]).await)? == "BN010");
    ensure!(engine.table()?.declare_dead(id.epoch, 0).await?);
    ensure!(code(client.execute(&fence, &[&epoch, &bits]).await)? == "BN010");
    Ok(())
}

/// A role or a client may have another isolation level as its default. The functions would decide by what was true before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_function_runs_in_another_isolation_level() -> Result<()> {
    let Some(engine) = PostgresEngine::shared().await? else { return Ok(()) };
    let id = engine.row("one").await?;
    let mut client = engine.client().await?;
    let me = format!("{}, '\\x{}'", id.epoch, "a5".repeat(16));
    for call in [
        "node_hello('two', '0.1.0', '\\x00112233445566778899aabbccddeeff', 1, 1, 10000, 'postgres', NULL)".to_owned(),
        format!("node_renew({me})"),
        "node_list()".to_owned(),
        format!("node_declare_dead({}, 0)", id.epoch),
        format!("node_leave({me})"),
        format!("node_drain({me})"),
        format!("node_listens({me})"),
        format!("node_fence({me})"),
        format!("bus_send({me}, '{{}}')"),
    ] {
        for level in [IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
            let transaction = client.build_transaction().isolation_level(level).start().await?;
            let said = transaction.batch_execute(&format!("SELECT {SCHEMA}.{call}")).await;
            ensure!(code(said)? == "BN011", "{call}");
        }
    }
    ensure!(engine.table()?.renew(id).await? == Renewal::Good(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_dead_are_kept_and_the_others_are_not() -> Result<()> {
    let Some(engine) = PostgresEngine::shared().await? else { return Ok(()) };
    let (first, table) = (engine.row("old").await?, engine.table()?);
    let client = engine.client().await?;
    let many = format!(
        "DO $$ DECLARE made bigint; BEGIN FOR n IN 1..150 LOOP \
             SELECT epoch INTO made FROM {SCHEMA}.node_hello('n' || n, '', decode(lpad(to_hex(n), 32, '0'), 'hex'), 1, 1, \
                 10000, 'postgres', decode(repeat('07', 8), 'hex')); \
             PERFORM {SCHEMA}.node_declare_dead(made, 0); END LOOP; END $$"
    );
    client.batch_execute(&many).await?;
    // It has the lowest epoch, and is the last one that died.
    ensure!(table.declare_dead(first.epoch, 0).await?);
    engine.row("new").await?;
    let rows = table.list().await?;
    ensure!(rows.len() == 101 && rows.iter().filter(|row| row.is_dead).count() == 100, "{} rows", rows.len());
    ensure!(rows.iter().any(|row| row.id == first), "the last one that died is forgotten");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_connects_again() -> Result<()> {
    let Some(engine) = PostgresEngine::own().await? else { return Ok(()) };
    let (id, table) = (engine.row("one").await?, engine.table()?);
    ensure!(table.renew(id).await? == Renewal::Good(1));
    engine.server()?.kill()?;
    for _ in 0..2 {
        ensure!(matches!(table.renew(id).await, Err(TableError::Down(_))));
        ensure!(matches!(table.list().await, Err(TableError::Down(_))));
    }
    tokio::task::block_in_place(|| engine.server().and_then(|server| server.start_again()))?;
    ensure!(table.renew(id).await? == Renewal::Good(2));
    ensure!(table.list().await?.len() == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_has_an_identity_and_blocks_of_numbers() -> Result<()> {
    let Some(engine) = PostgresEngine::shared().await? else { return Ok(()) };
    let table = engine.table()?;
    let id = table.cluster_id().await?;
    ensure!(id.len() == 36 && engine.table()?.cluster_id().await? == id, "{id}");
    ensure!(
        [table.member_block().await?, engine.table()?.member_block().await?, table.member_block().await?] == [1, 2, 3]
    );
    let client = engine.client().await?;
    client.batch_execute(&format!("SELECT setval('{SCHEMA}.member_block', 536870911)")).await?;
    ensure!(matches!(table.member_block().await, Err(TableError::Unfit(_))));
    client.batch_execute(&format!("DROP SCHEMA {SCHEMA} CASCADE")).await?;
    ensure!(matches!(table.list().await, Err(TableError::Unfit(_))));
    Ok(())
}

/// Rows that somebody else has written: one that can't be a node's, and fields that are too large or out of range.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_no_node_has_written_hides_no_other_row() -> Result<()> {
    let Some(engine) = PostgresEngine::shared().await? else { return Ok(()) };
    let (first, table, client) = (engine.row("one").await?, engine.table()?, engine.client().await?);
    let foreign = format!(
        "ALTER TABLE {SCHEMA}.node DROP CONSTRAINT node_incarnation_check; \
         INSERT INTO {SCHEMA}.node (epoch, incarnation, name, version, speaks_from, speaks_to, lease_ms, bus) \
             VALUES (900, '\\x00', 'short', '', 1, 1, 1, 'postgres'); \
         UPDATE {SCHEMA}.node SET version = repeat('9', 1000000), speaks_to = 2000000000 WHERE epoch = {}",
        first.epoch
    );
    client.batch_execute(&foreign).await?;
    for read in 1..=2 {
        let rows = table.list().await?;
        ensure!(rows.iter().map(|row| row.id).eq([first]), "{} rows", rows.len());
        ensure!(rows[0].version.len() == 256 && rows[0].speaks.to == u16::MAX, "{:?}", rows[0]);
        ensure!(table.rows_unreadable() == read);
    }
    // Nobody could declare it dead, so no rollout waits for it.
    let living = engine.registry()?.read(None).await?.nodes;
    ensure!(living.iter().map(|node| node.epoch).eq([first.epoch]), "{living:?}");
    // It is in the way of a node with its name.
    let said = engine.row("short").await.err().context("it has begun")?.to_string();
    ensure!(said.contains("with the epoch 900"), "{said}");
    let many = format!(
        "INSERT INTO {SCHEMA}.node (epoch, incarnation, name, version, speaks_from, speaks_to, lease_ms, bus) \
             SELECT n, decode(repeat('00', 16), 'hex'), 'n' || n, '', 1, 1, 1, 'postgres' FROM generate_series(1000, 6000) AS n"
    );
    client.batch_execute(&many).await?;
    let said = table.list().await.err().context("all were read")?.to_string();
    ensure!(said.contains("more than 4096 rows"), "{said}");
    Ok(())
}

/// Asking for the next id takes none, and what writes takes one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_transactions_are_read_and_not_taken() -> Result<()> {
    // Of its own: all databases of a server share the ids.
    let Some(engine) = PostgresEngine::own().await? else { return Ok(()) };
    let (id, table) = (engine.row("one").await?, engine.table()?);
    let next = async || table.transaction_id().await?.context("an id");
    // The server itself takes some, for example for its statistics, at most now and then.
    eventually("nothing takes an id", async || {
        let before = next().await?;
        for _ in 0..10 {
            next().await?;
        }
        Ok((next().await? == before).then_some(()))
    })
    .await?;
    let before = next().await?;
    for _ in 0..3 {
        table.renew(id).await?;
    }
    ensure!(next().await? >= before + 3, "a renewal takes an id");
    Ok(())
}
