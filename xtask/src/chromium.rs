//! The browser that the tests drive.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::{debian, process};

/// The variable that names a browser, for `cargo xtask test` and for the tests.
pub(crate) const VARIABLE: &str = "BENNU_CHROMIUM";

/// What Chromium and its like are called.
const NAMES: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// Where macOS has it.
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
            "no Chromium and no Chrome was found. Install one (on Debian: sudo apt-get install chromium), or name it in {VARIABLE}"
        ),
    }
}

fn installed() -> Option<PathBuf> {
    let on_macos = ON_MACOS.iter().map(|file| Path::new(file).to_owned()).find(|file| file.is_file());
    NAMES.iter().find_map(|name| process::on_path(name)).or(on_macos)
}
