//! The tables `build.NAME`: plugins that a compiler or a bundler makes.

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::Deserialize;

/// One plugin's table, `build.NAME`. `bennu build`, `bennu dev` and `bennu test` use it. A host doesn't: it loads the results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuildTable {
    /// The language. Default: the one that the source shows.
    pub lang: Option<LanguageName>,
    /// The folder or file of the source, relative to `bennu.toml`. Default: the folder of `bennu.toml`.
    pub source: Option<PathBuf>,
    /// A command for any other language. A shell runs it in the folder of the source.
    pub command: Option<String>,
    /// The file that the command makes, relative to `bennu.toml`.
    pub output: Option<PathBuf>,
    /// The files and folders that the build reads, relative to `bennu.toml`. Default: those of the source.
    pub watch: Vec<PathBuf>,
}

/// A language that `bennu build` can compile or bundle by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LanguageName {
    /// A crate, which cargo compiles.
    Rust,
    /// Go, a package `main`, which Go compiles.
    Go,
    /// TypeScript with npm packages, of which esbuild makes one file.
    Ts,
    /// The same in JavaScript.
    Js,
    /// Python, of which componentize-py makes a component.
    Python,
}

impl BuildTable {
    /// Checks the keys of the table. `name` is the plugin's name, for errors.
    pub(super) fn check(&self, name: &str) -> Result<()> {
        let key = |key: &str| format!("`build.{name}.{key}`");
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if name.is_empty() || !name.chars().all(is_name) {
            bail!("`build.{name}`: the name of a plugin has letters, digits, `_` and `-`");
        }
        match (&self.command, &self.output) {
            (Some(command), _) if command.trim().is_empty() => bail!("{} is empty", key("command")),
            (Some(_), _) if self.lang.is_some() => {
                bail!("{} and {} exclude each other: a command needs no language", key("command"), key("lang"))
            }
            (Some(_), None) => bail!("{} needs {}, the file that it makes", key("command"), key("output")),
            (None, Some(_)) => bail!("{} needs {}, which makes it", key("output"), key("command")),
            (Some(_), Some(output)) => {
                let is_plugin =
                    output.extension().is_some_and(|extension| ["wasm", "js", "ts"].iter().any(|e| extension == *e));
                if !is_plugin {
                    bail!("{} is {}; a plugin's file ends in .wasm, .js or .ts", key("output"), output.display());
                }
            }
            (None, None) => {}
        }
        Ok(())
    }
}
