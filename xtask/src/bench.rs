//! The benchmarks: builds everything in release, and compares the host with a minimal server.

use std::env::consts::EXE_EXTENSION;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::process::{cargo, run as start};
use crate::step::{note, step};
use crate::toolchain::Toolchain;
use crate::{chromium, guests, languages, nats, node, page, places, postgres};

/// The arguments of `cargo xtask bench`.
#[derive(Args)]
pub(crate) struct Options {
    /// The scenarios: fanout, echo, native, idle, churn, mixed, stalled, intercepted, reload, start, rooms, compression, scripts,
    /// languages, requests, scrapes, cluster; all if none is named. Also board, which runs only if it is named, because it needs a
    /// browser
    scenarios: Vec<String>,
    /// The number of rounds. Each round measures all servers, one after another [default: 7, and 11 with --against]
    #[arg(long)]
    rounds: Option<usize>,
    /// Run a short version of each scenario. This only checks that it works: the numbers have no meaning
    #[arg(long)]
    quick: bool,
    /// Also measure Socket.IO, socketioxide and a plain axum server
    #[arg(long)]
    peers: bool,
    /// Also measure this program. It must accept `--listen ADDRESS`, print `Listening on http://ADDRESS`, and serve the
    /// same channel
    #[arg(long, value_name = "NAME=PROGRAM")]
    beside: Vec<String>,
    /// Also measure this older build of the host, and print whether a delivery, an echo and an idle socket cost the same
    /// in both builds
    #[arg(long, value_name = "PATH", conflicts_with_all = ["peers", "beside"])]
    against: Option<PathBuf>,
}

/// Runs short versions of all scenarios and attacks, for the tests. This only checks that the benchmarks work.
pub(crate) fn smoke() -> Result<()> {
    run(&Options {
        scenarios: Vec::new(),
        rounds: None,
        quick: true,
        peers: false,
        beside: Vec::new(),
        against: None,
    })?;
    attack(&AttackOptions { attacks: Vec::new(), rounds: None, quick: true })
}

/// The arguments of `cargo xtask attack`.
#[derive(Args)]
pub(crate) struct AttackOptions {
    /// The attacks; all if none is named
    attacks: Vec<String>,
    /// The number of pairs of measurements [default: 7]
    #[arg(long)]
    rounds: Option<usize>,
    /// Run one short round of each attack. This only checks that it works: the numbers have no meaning
    #[arg(long, conflicts_with = "rounds")]
    quick: bool,
}

/// Attacks a host that is built in release.
pub(crate) fn attack(options: &AttackOptions) -> Result<()> {
    build_for(&["bennu", "bennu-bench"])?;
    let mut bench = bench_command("attack");
    bench.args(&options.attacks).args(options.quick.then_some("--quick"));
    if let Some(rounds) = options.rounds {
        bench.args(["--rounds", &rounds.to_string()]);
    }
    step("attacks", || start(&mut bench))
}

/// Runs everything at once on a host that is built in release.
pub(crate) fn soak(minutes: f64) -> Result<()> {
    build_for(&["bennu", "bennu-bench"])?;
    step("soak", || start(bench_command("soak").args(["--minutes", &minutes.to_string()])))
}

/// Builds the plugins, and these packages in release. Returns the compiler for plugins.
fn build_for(packages: &[&str]) -> Result<Toolchain> {
    let toolchain = step("compiler for plugins", Toolchain::find)?;
    step("plugins", || guests::build(&toolchain, guests::Cargo::Speaks))?;
    step("host and clients, in release", || {
        note("The first run takes a few minutes.");
        let packages = packages.iter().map(|package| format!("--package={package}"));
        start(cargo(places::root()).args(["build", "--release"]).args(packages))
    })?;
    Ok(toolchain)
}

/// A command of `bennu-bench`.
fn bench_command(command: &str) -> Command {
    let mut bench = Command::new(places::target().join("release").join("bennu-bench").with_extension(EXE_EXTENSION));
    bench.arg(command);
    bench
}

/// The scenarios that don't compare servers. `bennu-bench` has a command for each.
const OWN: [&str; 7] = ["rooms", "compression", SCRIPTS, LANGUAGES, "requests", "scrapes", CLUSTER];

/// The scenario with plugins in TypeScript, and a start with many plugins in several languages.
const SCRIPTS: &str = "scripts";

/// The scenario that compares languages. Without `--quick`, it needs compilers from registries.
const LANGUAGES: &str = "languages";

/// The scenario with three nodes of a cluster. It needs PostgreSQL, and measures NATS if it is there.
const CLUSTER: &str = "cluster";

/// The scenario that measures the page of the plugin `board` in a browser. It is a script of the tests.
const BOARD: &str = "board";

/// Builds everything that the scenarios need, and runs them.
pub(crate) fn run(options: &Options) -> Result<()> {
    options.check()?;
    let toolchain = build_for(&["bennu", "bennu-bench", "bennu-native"])?;
    if options.measures("reload") || options.measures(LANGUAGES) {
        step("plugins to reload to", || guests::build_variants(&toolchain, &places::guests()))?;
    }
    if options.peers {
        step("other servers, in release", build_peers)?;
    }
    if options.compares() {
        step("measurements", || start(&mut options.comparison()))?;
    }
    for own in options.measured_alone() {
        let mut bench = options.bench(own);
        if own == LANGUAGES && !options.quick {
            bench.args(step("plugins in other languages", languages::build)?);
        }
        if own == SCRIPTS && !options.quick {
            bench.args(step("plugins in other languages", languages::for_a_start)?);
        }
        if own == CLUSTER {
            let Some(programs) = postgres::find() else {
                ensure!(!options.names(CLUSTER), "no PostgreSQL was found; install one, or set {}", postgres::VARIABLE);
                note("cluster isn't measured: no PostgreSQL was found");
                continue;
            };
            bench.env(postgres::VARIABLE, programs).envs(nats::find().map(|server| (nats::VARIABLE, server)));
        }
        step(own, || start(&mut bench))?;
    }
    if options.names(BOARD) {
        measure_board(options.quick)?;
    }
    Ok(())
}

