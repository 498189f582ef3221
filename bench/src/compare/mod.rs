//! The comparison: each round plays a scenario against all servers, one after the other. So other load of the machine
//! affects all of them.

mod cases;
mod comparison;
mod cost_change;
mod servers;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use crate::host::guests;
use crate::scenario::reload::{Reload, builds};
use crate::scenario::start::Start;
use crate::target::Hosted;
use cost_change::CostChange;
use servers::Servers;

/// Measure the host and the floor (the least that a server can need), in alternating rounds
#[derive(Args)]
pub(crate) struct Compare {
    /// The scenarios; all of them if none is named
    #[arg(value_enum)]
    scenarios: Vec<ScenarioName>,

    /// Rounds [default: 7, and 11 with --against]
    #[arg(long)]
    rounds: Option<usize>,

    /// Run everything for a short time: tests the scenarios, but the figures are not reliable
    #[arg(long)]
    quick: bool,

    #[command(flatten)]
    hosted: Hosted,

    /// Also measure Socket.IO, socketioxide and a plain axum server, as `cargo xtask bench --peers` builds them
    #[arg(long)]
    peers: bool,

    /// Also measure this program, which has NAME in the table: it takes `--listen ADDRESS`, prints `Listening on
    /// http://ADDRESS` and serves the same channel; may be given more than once
    #[arg(long, value_name = "NAME=PROGRAM", value_parser = named)]
    beside: Vec<(String, PathBuf)>,

    /// Compare only with this older build of the host, with the same plugins: prints whether a delivery, an echo and an
    /// idle socket cost more than before, and exits with status 1 if one does
    #[arg(long, value_name = "PATH", conflicts_with_all = ["peers", "beside"])]
    against: Option<PathBuf>,
}

/// The default number of rounds.
const ROUNDS: usize = 7;

/// The default number of rounds against an older build. It is higher because differences of a few hundredths matter.
const ROUNDS_AGAINST: usize = 11;

/// A scenario of the comparison.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum ScenarioName {
    /// One socket sends shouts and a thousand receive them, with two windows; and many topics
    Fanout,
    /// Each socket sends a message and gets it back
    Echo,
    /// A channel as a plugin, and the same channel as native code in the same host
    Native,
    /// Connections that send nothing
    Idle,
    /// Sockets connect and close
    Churn,
    /// A mixture of all, at a constant rate
    Mixed,
    /// Some sockets never read
    Stalled,
    /// Each event passes through the plugin's `handle_out` for each member
    Intercepted,
    /// The plugin is replaced each second
    Reload,
    /// From the command to the first client
    Start,
}

impl ScenarioName {
    /// The default of a comparison with an older build: the hot paths.
    const HOT: [Self; 3] = [Self::Fanout, Self::Echo, Self::Idle];

    /// The scenarios that can be compared with an older build: those that are measured against several servers.
    const BY_SERVERS: [Self; 5] = [Self::Fanout, Self::Echo, Self::Idle, Self::Churn, Self::Mixed];
}

impl Compare {
    pub(crate) fn run(&self) -> Result<()> {
        match &self.against {
            Some(old) => self.compare_with(old),
            None => self.compare(),
        }
    }

    fn compare_with(&self, old: &Path) -> Result<()> {
        let named = if self.scenarios.is_empty() { &ScenarioName::HOT[..] } else { &self.scenarios };
        ensure!(old.is_file(), "{} isn't a file", old.display());
        let servers = Servers::builds(&self.hosted, old);
        let mut is_worse = false;
        for name in named {
            ensure!(ScenarioName::BY_SERVERS.contains(name), "--against compares fanout, echo, idle, churn and mixed");
            for comparison in cases::of(*name, self.quick, &servers) {
                let table = comparison.run(self.rounds(ROUNDS_AGAINST));
                let change = CostChange::of(&table);
                println!("\n{change}");
                ensure!(table.failures() == 0, "a build failed");
                is_worse |= change.is_worse();
            }
        }
        ensure!(!is_worse, "a scenario costs more than before");
        Ok(())
    }

    fn rounds(&self, usual: usize) -> usize {
        let rounds = self.rounds.unwrap_or(usual);
        if self.quick { rounds.min(2) } else { rounds }
    }

    fn compare(&self) -> Result<()> {
        let servers = Servers::new(&self.hosted, &self.beside, self.peers);
        let rounds = self.rounds(ROUNDS);
        let mut failures = 0;
        for name in ScenarioName::value_variants() {
            if !self.scenarios.is_empty() && !self.scenarios.contains(name) {
                continue;
            }
            for comparison in cases::of(*name, self.quick, &servers) {
                failures += comparison.run(rounds).failures();
            }
            let (host, seconds) = (self.hosted.host.clone(), if self.quick { 2 } else { 5 });
            match name {
                ScenarioName::Reload => {
                    println!("\n## Reload\n");
                    Reload { sockets: 50, rounds, seconds, host, builds: builds() }.run()?;
                }
                ScenarioName::Start => {
                    println!("\n## Start\n");
                    Start { rounds, plugins: 10, host, guests: guests() }.run()?;
                }
                _ => {}
            }
        }
        ensure!(failures == 0, "{failures} of the servers failed");
        Ok(())
    }
}

/// Parses `NAME=PROGRAM`.
fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, program) = text.split_once('=').ok_or("expected NAME=PROGRAM")?;
    Ok((name.to_owned(), program.into()))
}
