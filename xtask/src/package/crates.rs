//! Checks that the crates can be published: each is packed, and built from its package alone.

use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context, Result};

use super::contract;
use crate::places;
use crate::process::{cargo, run};
use crate::step::step;

/// The crates that a registry would have, each after those that it depends on.
const CRATES: [&str; 8] = [
    "bennu-semantics",
    "bennu-world",
    "bennu-guest",
    "bennu-outbound",
    "bennu-engine",
    "bennu-templates",
    "bennu-cluster",
    "bennu",
];

/// Packs all crates and builds the packages. They find each other in the packages, and not in the workspace.
pub(crate) fn verify() -> Result<()> {
    contract::check()?;
    step("the archives of the templates and the documentation", || {
        run(cargo(places::root()).args(["run", "--quiet", "--package", "bennu-templates", "--example", "package"]))
    })?;
    step("the packages for crates.io", || {
        forget_unpacked()?;
        let mut command = cargo(places::root());
        // The archives are files that aren't committed.
        command.args(["package", "--allow-dirty", "--quiet"]);
        // The packages are compiled without the workspace's profiles, all dependencies once more. Nobody debugs the results.
        command.env("CARGO_PROFILE_DEV_DEBUG", "false");
        CRATES.iter().for_each(|name| {
            command.args(["--package", name]);
        });
        run(&mut command)
    })
}

/// Removes what cargo has unpacked of these packages before. It doesn't unpack a version twice, so it would build the packages of another
/// day. They are in the folders of registries without a host, whose names begin with a dash.
fn forget_unpacked() -> Result<()> {
    let own = || env::home_dir().map(|home| home.join(".cargo"));
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(own).context("cargo has no home")?;
    let Ok(registries) = fs::read_dir(home.join("registry").join("src")) else { return Ok(()) };
    for registry in registries {
        let registry = registry?;
        if !registry.file_name().to_string_lossy().starts_with('-') {
            continue;
        }
        for name in CRATES {
            let unpacked = registry.path().join(format!("{name}-{}", env!("CARGO_PKG_VERSION")));
            if unpacked.is_dir() {
                fs::remove_dir_all(&unpacked).with_context(|| format!("cannot remove {}", unpacked.display()))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use anyhow::ensure;

    use super::*;

    #[test]
    fn no_crate_contains_a_file_from_outside_of_its_package() -> Result<()> {
        let mut files = 0;
        for name in CRATES {
            let home = name.strip_prefix("bennu-").unwrap_or("host");
            for path in sources(&places::root().join(home).join("src"))? {
                let text = fs::read_to_string(&path)?;
                let from = path.strip_prefix(places::root())?.parent().context("a file has a folder")?;
                for included in includes(&compiled(&text)) {
                    let found = resolved(&from.join(included));
                    ensure!(found.starts_with(home), "{}: {included} isn't in the package of {name}", path.display());
                    files += 1;
                }
            }
        }
        // Those of the engine, of the schema and of the dashboard at least.
        ensure!(files > 5, "only {files} files are found");
        Ok(())
    }

    #[test]
    fn a_file_from_outside_is_found() {
        let text = "#[cfg(test)]\nmod more;\nconst A: &str = include_str!(\"../../a\");\n\
                    const B: &[u8] = include_bytes!(concat!(\"b/\", $file));\n\
                    #[cfg(test)]\nmod tests {\n    const C: &str = include_str!(\"../../c\");\n}\n\
                    #[cfg(doctest)]\nmod guides {\n    #[doc = include_str!(\"../../d\")]\n}\n\
                    const E: &str = include_str!(\"e\");\n";
        assert_eq!(includes(&compiled(text)), ["../../a", "b/", "e"]);
        assert_eq!(resolved(Path::new("engine/src/../../sdk/x.ts")), Path::new("sdk/x.ts"));
    }

    /// The files of a crate in Rust, without those of tests.
    fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.ends_with("tests") || path.to_string_lossy().ends_with("tests.rs") {
                continue;
            }
            if path.is_dir() {
                found.extend(sources(&path)?);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
        Ok(found)
    }

    /// A file without the modules that only tests have.
    fn compiled(text: &str) -> String {
        let mut text = text.to_owned();
        for condition in ["#[cfg(test)]\nmod ", "#[cfg(doctest)]\nmod "] {
            while let Some(start) = text.find(condition) {
                // The module is in this file, or in one of its own.
                let (brace, own) = (text[start..].find("\n}\n"), text[start..].find(";\n"));
                let is_own = own.is_some_and(|own| !text[start..start + own].contains('{'));
                let length = if is_own { own.map(|own| own + 2) } else { brace.map(|brace| brace + 3) };
                let end = length.map_or(text.len(), |length| start + length);
                text.replace_range(start..end, "");
            }
        }
        text
    }

    /// The paths that a file includes, as they are written. Of a path in parts, only the first one is known.
    fn includes(text: &str) -> Vec<&str> {
        let starts = ["include_str!(", "include_bytes!("].into_iter().flat_map(|call| text.match_indices(call));
        let mut found: Vec<(usize, &str)> =
            starts.filter_map(|(at, _)| Some((at, text[at..].split('"').nth(1)?))).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, path)| path).collect()
    }

    /// A path without `..`.
    fn resolved(path: &Path) -> PathBuf {
        let mut resolved = PathBuf::new();
        for part in path.components() {
            if part == Component::ParentDir {
                resolved.pop();
            } else {
                resolved.push(part);
            }
        }
        resolved
    }
}
