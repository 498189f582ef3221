//! Runs each suite.

use std::env::{self, consts::EXE_EXTENSION};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::available_parallelism;

use anyhow::{Context, Result, bail};
use bennu_test_tiers::{Suite, Tier, VARIABLE};

use super::count::{self, Counts};
use super::fetched::{Fetched, Fetching};
use crate::process::{self, cargo, run as start};
use crate::step::step;
use crate::{bench, chromium, guests, node, page, places};

/// The state that suites share: the tier, the fetched dependencies, whether the host is built, and the number of tests so
/// far.
pub(super) struct Bench {
    tier: Tier,
    fetching: Fetching,
    is_built: bool,
    counts: Counts,
}

impl Bench {
    pub(super) fn new(tier: Tier, fetching: Fetching) -> Self {
        Self { tier, fetching, is_built: false, counts: Counts::default() }
    }

    /// The number of tests since the last call.
    pub(super) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Runs tests and counts them.
    fn tests(&mut self, what: &str, mut command: Command) -> Result<()> {
        command.env(VARIABLE, self.tier.name());
        step(what, || count::run(&mut command, &mut self.counts))
    }

    fn fetched(&mut self) -> Result<&Fetched> {
        self.fetching.wait()
    }

    /// Builds the plugins, and the host with its tests, once in a run.
    fn build(&mut self) -> Result<()> {
        if self.is_built {
            return Ok(());
        }
        let toolchain = self.fetched()?.toolchain.as_ref().context("no compiler for plugins was fetched")?;
        step("plugins", || guests::build(toolchain, guests::Cargo::Speaks))?;
        step("plugins to reload to", || guests::build_variants(toolchain))?;
        // The host and its tests are built together. Otherwise cargo would build their shared crates twice, with
        // different features.
        step("host and its tests", || start(host_cargo("build").arg("--all-targets")))?;
        self.is_built = true;
        Ok(())
    }
}

/// Runs one suite.
pub(super) fn run(suite: Suite, bench: &mut Bench) -> Result<()> {
    match suite {
        Suite::Lint => lint(),
        Suite::Guests => bench.tests("the plugins' tests", guest_tests()),
        Suite::Host => {
            bench.build()?;
            bench.tests("the host's tests", host_cargo("test"))
        }
        Suite::Commands => bench.tests("the commands' tests", command_tests()),
        Suite::Phoenix => {
            with_pages(bench)?;
            bench.tests("the Phoenix client's tests", node_tests("phoenix")?)
        }
        Suite::Clients => {
            with_pages(bench)?;
            step("a client in Rust", || start(client_cargo().arg("build")))?;
            bench.tests("the tests of other clients", node_tests("clients")?)
        }
        Suite::Browser => {
            with_pages(bench)?;
            let chromium = bench.fetched()?.chromium.clone().context("no browser was fetched")?;
            let mut tests = node_tests("browser")?;
            tests.env(chromium::VARIABLE, chromium);
            bench.tests("the browser's tests", tests)
        }
        Suite::Loaded => {
            bench.build()?;
            let _busy = Busy::begin()?;
            let mut outside = host_cargo("test");
            outside.args(["--test", "it"]);
            bench.tests("the outside tests on a busy machine", outside)
        }
        Suite::Bench => bench::smoke(),
    }
}

/// Builds everything that the tests in Node use.
fn with_pages(bench: &mut Bench) -> Result<()> {
    bench.build()?;
    step("pages", page::put_together)
}

fn lint() -> Result<()> {
    const STRICT: [&str; 5] = ["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"];
    step("format", || {
        start(cargo(places::root()).args(["fmt", "--all", "--check"]))?;
        start(guest_cargo().args(["fmt", "--all", "--check"]))?;
        start(client_cargo().args(["fmt", "--all", "--check"]))?;
        start(cargo(&places::peer_sources()).args(["fmt", "--all", "--check"]))
    })?;
    step("lints", || {
        start(cargo(places::root()).args(STRICT))?;
        start(guest_cargo().args(STRICT))?;
        start(client_cargo().args(STRICT))
    })?;
    step("documentation", || {
        start(cargo(places::root()).args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings"))
    })?;
    step("generated bindings", || crate::bindings(true))
}

/// The tests of the plugins, as native code.
fn guest_tests() -> Command {
    let mut command = guest_cargo();
    command.args(["test", "--workspace"]);
    command
}

/// The tests of this program.
fn command_tests() -> Command {
    let mut command = cargo(places::root());
    command.args(["test", "--package", "xtask", "--package", "bennu-bindings"]);
    command
}

/// Cargo for the plugins as native code, in a target directory of their own.
fn guest_cargo() -> Command {
    let mut command = cargo(&places::guest_sources());
    command.env("CARGO_TARGET_DIR", places::target().join("guest-native"));
    command
}

/// Cargo for the client in Rust, in a target directory of its own, because its dependencies are different from the host's.
fn client_cargo() -> Command {
    let mut command = cargo(&places::client_sources().join("rust"));
    command.env("CARGO_TARGET_DIR", places::clients().join("rust"));
    command
}

/// Cargo for the workspace without the developer's commands, because one of them is running.
fn host_cargo(verb: &str) -> Command {
    let mut command = cargo(places::root());
    command.args([verb, "--workspace", "--exclude", "xtask", "--exclude", "bennu-bindings"]);
    with_the_built(&mut command);
    if env::var_os(TEST_THREADS).is_none() {
        command.env(TEST_THREADS, (processors() + WAITING).to_string());
    }
    command
}

/// The variable that sets how many tests Rust's test runner runs at the same time.
const TEST_THREADS: &str = "RUST_TEST_THREADS";

/// How many more tests than processors run at the same time. Most of the `it` tests mostly wait: for a host to start, for
/// a timer, or for a process to end.
const WAITING: usize = 6;

/// How many test files Node runs at the same time. Each file has its own hosts, and its tests also mostly wait.
const NODE_FILES: usize = 3;

fn processors() -> usize {
    available_parallelism().map_or(2, usize::from)
}

/// Node's test runner on the files of `tests/SUITE`.
fn node_tests(suite: &str) -> Result<Command> {
    let mut command = Command::new(node::find()?);
    command.args(["--test", "--test-reporter=spec", &format!("--test-concurrency={NODE_FILES}")]);
    command.args(test_files(&places::root().join("tests").join(suite))?);
    with_the_built(&mut command);
    Ok(command)
}

/// The test files of a folder. The command names each file, because versions of Node treat a folder differently.
fn test_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut tests: Vec<_> = files.into_iter().filter(|file| file.to_string_lossy().ends_with(".test.mjs")).collect();
    if tests.is_empty() {
        bail!("{} contains no test", folder.display());
    }
    tests.sort();
    Ok(tests)
}

/// Sets the variables by which the tests find the built files.
fn with_the_built(command: &mut Command) {
    let target = places::target();
    command.env("BENNU_BIN", target.join("debug").join("bennu").with_extension(EXE_EXTENSION));
    command.env("BENNU_GUESTS", places::guests());
    command.env("BENNU_CLIENTS", places::clients());
    command.env("BENNU_PAGES", places::pages());
    command.env("BENNU_SCREENSHOTS", target.join("screenshots"));
}

/// Processes that only use processor time: two for each processor.
struct Busy(Vec<Child>);

impl Busy {
    fn begin() -> Result<Self> {
        let count = 2 * processors();
        let mut busy = Self(Vec::new());
        for _ in 0..count {
            let spin = Command::new(node::find()?).args(["-e", "for (;;);"]).spawn();
            busy.0.push(spin.context("cannot start a process that takes processor time")?);
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(process::end);
    }
}
