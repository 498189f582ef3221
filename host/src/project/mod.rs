//! A project: a folder with a `bennu.toml` or with plugins, and how its plugins are built.
//!
//! Nothing here runs a program. A [`Language`] says which program to run, which file that makes, which files to watch, and what
//! a failure means. The commands `build`, `dev` and `test` do the rest. Each language is one file.

mod bundle;
mod command;
mod golang;
mod language;
mod node;
mod python;
mod rust;
mod scripts;

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::plugin::{Source, name_of};
use crate::server::{BuildTable, Config, LanguageName};

pub use language::{Advice, Failure, Invocation, Language};
pub use node::node_advice;
pub use scripts::{ScriptTest, plugins_of};

/// The name of the configuration file.
pub const CONFIG: &str = "bennu.toml";

/// The folder in which built plugins are written.
pub const OUTPUT: &str = "build";

/// The folder of plugins, and that of pages, of a project without a configuration.
const PLUGINS: &str = "plugins";
const PAGES: &str = "public";

/// The folder of tests.
const TESTS: &str = "tests";

/// Folders whose content is never a source: results, data, and other people's packages.
const IGNORED: [&str; 6] = [OUTPUT, "__pycache__", "data", "dist", "node_modules", "target"];

/// Files that a build itself writes beside the sources.
const LOCKS: [&str; 2] = ["Cargo.lock", "package-lock.json"];

/// A project.
pub struct Project {
    /// The folder of `bennu.toml`.
    pub root: PathBuf,
    /// The configuration file, which may not exist.
    pub file: PathBuf,
    /// The configuration.
    pub config: Config,
    /// Whether there is a configuration file.
    pub has_config: bool,
    /// The plugins that are built, by their names.
    pub targets: Vec<Target>,
}

/// A plugin that is built.
pub struct Target {
    /// The plugin's name.
    pub name: String,
    /// How it is built.
    pub language: Box<dyn Language>,
    /// The files and folders that the build reads.
    pub watched: Vec<PathBuf>,
    /// Whether its table names them.
    has_own_watch: bool,
}

impl Project {
    /// Reads the project in a folder. With `config`, the project is in the folder of that file.
    ///
    /// # Errors
    /// Returns an error if there is no project, or its configuration is wrong.
    pub fn read(folder: &Path, config: Option<&Path>) -> Result<Self> {
        // With absolute paths, a program that runs in another folder finds the same files.
        let folder = &std::path::absolute(folder).context("finding the current directory")?;
        let file = config.map_or_else(|| Ok(folder.join(CONFIG)), std::path::absolute)?;
        if config.is_some() || file.is_file() {
            let config = Config::read(&file)?;
            let targets = config.build.iter().map(|(name, table)| Target::of(&config, name, table));
            let targets = targets.collect::<Result<_>>()?;
            return Ok(Self { root: config.beside.clone(), file, config, has_config: true, targets });
        }
        let plugins = folder.join(PLUGINS);
        if !plugins.is_dir() {
            bail!(
                "there is no project here: neither `{CONFIG}` nor a folder `{PLUGINS}`; `bennu new NAME` makes a project \
                 in a new folder"
            );
        }
        let pages = Some(folder.join(PAGES)).filter(|pages| pages.is_dir());
        let config = Config { load: vec![plugins], static_directory: pages, ..Config::default() };
        Ok(Self { root: folder.to_owned(), file, config, has_config: false, targets: Vec::new() })
    }

    /// Returns the folder in which built plugins are written.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        self.root.join(OUTPUT)
    }

    /// Returns the plugins that are served as they are: scripts, and components that something else has built.
    ///
    /// # Errors
    /// Returns an error if a directory of `load` can't be read.
    pub fn plain_plugins(&self) -> Result<Vec<(String, PathBuf)>> {
        let is_built = |name: &str, file: &Path| {
            let is_target = self.targets.iter().any(|target| target.name == name);
            is_target && file.parent().is_some_and(|folder| is_same(folder, &self.output()))
        };
        let mut plain = plugins_of(&self.sources()?);
        plain.retain(|(name, file)| !is_built(name, file));
        Ok(plain)
    }

    /// Returns the sources of plugins that exist. The folder of built plugins may not exist yet.
    ///
    /// # Errors
    /// Returns an error if another source of `load` doesn't exist or can't be read.
    pub fn sources(&self) -> Result<Vec<Source>> {
        let is_awaited = |path: &&PathBuf| !path.exists() && is_within(path, &self.output());
        self.config.load.iter().filter(|path| !is_awaited(path)).map(|path| Source::find(path)).collect()
    }

    /// Returns the folder of the project's tests.
    #[must_use]
    pub fn tests(&self) -> PathBuf {
        self.root.join(TESTS)
    }

    /// Returns the folders and files whose changes matter to a developer: those of the sources, the plugins, the tests and the
    /// pages.
    #[must_use]
    pub fn watched(&self) -> Vec<PathBuf> {
        let built = self.targets.iter().flat_map(|target| target.watched.iter().cloned());
        let plain = self.config.load.iter().filter(|path| !is_within(path, &self.output())).cloned();
        let pages = self.config.static_directory.iter().cloned();
        let mut watched: Vec<PathBuf> = built.chain(plain).chain(pages).collect();
        watched.extend([self.tests(), self.file.clone()]);
        watched
    }

    /// Whether a path below a watched one is a source. Others are hidden, or results of builds and of the host.
    #[must_use]
    pub fn is_source(&self, path: &Path, watched: &Path) -> bool {
        let results = [&self.config.data].into_iter().chain(&self.config.cache).chain(&self.config.static_directory);
        let is_in = |folder: &Path| is_within(path, folder) && !is_within(watched, folder);
        is_within(path, watched)
            && !is_ignored(path, watched)
            && !is_in(&self.output())
            && !results.into_iter().any(|folder| is_in(folder))
    }

    /// Returns the targets that a change of this file affects.
    #[must_use]
    pub fn affected(&self, file: &Path) -> Vec<usize> {
        let affects = |target: &Target| {
            let is_below = target.watched.iter().any(|watched| self.is_source(file, watched));
            is_below && (target.has_own_watch || target.language.reads(file))
        };
        (0..self.targets.len()).filter(|at| affects(&self.targets[*at])).collect()
    }

    /// Returns the name of the plugin that a file is, if it is served as it is.
    #[must_use]
    pub fn plain_plugin<'a>(&self, file: &'a Path) -> Option<&'a str> {
        let is_loaded =
            |load: &PathBuf| is_same(load, file) || file.parent().is_some_and(|folder| is_same(load, folder));
        let is_plain = !is_within(file, &self.output()) && self.config.load.iter().any(is_loaded);
        name_of(file).filter(|_| is_plain)
    }

    /// Whether a file is below the directory of pages.
    #[must_use]
    pub fn is_page(&self, file: &Path) -> bool {
        self.config.static_directory.as_ref().is_some_and(|pages| self.is_source(file, pages))
    }

    /// Whether a file is the configuration.
    #[must_use]
    pub fn is_config(&self, file: &Path) -> bool {
        is_same(file, &self.file)
    }
}

