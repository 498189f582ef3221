//! Runs every check and every test, in two tiers. `tests/tiers` says which suite belongs to which tier.

pub(crate) mod chaos;
mod count;
mod deny;
mod failures;
mod fetched;
mod files;
pub(crate) mod fuzz;
mod report;
mod suites;

use std::time::Instant;

use anyhow::{Result, bail};
use bennu_test_tiers::{Suite, Tier};
use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::step::{note, paint};
use fetched::Fetching;
use report::{Outcome, Report};
use suites::SuiteRun;

/// The arguments of `cargo xtask test`.
#[derive(Args)]
pub(crate) struct Options {
    /// The suites to run, with their dependencies. `full` means every suite, with all rounds. No name means every suite
    /// of the usual tier
    #[arg(value_parser = PossibleValuesParser::new(names()))]
    suites: Vec<String>,
    /// Run the other suites after a failure, too
    #[arg(long)]
    keep_going: bool,
}

/// The argument that selects the full tier.
const FULL: &str = "full";

fn names() -> Vec<&'static str> {
    Suite::ALL.iter().map(|suite| suite.name()).chain([FULL]).collect()
}

impl Options {
    fn tier(&self) -> Tier {
        if self.suites.iter().any(|name| name == FULL) { Tier::Full } else { Tier::Usual }
    }

    /// The reason why a suite doesn't run, or `None` if it runs.
    fn skips(&self, suite: Suite) -> Option<&'static str> {
        let is_named = self.suites.iter().any(|name| name == suite.name());
        let names_some = self.suites.iter().any(|name| name != FULL);
        if is_named {
            None
        } else if names_some {
            Some("not selected")
        } else if suite.tier() > self.tier() {
            Some("only in `cargo xtask test full`")
        } else {
            None
        }
    }
}

/// Runs the suites. After the first failure, no further suite runs, unless the options say so. The output always ends with a table
/// of all suites.
pub(crate) fn run(options: &Options) -> Result<()> {
    let wanted: Vec<Suite> = Suite::ALL.into_iter().filter(|suite| options.skips(*suite).is_none()).collect();
    let tier = options.tier();
    let mut run = SuiteRun::new(tier, Fetching::begin(&wanted));
    let mut report = Report::new(tier);
    let mut failed = Vec::new();
    for suite in Suite::ALL {
        let outcome = match (options.skips(suite), failed.first()) {
            (Some(why), _) => Outcome::Skipped(why.to_owned()),
            (None, Some(earlier)) if !options.keep_going => Outcome::Skipped(format!("`{earlier}` failed")),
            (None, _) => {
                eprintln!("{} {}", paint("1;36", suite.name()), paint("2", suite.about()));
                let began = Instant::now();
                let outcome = match suites::missing(suite, &mut run) {
                    Ok(Some(why)) => Outcome::Skipped(why),
                    Ok(None) => Outcome::of(suites::run(suite, &mut run), began.elapsed(), run.take_counts()),
                    Err(error) => Outcome::of(Err(error), began.elapsed(), run.take_counts()),
                };
                if matches!(outcome, Outcome::Failed { .. }) {
                    failed.push(suite.name());
                }
                outcome
            }
        };
        report.add(suite, outcome);
    }
    println!("{report}");
    match &failed[..] {
        [] => Ok(()),
        [suite] => {
            note(&format!("Run it alone with `cargo xtask test {suite}`."));
            bail!("the suite `{suite}` failed")
        }
        several => bail!("suites failed: {}", several.join(", ")),
    }
}
