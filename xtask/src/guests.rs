//! Builds the plugins in `guest-examples/` to components, and copies those that are scripts.
//!
//! Cargo compiles all plugins in Rust together to core modules. Each module is then wrapped as a component. A component replaces
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
    /// Also build the variants that benchmarks reload plugins to
    #[arg(long)]
    variants: bool,
    /// Build all plugins and variants as the tests use them, optimized less, to target/guests/quick/
    #[arg(long, conflicts_with_all = ["names", "watch", "variants"])]
    quick: bool,
}

/// Builds all plugins and assembles their pages.
pub(crate) fn run(options: &Options) -> Result<()> {
    let all = names()?;
    if let Some(unknown) = options.names.iter().find(|name| !all.contains(name)) {
        bail!("guest-examples/ has no plugin `{unknown}`; its plugins are {}", all.join(", "));
    }
    let toolchain = Toolchain::find()?;
    if options.quick {
        return step("plugins for the tests", || build_for_tests(&toolchain, Cargo::Speaks));
    }
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
        step("variants of plugins", || build_variants(toolchain, &places::guests()))?;
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

/// A profile of the plugins' workspace.
#[derive(Clone, Copy)]
enum Profile {
    Release,
    /// Compiles in a third of the time.
    Quick,
}

impl Profile {
    const fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Quick => "quick",
        }
    }
}

/// Builds all plugins to `target/guests/NAME.wasm`.
pub(crate) fn build(toolchain: &Toolchain, cargo: Cargo) -> Result<()> {
    build_some(toolchain, &names()?, cargo)
}

/// Builds these plugins to `target/guests/NAME.wasm`.
fn build_some(toolchain: &Toolchain, names: &[impl AsRef<str>], cargo: Cargo) -> Result<()> {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    build_to(&places::guests(), Profile::Release, toolchain, &names, cargo)
}

/// Builds these plugins for the demo, to `target/guests/NAME.wasm`, where [`run`] replaces them.
pub(crate) fn build_for_demo(toolchain: &Toolchain, names: &[&str]) -> Result<()> {
    build_to(&places::guests(), Profile::Quick, toolchain, names, Cargo::IsQuiet)
}

/// Builds all plugins, and the variants that the tests reload to, to `target/guests/quick/`.
pub(crate) fn build_for_tests(toolchain: &Toolchain, cargo: Cargo) -> Result<()> {
    let names = names()?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    build_to(&places::quick_guests(), Profile::Quick, toolchain, &names, cargo)?;
    build_variants(toolchain, &places::quick_guests())
}

fn build_to(to: &Path, profile: Profile, toolchain: &Toolchain, names: &[&str], cargo: Cargo) -> Result<()> {
    let (scripts, crates): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| script(name).is_file());
    let work = work();
    if !crates.is_empty() {
        let mut command = toolchain.cargo_build(&places::guest_sources(), profile.name());
        command.args(crates.iter().map(|name| format!("--package={name}")));
        command.args((cargo == Cargo::IsQuiet).then_some("--quiet"));
        process::run(command.env("CARGO_TARGET_DIR", &work))?;
    }
    let width = names.iter().map(|name| name.len()).max().unwrap_or_default();
    let tell = |name: &str, put: &Put| {
        let news = if put.changed { paint("32", "new") } else { paint("2", "unchanged") };
        note(&format!("{name:width$} {:>7.1} KB  {news}", put.bytes as f64 / 1000.0));
    };
    for name in crates {
        tell(name, &wrap(&module(&work, profile, name), &to.join(name).with_extension("wasm"))?);
    }
    for name in scripts {
        tell(name, &copy(&script(name), &to.join(name).with_extension("ts"))?);
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
}

const fn counter(name: &'static str, features: &'static str) -> Variant {
    Variant { plugin: "counter", name, features }
}

const VARIANTS: [Variant; 12] = [
    Variant { plugin: "echo", name: "v2", features: "second" },
    counter("durable", "durable"),
    counter("durable-v2", "durable second"),
    counter("durable-v2-refuses", "durable refuses"),
    counter("v1-faulty", "faulty"),
    counter("v2", "second"),
    counter("v2-loops", "loops"),
    counter("v2-refuses", "refuses"),
    counter("v2-traps", "traps"),
    counter("v3", "third"),
    Variant { plugin: "game", name: "v2", features: "second" },
    Variant { plugin: "naughty", name: "entries", features: "second" },
];

