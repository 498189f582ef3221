//! Where things stand: the repository, what is built out of it, and the user's cache.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The top of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ stands in the repository")
}

/// Where the plugins' sources are.
pub(crate) fn guest_sources() -> PathBuf {
    root().join("guest-examples")
}

/// Where the sources of the tests with clients of other authors are.
pub(crate) fn client_sources() -> PathBuf {
    root().join("tests").join("clients")
}

/// Where the sources of the servers are that the host is measured beside.
pub(crate) fn peer_sources() -> PathBuf {
    root().join("bench").join("peers")
}

/// Where cargo builds, and where everything else that is made goes too.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// Where the built plugins go, as `NAME.wasm`.
pub(crate) fn guests() -> PathBuf {
    target().join("guests")
}

/// Where the clients of other authors go that the tests connect with.
pub(crate) fn clients() -> PathBuf {
    target().join("clients")
}

/// Where the servers go that the host is measured beside.
pub(crate) fn peers() -> PathBuf {
    target().join("peers")
}

/// Where the pages are put together.
pub(crate) fn pages() -> PathBuf {
    target().join("pages")
}

/// Where the demo keeps what outlives it.
pub(crate) fn demo() -> PathBuf {
    target().join("demo")
}

/// The user's folder for what is dear to make and can be made again. It outlives `cargo clean`.
pub(crate) fn cache() -> Result<PathBuf> {
    let folder = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("XDG_CACHE_HOME")
        .or_else(|| folder("LOCALAPPDATA"))
        .or_else(|| folder("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("bennu"))
        .context("no folder to cache in: set XDG_CACHE_HOME or HOME")
}
