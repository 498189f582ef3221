//! The test files of a suite in Node: which ones run at the same time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use bennu_test_tiers::Tier;

use super::suites::with_the_built;
use crate::{node, places};

/// How many files run at the same time. Each file has its own hosts, and its tests mostly wait.
const AT_ONCE: usize = 3;

/// Files that limit how long something may take. In the full tier they run alone: beside other files, they would measure those.
const ALONE: [&str; 3] =
    ["browser/first_change.test.mjs", "languages/first_change.test.mjs", "languages/large_messages.test.mjs"];

/// Node's test runner on the files of `tests/SUITE`: one command for those that run beside each other, and one for those that run alone.
/// Before each command is what distinguishes its files from those of the first one.
pub(super) fn runs(suite: &str, tier: Tier) -> Result<Vec<(&'static str, Command)>> {
    let (alone, beside): (Vec<_>, Vec<_>) = in_folder(&places::root().join("tests").join(suite))?
        .into_iter()
        .partition(|file| tier == Tier::Full && ALONE.iter().any(|alone| file.ends_with(alone)));
    let node = node::find()?;
    let groups = [("", beside, AT_ONCE), (" that run alone", alone, 1)];
    let with_files = groups.into_iter().filter(|(_, files, _)| !files.is_empty());
    let commands = with_files.map(|(which, files, at_once)| {
        let mut command = Command::new(&node);
        command.args(["--test", "--test-reporter=spec", &format!("--test-concurrency={at_once}")]).args(files);
        with_the_built(&mut command);
        (which, command)
    });
    Ok(commands.collect())
}

/// The test files of a folder. The command names each file, because versions of Node treat a folder differently.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut tests: Vec<_> = files.into_iter().filter(|file| file.to_string_lossy().ends_with(".test.mjs")).collect();
    if tests.is_empty() {
        bail!("{} contains no test", folder.display());
    }
    tests.sort();
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_that_run_alone_are_there() {
        for file in ALONE {
            assert!(places::root().join("tests").join(file).is_file(), "{file}");
        }
    }
}