/// Builds the variants to `variants/PLUGIN-NAME.wasm` in the directory `to`. They have a directory of their own, because
/// they serve the same topics as the other plugins.
pub(crate) fn build_variants(toolchain: &Toolchain, to: &Path) -> Result<()> {
    // All builds of one plugin end as the same file. So the variants have another target directory, and the plugins' files
    // stay as they are. The build directory, with all that cargo has compiled, is the same.
    let (build, work) = (work(), work().join("variants"));
    for Variant { plugin, name, features } in VARIANTS {
        let mut cargo = toolchain.cargo_build(&places::guest_sources(), Profile::Quick.name());
        cargo.args(["--quiet", "--package", plugin, "--features", features]);
        process::run(cargo.env("CARGO_TARGET_DIR", &work).env("CARGO_BUILD_BUILD_DIR", &build))?;
        let place = to.join("variants").join(format!("{plugin}-{name}.wasm"));
        wrap(&module(&work, Profile::Quick, plugin), &place)?;
    }
    // A plugin that the host itself wraps.
    let core = read_module(&module(&build, Profile::Quick, "echo"))?;
    replace(&to.join("variants").join("echo-core.wasm"), &core)
}

/// Cargo's target directory for plugins.
fn work() -> PathBuf {
    places::target().join("guest-build")
}

/// The file of the built plugin `name`.
pub(crate) fn built(name: &str) -> PathBuf {
    places::guests().join(name).with_extension(if script(name).is_file() { "ts" } else { "wasm" })
}

/// The source of the plugin `name`, if it is a script.
fn script(name: &str) -> PathBuf {
    places::guest_sources().join(name).join(name).with_extension("ts")
}

/// The names of the plugins. Each folder with a crate or a script is a plugin, and both have the folder's name.
fn names() -> Result<Vec<String>> {
    let sources = places::guest_sources();
    let mut names = Vec::new();
    for folder in fs::read_dir(&sources).with_context(|| format!("cannot read {}", sources.display()))? {
        let folder = folder?;
        let name = folder.file_name().to_string_lossy().into_owned();
        if folder.path().join("Cargo.toml").is_file() || script(&name).is_file() {
            names.push(name);
        }
    }
    if names.is_empty() {
        bail!("{} contains no plugin", sources.display());
    }
    names.sort();
    Ok(names)
}

/// The file of the core module that cargo compiles from the plugin `name`.
fn module(work: &Path, profile: Profile, name: &str) -> PathBuf {
    let file = format!("{}.wasm", name.replace('-', "_"));
    work.join(TARGET).join(profile.name()).join(file)
}

/// The result of [`wrap`] and [`copy`]: the file's size, and whether the file was replaced.
struct Put {
    bytes: usize,
    changed: bool,
}

/// Wraps a core module as a component, and writes the component to `place`, unless the file there has the same bytes.
fn wrap(module: &Path, place: &Path) -> Result<Put> {
    let core = read_module(module)?;
    let component = ComponentEncoder::default()
        .module(&core)
        .and_then(|encoder| encoder.validate(true).encode())
        .with_context(|| format!("cannot make a component of {}", module.display()))?;
    put(place, &component)
}

/// Copies a script to `place`. A component of the same name, which an earlier source has left, would be served instead.
fn copy(script: &Path, place: &Path) -> Result<Put> {
    let source = fs::read(script).with_context(|| format!("cannot read {}", script.display()))?;
    let component = place.with_extension("wasm");
    if component.is_file() {
        fs::remove_file(&component).with_context(|| format!("cannot remove {}", component.display()))?;
    }
    put(place, &source)
}

/// Writes a file, unless it has these bytes.
fn put(place: &Path, bytes: &[u8]) -> Result<Put> {
    let changed = fs::read(place).ok().as_deref() != Some(bytes);
    if changed {
        replace(place, bytes)?;
    }
    Ok(Put { bytes: bytes.len(), changed })
}

fn read_module(module: &Path) -> Result<Vec<u8>> {
    fs::read(module).with_context(|| {
        format!(
            "cannot read {}: a plugin's crate must have the name of its folder, and crate-type = [\"cdylib\"]",
            module.display()
        )
    })
}

/// Writes a file by a rename, so that no reader sees a partly written file.
fn replace(place: &Path, bytes: &[u8]) -> Result<()> {
    let folder = place.parent().context("the file has no parent folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let beside = place.with_extension("part");
    fs::write(&beside, bytes).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, place).with_context(|| format!("cannot write {}", place.display()))
}
