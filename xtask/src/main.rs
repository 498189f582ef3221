//! The developer's commands, started as `cargo xtask COMMAND`.
//!
//! Each command does its own setup. On a machine with Rust and Node, and as root on Debian, nothing has to be prepared.
//! The commands are a Rust program instead of scripts. So they run wherever Rust runs, and can use the crate
//! `wit-component` to wrap the plugins.

mod baseline;
mod bench;
mod chromium;
mod cluster;
mod compilers;
mod debian;
mod demo;
mod dist;
mod guests;
mod languages;
mod lints;
mod nats;
mod node;
mod package;
mod page;
mod places;
mod postgres;
mod process;
mod proxies;
mod python;
mod spin;
mod step;
mod sysroot;
mod test;
mod toolchain;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Bennu's developer commands. Try `cargo xtask demo` first: it needs nothing but Rust and Node.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything and start the examples, ready to be opened in a browser
    ///
    /// While it runs, change guest-examples/chat/src/lib.rs and run `cargo xtask guests chat`: the open page shows the
    /// change, and no client is disconnected.
    Demo(demo::Options),
    /// Build everything, and start a cluster: a database, three hosts, a balancer, and a page that shows it
    ///
    /// It says what to try: kill a node, stop it still, load a new build at all of them. Nothing is kept.
    Cluster(cluster::Options),
    /// Build the plugins in guest-examples/ to target/guests/NAME.wasm, and their pages
    ///
    /// A running demo reloads each plugin that has changed.
    Guests(guests::Options),
    /// Run every check and every test
    Test(test::Options),
    /// Run the fuzz targets: readers of untrusted input, with mutated inputs
    ///
    /// `cargo xtask test` runs them too, with fewer inputs. docs/reliability.md describes them.
    Fuzz(test::fuzz::FuzzOptions),
    /// Run a cluster to which everything happens: kills, stops, cuts of the network, crashes of the database
    ///
    /// Clients pay, audit, broadcast and hear meanwhile, and every promise of docs/cluster.md is checked after each round. It ends with a
    /// line of counts.
    Chaos(test::chaos::ChaosOptions),
    /// Compare the host with a minimal server, and print tables
    ///
    /// The command builds everything in release first. The machine should do nothing else during the measurement.
    Bench(bench::Options),
    /// Attack a host, and measure what its other clients notice
    ///
    /// docs/reliability.md has the results. Without a name, all attacks are measured, one after another.
    Attack(bench::AttackOptions),
    /// Run attacks, churn, reloads, faults, a full disk and a stalled log on one host, and check it at the end
    Soak {
        /// How long
        #[arg(long, default_value_t = 20.0)]
        minutes: f64,
    },
    /// Build the host and the hot path benchmark of an older revision, for comparison
    Baseline(baseline::Options),
    /// Make the packages that carry the executable, for npm and PyPI, in target/packages/
    Package(package::Options),
    /// Make the archive of a release, with licences and checksums, in target/dist/
    Dist(dist::Options),
    /// Count the instructions of each hot path with Callgrind
    Instructions(baseline::Instructions),
    /// Generate guest/src/bindings/ from wit/, and assemble the host's adapter for WASI
    Bindings {
        /// Only check that the files are up to date, and fail if they are not
        #[arg(long)]
        check: bool,
    },
}

/// Generates the SDK's bindings. The generator is a separate program, because most developers never need it.
fn bindings(check: bool) -> anyhow::Result<()> {
    let mut generator = process::cargo(places::root());
    generator.args(["run", "--quiet", "--package", "bennu-bindings", "--"]).args(check.then_some("--check"));
    process::run(&mut generator)
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Cluster(options) => cluster::run(&options),
        Command::Guests(options) => guests::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Fuzz(options) => test::fuzz::run(&options),
        Command::Chaos(options) => test::chaos::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Attack(options) => bench::attack(&options),
        Command::Soak { minutes } => bench::soak(minutes),
        Command::Baseline(options) => baseline::run(&options),
        Command::Package(options) => package::run(&options),
        Command::Dist(options) => dist::run(&options),
        Command::Instructions(options) => baseline::instructions(&options),
        Command::Bindings { check } => bindings(check),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            step::failed(&error);
            ExitCode::FAILURE
        }
    }
}
