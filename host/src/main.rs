//! The command `bennu`.

// The banned macros panic where a write fails. `commands/output.rs` has what takes their place.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match commands::Command::try_parse() {
        Ok(command) => commands::finish(command.run()),
        Err(error) => commands::explain(&error),
    }
}
