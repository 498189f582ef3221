//! `bennu completions`: scripts with which shells complete the command line.

use std::io::Write;

use anyhow::Result;
use bennu::terminal::Out;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::Command;

/// Print a script with which a shell completes the commands and their options
#[derive(Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<()> {
        // Written first to memory: the generator panics if a write fails.
        let mut script = Vec::new();
        generate(self.shell, &mut Command::command(), "bennu", &mut script);
        Out.write_all(&script)?;
        Ok(())
    }
}
