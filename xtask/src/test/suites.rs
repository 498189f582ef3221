//! Runs each suite.

use std::env::{self, consts::EXE_EXTENSION};
use std::ffi::OsStr;
use std::process::{Child, Command};
use std::thread::{self, available_parallelism};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bennu_test_tiers::{Suite, Tier, VARIABLE};

use super::count::{self, Counts};
use super::deny;
use super::fetched::{Fetched, Fetching};
use super::{files, fuzz};
use crate::lints::linted;
use crate::process::{self, cargo, run as start};
use crate::step::{failed, step};
use crate::{bench, chromium, dist, guests, nats, node, package, page, places, postgres};

/// The state that suites share: the tier, the fetched dependencies, whether the host is built, and the number of tests so
/// far.
pub(super) struct SuiteRun {
    tier: Tier,
    fetching: Fetching,
    is_built: bool,
    counts: Counts,
}

impl SuiteRun {
    pub(super) fn new(tier: Tier, fetching: Fetching) -> Self {
        Self { tier, fetching, is_built: false, counts: Counts::default() }
    }

    /// The number of tests since the last call.
    pub(super) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Runs tests and counts them.
    fn tests(&mut self, what: &str, command: Command) -> Result<()> {
        self.tests_of(self.tier, what, command)
    }

    /// Runs tests with the number of rounds of a tier, and counts them.
    fn tests_of(&mut self, tier: Tier, what: &str, mut command: Command) -> Result<()> {
        command.env(VARIABLE, tier.name());
        if let Some(toolchain) = &self.fetched()?.toolchain {
            command.envs(toolchain.variables().map(|(_, variable, value)| (variable, value)));
        }
        step(what, || count::run(&mut command, &mut self.counts))
    }

    /// Runs the test files of `tests/SUITE` in Node, with these variables.
    fn in_node(&mut self, what: &str, suite: &str, variables: &[(&str, &OsStr)]) -> Result<()> {
        for (which, mut command) in files::runs(suite, self.tier)? {
            command.envs(variables.iter().copied());
            self.tests(&format!("{what}{which}"), command)?;
        }
        Ok(())
    }

    fn fetched(&mut self) -> Result<&Fetched> {
        self.fetching.wait()
    }

    /// Builds and lints the host with its tests, and builds the plugins, once in a run.
    fn build(&mut self) -> Result<()> {
        if self.is_built {
            return Ok(());
        }
        let fetching = &mut self.fetching;
        step("the host, its tests and the plugins", || {
            // While one build waits for its last crate, the other one uses the processors.
            thread::scope(|scope| {
                // Its error is shown at once, because the other build may take some more minutes.
                let plugins = scope.spawn(|| build_plugins(fetching).inspect_err(failed));
                // The host and its tests are built together. Otherwise cargo would build their shared crates twice, with
                // different features.
                let host = linted(host_cargo("build")).and_then(|mut cargo| start(cargo.arg("--all-targets")));
                let plugins = plugins.join().map_err(|_| anyhow!("panicked while building the plugins"))?;
                host.and(plugins)
            })
        })?;
        self.is_built = true;
        Ok(())
    }
}

/// Builds the plugins, and the variants that the tests reload to.
fn build_plugins(fetching: &mut Fetching) -> Result<()> {
    let toolchain = fetching.wait()?.toolchain.as_ref().context("no compiler for plugins was fetched")?;
    guests::build_for_tests(toolchain, guests::Cargo::IsQuiet)
}

