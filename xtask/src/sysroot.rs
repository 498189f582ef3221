//! Builds Rust's standard library for WebAssembly from its source.
//!
//! The library is built with an empty crate, once for each compiler, and moved to the layout that rustc expects of a
//! sysroot. After that, plain `cargo build` compiles the guests.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{self as this_process, Command};

use anyhow::{Context, Result, bail};

use crate::toolchain::TARGET;
use crate::{places, process};

/// The version of this build procedure. It is part of the folder's name, so a changed procedure builds the library again.
const RECIPE: u32 = 1;

/// Whether the source of the standard library is installed with `rustc`.
pub(crate) fn has_source(rustc: &Path) -> bool {
    let sysroot = process::read(Command::new(rustc).args(["--print", "sysroot"]));
    sysroot.is_ok_and(|folder| Path::new(&folder).join("lib/rustlib/src/rust/library/std").is_dir())
}

/// The sysroot that an earlier [`build`] has built for `rustc`.
pub(crate) fn built(rustc: &Path) -> Option<PathBuf> {
    place(rustc).ok().filter(|folder| folder.is_dir())
}

/// Builds the standard library for `rustc`, and returns its sysroot.
pub(crate) fn build(rustc: &Path, linker: &Path) -> Result<PathBuf> {
    let place = place(rustc)?;
    // It is built next to its place, and moved there only when it is complete. So any process that sees it may use it.
    let work = place.with_extension(format!("building-{}", this_process::id()));
    fs::create_dir_all(work.join("src"))?;
    fs::write(work.join("src/lib.rs"), "#![no_std]\n")?;
    fs::write(work.join("Cargo.toml"), "[package]\nname = \"empty\"\nedition = \"2021\"\n\n[workspace]\n")?;
    let made = compile(rustc, linker, &work).and_then(|()| lay_out(&work));
    let moved = made.and_then(|folder| match fs::rename(folder, &place) {
        // Another run may have finished first. Its result is the same.
        Err(_) if place.is_dir() => Ok(()),
        moved => moved.with_context(|| format!("cannot write {}", place.display())),
    });
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    moved.context("building Rust's standard library for WebAssembly")?;
    Ok(place)
}

fn compile(rustc: &Path, linker: &Path, work: &Path) -> Result<()> {
    let mut cargo = process::cargo(work);
    cargo
        .args(["build", "--release", "-Zbuild-std=std,panic_abort", "--target", TARGET])
        .env("RUSTC", rustc)
        // Allows -Z on a stable compiler. This variable exists for building the standard library.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Cembed-bitcode=yes -Copt-level=s")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_TARGET_DIR", work.join("target"));
    process::run_quietly("building Rust's standard library for WebAssembly (only once)", &mut cargo)
}

/// Moves the libraries to a new sysroot, in the layout that rustc expects, and returns the sysroot.
fn lay_out(work: &Path) -> Result<PathBuf> {
    let sysroot = work.join("sysroot");
    let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&libraries)?;
    let built = work.join("target").join(TARGET).join("release/deps");
    let mut found = 0;
    for file in fs::read_dir(&built).with_context(|| format!("cannot read {}", built.display()))? {
        let file = file?.path();
        let empty_crate = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libempty-"));
        if let (Some(name), false) = (file.file_name(), empty_crate || file.extension().is_none_or(|e| e != "rlib")) {
            fs::rename(&file, libraries.join(name))?;
            found += 1;
        }
    }
    if found == 0 {
        bail!("cargo built no library in {}", built.display());
    }
    Ok(sysroot)
}

/// The folder of the sysroot for `rustc`.
fn place(rustc: &Path) -> Result<PathBuf> {
    let version = process::read(Command::new(rustc).arg("-vV"))?;
    let release = version.lines().find_map(|line| line.strip_prefix("release: "));
    let mut hasher = DefaultHasher::new();
    (&version, RECIPE).hash(&mut hasher);
    let name = format!("rust-{}-{:016x}", release.unwrap_or("unknown"), hasher.finish());
    // `with_extension` would replace the text after a dot.
    Ok(places::cache()?.join("sysroots").join(name.replace('.', "-")))
}
