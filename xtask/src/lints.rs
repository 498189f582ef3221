//! Lints crates while cargo compiles them.
//!
//! `cargo clippy` is `cargo check` with Clippy's compiler instead of rustc. Cargo can't use the artefacts of `check` for a
//! build, so a fresh clone would compile each dependency twice: for the lints, and for the tests. Clippy's compiler can also
//! build. So the tests are built with it, and each crate is compiled once. In the workspace's own code it optimizes less
//! than rustc does in a debug build, and leaves out rustc's checks of null and misaligned pointers. A released binary has
//! no such checks either.

use std::env::consts::EXE_EXTENSION;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// The flags for Clippy, in the form in which `cargo clippy` passes them to its compiler.
const FLAGS: &str = "-Dwarnings__CLIPPY_HACKERY__";

/// Makes a command of cargo lint the crates of its workspace. Any warning of the compiler or of Clippy is an error.
///
/// # Errors
/// If Clippy isn't installed.
pub(crate) fn linted(mut cargo: Command) -> Result<Command> {
    let sysroot = process::read(Command::new("rustc").args(["--print", "sysroot"]))?;
    let clippy = Path::new(&sysroot).join("bin").join("clippy-driver").with_extension(EXE_EXTENSION);
    if !clippy.is_file() {
        bail!("Clippy isn't installed; install it with `rustup component add clippy`");
    }
    cargo.env("RUSTC_WORKSPACE_WRAPPER", clippy).env("CLIPPY_ARGS", FLAGS);
    Ok(cargo)
}
