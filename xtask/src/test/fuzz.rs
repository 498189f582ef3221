//! Runs the fuzz targets of the host for longer than the tests do, or one input.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use super::suites::host_cargo;
use crate::lints::linted;
use crate::places;
use crate::process::{cargo, run as start};

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
        return with_coverage(options.target.as_deref().unwrap_or_default(), options.runs);
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

/// Runs one target with `cargo-fuzz`. The inputs that reach new code are kept in `target/fuzz/corpus/`.
fn with_coverage(target: &str, runs: usize) -> Result<()> {
    let (given, found) = (places::root().join("host/fuzz/corpus").join(target), places::target().join("fuzz/corpus"));
    if !given.is_dir() {
        bail!("there is no corpus in {}; `cargo xtask fuzz --help` says where the targets are listed", given.display());
    }
    let found = found.join(target);
    std::fs::create_dir_all(&found)?;
    // Without a sanitizer, because the host has no unsafe code of its own, and a stable toolchain has none. The flags for coverage are
    // stable.
    let mut fuzzer = cargo(&places::root().join("host"));
    fuzzer.args(["fuzz", "run", "--sanitizer", "none", "target"]).args([&found, &given]);
    fuzzer.args(["--", &format!("-runs={runs}"), "-max_len=4096"]).env("BENNU_FUZZ_TARGET", target);
    start(&mut fuzzer)
}
