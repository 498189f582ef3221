//! Python, for the tests with Python clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{debian, process};

/// The oldest Python version that these clients support.
const OLDEST: (u32, u32) = (3, 11);

/// The names of Python's executable.
const NAMES: [&str; 2] = ["python3", "python"];

/// Creates the virtual environment `folder` with the packages of `requirements`, unless they are already installed.
pub(crate) fn environment(folder: &Path, requirements: &Path) -> Result<()> {
    let wanted = fs::read(requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    // This file is written last, and is removed with the folder. So it exists only after a complete installation.
    let installed = folder.join("installed.txt");
    if fs::read(&installed).is_ok_and(|last| last == wanted) {
        return Ok(());
    }
    create(folder)?;
    let mut pip = pip_of(folder);
    pip.args(["install", "--requirement"]).arg(requirements);
    process::run_quietly("installing packages for Python", &mut pip)?;
    fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))
}

/// A command for the `pip` of the virtual environment `folder`, which is created if it doesn't exist.
pub(crate) fn pip(folder: &Path) -> Result<Command> {
    if !interpreter(folder).is_file() {
        create(folder)?;
    }
    Ok(pip_of(folder))
}

/// A command for the interpreter of a virtual environment.
pub(crate) fn command(environment: &Path) -> Command {
    Command::new(interpreter(environment))
}

fn pip_of(folder: &Path) -> Command {
    let mut pip = Command::new(interpreter(folder));
    pip.args(["-m", "pip", "--disable-pip-version-check"]);
    pip
}

/// Creates an empty virtual environment in place of what was there.
fn create(folder: &Path) -> Result<()> {
    let what = "creating a virtual environment for Python";
    process::run_quietly(what, Command::new(find()?).args(["-m", "venv", "--clear"]).arg(folder))
}

/// Finds a Python that can make virtual environments, or installs it.
fn find() -> Result<PathBuf> {
    if let Some(usable) = usable() {
        return Ok(usable);
    }
    if debian::can_install() {
        debian::install("installing python3-venv (about 10 MB)", &["python3-venv"])?;
    }
    match usable() {
        Some(usable) => Ok(usable),
        None => bail!(
            "the tests with Python clients need Python {}.{} or later with its modules venv and ensurepip.\n\
             Get it from https://www.python.org, or on Debian with: sudo apt-get install python3-venv",
            OLDEST.0,
            OLDEST.1
        ),
    }
}

/// The first Python that is new enough and has the modules that create environments. On Debian, these modules are in a
/// package of their own.
fn usable() -> Option<PathBuf> {
    const SAY_VERSION: &str = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])";
    NAMES.iter().filter_map(|name| process::on_path(name)).find(|python| {
        process::read(Command::new(python).args(["-c", SAY_VERSION])).is_ok_and(|version| is_new_enough(&version))
    })
}

fn is_new_enough(version: &str) -> bool {
    let number = |text: &str| text.parse::<u32>().ok();
    version
        .split_once('.')
        .and_then(|(major, minor)| number(major).zip(number(minor)))
        .is_some_and(|version| version >= OLDEST)
}

fn interpreter(environment: &Path) -> PathBuf {
    environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_enough_python_is_accepted() {
        let judged = ["3.9", "3.10", "3.11", "3.20", "4.0", "2.7", "", "three"].map(is_new_enough);
        assert_eq!(judged, [false, false, true, true, true, false, false, false]);
    }
}
