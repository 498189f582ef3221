//! The command `bennu`.

mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match commands::Command::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // It may quote what a plugin or a client has said.
            eprintln!("bennu: {}", commands::lines(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}
