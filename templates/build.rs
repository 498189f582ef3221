//! Collects the files that the crate contains, and compresses them to an archive, and the documentation to another one.
//!
//! The SDKs, the contract, the client modules and the documentation have their own directories in the workspace, and are read from there.
//! A package of this crate contains the archives themselves, which `examples/package.rs` writes.

#[path = "build/collect.rs"]
mod collect;
#[path = "build/crates.rs"]
mod crates;
#[path = "build/phoenix.rs"]
mod phoenix;

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use collect::Collected;
use flate2::Compression;
use flate2::write::DeflateEncoder;

/// The files that this script makes: the archive of templates and SDKs, that of the documentation, and the names of its pages.
const MADE: [&str; 3] = ["files.deflate", "docs.deflate", "pages.txt"];

fn main() -> Result<()> {
    let own = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let (root, out) = (own.join(".."), PathBuf::from(env::var("OUT_DIR")?));
    for path in ["build.rs", "build"] {
        println!("cargo:rerun-if-changed={path}");
    }
    // In the workspace, an archive that was made for a package may be out of date.
    if !root.join("sdk/typescript").is_dir() {
        for name in MADE {
            let packaged = own.join("packaged").join(name);
            fs::copy(&packaged, out.join(name)).with_context(|| format!("copying {}", packaged.display()))?;
        }
        return Ok(());
    }

    let mut files = Collected::default();
    files.folder(&own.join("files"), "", |_| true)?;
    files.folder(&root.join("wit"), "wit", |_| true)?;
    files.file(&root.join("client/room_state.mjs"), "page/room_state.mjs")?;
    files.put("page/phoenix.mjs", phoenix::client(&root)?);
    typescript(&mut files, &root)?;
    files.folder(&root.join("sdk/go"), "sdk/go", |name| !name.ends_with("_test.go") && name != "testdata")?;
    files.folder(&root.join("sdk/python/bennu"), "sdk/python", |name| name != "__pycache__")?;
    crates::add(&mut files, &root)?;
    let mut docs = Collected::default();
    docs.folder(&root.join("docs"), "", |name| name.ends_with(".md"))?;
    let pages: String = docs.paths().map(|path| format!("{}\n", path.trim_end_matches(".md"))).collect();

    let made = [compressed(&files.archive())?, compressed(&docs.archive())?, pages.into_bytes()];
    for (name, content) in MADE.into_iter().zip(made) {
        let path = out.join(name);
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn compressed(archive: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(archive)?;
    Ok(encoder.finish()?)
}

/// The SDK in TypeScript, with its test kit, as it is in `vendor/bennu` of a project.
fn typescript(files: &mut Collected, root: &Path) -> Result<()> {
    let sdk = root.join("sdk/typescript");
    for folder in ["src", "testing"] {
        files.folder(&sdk.join(folder), &format!("sdk/typescript/{folder}"), |_| true)?;
    }
    for file in ["contract.d.ts", "globals.d.ts", "package.json"] {
        files.file(&sdk.join(file), &format!("sdk/typescript/{file}"))?;
    }
    Ok(())
}
