//! The measurements: everything built in release, and the host compared with the least that a server can do.

use std::env::consts::EXE_EXTENSION;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::process::{cargo, run as start};
use crate::step::{note, step};
use crate::toolchain::Toolchain;
use crate::{guests, node, places};

/// How `cargo xtask bench` was called.
#[derive(Args)]
pub(crate) struct Options {
    /// What is measured: fanout, echo, native, idle, churn, mixed, deaf, intercepted, reload, start; all of it if nothing is named
    scenarios: Vec<String>,
    /// Rounds, each of which plays all servers one after the other [default: 7, and 11 with --against]
    #[arg(long)]
    rounds: Option<usize>,
    /// Little of everything: to see that it works, and not how fast it is
    #[arg(long)]
    quick: bool,
    /// Measure Socket.IO, socketioxide and a plain axum server, too
    #[arg(long)]
    peers: bool,
    /// Measure this program, too: it takes `--listen ADDRESS`, says `Listening on http://ADDRESS` and speaks the same channel
    #[arg(long, value_name = "NAME=PROGRAM")]
    beside: Vec<String>,
    /// Measure this older build of the host beside the new one, and tell whether a delivery, an echo and an idle socket cost what
    /// they cost before
    #[arg(long, value_name = "PATH", conflicts_with_all = ["peers", "beside"])]
    against: Option<PathBuf>,
}

/// Measures little of everything, for the tests: that the measurements work.
pub(crate) fn smoke() -> Result<()> {
    run(&Options { scenarios: Vec::new(), rounds: None, quick: true, peers: false, beside: Vec::new(), against: None })
}

/// Builds all that is measured, and measures it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let toolchain = step("compiler for plugins", Toolchain::find)?;
    step("plugins", || guests::build(&toolchain, guests::Cargo::Speaks))?;
    if options.measures("reload") {
        step("plugins to reload to", || guests::build_variants(&toolchain))?;
    }
    step("host and clients, in release", || {
        note("The first time this takes some minutes.");
        let packages = ["bennu", "bennu-bench", "bennu-native"].map(|package| format!("--package={package}"));
        start(cargo(places::root()).args(["build", "--release"]).args(packages))
    })?;
    if options.peers {
        step("other servers, in release", build_peers)?;
    }
    let mut bench = Command::new(places::target().join("release").join("bennu-bench").with_extension(EXE_EXTENSION));
    bench.arg("compare").args(&options.scenarios);
    if let Some(rounds) = options.rounds {
        bench.args(["--rounds", &rounds.to_string()]);
    }
    if let Some(old) = &options.against {
        bench.arg("--against").arg(old);
    }
    bench.args(options.quick.then_some("--quick")).args(options.peers.then_some("--peers"));
    for beside in &options.beside {
        bench.args(["--beside", beside]);
    }
    step("measurements", || start(&mut bench))
}

impl Options {
    fn measures(&self, scenario: &str) -> bool {
        self.scenarios.is_empty() || self.scenarios.iter().any(|named| named == scenario)
    }
}

/// Builds the servers in Rust, and puts the one for Node beside its packages: all in the target directory.
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
