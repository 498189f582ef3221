//! The cache of compiled plugins that all tests share.

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};
use bennu::plugin::Digest;

use crate::crafted::Crafted;
use crate::places;

/// Whether a component is in the cache.
type IsCompiled = Arc<Mutex<bool>>;

/// Compiles a component to the shared cache, once in this process. Tests that run at the same time load the same few plugins, and
/// each of their hosts would compile them again. The compiler runs at low priority, so on a busy machine that can take longer
/// than a test waits.
///
/// A component that a host refuses isn't compiled, and that is no error here.
///
/// # Errors
/// If the binary can't be run.
pub fn compile_once(component: &[u8]) -> Result<()> {
    static KNOWN: Mutex<Option<HashMap<Digest, IsCompiled>>> = Mutex::new(None);
    let own = {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.get_or_insert_default().entry(Digest::of(component)).or_default())
    };
    // Other tests that need this component wait here. Tests that need another one don't.
    let mut is_compiled = own.lock().unwrap_or_else(PoisonError::into_inner);
    if !*is_compiled {
        compile("component.wasm", component, &places::cache_home()?)?;
        *is_compiled = true;
    }
    Ok(())
}

/// If a file is a script, compiles the engine of scripts to the shared cache, once in this process.
///
/// # Errors
/// If the binary can't be run.
pub fn compile_engine_for(file: &str) -> Result<()> {
    static IS_COMPILED: Mutex<bool> = Mutex::new(false);
    if !file.ends_with(".ts") && !file.ends_with(".js") {
        return Ok(());
    }
    let mut is_compiled = IS_COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*is_compiled {
        compile("script.js", b"export default {};", &places::cache_home()?)?;
        *is_compiled = true;
    }
    Ok(())
}

/// Compiles a plugin to the cache below `cache_home`, if it isn't there.
fn compile(name: &str, content: &[u8], cache_home: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join(name);
    fs::write(&file, content)?;
    let mut check = Command::new(places::binary()?);
    check.arg("check").arg(&file).env("XDG_CACHE_HOME", cache_home).env_remove("BENNU_LOG");
    check.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    check.status().context("running `bennu check`")?;
    Ok(())
}

/// Copies the compiled form of a component from the shared cache to the cache `to`, which is created if necessary. A test with a
/// cache of its own then doesn't wait until this component is compiled.
///
/// # Errors
/// If the component isn't in the shared cache, or can't be copied.
pub fn copy_compiled(component: &[u8], to: &Path) -> Result<()> {
    compile_once(component)?;
    // The host doesn't use a cache that others can enter.
    DirBuilder::new().recursive(true).mode(0o700).create(to).context("creating a cache")?;
    let name = compiled_name(component)?;
    fs::copy(places::compiled()?.join(&name), to.join(&name)).context("the component isn't in the shared cache")?;
    Ok(())
}

/// The name of the file that has the compiled form of a component in a cache: the component's digest, and a suffix for the version
/// and the settings of the compiler. The shared cache may also have files of other versions.
///
/// # Errors
/// If the binary can't be run, or compiles nothing.
pub fn compiled_name(component: &[u8]) -> Result<String> {
    static SUFFIX: OnceLock<String> = OnceLock::new();
    if SUFFIX.get().is_none() {
        // In an empty cache, the only file has the suffix of this binary.
        let caches = tempfile::tempdir()?;
        compile("any.wasm", &Crafted::serving("any:*").build()?, caches.path())?;
        let names = caches.path().join("bennu/compiled").read_dir()?.flatten().map(|entry| entry.file_name());
        let name = names.map(|name| name.to_string_lossy().into_owned()).find(|name| name.ends_with(".compiled"));
        let name = name.context("no component was compiled")?;
        let (_, suffix) = name.split_once('-').context("the name has two parts")?;
        SUFFIX.get_or_init(|| suffix.to_owned());
    }
    let suffix = SUFFIX.get().context("the suffix is known")?;
    Ok(format!("{}-{suffix}", Digest::of(component)))
}