/// Runs one suite.
pub(super) fn run(suite: Suite, run: &mut SuiteRun) -> Result<()> {
    match suite {
        Suite::Lint => lint(run),
        Suite::Guests => run.tests("the plugins' tests", linted(guest_cargo(&["test", "--workspace"]))?),
        Suite::Host => {
            run.build()?;
            host_tests(run)
        }
        Suite::Commands => COMMANDS.iter().try_for_each(|package| {
            run.tests(&format!("the tests of {package}"), linted(command_cargo("test", package))?)
        }),
        Suite::Phoenix => {
            with_pages(run)?;
            run.in_node("the Phoenix client's tests", "phoenix", &[])
        }
        Suite::Clients => {
            with_pages(run)?;
            step("a client in Rust", || start(&mut linted(client_cargo(&["build", "--all-targets"]))?))?;
            run.in_node("the tests of other clients", "clients", &[])
        }
        Suite::Browser => {
            with_pages(run)?;
            let chromium = run.fetched()?.chromium.clone().context("no browser was fetched")?;
            run.in_node("the browser's tests", "browser", &[(chromium::VARIABLE, chromium.as_os_str())])
        }
        Suite::Packages => {
            run.build()?;
            run.fetched()?;
            let host = places::target().join("debug").join("bennu").with_extension(EXE_EXTENSION);
            package::pack(&host)?;
            package::crates::verify()?;
            dist::with_built(&host)?;
            run.in_node("the tests of the packages", "packages", &[])
        }
        Suite::Chaos => chaos_on_postgres(run),
        Suite::Postgres => on_postgres(run),
        Suite::Nats => bus_on_nats(run),
        Suite::Proxies => {
            run.build()?;
            run.fetched()?;
            run.in_node("the tests of the proxies", "proxies", &[])
        }
        Suite::Languages => {
            run.build()?;
            let fetched = run.fetched()?;
            let path = fetched.compilers.as_ref().context("no compilers were fetched")?.path()?;
            let chromium = fetched.chromium.clone().context("no browser was fetched")?;
            let variables = [("PATH", path.as_os_str()), (chromium::VARIABLE, chromium.as_os_str())];
            run.in_node("the tests of other languages", "languages", &variables)
        }
        Suite::Models => {
            run.tests("the models of threads", models())?;
            lease_of_nodes(run)
        }
        Suite::Deny => deny::run(),
        Suite::Loaded => {
            run.build()?;
            let _busy = Busy::begin()?;
            let mut outside = linted(host_cargo("test"))?;
            outside.args(["--test", "it"]);
            // What only many rounds find, the suite `host` has found. This one looks for what only a busy machine shows.
            run.tests_of(Tier::Usual, "the tests of the binary on a busy machine", outside)
        }
        Suite::Docs => step("documentation", || start(&mut documentation(&["--workspace"]))),
        Suite::Bench => bench::smoke(),
        Suite::Soak => bench::soak(SOAK_MINUTES),
        Suite::Fuzz => fuzz::each_for(FUZZ_TIME),
    }
}

/// Why a suite can't run here, though nothing is wrong.
pub(super) fn missing(suite: Suite, run: &mut SuiteRun) -> Result<Option<String>> {
    let fetched = match suite {
        Suite::Chaos | Suite::Postgres | Suite::Nats => run.fetched()?,
        Suite::Fuzz => return Ok(fuzz::missing()),
        _ => return Ok(None),
    };
    Ok(match suite {
        Suite::Chaos | Suite::Postgres if fetched.postgres.is_none() => Some(no_postgres()),
        Suite::Nats if fetched.nats.is_none() => {
            Some(format!("no NATS server was found; install one, or set {}", nats::VARIABLE))
        }
        _ => None,
    })
}

fn no_postgres() -> String {
    format!("no PostgreSQL was found; install one, or set {}", postgres::VARIABLE)
}

/// The tests of the host about storage that don't look into the files of a data directory.
const STORED: [&str; 9] = [
    "storage::",
    "entries::",
    "entry_upgrades::",
    "schedules::",
    "idempotency::",
    "rooms::",
    "store_limits::",
    "upgrades::",
    "restarts::",
];

