//! A compiler from Rust to WebAssembly: found, or made.
//!
//! What an ordinary machine needs is the target `wasm32-unknown-unknown`, which rustup downloads. Where it can't, another
//! compiler will do whose standard library can be built from its source, once, into the user's cache
//! ([`sysroot`]): such as the one that Debian ships.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::{debian, process, step, sysroot};

/// What guests are compiled to: WebAssembly with nothing around it.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// How long rustup may take. Cut off from its server it would wait for much longer.
const DOWNLOAD: Duration = Duration::from_secs(60);

/// Debian's compiler of today (its `rustc` is older than what guests need), and where it is installed.
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A way to compile guests.
pub(crate) enum Toolchain {
    /// Rust's own, which has the target.
    Plain,
    /// A compiler beside a standard library that was built for it.
    Built {
        /// The compiler.
        rustc: PathBuf,
        /// The linker, which Debian's compiler comes without.
        linker: PathBuf,
        /// Where the standard library stands.
        sysroot: PathBuf,
    },
}

impl Toolchain {
    /// Finds a way to compile guests, or makes one: that may download and install something, and say so.
    pub(crate) fn find() -> Result<Self> {
        if has_target() {
            return Ok(Self::Plain);
        }
        // One that was made before means that the download failed before.
        if let Some(made) = compilers().iter().find_map(|rustc| Self::built_before(rustc)) {
            return Ok(made);
        }
        if download_target()? {
            return Ok(Self::Plain);
        }
        if let Some(rustc) = compilers().into_iter().find(|rustc| sysroot::has_source(rustc)) {
            return Self::build(rustc);
        }
        if debian::can_install() {
            step::note("Taking Debian's compiler instead, beside yours.");
            debian::install("installing rustc-web and rust-web-src (about 140 MB)", &DEBIAN_PACKAGES)?;
            return Self::build(DEBIAN_RUSTC.into());
        }
        bail!(
            "there is no way here to compile Rust to WebAssembly. Do one of these and try again:\n\
             - rustup target add {TARGET}\n\
             - on Debian: sudo apt-get install {}",
            DEBIAN_PACKAGES.join(" ")
        );
    }

    /// `cargo build` of guests in the folder `place`.
    pub(crate) fn cargo_build(&self, place: &Path) -> Command {
        let mut command = process::cargo(place);
        command.args(["build", "--release", "--target", TARGET]);
        // What a developer sets for the host is not meant for the guests, and would push aside what is set below.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        if let Self::Built { rustc, linker, sysroot } = self {
            command.env("RUSTC", rustc);
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", format!("--sysroot={}", sysroot.display()));
        }
        command
    }

    fn build(rustc: PathBuf) -> Result<Self> {
        let linker = linker(&rustc)?;
        let sysroot = sysroot::build(&rustc, &linker)?;
        Ok(Self::Built { rustc, linker, sysroot })
    }

    fn built_before(rustc: &Path) -> Option<Self> {
        Some(Self::Built { sysroot: sysroot::built(rustc)?, linker: linker(rustc).ok()?, rustc: rustc.into() })
    }
}

/// Whether the compiler that cargo uses has a standard library for the target.
fn has_target() -> bool {
    let folder = process::read(rustc().args(["--print", "target-libdir", "--target", TARGET]));
    let Ok(files) = fs::read_dir(folder.unwrap_or_default()) else {
        return false;
    };
    files.flatten().any(|file| {
        let name = file.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    })
}

/// Lets rustup download the target. False where that isn't possible.
fn download_target() -> Result<bool> {
    let Some(rustup) = process::on_path("rustup") else {
        return Ok(false);
    };
    step::note(&format!("Downloading Rust's target {TARGET} with rustup."));
    let mut rustup = Command::new(rustup);
    // Why it failed fits a line. Where in rustup is of no use here.
    rustup.args(["target", "add", TARGET]).env("RUST_BACKTRACE", "0");
    let there = process::run_within(DOWNLOAD, &mut rustup)? && has_target();
    if !there {
        step::note("rustup could not download it.");
    }
    Ok(there)
}

/// The compilers of this machine, the likeliest first.
fn compilers() -> Vec<PathBuf> {
    let own = process::read(rustc().args(["--print", "sysroot"]));
    let own = own.map(|folder| Path::new(&folder).join("bin").join("rustc").with_extension(env::consts::EXE_EXTENSION));
    let both = own.into_iter().chain([PathBuf::from(DEBIAN_RUSTC)]);
    both.filter(|file| file.is_file()).collect()
}

/// The linker for WebAssembly: `rustc`'s own, or else the one that came with rustup's Rust.
fn linker(of: &Path) -> Result<PathBuf> {
    for mut rustc in [Command::new(of), rustc()] {
        let folder = process::read(rustc.args(["--print", "target-libdir"]))?;
        let file = Path::new(&folder).with_file_name("bin").join("rust-lld");
        if file.is_file() {
            return Ok(file);
        }
    }
    match process::on_path("wasm-ld") {
        Some(file) => Ok(file),
        None => bail!("no linker for WebAssembly (rust-lld or wasm-ld): install Rust with rustup, or the package lld"),
    }
}

/// The compiler that cargo uses.
fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}
