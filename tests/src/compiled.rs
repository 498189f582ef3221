//! The cache of compiled plugins that all tests share.

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use bennu::plugin::Digest;

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
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("component.wasm");
        fs::write(&file, component)?;
        let mut check = Command::new(places::binary()?);
        check.arg("check").arg(&file).env("XDG_CACHE_HOME", places::cache_home()?).env_remove("BENNU_LOG");
        check.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        check.status().context("running `bennu check`")?;
        *is_compiled = true;
    }
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
    let (digest, mut copies) = (Digest::of(component).to_string(), 0);
    for entry in places::compiled()?.read_dir()? {
        let name = entry?.file_name();
        if name.to_string_lossy().starts_with(&digest) {
            fs::copy(places::compiled()?.join(&name), to.join(&name))?;
            copies += 1;
        }
    }
    ensure!(copies > 0, "the component isn't in the shared cache");
    Ok(())
}