/// Those among them that do, that have several data directories, or that need a disk of this machine to fail.
const OF_FILES: [&str; 8] = [
    "a_host_does_not_start_with_an_empty_store_file",
    "a_store_is_exported_and_imported_as_json_lines",
    "a_store_works_again_when_its_disk_has_room",
    "an_export_is_readable_only_by_its_owner",
    "an_import_uses_the_limits_of_the_host",
    "disk",
    "new_ids_sort_after_stored_ids_whatever_the_clock_says",
    "the_warning_about_a_readable_data_directory",
];

/// The tests of what every bus and every table of a cluster does, with one engine.
fn conformance(engine: &str) -> Result<Command> {
    let mut command = linted(host_cargo("test"))?;
    command.args(["--test", "conformance", "--", engine]);
    Ok(command)
}

fn bus_on_nats(run: &mut SuiteRun) -> Result<()> {
    let server = run.fetched()?.nats.clone().context("no NATS server was found")?;
    let mut tests = conformance("nats")?;
    tests.env(nats::VARIABLE, &server);
    run.tests("the tests of the bus on NATS", tests)?;
    // The nodes have their table and their store on PostgreSQL.
    let Some(programs) = run.fetched()?.postgres.clone() else {
        run.counts.leave_out("the tests of nodes on NATS", &no_postgres());
        return Ok(());
    };
    run.build()?;
    let mut nodes = linted(host_cargo("test"))?;
    nodes.args(["--test", "nodes", "--", NODES_AT_ONCE, "nats::", CHAOS_ON_NATS]);
    nodes.env(postgres::VARIABLE, programs).env(nats::VARIABLE, server);
    run.tests("the tests of nodes on NATS", nodes)
}

/// Tests that limit how long something may take, or that use all processors. With all their rounds they run alone: beside other tests,
/// they would measure those.
const ALONE: [&str; 5] = [
    "backup::a_backup_during_writes_is_a_state_that_existed",
    "large_messages::no_message_of_the_maximum_size_exceeds_the_default_cpu_time",
    "replacements::load::",
    "client_limits::a_neighbour_is_answered_during_a_limited_flood",
    "http::hostile::hostile_servers_do_not_slow_a_neighbour_down",
];

fn host_tests(run: &mut SuiteRun) -> Result<()> {
    let mut tests = linted(host_cargo("test"))?;
    // One run shows all failures. The program with the tests from outside, the longest one, comes last.
    tests.arg("--no-fail-fast");
    if run.tier == Tier::Usual {
        return run.tests("the host's tests", tests);
    }
    tests.arg("--");
    for name in ALONE {
        tests.args(["--skip", name]);
    }
    run.tests("the host's tests", tests)?;
    let mut alone = linted(host_cargo("test"))?;
    alone.args(["--test", "it", "--", "--test-threads=1"]).args(ALONE);
    run.tests("the host's tests that run alone", alone)
}

/// Each test of nodes has three hosts with short leases, which must get processor time.
const NODES_AT_ONCE: &str = "--test-threads=2";

/// The names of the test in which everything happens to a cluster, on either bus.
pub(super) const CHAOS: &str = "chaos::promises_hold_whatever_happens";
pub(super) const CHAOS_ON_NATS: &str = "chaos::promises_hold_on_nats_whatever_happens";

/// Tests that wait until a node is dead. They run with the shortest lease, and with the default one, too.
const WITH_LEASES: &str = "deaths::";

/// The default of a lease, in milliseconds.
const DEFAULT_LEASE: &str = "10000";

/// The environment variable with the length of the leases of [`WITH_LEASES`].
const LEASE: &str = "BENNU_TEST_LEASE_MS";

/// Builds the tests of nodes, and returns the command that runs them.
pub(super) fn nodes(run: &mut SuiteRun) -> Result<Command> {
    run.build()?;
    let fetched = run.fetched()?;
    let programs = fetched.postgres.clone().context("no PostgreSQL was found")?;
    let nats = fetched.nats.clone();
    let mut tests = linted(host_cargo("test"))?;
    tests.args(["--test", "nodes"]).env(postgres::VARIABLE, programs);
    tests.envs(nats.map(|server| (nats::VARIABLE, server)));
    Ok(tests)
}

