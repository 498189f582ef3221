//! Three nodes to which everything happens, at random moments, while clients pay, audit, broadcast, hear and are present. After each round it
//! is quiet for a moment, and every promise is checked. `cargo xtask chaos` runs more rounds.
//!
//! | promise | how it is checked |
//! | --- | --- |
//! | the store | an order of all operations in which each that was told happened once, each that failed never, and each unknown one at most once ([`books`]) |
//! | broadcasts | each listener has each sender's broadcasts in order, up to the last one, or was told to join again ([`hearing`]) |
//! | presences | equal on all nodes within 2 s of quiet, and exactly those who are there |
//! | a dead node | none of its presences is left later than its lease and 2 s ([`stage`]) |

mod audits;
mod books;
mod clients;
mod hearing;
mod history;
mod lag;
mod stage;
mod talk;
mod trouble;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bennu_test_tiers::{Noise, note_skipped, rounds};
use bennu_tests::{NatsServer, TestHost, eventually};
use serde_json::{Value, json};

use books::ACCOUNTS;
use clients::{Clients, Roles, lock, resident};
use history::Explained;
use stage::{NAMES, Stage, presences};
use trouble::Trouble;

/// The environment variable with the number of rounds. `cargo xtask chaos` sets it.
const ROUNDS: &str = "BENNU_CHAOS_ROUNDS";

/// The environment variable with the seed of the troubles.
const SEED: &str = "BENNU_CHAOS_SEED";

const ROLES: Roles = Roles { payers: 6, auditors: 2, speakers: 3, listeners: 6, guests: 6 };

/// How long after the last change all nodes may show different presences.
const EQUAL_MAX: Duration = Duration::from_secs(2);

/// Waits until all nodes show the same presences, and exactly those who are there, each once. Returns how long that took since somebody came
/// or left last.
///
/// # Errors
/// If that is longer than [`EQUAL_MAX`].
async fn presences_are_equal(stage: &Stage, clients: &Clients) -> Result<Duration> {
    let users = (0..ROLES.guests).map(|number| format!("user-{number}")).chain((0..NAMES.len()).map(resident));
    let (all, began) = (users.collect::<BTreeSet<_>>(), (Instant::now(), stage.lag.sum()));
    let mut last = Vec::new();
    let equal = eventually("presences are equal on all nodes, and nobody is there who isn't", async || {
        last.clear();
        for host in stage.hosts() {
            last.push(presences(host).await?);
        }
        let (present, changed) = clients.present();
        let wanted: Vec<_> = present.iter().map(|user| (user.clone(), 1)).collect();
        let is_equal = present == all && last.iter().all(|shown| *shown == wanted);
        Ok(is_equal.then(|| changed.max(began.0).elapsed()))
    });
    let took = equal.await.with_context(|| format!("the nodes show {last:?}"))?;
    let late = stage.lag.sum() - began.1;
    ensure!(took <= EQUAL_MAX + late, "presences were equal after {took:.2?}, on a machine that was {late:.2?} late");
    Ok(took.saturating_sub(late))
}

async fn balances(host: &TestHost) -> Result<Vec<u64>> {
    let mut client = host.connect().await?;
    client.join("ledger:check", &json!({})).await?;
    let mut balances = Vec::new();
    for account in ACCOUNTS {
        let answer: Value = client.call("ledger:check", "balance", &json!({ "of": account })).await?;
        balances.push(answer["balance"].as_u64().context("a balance")?);
    }
    Ok(balances)
}

/// What a check has found.
struct Checked {
    explained: Explained,
    balances: Vec<u64>,
    /// How long the presences took to be equal.
    took: Duration,
}

/// Checks every promise, while nobody pays or broadcasts.
async fn check(stage: &Stage, clients: &Clients) -> Result<Checked> {
    clients.know(stage.addresses());
    clients.set_busy(false);
    eventually("no call is under way", async || Ok(clients.is_quiet().then_some(()))).await?;
    let took = presences_are_equal(stage, clients).await?;
    // Whoever lacks something is told within some seconds.
    eventually("a gap is told", async || Ok(lock(&clients.talk).gap().is_none().then_some(()))).await.with_context(
        || format!("a client wasn't told that it lacks the {}", lock(&clients.talk).gap().unwrap_or_default()),
    )?;
    clients.check()?;
    // A payment of which nobody was told may still be stored while the nodes are asked.
    let balances = eventually("all nodes read the same balances", async || {
        let mut read = BTreeSet::new();
        for host in stage.hosts() {
            read.insert(balances(host).await?);
        }
        Ok(read.pop_first().filter(|_| read.is_empty()))
    })
    .await?;
    let explained = lock(&clients.books).clone().explain(&balances)?;
    clients.set_busy(true);
    Ok(Checked { explained, balances, took })
}

/// Runs the rounds, and prints a line of counts.
async fn run(nats: Option<NatsServer>, rounds: usize) -> Result<()> {
    let seed = std::env::var(SEED).ok().map(|text| text.parse::<u64>()).transpose()?.unwrap_or_default();
    let mut noise = Noise::new(seed);
    let mut stage = Stage::start(nats).await?;
    let clients = Clients::start(stage.balancer(), stage.addresses(), ROLES);
    let mut last = check(&stage, &clients).await?;
    let (mut longest, mut started) = (last.took, 0);
    for round in 1..=rounds {
        let trouble = Trouble::choose(&mut noise, stage.has_bus());
        let passed = async {
            stage.suffer(trouble, &mut noise).await?;
            started += stage.recover().await?;
            check(&stage, &clients).await
        };
        last = passed.await.with_context(|| format!("round {round} with the seed {seed}: {trouble:?}"))?;
        println!("round {round}: {trouble:?}; presences were equal after {:.1?}", last.took);
        longest = longest.max(last.took);
    }
    clients.end();
    let planted = lock(&clients.books).find_planted(&last.balances)?;
    let (heard, joins) = (lock(&clients.talk).heard(), clients.told_to_join.load(Ordering::SeqCst));
    let Explained { told, failed, unknown, stored_unknown, audits } = last.explained;
    println!(
        "{rounds} rounds with the seed {seed}: {told} payments are ok and stored once, {failed} transfers failed and left nothing, {unknown} \
         operations are unknown, of which {stored_unknown} are stored; {audits} audits fit into their order; {heard} broadcasts were heard \
         in order, and listeners were told {joins} times to join again; {started} nodes were started again; presences were equal after \
         {longest:.1?}, and those of a dead node had left after {:.1?} at most; {planted} of {planted} planted violations were found",
        stage.longest_leave
    );
    ensure!(told > 0 && failed > 0 && audits > 0 && heard > 0, "the clients did too little");
    Ok(())
}

/// The number of rounds that `cargo xtask chaos` wants, or that of the tier.
fn wanted(test: &str) -> Result<usize> {
    let named = std::env::var(ROUNDS).ok().map(|text| text.parse::<usize>()).transpose()?;
    Ok(named.unwrap_or_else(|| rounds(test)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promises_hold_whatever_happens() -> Result<()> {
    run(None, wanted("nodes::chaos")?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promises_hold_on_nats_whatever_happens() -> Result<()> {
    if !NatsServer::is_there() {
        note_skipped("there is no NATS server");
        return Ok(());
    }
    run(Some(NatsServer::start()?), wanted("nodes::chaos_nats")?).await
}
