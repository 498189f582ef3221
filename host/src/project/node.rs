//! The tests of a project that run in Node.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Project;
use super::language::{Advice, Invocation};

/// The endings of test files.
const ENDINGS: [&str; 4] = [".test.ts", ".test.js", ".test.mts", ".test.mjs"];

/// The module of the SDK that lets Node load TypeScript and the module `bennu`.
const REGISTER: &str = "vendor/bennu/testing/register.mjs";

impl Project {
    /// Returns the program that runs `tests/*.test.ts` and `tests/*.test.js`, if there are any, and its short form for people.
    #[must_use]
    pub fn node_tests(&self) -> Option<(Invocation, String)> {
        let is_test = |file: &Path| {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            !name.starts_with('.') && ENDINGS.iter().any(|ending| name.ends_with(ending))
        };
        let files = files_of(&self.tests(), is_test);
        if files.is_empty() {
            return None;
        }
        let mut arguments: Vec<OsString> = Vec::new();
        if self.root.join(REGISTER).is_file() {
            arguments.push(format!("--import=./{REGISTER}").into());
        }
        arguments.extend(["--test".into(), "--test-reporter=spec".into()]);
        let files = files.iter().map(|file| file.strip_prefix(&self.root).unwrap_or(file));
        let title = files.clone().fold("node --test".to_owned(), |title, file| format!("{title} {}", file.display()));
        arguments.extend(files.map(|file| file.as_os_str().to_owned()));
        Some((Invocation::new("node", arguments, &self.root), title))
    }

    /// Returns the scripts of the project, `tests/*.script`.
    #[must_use]
    pub fn scripts(&self) -> Vec<PathBuf> {
        files_of(&self.tests(), |file| file.extension().is_some_and(|extension| extension == "script"))
    }
}

/// What to do if Node isn't installed.
#[must_use]
pub fn node_advice() -> Advice {
    let text = "Node isn't installed: the tests in TypeScript and JavaScript need Node 20.11 or later. https://nodejs.org has it"
        .to_owned();
    Advice { text, remedy: None }
}

/// Returns the files of a folder that are wanted, in order. A folder that can't be read has none.
fn files_of(folder: &Path, is_wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|file| file.is_file() && is_wanted(file)).collect();
    files.sort();
    files
}
