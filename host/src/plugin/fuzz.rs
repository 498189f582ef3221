//! Fuzz targets of plugin files: see `crate::fuzz`.
//!
//! These are the host's own readers of a file. What they let pass goes to wasmtime, whose validation and compiler its authors
//! fuzz. The tests of the loader (`tests/tests/it`) load whole components that no toolchain would build.

use std::path::Path;

use super::core_module::{is_typed_module, to_component};
use super::script::Script;
use super::source_lines::SourceLines;
use super::{Anatomy, Tools, blank_types, build_of};

/// A component: its imports and exports, how it was made, and its debug information.
pub(crate) fn component(bytes: &[u8]) -> bool {
    let _ = Tools::read(bytes);
    if let Some(lines) = SourceLines::read(bytes) {
        let mut reader = lines.reader();
        for position in (0..bytes.len()).step_by(16) {
            let _ = reader.places(position);
        }
    }
    let Ok(anatomy) = Anatomy::read(bytes) else { return false };
    assert!(!anatomy.exports.is_empty(), "a plugin exports a part of the contract");
    true
}

/// A core module, which is wrapped as a component.
pub(crate) fn core_module(bytes: &[u8]) -> bool {
    let _ = is_typed_module(bytes);
    let Ok(component) = to_component(bytes) else { return false };
    let _ = Anatomy::read(&component);
    component != bytes
}

/// A script. If the first byte is even, it is TypeScript. Without types, everything else is where it was.
pub(crate) fn script(bytes: &[u8]) -> bool {
    let Some((first, source)) = bytes.split_first() else { return false };
    let file = if first % 2 == 0 { "fuzz.ts" } else { "fuzz.js" };
    let script = Script::read(&build_of(Path::new(file), source.to_vec()));
    if let Ok(text) = std::str::from_utf8(source)
        && let Ok(plain) = blank_types(file, text)
    {
        let lengths = |text: &str| text.split('\n').map(|line| line.encode_utf16().count()).collect::<Vec<_>>();
        assert_eq!(lengths(&plain), lengths(text), "each line has the length that it had");
    }
    script.is_ok()
}
