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
    /// Build the variants too that tests reload plugins to
    #[arg(long)]
    variants: bool,
}

/// Builds all plugins and puts their pages together.
pub(crate) fn run(options: &Options) -> Result<()> {
    let toolchain = Toolchain::find()?;
    if options.watch {
        return watch::run(|| make(&toolchain, options.variants));
    }
    make(&toolchain, options.variants)
}

fn make(toolchain: &Toolchain, with_variants: bool) -> Result<()> {
    step("plugins", || build(toolchain, Cargo::Speaks))?;
    if with_variants {
        step("variants of plugins", || build_variants(toolchain))?;
    }
    page::put_together()
}

/// Whether cargo tells what it does.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Cargo {
    Speaks,
    /// Only errors: another cargo speaks meanwhile.
    IsQuiet,
}

/// Builds all plugins to `target/guests/NAME.wasm`.
pub(crate) fn build(toolchain: &Toolchain, cargo: Cargo) -> Result<()> {
    let names = names()?;
    let work = places::target().join("guest-build");
    let mut command = toolchain.cargo_build(&places::guest_sources());
    command.arg("--workspace").args((cargo == Cargo::IsQuiet).then_some("--quiet"));
    process::run(command.env("CARGO_TARGET_DIR", &work))?;
    let width = names.iter().map(String::len).max().unwrap_or_default();
    for name in &names {
        let put = wrap(&module(&work, name), &places::guests().join(name).with_extension("wasm"))?;
        let news = if put.changed { paint("32", "new") } else { paint("2", "as before") };
        note(&format!("{name:width$} {:>7.1} KB  {news}", put.bytes as f64 / 1000.0));
    }
    Ok(())
}

/// Another build of a plugin, for tests that replace the running one by it.
struct Variant {
    plugin: &'static str,
    /// How its file is called, behind the plugin's own name.
    name: &'static str,
    /// What makes it another.
    features: &'static str,
    env: &'static [(&'static str, &'static str)],
}

const fn counter(name: &'static str, features: &'static str) -> Variant {
    Variant { plugin: "counter", name, features, env: &[] }
}

const VARIANTS: [Variant; 11] = [
    Variant { plugin: "echo", name: "v2", features: "", env: &[("ECHO_VERSION", "2")] },
    counter("durable", "durable"),
    counter("durable-v2", "durable second"),
    counter("durable-v2-refuses", "durable refuses"),
    counter("v1-faulty", "faulty"),
    counter("v2", "second"),
    counter("v2-loops", "loops"),
    counter("v2-refuses", "refuses"),
    counter("v2-traps", "traps"),
    counter("v3", "third"),
    Variant { plugin: "game", name: "v2", features: "second", env: &[] },
];

/// Cargo compiles all builds of one plugin to one place, and so each of them anew each time. None is asked for its speed.
const QUICK: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
];

/// Builds the variants to `target/guests/variants/PLUGIN-NAME.wasm`. They aren't put among the others, since they serve the
/// same topics.
pub(crate) fn build_variants(toolchain: &Toolchain) -> Result<()> {
    // Built apart, so that no plugin has to be built again because of them.
    let work = places::target().join("guest-build").join("variants");
    for Variant { plugin, name, features, env } in VARIANTS {
        let mut cargo = toolchain.cargo_build(&places::guest_sources());
        cargo.args(["--quiet", "--package", plugin, "--features", features]).env("CARGO_TARGET_DIR", &work);
        process::run(cargo.envs(QUICK).envs(env.iter().copied()))?;
        let place = places::guests().join("variants").join(format!("{plugin}-{name}.wasm"));
        wrap(&module(&work, plugin), &place)?;
    }
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
