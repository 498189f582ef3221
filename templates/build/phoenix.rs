//! The official Phoenix client for pages: a file of its npm package.
//!
//! The file is itself the output of a bundler, so it isn't in the repository. It is taken from an installation of the package in
//! the workspace, or npm installs it into the build directory. Its digest is checked, so all builds have the same file.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// The package, with its version.
const PACKAGE: &str = "phoenix@1.8.16";

/// The module for browsers in the package.
const MODULE: &str = "node_modules/phoenix/priv/static/phoenix.mjs";

/// The SHA-256 of the module.
const DIGEST: &str = "36e6f701a40a47988a4810a308cf54f9b441e5c4b68b83797fec4f69becb1627";

/// The environment variable with the path of the module, for builds without npm.
const VARIABLE: &str = "BENNU_PHOENIX_CLIENT";

/// Returns the module.
pub(crate) fn client(root: &Path) -> Result<Vec<u8>> {
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    if let Some(path) = env::var_os(VARIABLE) {
        let content = fs::read(&path).with_context(|| format!("reading {} ({VARIABLE})", path.display()))?;
        return if is_it(&content) { Ok(content) } else { bail!("the file of {VARIABLE} isn't that of {PACKAGE}") };
    }
    let installed = [root.join("tests").join(MODULE), root.join("guest-examples/chat/page").join(MODULE)];
    if let Some(found) = installed.iter().filter_map(|path| fs::read(path).ok()).find(|content| is_it(content)) {
        return Ok(found);
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    if let Err(error) = install(&out) {
        bail!(
            "{error:#}; install npm (from https://nodejs.org), or set {VARIABLE} to the path of the package's `phoenix.mjs`"
        );
    }
    let path = out.join(MODULE);
    let content = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    if is_it(&content) { Ok(content) } else { bail!("npm has installed another file than that of {PACKAGE}") }
}

fn is_it(content: &[u8]) -> bool {
    let digest: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    digest == DIGEST
}

/// Installs the package with npm.
fn install(folder: &Path) -> Result<()> {
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let mut command = Command::new(npm);
    command.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix"]);
    let output =
        command.arg(folder).arg(PACKAGE).output().with_context(|| format!("running npm to install {PACKAGE}"))?;
    if !output.status.success() {
        bail!("npm could not install {PACKAGE}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
