//! What only the bus on PostgreSQL does.

use anyhow::{Result, bail, ensure};
use bennu_cluster::bus::{Bus, BusEvent, BusSender, Lane};
use bennu_cluster::{BusError, NodeId, NodeTable};
use bennu_test_engines::{eventually, within};
use bennu_test_tiers::rounds;

use crate::bus::{Bed, flush, hear_until, next, read, send};
use crate::postgres::{PostgresEngine, SCHEMA};

/// Ends sessions of the database: those for which the condition holds.
async fn end_sessions(engine: &PostgresEngine, condition: &str) -> Result<i64> {
    let query = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND {condition}"
    );
    Ok(engine.client().await?.query_one(&query, &[]).await?.get(0))
}

/// Sends until it succeeds: the first flush after a loss may find a session that has ended.
async fn send_again(sender: &mut dyn BusSender, me: NodeId, number: u64) -> Result<()> {
    eventually("a flush is sent", async || match sender.send(Lane::All, flush(me, number, 10)).await {
        Ok(()) => Ok(Some(())),
        Err(BusError::Down(_)) => Ok(None),
        Err(error) => bail!("{error}"),
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_were_ended_are_made_again() -> Result<()> {
    let Some(engine) = PostgresEngine::shared().await? else { return Ok(()) };
    let node = engine.node("one").await?;
    let (mut sender, mut own) = node.open().await?;
    send(&mut *sender, Lane::All, flush(node.me, 1, 10)).await?;
    hear_until(&mut *own, node.me, 1).await?;
    let listener = format!("pid = (SELECT listener_pid FROM {SCHEMA}.node)");
    for (number, (condition, is_heard)) in
        (2..).zip([(&*listener, true), (&format!("NOT {listener}"), false), ("true", true)])
    {
        ensure!(end_sessions(&engine, condition).await? > 0, "no session for {condition}");
        if is_heard {
            ensure!(next(&mut *own).await? == BusEvent::Down);
            ensure!(next(&mut *own).await? == BusEvent::Up);
        }
        send_again(&mut *sender, node.me, number).await?;
        ensure!(hear_until(&mut *own, node.me, number).await? == [(node.me.epoch.0, number)]);
    }
    Ok(())
}

/// A node is declared dead while it sends. All that it was told is sent is heard before the hint, and nothing of it after the hint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_dead_node_is_heard_after_its_death() -> Result<()> {
    let Some(engine) = PostgresEngine::shared().await? else { return Ok(()) };
    let table = engine.table()?;
    let witness = engine.node("witness").await?;
    for round in 0..rounds("cluster::races") as u64 {
        let node = engine.node(&format!("node-{round}")).await?;
        let (mut sender, _unheard) = node.open().await?;
        let (mut voice, mut ear) = witness.open().await?;
        let me = node.me;
        let (begun, begins) = tokio::sync::oneshot::channel::<()>();
        let sending = tokio::spawn(async move {
            let mut begun = Some(begun);
            for number in 1.. {
                match sender.send(Lane::All, flush(me, number, 6_000)).await {
                    Ok(()) => drop(begun.take()),
                    Err(BusError::Fenced) => return Ok((number, sender)),
                    Err(error) => bail!("{error}"),
                }
            }
            bail!("it was never fenced")
        });
        let _ = begins.await;
        ensure!(table.declare_dead(me.epoch, 0).await?);
        let (fenced, mut sender) = within("the node is fenced", sending).await???;
        ensure!(matches!(sender.send(Lane::All, flush(me, fenced, 10)).await, Err(BusError::Fenced)));
        send(&mut *voice, Lane::All, flush(witness.me, round + 1, 10)).await?;
        let (mut heard, mut is_dead) = (0, false);
        loop {
            match within("an event", ear.next()).await? {
                BusEvent::NodesChanged => is_dead = true,
                BusEvent::Flush(bytes) => match read(&bytes)? {
                    (from, number) if from == me.epoch.0 => {
                        ensure!(!is_dead && number == heard + 1, "{number} after {heard}, dead: {is_dead}");
                        heard = number;
                    }
                    _ => break,
                },
                event => bail!("{event:?}"),
            }
        }
        ensure!(is_dead && heard == fenced - 1, "{heard} heard, the {fenced}th was refused");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_session_of_a_dead_node_that_listens_is_ended() -> Result<()> {
    let Some(engine) = PostgresEngine::shared().await? else { return Ok(()) };
    let node = engine.node("one").await?;
    let (_sender, mut own) = node.open().await?;
    let client = engine.client().await?;
    let query = format!("SELECT listener_pid FROM {SCHEMA}.node WHERE listener_start IS NOT NULL");
    let pid: i32 = client.query_one(&query, &[]).await?.get(0);
    ensure!(engine.table()?.declare_dead(node.me.epoch, 0).await?);
    let query = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)";
    eventually("the session has ended", async || {
        Ok(client.query_one(query, &[&pid]).await?.get::<_, bool>(0).then_some(()))
    })
    .await?;
    ensure!(next(&mut *own).await? == BusEvent::Down);
    // A dead node doesn't open the bus.
    ensure!(matches!(node.bus.open(node.me).await, Err(BusError::Fenced)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_its_row_sends_nothing() -> Result<()> {
    let Some(engine) = PostgresEngine::shared().await? else { return Ok(()) };
    let (node, witness) = (engine.node("one").await?, engine.node("witness").await?);
    let (mut sender, _own) = node.open().await?;
    let (mut voice, mut ear) = witness.open().await?;
    let client = engine.client().await?;
    client
        .batch_execute(&format!(
            "UPDATE {SCHEMA}.node SET incarnation = '\\x00112233445566778899aabbccddeeff' WHERE name = 'one'"
        ))
        .await?;
    ensure!(matches!(sender.send(Lane::All, flush(node.me, 1, 10)).await, Err(BusError::Fenced)));
    client.batch_execute(&format!("DELETE FROM {SCHEMA}.node WHERE name = 'one'")).await?;
    ensure!(matches!(sender.send(Lane::All, flush(node.me, 2, 10)).await, Err(BusError::Fenced)));
    send(&mut *voice, Lane::All, flush(witness.me, 3, 10)).await?;
    ensure!(hear_until(&mut *ear, witness.me, 3).await? == [(witness.me.epoch.0, 3)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_of_others_are_ignored_and_counted() -> Result<()> {
    let Some(engine) = PostgresEngine::shared().await? else { return Ok(()) };
    let me = engine.row("one").await?;
    let bus = engine.bus()?;
    let (mut sender, mut own) = bus.open(me).await?;
    let client = engine.client().await?;
    let hostile = [
        String::new(),
        "hello".into(),
        "flush".into(),
        "flush 1 1 0 99999999 * AAAA".into(),
        "flush 18446744073709551615 1 0 2 * AAAA".into(),
        "flush 1 1 5 9 * AAAA".into(),
        "flush 1 1 0 1 * !!!!".into(),
        "x".repeat(7_999),
        "é".repeat(3_999),
    ];
    let notify = format!("SELECT pg_notify({SCHEMA}.bus_channel(), $1)");
    for number in 1..=20 {
        for text in &hostile {
            client.execute(&notify, &[text]).await?;
        }
        // Two pieces: one of another flush is before them.
        send(&mut *sender, Lane::All, flush(me, number, 6_000)).await?;
        ensure!(hear_until(&mut *own, me, number).await? == [(me.epoch.0, number)]);
    }
    let counts = bus.counts();
    ensure!((counts.flushes, counts.pieces, counts.heard) == (20, 40, 20), "{counts:?}");
    // The begin of a larger flush isn't wrong, and is never finished.
    ensure!(counts.ignored == 20 * (hostile.len() as u64 - 1), "{counts:?}");
    // Whoever can notify can also imitate a flush: the secret of the cluster is against that, not the bus.
    client.execute(&notify, &[&"flush 1 1 0 1 * aGk"]).await?;
    ensure!(next(&mut *own).await? == BusEvent::Flush("hi".into()));
    Ok(())
}

/// The documents say what a flush costs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_takes_one_id_of_a_transaction_whatever_its_size() -> Result<()> {
    let Some(engine) = PostgresEngine::own().await? else { return Ok(()) };
    let node = engine.node("one").await?;
    let (mut sender, mut own) = node.open().await?;
    let client = engine.client().await?;
    // Each call takes one itself. Nothing else runs on this server.
    let count =
        async || anyhow::Ok(client.query_one("SELECT pg_current_xact_id()::text::bigint", &[]).await?.get::<_, i64>(0));
    client.batch_execute("ALTER SYSTEM SET autovacuum = off").await?;
    client.batch_execute("SELECT pg_reload_conf()").await?;
    let before = count().await?;
    for (number, size) in (1..=10).zip([0, 10, 100, 1_000, 10_000, 100_000, 1 << 20, 1, 2, 3]) {
        send(&mut *sender, Lane::All, flush(node.me, number, size)).await?;
    }
    let taken = count().await? - before - 1;
    ensure!(taken == 10, "{taken} for 10 flushes");
    hear_until(&mut *own, node.me, 10).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sessions_end_with_their_owners() -> Result<()> {
    let Some(engine) = PostgresEngine::shared().await? else { return Ok(()) };
    let node = engine.node("one").await?;
    let ends = node.open().await?;
    let client = engine.client().await?;
    let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let sessions = async |count: i64| {
        eventually(&format!("{count} sessions"), async || {
            Ok((client.query_one(query, &[]).await?.get::<_, i64>(0) == count).then_some(()))
        })
        .await
    };
    sessions(2).await?;
    drop(ends);
    sessions(0).await
}

/// The server stops without closing a connection. It takes some seconds to find that out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_silent_is_noticed() -> Result<()> {
    if !bennu_test_tiers::runs("conformance::postgres_silent") {
        return Ok(());
    }
    let Some(engine) = PostgresEngine::own().await? else { return Ok(()) };
    let node = engine.node("one").await?;
    let (mut sender, mut own) = node.open().await?;
    engine.server()?.pause(true)?;
    ensure!(next(&mut *own).await? == BusEvent::Down);
    ensure!(matches!(sender.send(Lane::All, flush(node.me, 1, 10)).await, Err(BusError::Down(_))));
    engine.server()?.pause(false)?;
    ensure!(next(&mut *own).await? == BusEvent::Up);
    send_again(&mut *sender, node.me, 2).await?;
    let heard = hear_until(&mut *own, node.me, 2).await?;
    // The first one may have been taken when the server went on.
    ensure!(heard.len() <= 2, "{heard:?}");
    Ok(())
}

/// Nothing is sent for longer than the silence after which the connection is tried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_bus_stays_connected() -> Result<()> {
    if !bennu_test_tiers::runs("conformance::postgres_quiet") {
        return Ok(());
    }
    let Some(engine) = PostgresEngine::shared().await? else { return Ok(()) };
    let node = engine.node("one").await?;
    let (mut sender, mut own) = node.open().await?;
    let quiet = tokio::time::timeout(std::time::Duration::from_secs(8), own.next()).await;
    ensure!(quiet.is_err(), "{quiet:?}");
    send(&mut *sender, Lane::All, flush(node.me, 1, 10)).await?;
    ensure!(hear_until(&mut *own, node.me, 1).await? == [(node.me.epoch.0, 1)]);
    Ok(())
}
