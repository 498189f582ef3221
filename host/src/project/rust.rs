//! Plugins in Rust: a crate, which cargo compiles.
//!
//! cargo's own variables (`RUSTC`, `RUSTFLAGS`, `CARGO_TARGET_DIR` and the others) have their usual meanings, because the
//! program inherits the environment.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::language::{Advice, Failure, Invocation, Language};

/// The file that makes a folder a crate.
pub(super) const MANIFEST: &str = "Cargo.toml";

/// The target that a plugin is compiled for.
const TARGET: &str = "wasm32-unknown-unknown";

/// What installs Rust, as <https://rustup.rs> says it.
const INSTALL: &str = if cfg!(unix) {
    "`curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh`"
} else {
    "the installer of https://rustup.rs"
};

/// The message that cargo ends with if Rust's standard library isn't there for the target. `E0463` is a missing crate.
const NO_STANDARD_LIBRARY: [&str; 2] = ["target may not be installed", "can't find crate for `core`"];

/// What cargo reads in the folder of a crate. A file that `include_str!` reads elsewhere has to be named in `watch`.
const SOURCES: [&str; 3] = ["src", MANIFEST, "build.rs"];

/// A crate.
pub(super) struct Crate {
    folder: PathBuf,
    watched: Vec<PathBuf>,
}

impl Crate {
    pub(super) fn new(source: &Path) -> Result<Self> {
        let folder = if source.file_name().is_some_and(|name| name == MANIFEST) {
            source.parent().unwrap_or(Path::new("."))
        } else {
            source
        };
        let manifest = folder.join(MANIFEST);
        let text = std::fs::read_to_string(&manifest).with_context(|| format!("reading {}", manifest.display()))?;
        let table: toml::Table = toml::from_str(&text).with_context(|| format!("reading {}", manifest.display()))?;
        if !table.contains_key("package") {
            bail!("{} is of a workspace; set `source` to the folder of a crate", manifest.display());
        }
        let folders = std::iter::once(folder.to_owned()).chain(path_dependencies(folder, &table));
        let watched = folders.flat_map(|folder| SOURCES.map(|name| folder.join(name))).collect();
        Ok(Self { folder: folder.to_owned(), watched })
    }

    fn manifest(&self) -> PathBuf {
        self.folder.join(MANIFEST)
    }
}

/// The folders of the crates that a crate takes from this machine.
fn path_dependencies(folder: &Path, manifest: &toml::Table) -> Vec<PathBuf> {
    let tables = ["dependencies", "build-dependencies"].into_iter().filter_map(|name| manifest.get(name)?.as_table());
    let paths = tables.flat_map(toml::Table::values).filter_map(|dependency| dependency.get("path")?.as_str());
    paths.map(|path| folder.join(path)).collect()
}

/// cargo: the one that runs this program, if one does.
fn cargo() -> std::ffi::OsString {
    env::var_os("CARGO").filter(|cargo| !cargo.is_empty()).unwrap_or_else(|| "cargo".into())
}

impl Language for Crate {
    fn name(&self) -> &'static str {
        "Rust"
    }

    fn extension(&self) -> &str {
        "wasm"
    }

    fn build(&self, _scratch: &Path, is_quiet: bool) -> Result<Invocation> {
        let mut arguments = vec!["build", "--release", "--lib", "--target", TARGET];
        // One JSON object a line on standard output, which name the files; texts for people on standard error.
        arguments.extend(["--message-format", "json-render-diagnostics"]);
        arguments.extend(is_quiet.then_some("--quiet"));
        Ok(Invocation::new(cargo(), arguments, &self.folder).with_messages())
    }

    fn product(&self, _scratch: &Path, output: &[u8]) -> Result<PathBuf> {
        let manifest = self.manifest().canonicalize().unwrap_or_else(|_| self.manifest());
        let messages =
            output.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        let is_own = |message: &Value| {
            let path = message["manifest_path"].as_str().map(Path::new).unwrap_or(Path::new(""));
            message["reason"] == "compiler-artifact" && path.canonicalize().is_ok_and(|path| path == manifest)
        };
        let files = messages.filter(is_own).flat_map(|message| match message["filenames"].clone() {
            Value::Array(files) => files,
            _ => Vec::new(),
        });
        let mut modules = files.filter_map(|file| Some(PathBuf::from(file.as_str()?)));
        let module = modules.find(|file| file.extension().is_some_and(|extension| extension == "wasm"));
        module.with_context(|| {
            format!(
                "the crate makes no WebAssembly module; add these lines to {}:\n[lib]\ncrate-type = [\"cdylib\"]",
                self.manifest().display()
            )
        })
    }

    fn watched(&self) -> Vec<PathBuf> {
        self.watched.clone()
    }

    fn advice(&self, failure: &Failure<'_>) -> Option<Advice> {
        if failure.is_absent {
            let text = format!("cargo isn't installed: {INSTALL} installs Rust; then run `rustup target add {TARGET}`");
            return Some(Advice { text, remedy: None });
        }
        let is_missing = NO_STANDARD_LIBRARY.iter().any(|words| failure.errors.contains(words));
        is_missing.then(|| {
            let remedy = Invocation::new("rustup", ["target", "add", TARGET], &self.folder);
            // With a compiler of one's own, rustup has no part in the build.
            let remedy = env::var_os("RUSTC").is_none().then_some(remedy);
            let text = format!(
                "Rust's standard library for {TARGET} isn't installed: `rustup target add {TARGET}` installs it"
            );
            Advice { text, remedy }
        })
    }

    fn tests(&self) -> Option<Invocation> {
        Some(Invocation::new(cargo(), ["test", "--quiet"], &self.folder))
    }
}
