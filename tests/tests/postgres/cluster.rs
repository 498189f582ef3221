//! Databases that a cluster can't use, and the poolers: what its table of nodes and its bus say.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bennu::store::{POSTGRES_SCHEMA, PostgresPlace};
use bennu_cluster::bus::{Bus, BusEvent, Lane};
use bennu_cluster::postgres::{PostgresBus, PostgresTable, SCHEMA_STEP};
use bennu_cluster::{
    BusError, Hello, Incarnation, NewNode, NodeId, NodeSettings, NodeTable, Renewal, Speaks, TableError,
};
use bennu_tests::{PostgresPooler, PostgresServer, eventually, within};

use crate::database;

pub(crate) const SPEAKS: Speaks = Speaks { from: 1, to: 1 };

fn place(url: &str) -> Result<PostgresPlace> {
    PostgresPlace::new(url, None, POSTGRES_SCHEMA)
}

/// Makes the schema of the cluster.
fn fill(name: &str, owner: &str) -> Result<()> {
    let step = SCHEMA_STEP.replace("{schema}", POSTGRES_SCHEMA);
    let statements = format!("CREATE SCHEMA {POSTGRES_SCHEMA} AUTHORIZATION {owner}; SET ROLE {owner}; {step}");
    PostgresServer::shared()?.sql(name, &statements)?;
    Ok(())
}

fn table(url: &str) -> Result<PostgresTable> {
    Ok(PostgresTable::new(Arc::new(place(url)?))?)
}

fn new_node(name: &str, incarnation: Incarnation) -> NewNode {
    let settings = NodeSettings { lease: Duration::from_secs(10), bus: "postgres".to_owned(), secret_mark: None };
    NewNode { name: name.to_owned(), version: "0.1.0".to_owned(), incarnation, speaks: SPEAKS, settings }
}

async fn start(table: &PostgresTable, name: &str, bits: u8) -> Result<NodeId> {
    let incarnation = Incarnation([bits; 16]);
    match table.hello(&new_node(name, incarnation)).await? {
        Hello::Welcome(epoch) => Ok(NodeId { epoch, incarnation }),
        refused => bail!("{refused:?}"),
    }
}

/// Sends a flush and hears it.
async fn hears_itself(bus: &PostgresBus, me: NodeId) -> Result<()> {
    let (mut sender, mut receiver) = bus.open(me).await?;
    sender.send(Lane::All, "hello".into()).await?;
    while within("the flush", receiver.next()).await? != BusEvent::Flush("hello".into()) {}
    Ok(())
}

/// What a table says that can't be used.
async fn refusal(url: &str) -> Result<String> {
    match table(url)?.list().await {
        Err(TableError::Unfit(said)) => Ok(said),
        other => bail!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn databases_that_can_not_be_used_are_refused_with_a_sentence() -> Result<()> {
    let server = PostgresServer::shared()?;
    let (name, url) = database()?;
    fill(&name, "postgres")?;
    server
        .sql("postgres", "CREATE DATABASE oldlatin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")?;
    server.sql("postgres", "CREATE ROLE stranger LOGIN; CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")?;
    for (url, expected) in [
        (server.url("postgres", "nowhere"), "CREATE DATABASE"),
        (server.url("postgres", "oldlatin"), "needs UTF8"),
        (server.url("stranger", &name), "the role has too few rights"),
        (server.url("crowded", &name), "too few connections"),
    ] {
        let said = refusal(&url).await?;
        ensure!(said.contains(expected), "{url}: {said}");
        let me = NodeId { epoch: bennu_cluster::Epoch(1), incarnation: Incarnation([1; 16]) };
        match PostgresBus::new(Arc::new(place(&url)?)).open(me).await {
            Err(BusError::Unfit(said)) => ensure!(said.contains(expected), "{url}: {said}"),
            Err(other) => bail!("{url}: {other}"),
            Ok(_) => bail!("{url}: the bus has opened"),
        }
    }
    hears_itself(&PostgresBus::new(Arc::new(place(&url)?)), start(&table(&url)?, "one", 1).await?).await
}

#[tokio::test]
async fn a_password_that_is_wrong_is_refused() -> Result<()> {
    let server = PostgresServer::start()?;
    server.database("app")?;
    server.sql("postgres", "CREATE ROLE locked LOGIN PASSWORD 'right'")?;
    let rules = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(server.home().join("data/pg_hba.conf"), rules)?;
    server.sql("postgres", "SELECT pg_reload_conf()")?;
    let url = server.url("locked", "app");
    let table = PostgresTable::new(Arc::new(PostgresPlace::new(&url, Some("hunter2"), POSTGRES_SCHEMA)?))?;
    let said = table.list().await.err().context("the table has answered")?.to_string();
    ensure!(said.contains("check the user and the password") && !said.contains("hunter2"), "{said}");
    Ok(())
}

/// Defaults of a role change nothing. Of another owner, it needs no rights but those on the schema.
#[tokio::test]
async fn defaults_of_a_role_do_not_change_what_is_promised() -> Result<()> {
    let (name, _) = database()?;
    let server = PostgresServer::shared()?;
    server.sql(
        &name,
        "CREATE ROLE strange LOGIN; ALTER ROLE strange SET default_transaction_isolation = 'repeatable read'; \
         ALTER ROLE strange SET synchronous_commit = off; ALTER ROLE strange SET statement_timeout = '1ms'; \
         ALTER ROLE strange SET default_transaction_read_only = on; ALTER ROLE strange SET bytea_output = 'escape'; \
         ALTER ROLE strange SET search_path = nowhere",
    )?;
    fill(&name, "strange")?;
    let url = server.url("strange", &name);
    let table = table(&url)?;
    let me = start(&table, "one", 1).await?;
    ensure!(table.renew(me).await? == Renewal::Good(1));
    hears_itself(&PostgresBus::new(Arc::new(place(&url)?)), me).await?;
    // The session that sends waits for no disk, and that of the table does.
    let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'strange'";
    drop(table);
    eventually("the sessions have ended", async || Ok((server.sql(&name, query)? == "0").then_some(()))).await
}

/// A second node of one name is told who has it.
#[tokio::test]
async fn a_second_node_of_one_name_is_refused() -> Result<()> {
    let (name, url) = database()?;
    fill(&name, "postgres")?;
    let (first, second) = (table(&url)?, table(&url)?);
    let me = start(&first, "host-1", 1).await?;
    let answer = second.hello(&new_node("host-1", Incarnation([2; 16]))).await?;
    let Hello::NameTaken(row) = answer else { bail!("{answer:?}") };
    ensure!(row.id == me);
    Ok(())
}

#[tokio::test]
async fn the_bus_is_refused_behind_a_pooler_in_transaction_mode() -> Result<()> {
    let Some(transaction) = PostgresPooler::start("transaction").await? else {
        bennu_test_tiers::note_skipped("PgBouncer isn't installed");
        return Ok(());
    };
    let (name, url) = database()?;
    fill(&name, "postgres")?;
    let me = start(&table(&url)?, "one", 1).await?;
    match PostgresBus::new(Arc::new(place(&transaction.url(&name))?)).open(me).await {
        Err(BusError::Unfit(said)) => ensure!(said.contains("pooler in transaction mode"), "{said}"),
        Err(other) => bail!("{other}"),
        Ok(_) => bail!("the bus has opened"),
    }
    let session = PostgresPooler::start("session").await?.context("PgBouncer was there")?;
    hears_itself(&PostgresBus::new(Arc::new(place(&session.url(&name))?)), me).await
}
