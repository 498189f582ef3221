//! The comparison: each round plays a scenario against all servers, one after the other. So other load of the machine
//! affects all of them.

mod cases;
mod contest;
mod rivals;
mod table;
mod verdict;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use crate::host::guests;
use crate::scenario::reload::{Reload, builds};
use crate::scenario::start::Start;
use crate::target::Hosted;
use rivals::Rivals;
use verdict::Verdict;

/// Measure the host and the floor (the least that a server can need), in alternating rounds
#[derive(Args)]
pub(crate) struct Compare {
    /// The scenarios; all of them if none is named
    #[arg(value_enum)]
    scenarios: Vec<Played>,

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
enum Played {
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
    Deaf,
    /// Each event passes through the plugin's `handle_out` for each member
    Intercepted,
    /// The plugin is replaced each second
    Reload,
    /// From the command to the first client
    Start,
}

impl Played {
    /// The default of a comparison with an older build: the hot paths.
    const HOT: [Self; 3] = [Self::Fanout, Self::Echo, Self::Idle];

    /// The scenarios that can be compared with an older build: those that are played against several servers.
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
        let named = if self.scenarios.is_empty() { &Played::HOT[..] } else { &self.scenarios };
        ensure!(old.is_file(), "{} isn't a file", old.display());
        let rivals = Rivals::builds(&self.hosted, old);
        let mut is_worse = false;
        for played in named {
            ensure!(Played::BY_SERVERS.contains(played), "--against compares fanout, echo, idle, churn and mixed");
            for contest in cases::of(*played, self.quick, &rivals) {
                let table = contest.hold(self.rounds(ROUNDS_AGAINST));
                let verdict = Verdict::of(&table);
                println!("\n{verdict}");
                ensure!(table.failures() == 0, "a build failed");
                is_worse |= verdict.is_worse();
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
        let rivals = Rivals::new(&self.hosted, &self.beside, self.peers);
        let rounds = self.rounds(ROUNDS);
        let mut failures = 0;
        for played in Played::value_variants() {
            if !self.scenarios.is_empty() && !self.scenarios.contains(played) {
                continue;
            }
            for contest in cases::of(*played, self.quick, &rivals) {
                failures += contest.hold(rounds).failures();
            }
            let (host, seconds) = (self.hosted.host.clone(), if self.quick { 2 } else { 5 });
            match played {
                Played::Reload => {
                    println!("\n## Reload\n");
                    Reload { sockets: 50, rounds, seconds, host, builds: builds() }.run()?;
                }
                Played::Start => {
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