/// Also checks that the checks themselves find what they are to find.
fn chaos_on_postgres(run: &mut SuiteRun) -> Result<()> {
    let mut tests = nodes(run)?;
    tests.args(["--", "chaos::", "--skip", CHAOS_ON_NATS]);
    run.tests("a cluster to which everything happens", tests)
}

fn on_postgres(run: &mut SuiteRun) -> Result<()> {
    run.build()?;
    let programs = run.fetched()?.postgres.clone().context("no PostgreSQL was found")?;
    let tests = |test: &str| -> Result<Command> {
        let mut command = linted(host_cargo("test"))?;
        command.args(["--test", test]).env(postgres::VARIABLE, &programs);
        Ok(command)
    };
    run.tests("the tests of the store on PostgreSQL", tests("postgres")?)?;
    let mut cluster = conformance("postgres")?;
    cluster.env(postgres::VARIABLE, &programs);
    run.tests("the tests of the cluster on PostgreSQL", cluster)?;
    // The suites `chaos` and `nats` run the others.
    let mut nodes = tests("nodes")?;
    nodes.args(["--", NODES_AT_ONCE, "--skip", "chaos::", "--skip", "nats::"]);
    run.tests("the tests of nodes on PostgreSQL", nodes)?;
    let mut deaths = tests("nodes")?;
    deaths.args(["--", NODES_AT_ONCE, WITH_LEASES]).env(LEASE, DEFAULT_LEASE);
    run.tests("the tests of nodes that die, with the default lease", deaths)?;
    let mut stored = tests("it")?;
    stored.env("BENNU_TEST_STORE", "postgres").arg("--").args(STORED);
    for name in OF_FILES {
        stored.args(["--skip", name]);
    }
    run.tests("the host's tests of storage on PostgreSQL", stored)
}

/// Builds everything that the tests in Node use.
fn with_pages(run: &mut SuiteRun) -> Result<()> {
    run.build()?;
    step("pages", page::put_together)
}

/// Checks everything that can be checked without a test. The lints come with the builds that the tests need.
fn lint(run: &mut SuiteRun) -> Result<()> {
    const FORMAT: [&str; 3] = ["fmt", "--all", "--check"];
    const BUILD: [&str; 3] = ["build", "--workspace", "--all-targets"];
    step("format", || {
        start(cargo(places::root()).args(FORMAT))?;
        start(&mut guest_cargo(&FORMAT))?;
        start(&mut client_cargo(&FORMAT))?;
        start(cargo(&places::peer_sources()).args(FORMAT))?;
        // Packages outside of the workspace.
        ["fuzz", "loom"].iter().try_for_each(|name| start(cargo(&places::root().join("host").join(name)).args(FORMAT)))
    })?;
    run.build()?;
    // `--all-targets` leaves a test out that doesn't run by default.
    step("the test of the model of the lease", || start(linted(host_cargo("build"))?.args(["--test", "model"])))?;
    step("the developer's commands, and the plugins natively", || {
        // In target directories of their own. So while one build waits for a large crate, the other one uses the processors.
        thread::scope(|scope| {
            let natively = scope.spawn(|| start(linted(guest_cargo(&BUILD))?.arg("--quiet")).inspect_err(failed));
            let commands = COMMANDS
                .iter()
                .try_for_each(|package| start(linted(command_cargo("build", package))?.arg("--all-targets")));
            let natively = natively.join().map_err(|_| anyhow!("panicked while building the plugins"))?;
            commands.and(natively)
        })
    })?;
    step("generated bindings", || crate::bindings(true))?;
    step("the SDK's documentation", || start(&mut documentation(&["--package", "bennu-guest"])))
}

