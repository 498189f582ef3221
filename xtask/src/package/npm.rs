//! The packages for npm: one that starts the executable, one with the executable for this platform, the SDK in TypeScript, and the
//! client for browsers.
//!
//! npm installs only the packages of `optionalDependencies` that fit the platform, so nobody downloads the others.

use std::env::consts::{ARCH, OS};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{VERSION, check_version, copy_files, empty};
use crate::{places, process};

/// The platforms of the packages, as Node names them.
const PLATFORMS: [&str; 5] = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64", "win32-x64"];

/// Makes both packages in `folder`, and returns their paths.
pub(super) fn pack(executable: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let (os, arch) = this_platform()?;
    let sources = places::root().join("packages").join("npm");
    check_version(&sources.join("package.json"), &format!("\"version\": \"{VERSION}\""))?;
    let starter = folder.join("npm");
    empty(&starter)?;
    copy_files(&sources, &starter)?;
    name_platforms(&starter.join("package.json"))?;
    let platform = folder.join(format!("npm-{os}-{arch}"));
    empty(&platform)?;
    let file = executable.file_name().context("the executable has no name")?;
    fs::copy(executable, platform.join(file))?;
    fs::write(platform.join("package.json"), manifest(os, arch, &file.to_string_lossy())?)?;
    [starter, platform].iter().map(|package| pack_one(package, folder)).collect()
}

/// Makes the packages of the SDK in TypeScript and of the client in `folder`, and returns their paths.
pub(super) fn pack_libraries(folder: &Path) -> Result<Vec<PathBuf>> {
    let root = places::root();
    let pack = |(sources, name): (PathBuf, &str)| {
        check_version(&sources.join("package.json"), &format!("\"version\": \"{VERSION}\""))?;
        let package = folder.join(name);
        empty(&package)?;
        copy_files(&sources, &package)?;
        for part in ["src", "testing"].iter().filter(|part| sources.join(part).is_dir()) {
            fs::create_dir(package.join(part))?;
            copy_files(&sources.join(part), &package.join(part))?;
        }
        pack_one(&package, folder)
    };
    [(root.join("sdk").join("typescript"), "npm-sdk"), (root.join("client"), "npm-client")]
        .into_iter()
        .map(pack)
        .collect()
}

/// Runs `npm pack`.
fn pack_one(package: &Path, folder: &Path) -> Result<PathBuf> {
    fs::copy(places::root().join("LICENSE"), package.join("LICENSE"))?;
    let npm = process::on_path(if cfg!(windows) { "npm.cmd" } else { "npm" }).context("npm isn't on PATH")?;
    let mut pack = Command::new(npm);
    pack.args(["pack", "--silent", "--pack-destination"]).arg(folder).current_dir(package);
    Ok(folder.join(process::read(&mut pack)?))
}

/// Adds the packages of all platforms to the dependencies of the package that starts the executable.
fn name_platforms(file: &Path) -> Result<()> {
    let mut manifest: Value = serde_json::from_slice(&fs::read(file)?)?;
    let packages = PLATFORMS.iter().map(|platform| (package_of(platform), VERSION.into()));
    manifest["optionalDependencies"] = Value::Object(packages.collect());
    Ok(fs::write(file, serde_json::to_vec_pretty(&manifest)?)?)
}

/// The `package.json` of a platform's package.
fn manifest(os: &str, arch: &str, file: &str) -> Result<Vec<u8>> {
    let platform = format!("{os}-{arch}");
    let mut manifest = json!({
        "name": package_of(&platform),
        "version": VERSION,
        "description": format!("The executable of bennu-server for {platform}"),
        "license": "MIT",
        "os": [os],
        "cpu": [arch],
        "files": [file],
        "preferUnplugged": true,
    });
    if os == "linux" {
        manifest["libc"] = json!(["glibc"]);
    }
    Ok(serde_json::to_vec_pretty(&manifest)?)
}

fn package_of(platform: &str) -> String {
    format!("bennu-server-{platform}")
}

/// This platform's system and processor, as Node names them.
fn this_platform() -> Result<(&'static str, &'static str)> {
    let os = match OS {
        "linux" => "linux",
        "macos" => "darwin",
        "windows" => "win32",
        other => bail!("there is no npm package for {other}"),
    };
    let arch = match ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => bail!("there is no npm package for {other}"),
    };
    Ok((os, arch))
}
