//! The browser for the tests. Chromium without a user interface is preferred, because it needs a fifth of the processor time
//! of the usual Chromium.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::step::note;
use crate::{debian, process};

/// The environment variable with the browser's path, for `cargo xtask test` and for the tests.
pub(crate) const VARIABLE: &str = "BENNU_CHROMIUM";

/// The name of the browser without a user interface, as an executable and as a package of Debian.
const HEADLESS: &str = "chromium-headless-shell";

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
    if let Some(headless) = process::on_path(HEADLESS) {
        return Ok(headless);
    }
    // Not every release of Debian has the first package.
    for package in [HEADLESS, "chromium"] {
        if debian::can_install()
            && let Err(error) = debian::install("installing Chromium (about 100 MB)", &[package])
        {
            note(&format!("{package} can't be installed: {error}"));
        }
        if let Some(found) = process::on_path(HEADLESS).or_else(installed_browser) {
            return Ok(found);
        }
    }
    bail!(
        "no Chromium or Chrome was found. Install one (on Debian: sudo apt-get install chromium), or set {VARIABLE} to its path"
    )
}

/// A browser with a user interface.
fn installed_browser() -> Option<PathBuf> {
    let on_macos = ON_MACOS.iter().map(|file| Path::new(file).to_owned()).find(|file| file.is_file());
    NAMES.iter().find_map(|name| process::on_path(name)).or(on_macos)
}
