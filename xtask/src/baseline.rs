//! Builds the host and the hot path benchmark of an older revision, for comparison with the current one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::process::{self, cargo};
use crate::step::{note, step};
use crate::{guests, places, toolchain::Toolchain};

/// The arguments of `cargo xtask baseline`.
#[derive(Args)]
pub(crate) struct Options {
    /// The revision: a commit, branch or tag of git
    revision: String,
}

/// The arguments of `cargo xtask instructions`.
#[derive(Args)]
pub(crate) struct Instructions {
    /// The benchmark of an older revision, built by `cargo xtask baseline`. Prints ratios, and fails if one is above 1.01
    #[arg(long, value_name = "PATH")]
    against: Option<PathBuf>,
}

/// The hot paths that run no guest, and the number of repetitions of each. Callgrind is about fifty times slower than the
/// processor. The start of the program varies by a hundred thousand instructions, so a path of few instructions needs many
/// repetitions.
const PATHS: [(&str, usize); 4] = [("decode", 2_000), ("encode", 100_000), ("commit", 20_000), ("fanout", 500)];

/// The highest ratio of instructions that counts as unchanged.
const UNCHANGED_MAX: f64 = 1.01;

/// Builds a revision's host and benchmark, and copies them to `target/baseline/REVISION/`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let git = |arguments: &[&str]| process::read(Command::new("git").current_dir(places::root()).args(arguments));
    let revision = git(&["rev-parse", "--short=12", "--verify", &format!("{}^{{commit}}", options.revision)])
        .with_context(|| format!("git knows no revision `{}`", options.revision))?;
    let place = places::target().join("baseline").join(&revision);
    let source = place.join("source");
    if !source.join("Cargo.toml").is_file() {
        fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
        let shown = source.display().to_string();
        git(&["worktree", "prune"])?;
        git(&["worktree", "add", "--detach", "--force", &shown, &revision])?;
    }
    let work = places::target().join("baseline").join("build");
    step("the older host, in release", || {
        note("The first run takes a few minutes.");
        process::run(cargo(&source).args(["build", "--release", "--package", "bennu"]).env("CARGO_TARGET_DIR", &work))
    })?;
    // Copied at once: the benchmark changes the source, and its build replaces the host's executable.
    keep(&work.join("release/bennu"), &place.join("bennu"))?;
    let hot = step("the older benchmark", || {
        reserve_little(&source)?;
        let hot = hot(&source, &work);
        process::run(Command::new("git").current_dir(&source).args(["checkout", "--", POOL]))?;
        hot
    })?;
    keep(&hot, &place.join("hot"))?;
    note(&format!("cargo xtask bench --against {}", place.join("bennu").display()));
    note(&format!("cargo xtask instructions --against {}", place.join("hot").display()));
    Ok(())
}

/// Copies a file that was built to the place where it stays.
fn keep(built: &Path, place: &Path) -> Result<()> {
    fs::copy(built, place).with_context(|| format!("cannot copy {} to {}", built.display(), place.display()))?;
    Ok(())
}

/// Where the first releases set the number of instances. Those reserve more address space for them than Valgrind can map.
const POOL: &str = "host/src/plugin/engine.rs";

/// Lets an older host reserve space for few instances. The hot paths that are counted run no guest.
fn reserve_little(source: &Path) -> Result<()> {
    let pool = source.join(POOL);
    let text = fs::read_to_string(&pool).with_context(|| format!("cannot read {}", pool.display()))?;
    let few = text.replace("INSTANCES_MAX: u32 = 4096", "INSTANCES_MAX: u32 = 16").replace(
        "        .epoch_interruption(true)",
        "        .memory_reservation(64 << 20)\n        .epoch_interruption(true)",
    );
    fs::write(&pool, few).with_context(|| format!("cannot write {}", pool.display()))
}

/// Builds the hot path benchmark in `source`, and returns the path of its executable.
fn hot(source: &Path, work: &Path) -> Result<PathBuf> {
    let mut command = cargo(source);
    command.args(["bench", "--package", "bennu", "--bench", "hot", "--no-run", "--message-format", "json"]);
    let messages = process::read(command.env("CARGO_TARGET_DIR", work))?;
    let artefacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_hot = |message: &Value| message["target"]["name"] == "hot";
    let found = artefacts.filter(is_hot).find_map(|message| Some(message["executable"].as_str()?.into()));
    found.context("cargo named no executable for the benchmark `hot`")
}

/// Counts the instructions of each hot path with Callgrind, and prints them.
pub(crate) fn instructions(options: &Instructions) -> Result<()> {
    if process::on_path("valgrind").is_none() {
        bail!("valgrind isn't installed; on Debian: sudo apt-get install valgrind");
    }
    let toolchain = step("compiler for plugins", Toolchain::find)?;
    step("plugins", || guests::build(&toolchain, guests::Cargo::Speaks))?;
    let new = step("benchmark, in release", || hot(places::root(), &places::target()))?;
    let mut is_more = false;
    println!("{:10} {:>14} {:>14} {:>8}", "", "instructions", "before", "ratio");
    for (name, count) in PATHS {
        let now = each(&new, &places::guests(), name, count)?;
        let Some(old) = &options.against else {
            println!("{name:10} {now:>14.0}");
            continue;
        };
        // An older host refuses what today's components import.
        let before = each(old, &places::first_components(), name, count)?;
        let ratio = now / before;
        is_more |= ratio > UNCHANGED_MAX;
        println!("{name:10} {now:>14.0} {before:>14.0} {ratio:>8.3}");
    }
    if is_more {
        bail!("a hot path needs more than {UNCHANGED_MAX} times as many instructions as before");
    }
    Ok(())
}

/// The instructions of one repetition: the difference between `2 * count` and `count` repetitions, divided by `count`. So
/// the start of the program doesn't count.
fn each(hot: &Path, guests: &Path, name: &str, count: usize) -> Result<f64> {
    Ok((collected(hot, guests, name, 2 * count)? - collected(hot, guests, name, count)?) / count as f64)
}

fn collected(hot: &Path, guests: &Path, name: &str, count: usize) -> Result<f64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(hot).args([name, &count.to_string()]);
    let output = valgrind.env("BENNU_GUESTS", guests).output().context("cannot start valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    // A benchmark that fails has executed instructions, too, but always the same number.
    if !output.status.success() {
        bail!("{} {name} failed under valgrind ({}): {said}", hot.display(), output.status);
    }
    let number = said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    number.with_context(|| format!("valgrind counted nothing ({}): {said}", output.status))
}
