//! The examples' pages: what stands in their `page` folders, the official Phoenix client out of npm, and our own module for who
//! follows a published state.
//!
//! They are put together in one folder that is served as it is: the start page, and beneath it each example's in a folder
//! of its name. There is no bundler: a page is what its sources say.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{node, places};

/// The example whose page stands above the others.
const START: &str = "demo";

/// The client as a module that browsers load, within its npm package.
const CLIENT: &str = "node_modules/phoenix/priv/static/phoenix.mjs";

/// The module that keeps a published state, for the pages that ask for it by this name.
const ROOM_STATE: &str = "room_state.mjs";

/// What belongs to npm rather than to the page.
const FOR_NPM: [&str; 4] = ["package.json", "package-lock.json", ".npmrc", "node_modules"];

/// Puts all pages together.
pub(crate) fn put_together() -> Result<()> {
    for name in names()? {
        let place = if name == START { places::pages() } else { places::pages().join(&name) };
        put(&places::guest_sources().join(&name).join("page"), &place)?;
    }
    Ok(())
}

/// The examples that have a page.
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
        copy(&source.join(CLIENT), &place.join("phoenix.mjs"))?;
    }
    for file in fs::read_dir(source).with_context(|| format!("cannot read {}", source.display()))? {
        let file = file?;
        if file.path().extension().is_some_and(|extension| extension == "js") && uses_room_state(&file.path())? {
            copy(&places::root().join("client").join(ROOM_STATE), &place.join(ROOM_STATE))?;
        }
        if !FOR_NPM.iter().any(|other| file.file_name() == *other) {
            copy(&file.path(), &place.join(file.file_name()))?;
        }
    }
    Ok(())
}

fn uses_room_state(script: &Path) -> Result<bool> {
    let text = fs::read_to_string(script).with_context(|| format!("cannot read {}", script.display()))?;
    Ok(text.contains(ROOM_STATE))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