impl Target {
    /// Reads a table, and looks at what its source is.
    fn of(config: &Config, name: &str, table: &BuildTable) -> Result<Self> {
        let root = &config.beside;
        let source = table.source.as_ref().map_or_else(|| root.clone(), |source| root.join(source));
        let language = language_of(root, name, table, &source).with_context(|| format!("`build.{name}`"))?;
        let output = root.join(OUTPUT);
        if !config.load.iter().any(|load| is_same(load, &output) || is_within(load, &output)) {
            bail!(
                "`build.{name}`: the plugin is written to `{OUTPUT}`, and `load` doesn't name that; set `load = [\"{OUTPUT}\"]`"
            );
        }
        let watched = match &table.watch[..] {
            [] => language.watched(),
            named => named.iter().map(|path| root.join(path)).collect(),
        };
        Ok(Self { name: name.to_owned(), language, watched, has_own_watch: !table.watch.is_empty() })
    }

    /// Returns the name of the built file.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.{}", self.name, self.language.extension())
    }
}

/// Decides how a plugin is built: as its table says, or else as its source shows.
fn language_of(root: &Path, name: &str, table: &BuildTable, source: &Path) -> Result<Box<dyn Language>> {
    if let (Some(command), Some(output)) = (&table.command, &table.output) {
        return Ok(Box::new(command::Custom::new(root, name, command, output, table, source)?));
    }
    if !source.exists() {
        bail!("its source {} doesn't exist", source.display());
    }
    let shown = || match source.extension().and_then(|extension| extension.to_str()) {
        Some("ts") => Some(LanguageName::Ts),
        Some("js" | "mjs") => Some(LanguageName::Js),
        Some("go") => Some(LanguageName::Go),
        Some("py") => Some(LanguageName::Python),
        _ if source.join(rust::MANIFEST).is_file() => Some(LanguageName::Rust),
        _ if golang::Package::is_in(source) => Some(LanguageName::Go),
        _ => None,
    };
    match table.lang.or_else(shown) {
        Some(LanguageName::Rust) => Ok(Box::new(rust::Crate::new(source)?)),
        Some(LanguageName::Go) => Ok(Box::new(golang::Package::new(root, source)?)),
        Some(LanguageName::Ts | LanguageName::Js) => Ok(Box::new(bundle::Bundle::new(root, source)?)),
        Some(LanguageName::Python) => Ok(Box::new(python::Module::new(root, source)?)),
        None => bail!(
            "nothing in {} says how the plugin is built: there is no Cargo.toml and no go.mod, and it is no .py, .ts or .js file; set `lang` or \
             `command`",
            source.display()
        ),
    }
}

/// Whether two paths are the same one, by their names.
fn is_same(one: &Path, other: &Path) -> bool {
    plain(one) == plain(other)
}

/// Whether a path is `folder`, or below it, by its name.
fn is_within(path: &Path, folder: &Path) -> bool {
    plain(path).starts_with(plain(folder))
}

/// Whether a file below a watched folder is hidden, of an editor, a lock file that the build writes, or a log, or in a folder that
/// has no sources.
fn is_ignored(file: &Path, watched: &Path) -> bool {
    let (file, watched) = (plain(file), plain(watched));
    let below = file.strip_prefix(&watched).unwrap_or(&file);
    below.components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        name.starts_with('.')
            || name.ends_with('~')
            || name.ends_with(".log")
            || IGNORED.contains(&&*name)
            || LOCKS.contains(&&*name)
    })
}

/// An absolute path without `.` and `..`. Links stay as they are, as in the paths that a watcher reports.
fn plain(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests;
