//! The browser that the tests drive.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::{debian, process};

/// The environment variable with the browser's path, for `cargo xtask test` and for the tests.
pub(crate) const VARIABLE: &str = "BENNU_CHROMIUM";

/// The executable names of Chromium and Chrome.
const NAMES: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// Their paths on macOS.
const ON_MACOS: [&str; 2] = [
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// Finds the browser, or installs it.
pub(crate) fn find() -> Result<PathBuf> {
    if let Some(named) = env::var_os(VARIABLE) {
        return Ok(named.into());
    }
    if let Some(installed) = installed() {
        return Ok(installed);
    }
    if debian::can_install() {
        debian::install("installing Chromium (about 100 MB)", &["chromium"])?;
    }
    match installed() {
        Some(installed) => Ok(installed),
        None => bail!(
            "no Chromium or Chrome was found. Install one (on Debian: sudo apt-get install chromium), or set {VARIABLE} to its path"
        ),
    }
}

fn installed() -> Option<PathBuf> {
    let on_macos = ON_MACOS.iter().map(|file| Path::new(file).to_owned()).find(|file| file.is_file());
    NAMES.iter().find_map(|name| process::on_path(name)).or(on_macos)
}
