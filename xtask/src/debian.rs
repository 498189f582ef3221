//! Installs Debian packages, if that is possible without asking the user.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::process;

/// Whether packages can be installed here: on Debian, as root.
pub(crate) fn can_install() -> bool {
    let debian = fs::read_to_string("/etc/os-release")
        .is_ok_and(|release| release.lines().any(|line| line.trim_matches('"') == "ID=debian"));
    debian && process::read(Command::new("id").arg("-u")).is_ok_and(|id| id == "0")
}

/// Installs packages. `why` is shown while the installation runs.
pub(crate) fn install(why: &str, packages: &[&str]) -> Result<()> {
    process::run_quietly("updating Debian's list of packages", apt().arg("update"))?;
    process::run_quietly(why, apt().args(["install", "-y", "--no-install-recommends"]).args(packages))
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    // Another installation may be running, often right after the machine has started.
    command.args(["-qq", "-o", "DPkg::Lock::Timeout=120"]);
    command
}
