//! The time from a client's message to a member at another node, beside the same number of messages of the engine alone.

use anyhow::{Context, Result};
use bennu_test_engines::{NatsServer, PostgresServer};

use super::Setup;
use super::nodes::Nodes;
use super::pairs::{Pair, measure};
use crate::rounds::order;
use crate::statistics::{Latency, Spread, shown};

/// Messages a second of all senders together. The first is little load. The second one is the highest rate for which the documents
/// recommend PostgreSQL as the bus.
const RATES: [f64; 2] = [100.0, 2_000.0];

/// How long each rate is measured in a round, in seconds.
const SECONDS: [f64; 2] = [3.0, 2.0];

/// The least factor between the 99th percentiles of the two buses that the documents have to mention.
const MENTIONED: f64 = 5.0;

/// Something that is compared.
struct Candidate {
    name: &'static str,
    /// The place of what it is compared with.
    beside: Option<usize>,
    pairs: Vec<Pair>,
    /// The latencies of each round, for each rate.
    rounds: Vec<[Latency; RATES.len()]>,
}

impl Candidate {
    fn new(name: &'static str, beside: Option<usize>, pairs: Vec<Pair>) -> Self {
        Self { name, beside, pairs, rounds: Vec::new() }
    }

    async fn measure(&mut self, setup: &Setup) -> Result<[Latency; RATES.len()]> {
        let mut measured = [Latency { p50: 0.0, p99: 0.0 }; RATES.len()];
        for ((latency, rate), seconds) in measured.iter_mut().zip(RATES).zip(SECONDS) {
            *latency = measure(&mut self.pairs, rate, setup.seconds(seconds)).await?;
        }
        Ok(measured)
    }

    /// The figures of all rounds at a rate.
    fn figures(&self, rate: usize, figure: fn(&Latency) -> f64) -> impl Iterator<Item = f64> {
        self.rounds.iter().map(move |latencies| figure(&latencies[rate]))
    }
}

/// Measures, and prints the table.
pub(super) async fn run(setup: &Setup, postgres: &PostgresServer, nats: Option<&NatsServer>) -> Result<()> {
    let on_postgres = Nodes::start(&setup.host, "broadcasts", postgres, None)?;
    let on_nats =
        nats.map(|server| Nodes::start(&setup.host, "broadcasts_nats", postgres, Some(server))).transpose()?;
    let mut candidates = vec![
        Candidate::new("to a member at the same node", None, members(&on_postgres, 0).await?),
        Candidate::new("`NOTIFY` of PostgreSQL alone", None, notify(postgres, on_postgres.count()).await?),
        Candidate::new("to a member at another node, on PostgreSQL", Some(1), members(&on_postgres, 1).await?),
    ];
    if let (Some(server), Some(nodes)) = (nats, &on_nats) {
        candidates.push(Candidate::new("publish of NATS alone", None, publish(server, nodes.count()).await?));
        candidates.push(Candidate::new("to a member at another node, on NATS", Some(3), members(nodes, 1).await?));
    }
    // The first round warms up.
    for round in 0..=setup.rounds() {
        for at in order(candidates.len(), round) {
            let measured = candidates[at].measure(setup).await?;
            if round > 0 {
                candidates[at].rounds.push(measured);
            }
        }
    }
    print(&candidates)
}

async fn members(nodes: &Nodes, away: usize) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for at in 0..nodes.count() {
        pairs.push(Pair::of_members(nodes, at, away).await?);
    }
    Ok(pairs)
}

async fn notify(server: &PostgresServer, count: usize) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for at in 0..count {
        pairs.push(Pair::of_notify(server, at).await?);
    }
    Ok(pairs)
}

async fn publish(server: &NatsServer, count: usize) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for at in 0..count {
        pairs.push(Pair::of_publish(server, at).await?);
    }
    Ok(pairs)
}

fn print(candidates: &[Candidate]) -> Result<()> {
    for (rate, messages) in RATES.iter().enumerate() {
        println!("\n| {} broadcasts a second | p50, ms | p99, ms | × the engine alone: p50 | p99 |", shown(*messages));
        println!("| --- | --- | --- | --- | --- |");
        for candidate in candidates {
            let in_ms =
                |figure: fn(&Latency) -> f64| spread(candidate.figures(rate, figure).map(|micros| micros / 1e3));
            let beside = candidate.beside.and_then(|at| candidates.get(at));
            let times = |figure: fn(&Latency) -> f64| match beside {
                Some(beside) => Ok(ratio(candidate, beside, rate, figure)?.to_string()),
                None => anyhow::Ok(String::new()),
            };
            println!(
                "| {} | {} | {} | {} | {} |",
                candidate.name,
                in_ms(|latency| latency.p50)?,
                in_ms(|latency| latency.p99)?,
                times(|latency| latency.p50)?,
                times(|latency| latency.p99)?
            );
        }
        if let (Some(on_postgres), Some(on_nats)) = (candidates.get(2), candidates.get(4)) {
            let tail = ratio(on_postgres, on_nats, rate, |latency| latency.p99)?;
            let verb = if tail.median > MENTIONED { "is more than" } else { "is at most" };
            println!("\nThe p99 on PostgreSQL is {tail} times that on NATS, which {verb} {MENTIONED}.");
        }
    }
    Ok(())
}

/// The ratios of two candidates in the same rounds.
fn ratio(candidate: &Candidate, beside: &Candidate, rate: usize, figure: fn(&Latency) -> f64) -> Result<Spread> {
    spread(candidate.figures(rate, figure).zip(beside.figures(rate, figure)).map(|(own, other)| own / other))
}

fn spread(figures: impl IntoIterator<Item = f64>) -> Result<Spread> {
    Spread::of(figures).context("no round was measured")
}