/// Cargo for the documentation of some packages. A link that leads nowhere is an error.
fn documentation(packages: &[&str]) -> Command {
    let mut command = cargo(places::root());
    command.args(["doc", "--no-deps"]).args(packages).env("RUSTDOCFLAGS", "-Dwarnings");
    command
}

/// The packages of this program and of the generator of bindings. Each is built alone, as `cargo xtask` and its command
/// `bindings` build it: together, their dependencies would have more features, so cargo would compile them again.
const COMMANDS: [&str; 2] = ["xtask", "bennu-bindings"];

/// Cargo for one of [`COMMANDS`].
fn command_cargo(verb: &str, package: &str) -> Command {
    let mut command = cargo(places::root());
    command.args([verb, "--package", package]);
    command
}

/// Cargo for the plugins as native code, in a target directory of their own.
fn guest_cargo(arguments: &[&str]) -> Command {
    let mut command = cargo(&places::guest_sources());
    command.args(arguments).env("CARGO_TARGET_DIR", places::target().join("guest-native"));
    command
}

/// Cargo for the models of what threads send to a reactor. They are compiled with loom's primitives, in a target directory of their own.
fn models() -> Command {
    let mut command = cargo(&places::root().join("host").join("loom"));
    command.args(["test", "--release"]);
    command.env("RUSTFLAGS", "--cfg loom -Dwarnings").env("CARGO_TARGET_DIR", places::target().join("loom"));
    command
}

/// Checks the model of the lease of a cluster's nodes, if Spin is there.
fn lease_of_nodes(run: &mut SuiteRun) -> Result<()> {
    if !run.fetched()?.has_spin {
        run.counts.leave_out("the model of the lease", "no Spin or no C compiler was found; install them");
        return Ok(());
    }
    let mut tests = linted(command_cargo("test", "bennu-cluster"))?;
    tests.args(["--test", "model"]);
    run.tests("the model of the lease", tests)
}

/// Cargo for the client in Rust, in a target directory of its own, because its dependencies are different from the host's.
fn client_cargo(arguments: &[&str]) -> Command {
    let mut command = cargo(&places::client_sources().join("rust"));
    command.args(arguments).env("CARGO_TARGET_DIR", places::clients().join("rust"));
    command
}

/// Cargo for the workspace without the developer's commands. Their dependencies would change the features with which the
/// host's are compiled.
pub(super) fn host_cargo(verb: &str) -> Command {
    let mut command = cargo(places::root());
    command.args([verb, "--workspace", "--exclude", "xtask", "--exclude", "bennu-bindings"]);
    with_the_built(&mut command);
    if env::var_os(TEST_THREADS).is_none() {
        command.env(TEST_THREADS, (processors() + WAITING).to_string());
    }
    command
}

/// The minutes of the suite `soak`.
const SOAK_MINUTES: f64 = 2.0;

/// The time that the suite `fuzz` has for each target.
const FUZZ_TIME: Duration = Duration::from_secs(5);

/// The variable that sets how many tests Rust's test runner runs at the same time.
const TEST_THREADS: &str = "RUST_TEST_THREADS";

/// How many more tests than processors run at the same time. Most of the `it` tests mostly wait: for a host to start, for
/// a timer, or for a process to end.
const WAITING: usize = 6;

fn processors() -> usize {
    available_parallelism().map_or(2, usize::from)
}

/// Sets the variables by which the tests find the built files.
pub(super) fn with_the_built(command: &mut Command) {
    let target = places::target();
    command.env("BENNU_BIN", target.join("debug").join("bennu").with_extension(EXE_EXTENSION));
    command.env("BENNU_GUESTS", places::quick_guests());
    command.env("BENNU_CLIENTS", places::clients());
    command.env("BENNU_PAGES", places::pages());
    command.env("BENNU_PACKAGES", places::packages());
    command.env("BENNU_DIST", places::dist());
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
