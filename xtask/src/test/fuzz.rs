//! Runs the fuzz targets of the host for longer than the tests do, or one input.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::suites::host_cargo;
use crate::lints::linted;
use crate::places;
use crate::process::{self, cargo, run as start};
use crate::step::step;

/// The arguments of `cargo xtask fuzz`.
#[derive(Args)]
pub(crate) struct FuzzOptions {
    /// The target, a name from host/src/fuzz/mod.rs. Without it, all targets run, several at a time
    target: Option<String>,
    /// The number of mutated inputs for each target
    #[arg(long, default_value_t = 1_000_000)]
    runs: usize,
    /// The seed of the mutations. The tests use 1
    #[arg(long, default_value_t = 2)]
    seed: u64,
    /// Run only the input in this file
    #[arg(long, requires = "target", conflicts_with_all = ["runs", "seed", "coverage"])]
    input: Option<PathBuf>,
    /// Use libFuzzer, which is guided by coverage, instead of the tests' mutations. It needs `cargo install cargo-fuzz`
    #[arg(long, requires = "target", conflicts_with = "seed")]
    coverage: bool,
}

/// Runs the targets. An input that makes one panic is written to `target/fuzz/`.
pub(crate) fn run(options: &FuzzOptions) -> Result<()> {
    if options.coverage {
        let runs = format!("-runs={}", options.runs);
        return with_coverage(options.target.as_deref().unwrap_or_default(), &runs);
    }
    let mut tests = linted(host_cargo("test"))?;
    tests.args(["--lib", "--", "--nocapture"]);
    match &options.target {
        Some(target) => tests.args([&format!("fuzz::tests::{target}"), "--exact"]),
        None => tests.arg("fuzz::tests::"),
    };
    tests.env("BENNU_FUZZ_RUNS", options.runs.to_string()).env("BENNU_FUZZ_SEED", options.seed.to_string());
    if let Some(input) = &options.input {
        tests.env("BENNU_FUZZ_INPUT", std::path::absolute(input)?);
    }
    start(&mut tests)
}

/// Why libFuzzer can't run here, if it can't.
pub(super) fn missing() -> Option<String> {
    let is_there = process::on_path("cargo-fuzz").is_some();
    (!is_there)
        .then(|| "there is no cargo-fuzz; `cargo install cargo-fuzz` installs it, and needs a C++ compiler".to_owned())
}

/// Runs each target with libFuzzer for this time.
pub(super) fn each_for(time: Duration) -> Result<()> {
    let mut targets = Vec::new();
    for entry in fs::read_dir(corpora()).with_context(|| format!("cannot read {}", corpora().display()))? {
        targets.push(entry?.file_name().to_string_lossy().into_owned());
    }
    targets.sort();
    let most = format!("-max_total_time={}", time.as_secs());
    targets.iter().try_for_each(|target| step(target, || with_coverage(target, &most)))
}

fn corpora() -> PathBuf {
    places::root().join("host").join("fuzz").join("corpus")
}

/// Runs one target with `cargo-fuzz`, until this option of libFuzzer ends it. The inputs that reach new code are kept in
/// `target/fuzz/corpus/`.
fn with_coverage(target: &str, until: &str) -> Result<()> {
    let (given, found) = (corpora().join(target), places::target().join("fuzz/corpus"));
    if !given.is_dir() {
        bail!("there is no corpus in {}; `cargo xtask fuzz --help` says where the targets are listed", given.display());
    }
    let found = found.join(target);
    fs::create_dir_all(&found)?;
    // Without a sanitizer, because the host has no unsafe code of its own, and a stable toolchain has none. The flags for coverage are
    // stable.
    let mut fuzzer = cargo(&places::root().join("host"));
    fuzzer.args(["fuzz", "run", "--sanitizer", "none", "target"]).args([&found, &given]);
    fuzzer.args(["--", until, "-max_len=4096"]).env("BENNU_FUZZ_TARGET", target);
    start(&mut fuzzer)
}
