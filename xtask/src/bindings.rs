//! Writes the Rust SDK's half of the contract: `wit/` in, `guest/src/bindings.rs` out.
//!
//! It is done ahead of time, and the result is checked in, so that a plugin's crate needs neither the WIT files nor a
//! build script nor a macro that parses them: its first build takes a second and a half instead of eighteen.

use std::path::Path;

use anyhow::{Context, Result, bail};
use wit_bindgen_core::{Files, WorldGenerator, wit_parser::Resolve};
use wit_bindgen_rust::Opts;

/// The world with every optional export: what a plugin doesn't use, the SDK answers for it.
const WORLD: &str = "plugin-full";

/// Generates the bindings and writes them; with `check`, only compares them with what is there.
pub(crate) fn run(check: bool) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = root.join("guest/src/bindings.rs");
    let fresh = generate(&root.join("wit"))?;
    if check {
        return compare(&file, &fresh);
    }
    std::fs::write(&file, fresh).with_context(|| format!("writing {}", file.display()))
}

fn compare(file: &Path, fresh: &str) -> Result<()> {
    let stored = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    if stored != fresh {
        bail!("guest/src/bindings.rs is stale: wit/ has changed since it was generated; run `cargo xtask bindings`");
    }
    Ok(())
}

fn generate(wit: &Path) -> Result<String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).with_context(|| format!("reading {}", wit.display()))?;
    let world = resolve.select_world(&[package], Some(WORLD))?;
    let mut files = Files::default();
    options().build().generate(&mut resolve, world, &mut files).context("generating the Rust bindings")?;
    let (_, text) = files.iter().next().context("the generator wrote no file")?;
    String::from_utf8(text.to_vec()).context("the generator wrote text that isn't UTF-8")
}

fn options() -> Opts {
    Opts {
        format: true,
        generate_all: true,
        // `channels!` calls it from the plugin's crate.
        pub_export_macro: true,
        export_macro_name: Some("export_plugin".into()),
        default_bindings_module: Some("bennu_guest::bindings".into()),
        // Tests compare payloads and replies.
        additional_derive_attributes: vec!["PartialEq".into()],
        ..Opts::default()
    }
}
