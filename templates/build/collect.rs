//! The files of the archive, by their paths.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The files, by their paths with `/`.
#[derive(Default)]
pub(crate) struct Collected(BTreeMap<String, Vec<u8>>);

impl Collected {
    /// Adds a file with this content.
    pub(crate) fn put(&mut self, path: &str, content: Vec<u8>) {
        self.0.insert(path.to_owned(), content);
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, from: &Path, path: &str) -> Result<()> {
        println!("cargo:rerun-if-changed={}", from.display());
        self.put(path, fs::read(from).with_context(|| format!("reading {}", from.display()))?);
        Ok(())
    }

    /// Adds the files below a folder, under `prefix`. `is_wanted` gets each name of a file or folder.
    pub(crate) fn folder(&mut self, from: &Path, prefix: &str, is_wanted: fn(&str) -> bool) -> Result<()> {
        println!("cargo:rerun-if-changed={}", from.display());
        for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
            let entry = entry?;
            let name = entry.file_name().into_string().ok().context("a file name must be UTF-8")?;
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            match (is_wanted(&name), entry.file_type()?.is_dir()) {
                (false, _) => {}
                (true, true) => self.folder(&entry.path(), &path, is_wanted)?,
                (true, false) => self.file(&entry.path(), &path)?,
            }
        }
        Ok(())
    }

    /// The paths of the files, in their order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The archive: for each file a line `LENGTH PATH`, and then its content.
    pub(crate) fn archive(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        for (path, content) in &self.0 {
            archive.extend(format!("{} {path}\n", content.len()).into_bytes());
            archive.extend(content);
        }
        archive
    }
}
