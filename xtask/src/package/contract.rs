//! The version of the contract, which all packages carry: the first two numbers of a package's version are the contract's, and the
//! third one isn't lower. So the version of an SDK says which hosts serve its plugins.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::VERSION;
use crate::places;

/// The folders of the SDKs that name the contract's interfaces with their version. The names in Rust are generated from `wit/`.
const SDKS: [&str; 3] = ["sdk/go", "sdk/python/bennu", "sdk/typescript"];

/// Checks the workspace's version, which all packages have, and the sources of the SDKs.
pub(super) fn check() -> Result<()> {
    let root = places::root();
    let version = version(&root.join("wit"))?;
    ensure!(
        carries(VERSION, &version),
        "the packages have the version {VERSION}, and the contract in wit/ has {version}; give Cargo.toml, both package.json and both \
         pyproject.toml the first two numbers of the contract, and a third one that isn't lower"
    );
    let mut names = 0;
    for sdk in SDKS {
        names += check_sources(&root.join(sdk), &version)?;
    }
    ensure!(names > 0, "no SDK names an interface of the contract");
    Ok(())
}

/// The version of the contract in a folder of WIT files.
fn version(folder: &Path) -> Result<String> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let text = fs::read_to_string(entry?.path())?;
        let declared = text.lines().find_map(|line| line.strip_prefix("package bennu:channel@"));
        if let Some(version) = declared {
            return Ok(version.trim_end_matches(';').to_owned());
        }
    }
    bail!("no file in {} declares the package `bennu:channel` with its version", folder.display())
}

/// Whether a package with the version `package` may carry the contract.
fn carries(package: &str, contract: &str) -> bool {
    match (numbers(package), numbers(contract)) {
        (Some(package), Some(contract)) => package[..2] == contract[..2] && package >= contract,
        _ => false,
    }
}

/// The three numbers of a version.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let numbers: Option<Vec<u64>> = version.split('.').map(|number| number.parse().ok()).collect();
    numbers?.try_into().ok()
}

/// Checks that the files of a folder name interfaces of the contract with this version only. Returns how often they do.
fn check_sources(folder: &Path, version: &str) -> Result<usize> {
    let mut names = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            names += check_sources(&path, version)?;
            continue;
        }
        // A compiled file isn't a source.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for named in versions(&text) {
            ensure!(named == version, "{} names the contract {named}, and wit/ has {version}", path.display());
            names += 1;
        }
    }
    Ok(names)
}

/// The versions with which a text names interfaces of the contract, such as `bennu:channel/host@0.1.0`.
fn versions(text: &str) -> impl Iterator<Item = &str> {
    text.split("bennu:channel/").skip(1).filter_map(|rest| {
        let (interface, rest) = rest.split_once('@')?;
        let is_name = !interface.is_empty() && interface.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(rest.len());
        is_name.then(|| rest[..end].trim_end_matches('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_the_first_two_numbers_of_the_contract() {
        let judged =
            ["0.1.2", "0.1.3", "0.1.1", "0.2.2", "1.1.2", "0.1", "0.1.x"].map(|package| carries(package, "0.1.2"));
        assert_eq!(judged, [true, true, false, false, false, false, false]);
    }

    #[test]
    fn names_of_interfaces_have_their_version() {
        let text = "import \"bennu:channel/host@0.1.0\"; // of bennu:channel/handle-in@0.2.1.\nconst PREFIX = \"bennu:channel/\"; a@b";
        assert_eq!(versions(text).collect::<Vec<_>>(), ["0.1.0", "0.2.1"]);
    }

    #[test]
    fn the_contract_of_this_repository_has_a_version() -> Result<()> {
        assert!(numbers(&version(&places::root().join("wit"))?).is_some());
        check()
    }
}
