//! The plugins in `guest-examples/`, from source to component.
//!
//! Cargo compiles all of them at once to core modules; each is then wrapped as a component and put in its place only if
//! it changed, by a rename, so that a host that watches the file sees a whole plugin or the old one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use wit_component::ComponentEncoder;

use crate::process;
use crate::step::{note, paint, step};
use crate::toolchain::{TARGET, Toolchain};
use crate::{page, places, watch};

/// How `cargo xtask guests` was called.
#[derive(Args)]
pub(crate) struct Options {
    /// Stay, and build again whenever a source is saved
    #[arg(long)]
    watch: bool,
}

/// Builds all plugins and puts their pages together.
pub(crate) fn run(options: &Options) -> Result<()> {
    let toolchain = Toolchain::find()?;
    if options.watch {
        return watch::run(|| make(&toolchain));
    }
    make(&toolchain)
}

fn make(toolchain: &Toolchain) -> Result<()> {
    step("plugins", || build(toolchain))?;
    page::put_together("chat")
}

/// Builds all plugins to `target/guests/NAME.wasm`.
pub(crate) fn build(toolchain: &Toolchain) -> Result<()> {
    let names = names()?;
    let work = places::target().join("guest-build");
    process::run(toolchain.cargo_build(&places::guest_sources()).arg("--workspace").env("CARGO_TARGET_DIR", &work))?;
    let width = names.iter().map(String::len).max().unwrap_or_default();
    for name in &names {
        let put = wrap(&module(&work, name), &places::guests().join(name).with_extension("wasm"))?;
        let news = if put.changed { paint("32", "new") } else { paint("2", "as before") };
        note(&format!("{name:width$} {:>7.1} KB  {news}", put.bytes as f64 / 1000.0));
    }
    Ok(())
}

/// Builds the plugin `echo` as its version 2, for tests that replace a running plugin by another build of it. It isn't put
/// among the others, since it serves the same topics as version 1.
pub(crate) fn build_second_echo(toolchain: &Toolchain) -> Result<()> {
    // Built apart, so that neither build has to be done again because of the other.
    let work = places::target().join("guest-build").join("second");
    let mut cargo = toolchain.cargo_build(&places::guest_sources());
    process::run(cargo.args(["--package", "echo"]).env("ECHO_VERSION", "2").env("CARGO_TARGET_DIR", &work))?;
    wrap(&module(&work, "echo"), &places::guests().join("variants").join("echo-v2.wasm"))?;
    Ok(())
}

/// The plugins: each folder that holds a crate, which is called as the folder is.
fn names() -> Result<Vec<String>> {
    let sources = places::guest_sources();
    let mut names = Vec::new();
    for folder in fs::read_dir(&sources).with_context(|| format!("cannot read {}", sources.display()))? {
        let folder = folder?;
        if folder.path().join("Cargo.toml").is_file() {
            names.push(folder.file_name().to_string_lossy().into_owned());
        }
    }
    if names.is_empty() {
        bail!("{} holds no crate", sources.display());
    }
    names.sort();
    Ok(names)
}

/// What cargo compiles the plugin `name` to.
fn module(work: &Path, name: &str) -> PathBuf {
    let file = format!("{}.wasm", name.replace('-', "_"));
    work.join(TARGET).join("release").join(file)
}

/// A component in its place.
struct Put {
    bytes: usize,
    changed: bool,
}

/// Wraps a core module as a component and puts that at `place`, unless the same stands there already.
fn wrap(module: &Path, place: &Path) -> Result<Put> {
    let core = fs::read(module).with_context(|| {
        format!(
            "cannot read {}: a plugin's crate is called as its folder is, and has crate-type = [\"cdylib\"]",
            module.display()
        )
    })?;
    let component = ComponentEncoder::default()
        .module(&core)
        .and_then(|encoder| encoder.validate(true).encode())
        .with_context(|| format!("{} can't be made a component", module.display()))?;
    let changed = fs::read(place).ok().as_ref() != Some(&component);
    if changed {
        replace(place, &component)?;
    }
    Ok(Put { bytes: component.len(), changed })
}

/// Writes a file so that it is never seen half written.
fn replace(place: &Path, bytes: &[u8]) -> Result<()> {
    let folder = place.parent().context("a file stands in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let beside = place.with_extension("part");
    fs::write(&beside, bytes).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, place).with_context(|| format!("cannot write {}", place.display()))
}
