//! Runs a cluster to which everything happens, for longer than the tests do.

use anyhow::Result;
use bennu_test_tiers::{Suite, Tier};
use clap::Args;

use super::fetched::Fetching;
use super::suites::{SuiteRun, chaos};

/// The arguments of `cargo xtask chaos`.
#[derive(Args)]
pub(crate) struct ChaosOptions {
    /// The number of rounds. In each, one thing goes wrong, and then every promise is checked
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// The seed that chooses what goes wrong. The tests use 0
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the rounds. It ends with a line of counts, or with the first promise that was broken.
pub(crate) fn run(options: &ChaosOptions) -> Result<()> {
    let mut run = SuiteRun::new(Tier::Full, Fetching::begin(&[Suite::Postgres]));
    chaos(&mut run, options.rounds, options.seed)
}
