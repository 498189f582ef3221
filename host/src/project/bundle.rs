//! Plugins in TypeScript or JavaScript with npm packages: esbuild makes one file of them.
//!
//! A script without packages needs no build: the host serves it as it is.

use std::env::consts::OS;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::language::{Advice, Failure, Invocation, Language};

/// The version of esbuild that the message about a missing one names. Any later one works too.
const ESBUILD: &str = "esbuild@0.28.2";

/// The file that makes a folder a package.
const MANIFEST: &str = "package.json";

/// The names of a script's entry file in a folder.
const ENTRIES: [&str; 4] = ["index.ts", "src/index.ts", "index.js", "src/index.js"];

/// The name of the bundle in the scratch folder.
const BUNDLE: &str = "bundle.js";

/// A script with packages.
pub(super) struct Bundle {
    /// The entry file.
    entry: PathBuf,
    /// The folder of the packages: the nearest one with a `package.json`.
    folder: PathBuf,
}

impl Bundle {
    pub(super) fn new(root: &Path, source: &Path) -> Result<Self> {
        let entry = if source.is_dir() {
            let found = ENTRIES.iter().map(|name| source.join(name)).find(|entry| entry.is_file());
            let Some(entry) = found else {
                bail!("there is no script in {}; set `source` to the file", source.display())
            };
            entry
        } else {
            source.to_owned()
        };
        let folders = entry.ancestors().skip(1).take_while(|folder| folder.starts_with(root) || **folder == *root);
        let folder = folders.into_iter().find(|folder| folder.join(MANIFEST).is_file());
        let Some(folder) = folder.map(Path::to_owned) else {
            bail!(
                "{} has no `package.json` in its folder or above; a script without npm packages needs no build: put it into \
                 a folder of `load`",
                entry.display()
            )
        };
        Ok(Self { entry, folder })
    }

    /// esbuild's program, in the packages of this folder or of one above.
    fn esbuild(&self) -> Option<PathBuf> {
        let name = if OS == "windows" { "esbuild.cmd" } else { "esbuild" };
        let folder = std::path::absolute(&self.folder).ok()?;
        let found = folder.ancestors().map(|folder| folder.join("node_modules").join(".bin").join(name));
        found.into_iter().find(|program| program.is_file())
    }
}

impl Language for Bundle {
    fn name(&self) -> &'static str {
        "TypeScript"
    }

    fn extension(&self) -> &str {
        "js"
    }

    fn build(&self, scratch: &Path, _is_quiet: bool) -> Result<Invocation> {
        let Some(esbuild) = self.esbuild() else {
            bail!("esbuild isn't installed; in {}, run `npm install --save-dev {ESBUILD}`", self.folder.display())
        };
        let mut output = OsString::from("--outfile=");
        output.push(std::path::absolute(scratch.join(BUNDLE))?);
        // The language of the engine. Names are kept, because faults have them.
        let options = ["--bundle", "--format=esm", "--target=es2023", "--external:bennu", "--log-level=warning"];
        let entry = std::path::absolute(&self.entry)?.into_os_string();
        let arguments = std::iter::once(entry).chain(options.map(OsString::from)).chain([output]);
        Ok(Invocation::new(esbuild, arguments, &self.folder))
    }

    fn product(&self, scratch: &Path, _output: &[u8]) -> Result<PathBuf> {
        Ok(scratch.join(BUNDLE))
    }

    fn watched(&self) -> Vec<PathBuf> {
        let scripts = self.entry.parent().unwrap_or(&self.folder).to_owned();
        vec![scripts, self.folder.join(MANIFEST)]
    }

    fn advice(&self, failure: &Failure<'_>) -> Option<Advice> {
        let lacks_package = failure.errors.contains("Could not resolve");
        lacks_package.then(|| {
            let text = format!("if a package is missing, run `npm install` in {}", self.folder.display());
            Advice { text, remedy: None }
        })
    }
}
