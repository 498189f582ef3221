//! Runs a cluster to which everything happens, for longer than the tests do.

use anyhow::{Result, ensure};
use bennu_test_tiers::{Suite, Tier};
use clap::{Args, ValueEnum};

use super::fetched::Fetching;
use super::suites::{CHAOS, CHAOS_ON_NATS, SuiteRun, nodes};
use crate::nats;
use crate::process::run as start;

/// The arguments of `cargo xtask chaos`.
#[derive(Args)]
pub(crate) struct ChaosOptions {
    /// The number of rounds. In each, one thing goes wrong, and then every promise is checked
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// The seed that chooses what goes wrong. The tests use 0
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What carries the messages between the nodes
    #[arg(long, value_enum, default_value_t = Bus::Postgres)]
    bus: Bus,
    /// The lease of the nodes in milliseconds
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000))]
    lease_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bus {
    /// The database of the store
    Postgres,
    /// A NATS server, which is installed from PyPI
    Nats,
}

/// Runs the rounds. It ends with a line of counts, or with the first promise that was broken.
pub(crate) fn run(options: &ChaosOptions) -> Result<()> {
    let (suites, test): (&[Suite], _) = match options.bus {
        Bus::Postgres => (&[Suite::Chaos], CHAOS),
        Bus::Nats => (&[Suite::Chaos, Suite::Nats], CHAOS_ON_NATS),
    };
    let mut run = SuiteRun::new(Tier::Full, Fetching::begin(suites));
    let mut tests = nodes(&mut run)?;
    let has_nats = tests.get_envs().any(|(name, _)| name == nats::VARIABLE);
    ensure!(options.bus == Bus::Postgres || has_nats, "no NATS server was found; set {} to its path", nats::VARIABLE);
    tests.args(["--", "--nocapture", "--exact", test]);
    tests.env("BENNU_CHAOS_ROUNDS", options.rounds.to_string()).env("BENNU_CHAOS_SEED", options.seed.to_string());
    tests.env("BENNU_TEST_LEASE_MS", options.lease_ms.to_string());
    start(&mut tests)
}
