//! A database that answers late: a session of it locks what the nodes need. So a test can look at a node that waits, also at one that stops.

use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow, ensure};
use bennu_tests::{PostgresServer, TestHost, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::database;
use crate::plan::{Plan, cluster, is_ready, knows, readiness};
use crate::together::{audit, members};

/// A session that has locked a table of a database. It ends with [`release`](Self::release), or after a minute.
struct Lock {
    database: String,
    session: JoinHandle<Result<String>>,
}

/// How a session of a lock is found.
const MARK: &str = "held by a test";

impl Lock {
    async fn take(database: &str, table: &str) -> Result<Self> {
        let server = PostgresServer::shared()?;
        let statements =
            format!("BEGIN; LOCK TABLE bennu.{table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60) /* {MARK} */");
        let name = database.to_owned();
        let session = thread::spawn(move || server.sql(&name, &statements));
        let held = format!(
            "SELECT count(*) FROM pg_locks WHERE relation = 'bennu.{table}'::regclass AND mode = 'AccessExclusiveLock' AND granted"
        );
        eventually("the table is locked", async || Ok((server.sql(database, &held)? == "1").then_some(()))).await?;
        Ok(Self { database: database.to_owned(), session })
    }

    /// Waits until so many sessions of nodes wait for it.
    async fn holds_up(&self, sessions: usize) -> Result<()> {
        let server = PostgresServer::shared()?;
        let count = "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database \
                     WHERE datname = current_database() AND NOT granted";
        eventually("nodes wait for the lock", async || {
            let waiting: usize = server.sql(&self.database, count)?.parse()?;
            Ok((waiting >= sessions).then_some(()))
        })
        .await
    }

    fn release(self) -> Result<()> {
        let end = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = '{}' AND query LIKE '%{MARK}%' AND pid <> pg_backend_pid()",
            self.database
        );
        ensure!(PostgresServer::shared()?.sql(&self.database, &end)? == "1", "there is no lock");
        let ended = self.session.join().map_err(|_| anyhow!("the session panicked"))?;
        ensure!(ended.is_err(), "the lock was over before it was released");
        Ok(())
    }
}

/// A call that writes takes as long as the database does. Broadcasts and the lease don't wait for it.
#[tokio::test]
async fn calls_that_write_take_as_long_as_the_database_does() -> Result<()> {
    let (name, url) = database()?;
    let hosts = Plan::on(&url).start_three().await?;
    let mut clients = members(&hosts, "ledger:1").await?;
    let mut listeners = members(&hosts, "echo:1").await?;
    clients[0].call("ledger:1", "deposit", &json!({ "to": "a", "n": 1 })).await?;
    let lock = Lock::take(&name, "head").await?;
    let mut sent = Vec::new();
    for client in &mut clients {
        sent.push(client.push("ledger:1", "deposit", &json!({ "to": "a", "n": 1 })).await?);
    }
    lock.holds_up(hosts.len()).await?;
    listeners[0].push("echo:1", "shout", &json!({ "meanwhile": true })).await?;
    for listener in &mut listeners {
        listener.expect(&json!([null, null, "echo:1", "shout", { "meanwhile": true }])).await?;
    }
    for host in &hosts {
        ensure!(cluster(host).await?["is_good"] == true);
    }
    lock.release()?;
    for (client, reference) in clients.iter_mut().zip(sent) {
        let reply = client.reply("ledger:1", &reference).await?;
        ensure!(reply.status == "ok", "{reply:?}");
    }
    ensure!(audit(&hosts[1]).await?["sum"] == 4);
    Ok(())
}

/// Nodes whose renewals take too long are suspended, and go on when the database is fast again. Nobody is declared dead, because the others can't
/// ask either.
#[tokio::test]
async fn renewals_that_take_longer_than_the_lease_suspend_and_kill_nobody() -> Result<()> {
    let (name, url) = database()?;
    let hosts = Plan::on(&url).lease().start_three().await?;
    let before = epochs(&hosts).await?;
    let lock = Lock::take(&name, "node").await?;
    for host in &hosts {
        eventually("the node is suspended", async || {
            let answer = readiness(host).await?;
            Ok(answer.body.contains("this node is suspended, because it can't renew its lease").then_some(()))
        })
        .await?;
    }
    lock.release()?;
    for host in &hosts {
        is_ready(host).await?;
    }
    ensure!(epochs(&hosts).await? == before, "a node has ended its start");
    Ok(())
}

/// Balancers see that a node stops before it ends a connection.
#[tokio::test]
async fn a_node_that_stops_is_not_ready_while_its_clients_are_still_served() -> Result<()> {
    let (name, url) = database()?;
    // Its renewals wait for the lock, too. With the usual lease, it would be suspended on a busy machine.
    let plan = Plan::on(&url).key("lease_ms = 60000");
    let (one, mut two) = (plan.start("one").await?, plan.start("two").await?);
    is_ready(&two).await?;
    let mut client = two.connect().await?;
    client.join("echo:1", &json!({})).await?;
    // Before it closes anything, it says in the table that it takes no new clients.
    let lock = Lock::take(&name, "node").await?;
    two.signal(Signal::TERM)?;
    eventually("the node isn't ready, because it stops", async || {
        let answer = readiness(&two).await?;
        Ok((answer.status == 503 && answer.body.contains("the host is stopping")).then_some(()))
    })
    .await?;
    let answer = client.call("echo:1", "echo", &json!({ "a": 1 })).await?;
    ensure!(answer == json!({ "a": 1 }), "{answer}");
    lock.release()?;
    client.closed_with(1012).await?;
    let status = two.ended().await?;
    ensure!(status.success(), "{status}");
    knows(&one, "two", "dead").await
}

/// A client that comes too late isn't kept waiting, and a call that has begun is answered before its client is told to go.
#[tokio::test]
async fn a_node_that_stops_refuses_connections_and_answers_the_calls_that_have_begun() -> Result<()> {
    let (name, url) = database()?;
    let plan = Plan::on(&url).tables("[limits]\nstop_ms = 60000\ncall_wall_ms = 60000");
    let (one, mut two) = (plan.start("one").await?, plan.start("two").await?);
    let mut client = two.connect().await?;
    client.join("ledger:1", &json!({})).await?;
    client.call("ledger:1", "deposit", &json!({ "to": "a", "n": 1 })).await?;
    let lock = Lock::take(&name, "head").await?;
    let waiting = client.push("ledger:1", "deposit", &json!({ "to": "a", "n": 1 })).await?;
    lock.holds_up(1).await?;
    // The node handles frames in their order, so the call has begun.
    client.quiet().await?;
    two.signal(Signal::TERM)?;
    eventually("connections are refused", async || Ok(TcpStream::connect(two.address()).await.is_err().then_some(())))
        .await?;
    // So the node hasn't ended, and it was the node that refused.
    lock.release()?;
    let reply = client.reply("ledger:1", &waiting).await?;
    ensure!(reply.status == "ok", "{reply:?}");
    client.closed_with(1012).await?;
    let status = two.ended().await?;
    ensure!(status.success(), "{status}");
    knows(&one, "two", "dead").await?;
    ensure!(audit(&one).await?["sum"] == 2);
    Ok(())
}

/// The starts of the nodes, as each knows its own.
async fn epochs(hosts: &[TestHost]) -> Result<Vec<Value>> {
    let mut epochs = Vec::new();
    for host in hosts {
        epochs.push(cluster(host).await?.get("epoch").context("an epoch")?.clone());
    }
    Ok(epochs)
}
