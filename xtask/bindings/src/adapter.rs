//! Assembles the host's adapter for WASI preview 1 from its text, with the type of what it imports.

use std::path::Path;

use anyhow::{Context, Result};
use wit_component::StringEncoding;
use wit_parser::Resolve;

/// The folder of the adapter, in the repository.
pub(crate) const FOLDER: &str = "host/src/plugin/preview1";

/// Assembles the adapter in the repository at `root`.
pub(crate) fn assemble(root: &Path) -> Result<Vec<u8>> {
    let folder = root.join(FOLDER);
    let mut module = wat::parse_file(folder.join("adapter.wat"))?;
    let mut resolve = Resolve::default();
    let interfaces = folder.join("adapter.wit");
    let package = resolve.push_file(&interfaces).with_context(|| format!("reading {}", interfaces.display()))?;
    let world = resolve.select_world(&[package], Some("preview1"))?;
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    Ok(module)
}
