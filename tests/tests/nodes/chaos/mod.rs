//! Three nodes to which everything happens, at random moments, while clients pay, broadcast, hear and are present. After each round it is
//! quiet for a moment, and every promise is checked. `cargo xtask chaos` runs more rounds.

mod clients;
mod hearing;
mod history;
mod trouble;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bennu_test_tiers::{Noise, rounds};
use bennu_tests::{TestHost, eventually, get};
use serde_json::{Value, json};

use clients::{ACCOUNTS, Clients, ROOM};
use history::{Explained, explain};
use trouble::{Stage, Trouble};

/// The environment variable with the number of rounds. `cargo xtask chaos` sets it.
const ROUNDS: &str = "BENNU_CHAOS_ROUNDS";

/// The environment variable with the seed of the troubles.
const SEED: &str = "BENNU_CHAOS_SEED";

const PAYERS: usize = 6;
const SPEAKERS: usize = 3;
const LISTENERS: usize = 6;

/// The users in the room, as a node shows them, each with the number of their presences.
async fn online(host: &TestHost) -> Result<Vec<(String, usize)>> {
    let answer = get(host.address(), &format!("/api/topics/{ROOM}/presence")).await?.json()?;
    let online = answer.as_object().context("presences")?.iter();
    Ok(online.map(|(user, shown)| (user.clone(), shown["metas"].as_array().map_or(0, Vec::len))).collect())
}

/// Waits until all nodes show the same, and exactly those who are there, each once. Returns how long that took.
async fn presences_are_right(stage: &Stage, clients: &Clients) -> Result<Duration> {
    let (began, all) = (Instant::now(), (0..LISTENERS).map(|number| format!("user-{number}")).collect::<BTreeSet<_>>());
    let mut last = Vec::new();
    let right = eventually("presences are equal on all nodes, and nobody is there who isn't", async || {
        last.clear();
        for host in stage.hosts() {
            last.push(online(host).await?);
        }
        let wanted: Vec<_> = clients.present().into_iter().map(|user| (user, 1)).collect();
        Ok((clients.present() == all && last.iter().all(|online| *online == wanted)).then(|| began.elapsed()))
    });
    right.await.with_context(|| format!("the nodes show {last:?}"))
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

/// Checks every promise, while nobody pays or broadcasts. Returns what was explained, and how long the presences took.
async fn check(stage: &Stage, clients: &Clients) -> Result<(Explained, Duration)> {
    clients.set_busy(false);
    eventually("no payment is under way", async || Ok(clients.is_quiet().then_some(()))).await?;
    let took = presences_are_right(stage, clients).await?;
    // Whoever lacks something is told within some seconds.
    eventually("a gap is told", async || Ok(clients.gap().is_none().then_some(())))
        .await
        .with_context(|| format!("a client wasn't told that it lacks the {}", clients.gap().unwrap_or_default()))?;
    clients.check()?;
    let balances = balances(&stage.hosts()[0]).await?;
    for host in stage.hosts() {
        ensure!(balances == self::balances(host).await?, "two nodes have different balances");
    }
    let mut sum = Explained::default();
    for ((account, payments), balance) in ACCOUNTS.iter().zip(clients.payments()).zip(balances) {
        let explained = explain(&payments, balance).with_context(|| format!("the account {account}"))?;
        sum.told += explained.told;
        sum.unknown += explained.unknown;
        sum.stored_unknown += explained.stored_unknown;
    }
    clients.set_busy(true);
    Ok((sum, took))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promises_hold_whatever_happens() -> Result<()> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<usize>()).transpose();
    let (rounds, seed) = (number(ROUNDS)?.unwrap_or_else(|| rounds("nodes::chaos")), number(SEED)?.unwrap_or_default());
    let mut noise = Noise::new(seed as u64);
    let mut stage = Stage::start().await?;
    let clients = Clients::start(stage.balancer.port(), PAYERS, SPEAKERS, LISTENERS);
    let (mut explained, mut longest, mut started) =
        check(&stage, &clients).await.map(|(found, took)| (found, took, 0))?;
    for round in 1..=rounds {
        let trouble = Trouble::choose(&mut noise);
        let passed = async {
            stage.suffer(trouble, &mut noise).await?;
            started += stage.recover().await?;
            check(&stage, &clients).await
        };
        let (found, took) = passed.await.with_context(|| format!("round {round} with the seed {seed}: {trouble:?}"))?;
        println!("round {round}: {trouble:?}; presences were equal after {took:.1?}");
        (explained, longest) = (found, longest.max(took));
    }
    clients.end();
    let (heard, joins) = (clients.heard(), clients.told_to_join.load(std::sync::atomic::Ordering::SeqCst));
    let Explained { told, unknown, stored_unknown } = explained;
    println!(
        "{rounds} rounds with the seed {seed}: {told} payments were told and are stored once, {unknown} are unknown, of which {stored_unknown} are \
         stored; {heard} broadcasts were heard in order, and listeners were told {joins} times to join again; {started} nodes were started \
         again; presences were equal after {longest:.1?} at most"
    );
    ensure!(told > 0 && heard > 0, "the clients did nothing");
    Ok(())
}
