//! Finds or sets up a compiler from Rust to WebAssembly.
//!
//! Usually, only the target `wasm32-unknown-unknown` is needed, and rustup downloads it. If rustup can't, a compiler
//! whose standard library can be built from source is used instead, for example Debian's. The library is built once, into
//! the user's cache ([`sysroot`]).

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::{debian, process, step, sysroot};

/// The compilation target of guests: WebAssembly without a system interface.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// How long rustup may take. Without a connection to its server, it would wait much longer.
const DOWNLOAD: Duration = Duration::from_secs(60);

/// The packages of Debian's recent compiler, and its path. Debian's package `rustc` is too old for the guests.
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A way to compile guests.
pub(crate) enum Toolchain {
    /// Cargo's compiler, which has the target installed.
    Plain,
    /// A compiler with a standard library that was built for it.
    Built {
        /// The compiler.
        rustc: PathBuf,
        /// The linker. Debian's compiler has none.
        linker: PathBuf,
        /// The sysroot with the standard library.
        sysroot: PathBuf,
    },
}

impl Toolchain {
    /// Finds a way to compile guests, or sets one up. This may download and install software, and prints that it does.
    pub(crate) fn find() -> Result<Self> {
        if has_target() {
            return Ok(Self::Plain);
        }
        // If an earlier run has built one, its download failed. So this run doesn't try to download.
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
            step::note("Installing Debian's compiler next to yours.");
            debian::install("installing rustc-web and rust-web-src (about 140 MB)", &DEBIAN_PACKAGES)?;
            return Self::build(DEBIAN_RUSTC.into());
        }
        bail!(
            "this machine has no compiler from Rust to WebAssembly. Run one of these commands and try again:\n\
             - rustup target add {TARGET}\n\
             - on Debian: sudo apt-get install {}",
            DEBIAN_PACKAGES.join(" ")
        );
    }

    /// The command `cargo build` for the guests in the folder `place`, with this profile of its workspace.
    pub(crate) fn cargo_build(&self, place: &Path, profile: &str) -> Command {
        let mut command = process::cargo(place);
        command.args(["build", "--profile", profile, "--target", TARGET]);
        // A developer's flags are meant for the host, and would override the flags below.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        command.envs(self.variables().map(|(name, _, value)| (name, value)));
        command
    }

    /// The variables with which cargo compiles guests: each variable of cargo, the variable from which a test takes it, and the
    /// value. With cargo's own variables, the tests themselves would be compiled by this compiler.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, &'static str, OsString)> + use<> {
        let variables = match self {
            Self::Plain => None,
            Self::Built { rustc, linker, sysroot } => {
                let mut flags = OsString::from("--sysroot=");
                flags.push(sysroot);
                Some([
                    ("RUSTC", "BENNU_WASM_RUSTC", rustc.clone().into_os_string()),
                    (
                        "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
                        "BENNU_WASM_LINKER",
                        linker.clone().into_os_string(),
                    ),
                    ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", "BENNU_WASM_RUSTFLAGS", flags),
                ])
            }
        };
        variables.into_iter().flatten()
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

/// Downloads the target with rustup. Returns false if that isn't possible.
fn download_target() -> Result<bool> {
    let Some(rustup) = process::on_path("rustup") else {
        return Ok(false);
    };
    step::note(&format!("Downloading Rust's target {TARGET} with rustup."));
    let mut rustup = Command::new(rustup);
    // A failure is one line. A backtrace of rustup would not help.
    rustup.args(["target", "add", TARGET]).env("RUST_BACKTRACE", "0");
    let there = process::run_within(DOWNLOAD, &mut rustup)? && has_target();
    if !there {
        step::note("rustup could not download the target.");
    }
    Ok(there)
}

/// The compilers of this machine, the most likely first.
fn compilers() -> Vec<PathBuf> {
    let own = process::read(rustc().args(["--print", "sysroot"]));
    let own = own.map(|folder| Path::new(&folder).join("bin").join("rustc").with_extension(env::consts::EXE_EXTENSION));
    let both = own.into_iter().chain([PathBuf::from(DEBIAN_RUSTC)]);
    both.filter(|file| file.is_file()).collect()
}

/// Finds the linker for WebAssembly: that of the given compiler, else that of cargo's compiler, else `wasm-ld` on `PATH`.
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
