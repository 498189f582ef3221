//! Paths: the repository, the files that are built from it, and the user's cache.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root directory of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ is in the repository")
}

/// The plugins' sources.
pub(crate) fn guest_sources() -> PathBuf {
    root().join("guest-examples")
}

/// The sources of the tests with clients of other authors.
pub(crate) fn client_sources() -> PathBuf {
    root().join("tests").join("clients")
}

/// The sources of the servers that the host is compared with.
pub(crate) fn peer_sources() -> PathBuf {
    root().join("bench").join("peers")
}

/// The target directory, for cargo's and all other built files.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The built plugins, as `NAME.wasm`.
pub(crate) fn guests() -> PathBuf {
    target().join("guests")
}

/// The plugins of the first release, which every host loads.
pub(crate) fn first_components() -> PathBuf {
    root().join("tests").join("compatibility")
}

/// The plugins that the tests use, and in `variants/` those that they reload to.
pub(crate) fn quick_guests() -> PathBuf {
    guests().join("quick")
}

/// The built or installed clients of other authors, for the tests.
pub(crate) fn clients() -> PathBuf {
    target().join("clients")
}

/// The built servers that the host is compared with.
pub(crate) fn peers() -> PathBuf {
    target().join("peers")
}

/// The packages that carry the executable.
pub(crate) fn packages() -> PathBuf {
    target().join("packages")
}

/// The archives of releases.
pub(crate) fn dist() -> PathBuf {
    target().join("dist")
}

/// The assembled pages.
pub(crate) fn pages() -> PathBuf {
    target().join("pages")
}

/// The demo's persistent files: its secret and its data directory.
pub(crate) fn demo() -> PathBuf {
    target().join("demo")
}

/// The user's cache folder, for files that take long to build. `cargo clean` doesn't remove it.
pub(crate) fn cache() -> Result<PathBuf> {
    let folder = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("XDG_CACHE_HOME")
        .or_else(|| folder("LOCALAPPDATA"))
        .or_else(|| folder("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("bennu"))
        .context("there is no cache folder: set XDG_CACHE_HOME or HOME")
}
