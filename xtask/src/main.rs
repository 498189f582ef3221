//! The developer's commands, started as `cargo xtask COMMAND`.
//!
//! Each of them does its own set-up: on a machine with Rust and Node, and root on Debian, nothing has to be prepared.
//! They are a program rather than scripts so that they run wherever Rust does, and wrap the guests with the very crate
//! that defines what a component is.

mod baseline;
mod bench;
mod chromium;
mod debian;
mod demo;
mod guests;
mod node;
mod page;
mod places;
mod process;
mod python;
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
    /// Leave it running and change guest-examples/chat/src/lib.rs: after `cargo xtask guests`, the page that is open
    /// shows the change, and nobody was disconnected.
    Demo(demo::Options),
    /// Build the plugins in guest-examples/ to target/guests/NAME.wasm, and their pages
    ///
    /// A running demo takes up each plugin that changed.
    Guests(guests::Options),
    /// Run every check and every test, as the project's own checks do
    Test(test::Options),
    /// Measure the host beside the least that a server can do, and print tables
    ///
    /// It builds everything in release first. The machine should do nothing else meanwhile.
    Bench(bench::Options),
    /// Build the host of an older revision and its benchmark of the hot paths, to compare this one with
    Baseline(baseline::Options),
    /// Count the instructions of each hot path with Callgrind
    Instructions(baseline::Instructions),
    /// Write guest/src/bindings/ anew from wit/
    Bindings {
        /// Only say whether the file is up to date; fail where it isn't
        #[arg(long)]
        check: bool,
    },
}

/// Generates the SDK's bindings with a program of its own, since few need the generator.
fn bindings(check: bool) -> anyhow::Result<()> {
    let mut generator = process::cargo(places::root());
    generator.args(["run", "--quiet", "--package", "bennu-bindings", "--"]).args(check.then_some("--check"));
    process::run(&mut generator)
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Guests(options) => guests::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Baseline(options) => baseline::run(&options),
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
