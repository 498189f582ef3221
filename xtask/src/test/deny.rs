//! Checks the dependencies: their licences, their sources, crates in two versions, and known vulnerabilities.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::places;
use crate::process::{cargo, run as start};
use crate::step::{note, step};

/// Runs `cargo-deny` with `deny.toml`. It is installed into the target directory, unless it is there.
pub(super) fn run() -> Result<()> {
    let program = tools().join("bin").join("cargo-deny");
    if !program.is_file() {
        step("cargo-deny", || {
            let mut install = cargo(places::root());
            start(install.args(["install", "--locked", "cargo-deny", "--root"]).arg(tools()))
        })?;
    }
    let deny = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(places::root()).args(["--workspace", "--all-features"]).args(arguments);
        command
    };
    step("licences, sources and versions of the dependencies", || {
        start(&mut deny(&["check", "licenses", "bans", "sources"]))
    })?;
    // The database of vulnerabilities is a repository, which not every machine can reach.
    if start(&mut deny(&["fetch", "db"])).is_err() {
        note("Known vulnerabilities weren't checked: their database can't be fetched.");
        return Ok(());
    }
    step("known vulnerabilities", || start(&mut deny(&["check", "--disable-fetch", "advisories"])))
}

fn tools() -> PathBuf {
    places::target().join("tools")
}