/// Measures the page of the plugin `board`, with the plugins and the host that were built in release.
fn measure_board(is_quick: bool) -> Result<()> {
    step("pages", page::put_together)?;
    node::install(&places::root().join("tests"))?;
    let chromium = step("browser", chromium::find)?;
    let mut script = Command::new(node::find()?);
    script.arg(places::root().join("tests").join("browser").join("board_speed.mjs"));
    script.args(is_quick.then_some("--quick"));
    script.env("BENNU_BIN", places::target().join("release").join("bennu").with_extension(EXE_EXTENSION));
    script.env("BENNU_GUESTS", places::guests()).env("BENNU_PAGES", places::pages());
    script.env("BENNU_SCREENSHOTS", places::target().join("screenshots")).env(chromium::VARIABLE, chromium);
    step(BOARD, || start(&mut script))
}

impl Options {
    fn check(&self) -> Result<()> {
        for own in OWN.into_iter().chain([BOARD]) {
            ensure!(self.against.is_none() || !self.names(own), "--against doesn't compare {own}");
        }
        Ok(())
    }

    fn names(&self, scenario: &str) -> bool {
        self.scenarios.iter().any(|named| named == scenario)
    }

    fn measures(&self, scenario: &str) -> bool {
        self.scenarios.is_empty() || self.names(scenario)
    }

    /// The named scenarios that compare servers.
    fn compared(&self) -> impl Iterator<Item = &String> {
        self.scenarios.iter().filter(|named| !OWN.contains(&named.as_str()) && *named != BOARD)
    }

    fn compares(&self) -> bool {
        self.scenarios.is_empty() || self.compared().next().is_some()
    }

    /// The scenarios to measure that have commands of their own.
    fn measured_alone(&self) -> Vec<&'static str> {
        OWN.into_iter().filter(|own| self.against.is_none() && self.measures(own)).collect()
    }

    fn comparison(&self) -> Command {
        let mut bench = self.bench("compare");
        bench.args(self.compared());
        if let Some(old) = &self.against {
            bench.arg("--against").arg(old);
            // Both hosts serve the same builds: an old one lacks what a plugin of today imports.
            for name in ["echo", "chat", "counter"] {
                let first = places::first_components().join(name).with_extension("wasm");
                bench.arg("--plugin").arg(first);
            }
        }
        bench.args(self.peers.then_some("--peers"));
        for beside in &self.beside {
            bench.args(["--beside", beside]);
        }
        bench
    }

    /// A command of `bennu-bench`, with the options that all its commands have.
    fn bench(&self, command: &str) -> Command {
        let mut bench = bench_command(command);
        bench.args(self.quick.then_some("--quick"));
        if let Some(rounds) = self.rounds {
            bench.args(["--rounds", &rounds.to_string()]);
        }
        bench
    }
}

/// Builds the Rust servers, and copies the Node server next to its npm packages. All of them are in the target directory.
fn build_peers() -> Result<()> {
    let sources = places::peer_sources();
    start(cargo(&sources).args(["build", "--release", "--locked"]).env("CARGO_TARGET_DIR", places::peers()))?;
    let (from, to) = (sources.join("socket-io"), places::peers().join("socket-io"));
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    for file in ["package.json", "package-lock.json", "server.mjs"] {
        let place = to.join(file);
        fs::copy(from.join(file), &place).with_context(|| format!("cannot write {}", place.display()))?;
    }
    node::install(&to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(scenarios: &[&str], against: Option<&str>) -> Options {
        Options {
            scenarios: scenarios.iter().copied().map(str::to_owned).collect(),
            rounds: None,
            quick: true,
            peers: false,
            beside: Vec::new(),
            against: against.map(Into::into),
        }
    }

    #[test]
    fn some_scenarios_are_measured_by_commands_of_their_own() {
        let commands = |scenarios: &[&str]| {
            let options = options(scenarios, None);
            (options.compares(), options.measured_alone())
        };
        assert_eq!(commands(&[]), (true, OWN.to_vec()));
        assert_eq!(commands(&["echo"]), (true, vec![]));
        assert_eq!(commands(&["rooms"]), (false, vec!["rooms"]));
        assert_eq!(commands(&["board"]), (false, vec![]));
        assert_eq!(commands(&["compression", "echo"]), (true, vec!["compression"]));
        let options = options(&["rooms", "echo"], None);
        assert_eq!(options.comparison().get_args().collect::<Vec<_>>(), ["compare", "--quick", "echo"]);
        assert_eq!(options.bench("rooms").get_args().collect::<Vec<_>>(), ["rooms", "--quick"]);
    }

    #[test]
    fn a_comparison_with_an_older_host_is_without_them() {
        let hot = options(&[], Some("old/bennu"));
        assert!(hot.check().is_ok() && hot.compares() && hot.measured_alone().is_empty());
        for own in OWN.into_iter().chain([BOARD]) {
            assert!(options(&[own, "echo"], Some("old/bennu")).check().is_err());
        }
    }
}
