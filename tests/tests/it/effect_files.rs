//! Checks which files a new effect changes.
//!
//! The example is `leave_seat`, which needs nothing special. So every new effect needs a change in each file that names
//! `leave_seat`.

use std::path::Path;

use anyhow::{Result, ensure};
use bennu_tests::places;

use crate::imports::code;
use crate::tidy::{GENERATED, sources};

/// The names of the effect in the contract, in functions, and in Rust types.
const NAMES: [&str; 3] = ["leave-seat", "leave_seat", "LeaveSeat"];

/// The hand-written files that name the effect, except tests. `CONTRIBUTING.md` lists them too.
const FILES: [&str; 6] = [
    "guest/src/socket.rs",
    "host/src/channel/member/effects.rs",
    "host/src/plugin/imports/effects.rs",
    "semantics/src/effect.rs",
    "wit/host.wit",
    "world/src/world/effects.rs",
];

/// The files among them that match on all effects.
const MATCHES: [&str; 3] =
    ["host/src/channel/member/effects.rs", "semantics/src/effect.rs", "world/src/world/effects.rs"];

const FOLDERS: [&str; 6] = ["bench", "guest/src", "host/src", "semantics/src", "world/src", "xtask"];

fn read(root: &Path, file: &str) -> Result<String> {
    Ok(code(&std::fs::read_to_string(root.join(file))?))
}

#[test]
fn an_effect_is_in_six_files() -> Result<()> {
    let root = places::workspace()?;
    let mut paths = Vec::new();
    for entry in root.join("wit").read_dir()? {
        paths.push(entry?.path());
    }
    for folder in FOLDERS {
        paths.extend(sources(&root.join(folder))?);
    }
    let mut found = Vec::new();
    for path in paths {
        let shown = path.strip_prefix(root)?.display().to_string();
        let is_written = !GENERATED.contains(&shown.as_str()) && !shown.ends_with("/tests.rs");
        if !is_written {
            continue;
        }
        let text = read(root, &shown)?;
        if NAMES.iter().any(|name| text.contains(name)) {
            found.push(shown);
        }
    }
    found.sort();
    ensure!(found == FILES, "`leave_seat` is named in {found:#?}");
    let guide = std::fs::read_to_string(root.join("CONTRIBUTING.md"))?;
    let missing: Vec<_> = FILES.iter().filter(|file| !guide.contains(&format!("`{file}`"))).collect();
    ensure!(missing.is_empty(), "CONTRIBUTING.md doesn't name {missing:?}");
    Ok(())
}

/// With an arm `_`, a new effect would compile without being handled.
#[test]
fn a_match_on_effects_names_them_all() -> Result<()> {
    let root = places::workspace()?;
    for file in MATCHES {
        ensure!(!read(root, file)?.contains("_ =>"), "{file} has an arm `_`");
    }
    Ok(())
}
