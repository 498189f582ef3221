//! Builds the plugins in `guest-examples/` to components.
//!
//! Cargo compiles all plugins together to core modules. Each module is then wrapped as a component. A component replaces
//! the existing file only if it is different, and by a rename. So a host that watches the file never sees a partly
//! written plugin.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use wit_component::ComponentEncoder;

use crate::process;
use crate::step::{note, paint, step};
use crate::toolchain::{TARGET, Toolchain};
use crate::{page, places, watch};

/// The arguments of `cargo xtask guests`.
#[derive(Args)]
pub(crate) struct Options {
    /// The plugins to build, by the names of their folders; all if none is named
    names: Vec<String>,
    /// Keep running, and build again when a source file is saved
    #[arg(long)]
    watch: bool,
    /// Also build the variants that the tests reload plugins to
    #[arg(long)]
    variants: bool,
}

/// Builds all plugins and assembles their pages.
pub(crate) fn run(options: &Options) -> Result<()> {
    let all = names()?;
    if let Some(unknown) = options.names.iter().find(|name| !all.contains(name)) {
        bail!("guest-examples/ has no plugin `{unknown}`; its plugins are {}", all.join(", "));
    }
    let toolchain = Toolchain::find()?;
    if options.watch {
        return watch::run(|| make(&toolchain, options));
    }
    make(&toolchain, options)
}

fn make(toolchain: &Toolchain, options: &Options) -> Result<()> {
    step("plugins", || match &options.names[..] {
        [] => build(toolchain, Cargo::Speaks),
        names => build_some(toolchain, names, Cargo::Speaks),
    })?;
    if options.variants {
        step("variants of plugins", || build_variants(toolchain))?;
    }
    page::put_together()
}

/// Whether cargo prints its progress.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Cargo {
    Speaks,
    /// Prints only errors, because another cargo prints its progress at the same time.
    IsQuiet,
}

/// Builds all plugins to `target/guests/NAME.wasm`.
pub(crate) fn build(toolchain: &Toolchain, cargo: Cargo) -> Result<()> {
    build_some(toolchain, &names()?, cargo)
}

/// Builds these plugins to `target/guests/NAME.wasm`.
pub(crate) fn build_some(toolchain: &Toolchain, names: &[impl AsRef<str>], cargo: Cargo) -> Result<()> {
    let work = places::target().join("guest-build");
    let mut command = toolchain.cargo_build(&places::guest_sources());
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    command.args(names.iter().map(|name| format!("--package={name}")));
    command.args((cargo == Cargo::IsQuiet).then_some("--quiet"));
    process::run(command.env("CARGO_TARGET_DIR", &work))?;
    let width = names.iter().map(|name| name.len()).max().unwrap_or_default();
    for name in names {
        let put = wrap(&module(&work, name), &places::guests().join(name).with_extension("wasm"))?;
        let news = if put.changed { paint("32", "new") } else { paint("2", "unchanged") };
        note(&format!("{name:width$} {:>7.1} KB  {news}", put.bytes as f64 / 1000.0));
    }
    Ok(())
}

/// Another build of a plugin, for tests that replace the running build with it.
struct Variant {
    plugin: &'static str,
    /// The second part of its file name, after the plugin's name.
    name: &'static str,
    /// The cargo features that make the build different.
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

/// The profile settings of variants: quick to compile. Cargo writes all builds of one plugin to the same file, so it
/// compiles each variant again each time. No test measures the speed of a variant.
const QUICK: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
];

/// Builds the variants to `target/guests/variants/PLUGIN-NAME.wasm`. They have a directory of their own, because they
/// serve the same topics as the other plugins.
pub(crate) fn build_variants(toolchain: &Toolchain) -> Result<()> {
    // In a target directory of their own, so that the plugins need no rebuild after the variants were built.
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

/// The names of the plugins. Each folder with a crate is a plugin, and the crate has the folder's name.
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
        bail!("{} contains no crate", sources.display());
    }
    names.sort();
    Ok(names)
}

/// The file of the core module that cargo compiles from the plugin `name`.
fn module(work: &Path, name: &str) -> PathBuf {
    let file = format!("{}.wasm", name.replace('-', "_"));
    work.join(TARGET).join("release").join(file)
}

/// The result of [`wrap`]: the component's size, and whether the file was replaced.
struct Put {
    bytes: usize,
    changed: bool,
}

/// Wraps a core module as a component, and writes the component to `place`, unless the file there has the same bytes.
fn wrap(module: &Path, place: &Path) -> Result<Put> {
    let core = fs::read(module).with_context(|| {
        format!(
            "cannot read {}: a plugin's crate must have the name of its folder, and crate-type = [\"cdylib\"]",
            module.display()
        )
    })?;
    let component = ComponentEncoder::default()
        .module(&core)
        .and_then(|encoder| encoder.validate(true).encode())
        .with_context(|| format!("cannot make a component of {}", module.display()))?;
    let changed = fs::read(place).ok().as_ref() != Some(&component);
    if changed {
        replace(place, &component)?;
    }
    Ok(Put { bytes: component.len(), changed })
}

/// Writes a file by a rename, so that no reader sees a partly written file.
fn replace(place: &Path, bytes: &[u8]) -> Result<()> {
    let folder = place.parent().context("the file has no parent folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let beside = place.with_extension("part");
    fs::write(&beside, bytes).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, place).with_context(|| format!("cannot write {}", place.display()))
}
