//! Writes the Rust SDK's half of the contract: `wit/` in, `guest/src/bindings/` out.
//!
//! It is done ahead of time, and the result is checked in, so that a plugin's crate needs neither the WIT files nor a
//! build script nor a macro that parses them: its first build takes a second and a half instead of eighteen.

use std::path::Path;

use anyhow::{Context, Result, bail};
use wit_bindgen_core::{Files, WorldGenerator, wit_parser::Resolve};
use wit_bindgen_rust::{Opts, WithOption};

/// A world, and the file that its half goes to.
struct Target {
    world: &'static str,
    file: &'static str,
    /// What `channels!` or `gatekeeper!` calls from the plugin's crate.
    export_macro: &'static str,
    /// Where the interfaces stand that another file has already.
    shared: &'static [&'static str],
}

const TARGETS: [Target; 2] = [
    // The world with every optional export: what a plugin doesn't use, the SDK answers for it.
    Target { world: "plugin-full", file: "plugin", export_macro: "export_plugin", shared: &[] },
    Target {
        world: "gatekeeper",
        file: "gatekeeper",
        export_macro: "export_gatekeeper",
        shared: &["host", "token", "store"],
    },
];

/// Generates the bindings and writes them. With the argument `--check` it only compares them with the files that are there.
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = match &arguments[..] {
        [] => false,
        [only] if only == "--check" => true,
        _ => bail!("usage: bennu-bindings [--check]"),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for target in &TARGETS {
        let file = root.join("guest/src/bindings").join(target.file).with_extension("rs");
        let fresh = generate(&root.join("wit"), target)?;
        if check {
            compare(&file, &fresh)?;
        } else {
            std::fs::write(&file, fresh).with_context(|| format!("writing {}", file.display()))?;
        }
    }
    Ok(())
}

fn compare(file: &Path, fresh: &str) -> Result<()> {
    let stored = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    if stored != fresh {
        bail!("{} is stale: wit/ has changed since it was generated; run `cargo xtask bindings`", file.display());
    }
    Ok(())
}

fn generate(wit: &Path, target: &Target) -> Result<String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).with_context(|| format!("reading {}", wit.display()))?;
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
        // Tests compare payloads and replies.
        additional_derive_attributes: vec!["PartialEq".into()],
        with: target.shared.iter().map(shared).collect(),
        ..Opts::default()
    }
}
