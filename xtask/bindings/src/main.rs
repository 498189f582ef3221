//! Generates two things from their sources: the Rust SDK's half of the contract from `wit/` into `guest/src/bindings/`, and
//! the host's adapter for WASI preview 1 from its text.
//!
//! The generated files are checked in. So a plugin's crate needs no WIT files, no build script, and no macro that parses
//! WIT; its first build takes 1.5 seconds instead of 18. The host needs no build script either.

mod adapter;
mod effects;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use wit_bindgen_core::wit_parser::{PackageId, Resolve};
use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::{Opts, WithOption};

/// A world, and the file for its bindings.
struct Target {
    world: &'static str,
    file: &'static str,
    /// The macro that `channels!` or `gatekeeper!` calls in the plugin's crate.
    export_macro: &'static str,
    /// The interfaces whose types this file reuses from the bindings of `plugin-full`.
    shared: &'static [&'static str],
}

const TARGETS: [Target; 2] = [
    // The world with every optional export. The SDK implements the exports that a plugin doesn't use.
    Target { world: "plugin-full", file: "plugin", export_macro: "export_plugin", shared: &[] },
    Target {
        world: "gatekeeper",
        file: "gatekeeper",
        export_macro: "export_gatekeeper",
        shared: &["host", "token", "store", "http", "types"],
    },
];

/// Generates the bindings and writes them. With the argument `--check`, it only compares them with the existing files.
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = match &arguments[..] {
        [] => false,
        [only] if only == "--check" => true,
        _ => bail!("usage: bennu-bindings [--check]"),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (resolve, package) = read(&root.join("wit"))?;
    let adapter = Path::new(adapter::FOLDER).join("adapter.wasm");
    let mut generated =
        vec![(bindings("effects"), effects::generate(&resolve, package)?.into()), (adapter, adapter::assemble(&root)?)];
    for target in &TARGETS {
        generated.push((bindings(target.file), generate(resolve.clone(), package, target)?.into()));
    }
    for (file, fresh) in generated {
        let file = root.join(file);
        if check {
            compare(&file, &fresh)?;
        } else {
            std::fs::write(&file, fresh).with_context(|| format!("writing {}", file.display()))?;
        }
    }
    Ok(())
}

/// The file of generated bindings, in the repository.
fn bindings(name: &str) -> PathBuf {
    Path::new("guest/src/bindings").join(name).with_extension("rs")
}

fn compare(file: &Path, fresh: &[u8]) -> Result<()> {
    let stored = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    if stored != fresh {
        bail!("{} is out of date: its source has changed since; run `cargo xtask bindings`", file.display());
    }
    Ok(())
}

fn read(wit: &Path) -> Result<(Resolve, PackageId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).with_context(|| format!("reading {}", wit.display()))?;
    Ok((resolve, package))
}

fn generate(mut resolve: Resolve, package: PackageId, target: &Target) -> Result<String> {
    let world = resolve.select_world(&[package], Some(target.world))?;
    let mut files = Files::default();
    options(target).build().generate(&mut resolve, world, &mut files).context("generating the Rust bindings")?;
    let (_, text) = files.iter().next().context("the generator wrote no file")?;
    String::from_utf8(text.to_vec()).context("the generator wrote text that isn't UTF-8")
}

fn options(target: &Target) -> Opts {
    let shared = |interface: &&str| {
        let path = format!("crate::bindings::plugin::bennu::channel::{}", interface.replace('-', "_"));
        (format!("bennu:channel/{interface}@0.1.0"), WithOption::Path(path))
    };
    Opts {
        format: true,
        generate_all: true,
        pub_export_macro: true,
        export_macro_name: Some(target.export_macro.into()),
        default_bindings_module: Some(format!("bennu_guest::bindings::{}", target.file)),
        // The tests compare payloads and replies.
        additional_derive_attributes: vec!["PartialEq".into()],
        with: target.shared.iter().map(shared).collect(),
        ..Opts::default()
    }
}
