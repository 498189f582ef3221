//! Plugins in JavaScript and TypeScript: a file `NAME.js` or `NAME.ts`, without a toolchain.
//!
//! One component, the engine, runs all scripts. It is QuickJS with the contract's exports. The host compiles it once, and each
//! new instance evaluates the script. A build is a script with the digest of the engine, so a host with another engine has
//! another build of the same file.

mod blank;
mod compact;
mod engine;
mod evaluation;
mod modules;
mod place;
mod source;
mod state;

use std::path::Path;
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

use super::{Digest, Tools};
pub(super) use engine::ScriptEngine;
pub(super) use evaluation::{Evaluation, evaluate, evaluation_failure};
pub use source::{blank_types, remove_types};

/// The first line of a build that is a script.
const MAGIC: &str = "bennu script 1";

/// The maximum size of a script, in bytes.
const SCRIPT_BYTES_MAX: usize = 4 << 20;

/// The digest of the engine: of its component and its own modules.
static ENGINE: LazyLock<Digest> = LazyLock::new(|| {
    let modules = bennu_engine::MODULES.iter().flat_map(|(name, source)| [name.as_bytes(), source.as_bytes()]);
    let pieces: Vec<&[u8]> = std::iter::once(bennu_engine::COMPONENT).chain(modules).collect();
    Digest::of_pieces(&pieces)
});

/// Returns the build that a file's content is. A component is its own build. The build of a script also names the file and the
/// engine.
#[must_use]
pub fn build_of(path: &Path, content: Vec<u8>) -> Vec<u8> {
    if !is_script(path) {
        return content;
    }
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let mut build = format!("{MAGIC}\nengine {}\nfile {file}\n\n", *ENGINE).into_bytes();
    build.extend(content);
    build
}

/// Whether the file is a script: `NAME.js` or `NAME.ts`, but no declarations and no test.
pub(super) fn is_script(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.strip_suffix(".js").or_else(|| name.strip_suffix(".ts"));
    stem.is_some_and(|stem| ![".d", ".test", ".spec", ".config"].iter().any(|not| stem.ends_with(not)))
}

/// Whether a build is a script.
pub(super) fn is_build(build: &[u8]) -> bool {
    build.starts_with(MAGIC.as_bytes())
}

/// A script that can be evaluated.
pub(super) struct Script {
    /// The file's name.
    file: String,
    /// The source, without types.
    text: String,
    /// The seed of what the script may see while it is evaluated: a function of the build.
    seed: [u8; 32],
    /// Warnings about the source.
    warnings: Vec<String>,
}

impl Script {
    /// Reads a build that is a script, and checks its source.
    ///
    /// # Errors
    /// Returns an error if the source can't be a script. It has the place of the mistake.
    pub(super) fn read(build: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(build).context("it is not UTF-8; save the script as UTF-8")?;
        let (head, source) = text.split_once("\n\n").context("it has no head; this is a fault of the host")?;
        let file = head.lines().find_map(|line| line.strip_prefix("file ")).unwrap_or("script.js").to_owned();
        if source.len() > SCRIPT_BYTES_MAX {
            bail!("it has {} bytes; a script has at most {SCRIPT_BYTES_MAX}", source.len());
        }
        let checked = source::check(&file, source)?;
        let seed = Sha256::digest(build).into();
        Ok(Self { file, text: checked.text, seed, warnings: checked.warnings })
    }

    /// Returns the language of the script.
    pub(super) fn tools(&self) -> Tools {
        let language = if self.file.ends_with(".ts") { "TypeScript" } else { "JavaScript" };
        // The SDK is a part of the host.
        let sdk = concat!("bennu for TypeScript ", env!("CARGO_PKG_VERSION"));
        Tools {
            language: Some(language.to_owned()),
            sdk: Some(sdk.to_owned()),
            tools: vec!["QuickJS".to_owned()],
            ..Tools::default()
        }
    }

    /// Returns the warnings about the source, each with its place.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Returns the engine's modules, without types. They are read once.
fn engine_module(name: &str) -> Option<&'static str> {
    static MODULES: LazyLock<Vec<(&'static str, String)>> = LazyLock::new(|| {
        let modules = bennu_engine::MODULES.iter();
        modules.map(|(name, source)| (*name, source::without_types(source))).collect()
    });
    MODULES.iter().find(|(own, _)| *own == name).map(|(_, text)| text.as_str())
}

/// A script that instances evaluate, shared by all instances of a generation.
pub(super) type SharedScript = Arc<Script>;
