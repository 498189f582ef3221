//! The scripts in `tests/`, and the plugins that they are for.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::plugin::Source;

/// The line of a script that names its plugins.
const LINE: &str = "-- plugins:";

/// A script with the plugins that it is played against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptTest {
    /// The script's file.
    pub script: PathBuf,
    /// The files of the plugins.
    pub plugins: Vec<PathBuf>,
}

/// Returns the plugins of the sources, by their names. If two files have the same name, the first one is served.
#[must_use]
pub fn plugins_of(sources: &[Source]) -> Vec<(String, PathBuf)> {
    let mut plugins: Vec<(String, PathBuf)> = Vec::new();
    for (name, file) in sources.iter().flat_map(Source::plugins) {
        if !plugins.iter().any(|(known, _)| *known == name) {
            plugins.push((name, file));
        }
    }
    plugins
}

impl ScriptTest {
    /// Finds the plugins that a script is for. The script may name them in a line `-- plugins: chat, board`. Otherwise they are
    /// the plugin whose name the script has (`chat.script`, or `chat-history.script`), or the only plugin there is.
    ///
    /// # Errors
    /// Returns an error if no plugin, or an unknown one, is named.
    pub fn of(script: &Path, text: &str, plugins: &[(String, PathBuf)]) -> Result<Self> {
        let file = |name: &str| plugins.iter().find(|(known, _)| known == name).map(|(_, file)| file.clone());
        let named = text.lines().find_map(|line| line.trim().strip_prefix(LINE));
        let files = match named {
            Some(names) => {
                let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
                let files = names.map(|name| {
                    file(name).with_context(|| format!("it names the plugin `{name}`, and {}", known(plugins)))
                });
                files.collect::<Result<Vec<_>>>()?
            }
            None => by_name(script, plugins).into_iter().collect(),
        };
        if files.is_empty() {
            bail!(
                "nothing says which plugin it is for: give the script the plugin's name, or write a line `{LINE} NAME`; {}",
                known(plugins)
            );
        }
        Ok(Self { script: script.to_owned(), plugins: files })
    }
}

/// Returns the plugin with the longest name that begins the script's name, or the only plugin.
fn by_name(script: &Path, plugins: &[(String, PathBuf)]) -> Option<PathBuf> {
    let stem = script.file_stem()?.to_string_lossy().into_owned();
    let is_for = |name: &str| {
        let rest = stem.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', '.', ' ']))
    };
    let named = plugins.iter().filter(|(name, _)| is_for(name)).max_by_key(|(name, _)| name.len());
    let only = match plugins {
        [only] => Some(only),
        _ => None,
    };
    named.or(only).map(|(_, file)| file.clone())
}

fn known(plugins: &[(String, PathBuf)]) -> String {
    let names: Vec<&str> = plugins.iter().map(|(name, _)| name.as_str()).collect();
    match &names[..] {
        [] => "there is no plugin".to_owned(),
        names => format!("the plugins are {}", names.join(", ")),
    }
}
