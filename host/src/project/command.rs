//! Plugins in any other language: a command that makes a file.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::language::{Advice, Failure, Invocation, Language};
use super::{OUTPUT, is_within};
use crate::server::BuildTable;

/// A command.
pub(super) struct Custom {
    line: String,
    /// The folder in which it runs.
    folder: PathBuf,
    /// The file that it makes.
    output: PathBuf,
    source: PathBuf,
    /// Whether the table names the watched files. Otherwise the command may write among them.
    has_own_watch: bool,
}

impl Custom {
    pub(super) fn new(
        root: &Path,
        name: &str,
        line: &str,
        output: &Path,
        table: &BuildTable,
        source: &Path,
    ) -> Result<Self> {
        let output = root.join(output);
        if is_within(&output, &root.join(OUTPUT)) {
            bail!(
                "`output` is in `{OUTPUT}`, where a running host would read half of it; let the command write it elsewhere, \
                 and `bennu build` copies it to `{OUTPUT}/{name}` when it is complete"
            );
        }
        let folder = if source.is_dir() { source } else { source.parent().unwrap_or(root) };
        if !folder.is_dir() {
            bail!("its source {} doesn't exist", source.display());
        }
        let (source, has_own_watch) = (source.to_owned(), !table.watch.is_empty());
        Ok(Self { line: line.to_owned(), folder: folder.to_owned(), output, source, has_own_watch })
    }
}

impl Language for Custom {
    fn name(&self) -> &'static str {
        "command"
    }

    fn extension(&self) -> &str {
        self.output.extension().and_then(|extension| extension.to_str()).unwrap_or("wasm")
    }

    fn build(&self, _scratch: &Path, _is_quiet: bool) -> Result<Invocation> {
        let [shell, option] = if cfg!(windows) { ["cmd", "/C"] } else { ["sh", "-c"] };
        Ok(Invocation::new(shell, [option, &self.line], &self.folder))
    }

    fn product(&self, _scratch: &Path, _output: &[u8]) -> Result<PathBuf> {
        if !self.output.is_file() {
            bail!("`{}` has succeeded, and {} doesn't exist", self.line, self.output.display());
        }
        Ok(self.output.clone())
    }

    fn watched(&self) -> Vec<PathBuf> {
        vec![self.source.clone()]
    }

    fn leaves_sources_alone(&self) -> bool {
        self.has_own_watch
    }

    fn advice(&self, _failure: &Failure<'_>) -> Option<Advice> {
        None
    }
}
