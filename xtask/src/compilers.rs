//! The compilers of the suite `languages`: for plugins in other languages than Rust, TypeScript and JavaScript.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{places, process, python};

/// The generator of bindings for C. PyPI has compilers, but not this.
const WIT_BINDGEN: &str = "wit-bindgen-cli@0.63.0";

/// The tools of the suite.
pub(crate) struct Compilers {
    /// The folders of their programs.
    folders: Vec<PathBuf>,
}

impl Compilers {
    /// Finds the tools, or installs them in the target directory.
    pub(crate) fn find() -> Result<Self> {
        let folder = places::target().join("compilers");
        let environment = folder.join("python");
        python::environment(&environment, &places::root().join("tests").join("languages").join("requirements.txt"))?;
        let generator = folder.join("wit-bindgen");
        install_generator(&generator)?;
        let programs = if cfg!(windows) { "Scripts" } else { "bin" };
        Ok(Self { folders: vec![environment.join(programs), generator.join("bin")] })
    }

    /// The variable `PATH` with the tools first.
    pub(crate) fn path(&self) -> Result<OsString> {
        let usual = env::var_os("PATH").unwrap_or_default();
        let all = self.folders.iter().cloned().chain(env::split_paths(&usual));
        env::join_paths(all).context("a path of a tool contains the separator of the variable PATH")
    }
}

/// Compiles the generator of bindings, unless it is there.
fn install_generator(folder: &Path) -> Result<()> {
    if folder.join("bin").join("wit-bindgen").with_extension(env::consts::EXE_EXTENSION).is_file() {
        return Ok(());
    }
    let mut cargo = process::cargo(places::root());
    // With the flags of this repository, cargo would compile it with other lints.
    cargo.env_remove("RUSTC_WORKSPACE_WRAPPER").env_remove("RUSTFLAGS");
    cargo.args(["install", WIT_BINDGEN, "--locked", "--no-default-features", "--features", "c", "--root"]).arg(folder);
    process::run_quietly("compiling the generator of bindings for C", &mut cargo)
}
