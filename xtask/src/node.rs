//! Node and npm, for the example pages and the tests in `tests/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// The oldest Node version that the tests run in, as major and minor version. Older versions lack `import.meta.dirname`
/// and the test runner's `--test-concurrency`.
const OLDEST: (u32, u32) = (20, 11);

/// Finds Node.
pub(crate) fn find() -> Result<PathBuf> {
    let Some(node) = process::on_path("node") else {
        bail!("Node isn't installed, or isn't on PATH: get version {} or later from https://nodejs.org", oldest());
    };
    let version = process::read(Command::new(&node).arg("--version"))?;
    match numbers(&version) {
        Some(version) if version >= OLDEST => Ok(node),
        _ => bail!("Node is version {version}, but the commands need {} or later: https://nodejs.org", oldest()),
    }
}

fn oldest() -> String {
    let (major, minor) = OLDEST;
    format!("{major}.{minor}")
}

/// Installs the packages of the `package-lock.json` in `folder`, unless they are already installed.
pub(crate) fn install(folder: &Path) -> Result<()> {
    find()?;
    let file = folder.join("package-lock.json");
    let lock = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    // npm empties node_modules before it installs. So this file exists only after a complete installation.
    let installed = folder.join("node_modules").join(".installed-lock.json");
    if fs::read(&installed).is_ok_and(|last| last == lock) {
        return Ok(());
    }
    let what = format!(
        "installing npm packages in {}",
        folder.strip_prefix(crate::places::root()).unwrap_or(folder).display()
    );
    process::run_quietly(&what, Command::new(npm()?).args(["ci", "--no-audit", "--no-fund"]).current_dir(folder))?;
    fs::write(&installed, lock).with_context(|| format!("cannot write {}", installed.display()))
}

/// Installs an npm package, given as `NAME@VERSION`, in a folder of its own, unless it is there.
pub(crate) fn add(folder: &Path, package: &str) -> Result<()> {
    find()?;
    let installed = folder.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|last| last == package) {
        return Ok(());
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut install = Command::new(npm()?);
    install.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(folder).arg(package);
    process::run_quietly(&format!("installing {package} from npm"), &mut install)?;
    fs::write(&installed, package).with_context(|| format!("cannot write {}", installed.display()))
}

/// Runs a script of the `package.json` in `folder`, with further arguments. `what` says what the script does.
pub(crate) fn run_script(what: &str, folder: &Path, script: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(npm()?);
    command.args(["run", "--silent", script, "--"]).args(arguments).current_dir(folder);
    process::run_quietly(what, &mut command)
}

fn npm() -> Result<PathBuf> {
    let npm = if cfg!(windows) { process::on_path("npm.cmd") } else { process::on_path("npm") };
    npm.context("npm isn't on PATH. Node from https://nodejs.org includes it; on Debian, install the package npm")
}

/// Parses the major and minor version: 20 and 1 for `v20.1.2`.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix('v')?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_and_minor_version_are_parsed() {
        assert_eq!(numbers("v20.9.2"), Some((20, 9)));
        assert_eq!(numbers("v9.0.0-rc.1"), Some((9, 0)));
        assert_eq!(numbers("twenty"), None);
    }
}
