//! An example's page: what stands in its `page` folder, and the official Phoenix client out of npm.
//!
//! They are put together in a folder that is served as it is. There is no bundler: a page is what its sources say.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{node, places};

/// The client as a module that browsers load, within its npm package.
const CLIENT: &str = "node_modules/phoenix/priv/static/phoenix.mjs";

/// What belongs to npm rather than to the page.
const FOR_NPM: [&str; 4] = ["package.json", "package-lock.json", ".npmrc", "node_modules"];

/// Puts the page of the example `name` together.
pub(crate) fn put_together(name: &str) -> Result<()> {
    let source = places::guest_sources().join(name).join("page");
    let place = places::page(name);
    node::install(&source)?;
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    copy(&source.join(CLIENT), &place.join("phoenix.mjs"))?;
    for file in fs::read_dir(&source).with_context(|| format!("cannot read {}", source.display()))? {
        let file = file?;
        if !FOR_NPM.iter().any(|other| file.file_name() == *other) {
            copy(&file.path(), &place.join(file.file_name()))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
