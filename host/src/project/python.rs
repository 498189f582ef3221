//! Plugins in Python: the SDK's own program imports the source, and has componentize-py make a component of it.

use std::env::{self, consts::OS};
use std::ffi::OsString;
use std::path::{Path, PathBuf, absolute};

use anyhow::{Result, bail};

use super::TESTS;
use super::language::{Advice, Failure, Invocation, Language};

/// The SDK in a project. A folder with a file `__main__.py` is a program of Python.
const VENDORED: &str = "vendor/bennu";

/// The names of a source file in a folder.
const ENTRIES: [&str; 2] = ["src/channels.py", "channels.py"];

/// The component in the scratch folder.
const COMPONENT: &str = "plugin.wasm";

/// What Python says if the SDK is neither in the project nor installed.
const NO_SDK: &str = "No module named bennu";

/// A file with channels.
pub(super) struct Module {
    /// The folder of the project.
    root: PathBuf,
    source: PathBuf,
}

impl Module {
    pub(super) fn new(root: &Path, source: &Path) -> Result<Self> {
        let source = if source.is_dir() {
            let Some(found) = ENTRIES.iter().map(|name| source.join(name)).find(|file| file.is_file()) else {
                bail!("there is no {} in {}; set `source` to the file with the channels", ENTRIES[0], source.display())
            };
            found
        } else {
            source.to_owned()
        };
        Ok(Self { root: root.to_owned(), source })
    }

    fn folder(&self) -> &Path {
        self.source.parent().unwrap_or(&self.root)
    }

    /// A path as it is in a command that runs in the folder of the project.
    fn shown(&self, path: &Path) -> OsString {
        let path = path.strip_prefix(&self.root).unwrap_or(path);
        if path.as_os_str().is_empty() { ".".into() } else { path.into() }
    }

    /// Runs the SDK, of the project or else of the environment.
    fn sdk<A: Into<OsString>>(&self, arguments: impl IntoIterator<Item = A>) -> Invocation {
        // Python would write its compiled files next to the sources, which `bennu dev` watches.
        let mut all: Vec<OsString> = vec!["-B".into()];
        if self.root.join(VENDORED).join("__main__.py").is_file() {
            all.push(VENDORED.into());
        } else {
            all.extend(["-m".into(), "bennu".into()]);
        }
        all.extend(arguments.into_iter().map(Into::into));
        Invocation::new(interpreter(&self.root), all, &self.root)
    }
}

/// Python, of the environment `.venv` in the project, of the environment that is active, or else of the PATH.
fn interpreter(root: &Path) -> OsString {
    let (folder, name) = if OS == "windows" { ("Scripts", "python.exe") } else { ("bin", "python") };
    let active = env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let environments = [Some(root.join(".venv")), active].into_iter().flatten();
    let found = environments.map(|environment| environment.join(folder).join(name)).find(|program| program.is_file());
    let on_path = if OS == "windows" { "python" } else { "python3" };
    found.map_or_else(|| on_path.into(), PathBuf::into_os_string)
}

impl Language for Module {
    fn name(&self) -> &'static str {
        "Python"
    }

    fn extension(&self) -> &str {
        "wasm"
    }

    fn build(&self, scratch: &Path, _is_quiet: bool) -> Result<Invocation> {
        let output = absolute(scratch.join(COMPONENT))?;
        Ok(self.sdk([OsString::from("build"), self.shown(&self.source), "--output".into(), output.into()]))
    }

    fn product(&self, scratch: &Path, _output: &[u8]) -> Result<PathBuf> {
        Ok(scratch.join(COMPONENT))
    }

    fn watched(&self) -> Vec<PathBuf> {
        vec![self.folder().to_owned(), self.root.join(VENDORED)]
    }

    fn advice(&self, failure: &Failure<'_>) -> Option<Advice> {
        let text = if failure.is_absent {
            "Python isn't installed: the SDK needs version 3.11 or later. https://www.python.org has it"
        } else if failure.errors.contains(NO_SDK) {
            "the SDK isn't in the project: `bennu types --lang python` writes it to vendor/bennu"
        } else {
            return None;
        };
        Some(Advice { text: text.to_owned(), remedy: None })
    }

    fn tests(&self) -> Option<Invocation> {
        let is_test = |name: &str| name.starts_with("test") && name.ends_with(".py");
        let mut files = self.root.join(TESTS).read_dir().into_iter().flatten().flatten();
        let has_tests = files.any(|file| file.file_name().to_str().is_some_and(is_test));
        let source = self.shown(self.folder());
        has_tests.then(|| self.sdk(["test".into(), TESTS.into(), "--source".into(), source]))
    }
}
