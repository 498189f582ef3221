//! The executable `bennu-kit`, which `bennu test` starts.

// The banned macros panic if a write fails. `bennu::terminal` has the replacements.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod command;

use std::process::ExitCode;

use bennu::terminal::{explain, finish};
use clap::Parser;

fn main() -> ExitCode {
    match command::Test::try_parse() {
        Ok(test) => finish(test.run()),
        Err(error) => explain(&error),
    }
}
