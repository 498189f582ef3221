//! Makes the engine's component: links a prebuilt QuickJS runtime with glue for the contract in `wit/`.
//!
//! The runtime is a file of the registry package `componentize-qjs`. That package isn't a dependency: as one, it would
//! compile a second wasmtime and 300 other crates for this one file. So the file is taken from cargo's own copy of the
//! package, which `cargo info` downloads, and its digest is checked.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use wit_component::{Linker, StringEncoding};
use wit_parser::Resolve;

/// The package that contains the runtime. Its glue has the format of the workspace's `wit-dylib`.
const PACKAGE: (&str, &str) = ("componentize-qjs", "0.4.3");

/// The runtime in the package. It is the one without the component model's async.
const RUNTIME: &str = "prebuilt/runtime-sync.wasm";

/// The SHA-256 of the runtime.
const DIGEST: &str = "f6e3190331d43821d875e498a8f23c2e4b3befe38f1e72939b532e65f16c65be";

/// The environment variable with the path of the runtime, for builds without cargo's registry.
const VARIABLE: &str = "BENNU_QUICKJS_RUNTIME";

/// The runtime resets this adapter after its initialization. It has none, because it imports WASI 0.2 directly.
const ADAPTER: &str = r#"(module (func (export "reset_adapter_state")))"#;

fn main() -> Result<()> {
    let home = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let contract = home.join("wit");
    for path in [&contract, &home.join("engine.wit"), &home.join("build.rs")] {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    let component = link(&runtime()?, &contract, &home.join("engine.wit"))?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("engine.wasm"), component)?;
    Ok(())
}

/// Links the runtime with glue for the engine's world.
fn link(runtime: &[u8], contract: &Path, world: &Path) -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    resolve.push_path(contract).context("reading the contract")?;
    let package = resolve.push_file(world).context("reading engine.wit")?;
    let world = resolve.select_world(&[package], Some("engine"))?;
    let mut glue = wit_dylib::create(&resolve, world, None);
    wit_component::embed_component_metadata(&mut glue, &resolve, world, StringEncoding::UTF8)?;
    Linker::default()
        .validate(true)
        .library("quickjs.wasm", runtime, false)?
        .library("glue.wasm", &glue, false)?
        .adapter("wasi_snapshot_preview1", &wat::parse_str(ADAPTER)?)?
        .encode()
        .context("linking the engine")
}

/// Returns the runtime.
fn runtime() -> Result<Vec<u8>> {
    if let Some(path) = env::var_os(VARIABLE) {
        let path = PathBuf::from(path);
        return checked(fs::read(&path).with_context(|| format!("reading {} ({VARIABLE})", path.display()))?);
    }
    if let Some(found) = in_registry()? {
        return checked(found);
    }
    let package = format!("{}@{}", PACKAGE.0, PACKAGE.1);
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let said = Command::new(cargo).args(["info", "--quiet", "--registry", "crates-io", &package]).output();
    let said = said.context("running `cargo info`, which downloads the package of the QuickJS runtime")?;
    match in_registry()? {
        Some(found) => checked(found),
        None => bail!(
            "cargo could not download the package {package}, which contains the QuickJS runtime: {}; set {VARIABLE} to the path of \
             its `{RUNTIME}` to build without it",
            String::from_utf8_lossy(&said.stderr).trim()
        ),
    }
}

fn checked(runtime: Vec<u8>) -> Result<Vec<u8>> {
    let found: String = Sha256::digest(&runtime).iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(found == DIGEST, "the QuickJS runtime has the digest {found}; expected {DIGEST}");
    Ok(runtime)
}

/// Reads the runtime from cargo's copy of the package, if there is one.
fn in_registry() -> Result<Option<Vec<u8>>> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let sources = home.context("there is no home directory")?.join("registry").join("src");
    let Ok(registries) = fs::read_dir(&sources) else { return Ok(None) };
    for registry in registries {
        let path = registry?.path().join(format!("{}-{}", PACKAGE.0, PACKAGE.1)).join(RUNTIME);
        if path.is_file() {
            return Ok(Some(fs::read(&path).with_context(|| format!("reading {}", path.display()))?));
        }
    }
    Ok(None)
}
