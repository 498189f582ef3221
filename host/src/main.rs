//! The command `bennu`.

// The denied macros panic if a write fails. `bennu::terminal` has the replacements.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod commands;

use std::process::ExitCode;

use bennu::terminal::{explain, finish};
use clap::Parser;

fn main() -> ExitCode {
    match commands::Command::try_parse() {
        Ok(command) => finish(command.run()),
        Err(error) => explain(&error),
    }
}
