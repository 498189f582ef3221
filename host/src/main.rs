//! The command `bennu`.

// The denied macros panic if a write fails. `commands/output.rs` has the replacements.
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
