//! The examples' pages: the files of their `page` folders, the official Phoenix client from npm, and our own modules for
//! published states and missed messages.
//!
//! The pages are copied to one folder, which the host serves unchanged. The start page is at its top, and each example's
//! page is in a subfolder with the example's name. No bundler changes the files, except those of a page whose `package.json`
//! has a script `bundle`: its npm packages consist of many files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{node, places};

/// The example whose page is the start page.
const START: &str = "demo";

/// The path of the Phoenix client in its npm package, as a module for browsers.
const CLIENT: &str = "node_modules/phoenix/priv/static/phoenix.mjs";

/// The modules of the npm package that a page may import, by these names: published states, and missed messages.
const MODULES: [&str; 2] = ["room_state.mjs", "recover.mjs"];

/// The files that only npm needs. They are not copied.
const FOR_NPM: [&str; 4] = ["package.json", "package-lock.json", ".npmrc", "node_modules"];

/// Assembles all pages.
pub(crate) fn put_together() -> Result<()> {
    for name in names()? {
        let place = if name == START { places::pages() } else { places::pages().join(&name) };
        put(&places::guest_sources().join(&name).join("page"), &place)?;
    }
    Ok(())
}

/// The names of the examples that have a page.
fn names() -> Result<Vec<String>> {
    let sources = places::guest_sources();
    let mut names = Vec::new();
    for folder in fs::read_dir(&sources).with_context(|| format!("cannot read {}", sources.display()))? {
        let folder = folder?;
        if folder.path().join("page").join("index.html").is_file() {
            names.push(folder.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn put(source: &Path, place: &Path) -> Result<()> {
    fs::create_dir_all(place).with_context(|| format!("cannot make {}", place.display()))?;
    if source.join("package.json").is_file() {
        node::install(source)?;
        if !bundles(source)? {
            copy(&source.join(CLIENT), &place.join("phoenix.mjs"))?;
        }
    }
    let is_bundled = bundles(source)?;
    for file in fs::read_dir(source).with_context(|| format!("cannot read {}", source.display()))? {
        let file = file?;
        if file.path().extension().is_some_and(|extension| extension == "js") {
            let script = file.path();
            let text = fs::read_to_string(&script).with_context(|| format!("cannot read {}", script.display()))?;
            for module in MODULES.iter().filter(|module| text.contains(**module)) {
                copy(&places::root().join("client").join(module), &place.join(module))?;
            }
        }
        let is_in_bundle = is_bundled && file.path().extension().is_some_and(|extension| extension == "js");
        if !is_in_bundle && !FOR_NPM.iter().any(|other| file.file_name() == *other) {
            copy(&file.path(), &place.join(file.file_name()))?;
        }
    }
    if is_bundled {
        let folder = place.to_str().context("the path of the pages isn't UTF-8")?;
        node::run_script("bundling the script of a page", source, "bundle", &[&format!("--outdir={folder}")])?;
    }
    Ok(())
}

/// Whether the package of a page has a script `bundle`.
fn bundles(source: &Path) -> Result<bool> {
    let file = source.join("package.json");
    if !file.is_file() {
        return Ok(false);
    }
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let package: Value = serde_json::from_str(&text).with_context(|| format!("cannot parse {}", file.display()))?;
    Ok(package["scripts"]["bundle"].is_string())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
