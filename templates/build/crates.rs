//! The crates of the Rust SDK, as they are in `vendor/bennu` of a project: without anything of the workspace.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::collect::Collected;

/// The crates, each in a directory of the workspace with this name. The first one is the SDK.
const CRATES: [&str; 3] = ["guest", "semantics", "world"];

/// Adds the sources of the crates, their manifests, and the lock file.
pub(crate) fn add(files: &mut Collected, root: &Path) -> Result<()> {
    let workspace = read(&root.join("Cargo.toml"))?;
    for name in CRATES {
        let manifest = read(&root.join(name).join("Cargo.toml"))?;
        let manifest = resolved(manifest, &workspace).with_context(|| format!("the manifest of {name}"))?;
        files.put(&format!("sdk/rust/{name}/Cargo.toml"), manifest.into_bytes());
        files.folder(&root.join(name).join("src"), &format!("sdk/rust/{name}/src"), |name| {
            name != "tests" && name != "tests.rs"
        })?;
    }
    files.put("rust/Cargo.lock", lock(&text(&root.join("Cargo.lock"))?)?.into_bytes());
    Ok(())
}

fn text(path: &Path) -> Result<String> {
    println!("cargo:rerun-if-changed={}", path.display());
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn read(path: &Path) -> Result<Table> {
    toml::from_str(&text(path)?).with_context(|| format!("reading {}", path.display()))
}

/// Returns a manifest with the values that it takes from the workspace, and without what only the workspace needs.
fn resolved(mut manifest: Table, workspace: &Table) -> Result<String> {
    let workspace = workspace["workspace"].as_table().context("it has a workspace")?;
    manifest.remove("lints");
    manifest.remove("dev-dependencies");
    let mut package = manifest["package"].as_table().context("it has a package")?.clone();
    for (name, value) in &mut package {
        if is_inherited(value) {
            value.clone_from(&workspace["package"][name]);
        }
    }
    manifest.remove("package");
    // Nothing in a project checks the formatting or the tests of its SDK, and some of their files are left out.
    manifest.insert("lib".to_owned(), toml::from_str("doctest = false\ntest = false")?);
    let shared = workspace["dependencies"].as_table().context("the workspace has dependencies")?;
    dependencies(&mut manifest, shared)?;
    if let Some(targets) = manifest.get_mut("target").and_then(Value::as_table_mut) {
        for (_, target) in targets.iter_mut() {
            dependencies(target.as_table_mut().context("a target is a table")?, shared)?;
        }
    }
    Ok(format!("[package]\n{}\n{}", toml::to_string(&package)?, toml::to_string(&manifest)?))
}

fn dependencies(of: &mut Table, shared: &Table) -> Result<()> {
    let Some(dependencies) = of.get_mut("dependencies").and_then(Value::as_table_mut) else { return Ok(()) };
    for (name, value) in dependencies.iter_mut().filter(|(_, value)| is_inherited(value)) {
        let mut whole = match &shared[name] {
            Value::String(version) => Table::from_iter([("version".to_owned(), version.as_str().into())]),
            other => other.as_table().context("a dependency is a version or a table")?.clone(),
        };
        let own = value.as_table().and_then(|own| own.get("features")).and_then(Value::as_array);
        if let Some(own) = own {
            let features = whole.entry("features").or_insert_with(|| Value::Array(Vec::new()));
            features.as_array_mut().context("features are a list")?.extend(own.iter().cloned());
        }
        *value = Value::Table(whole);
    }
    Ok(())
}

fn is_inherited(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// The start of each package in a lock file.
const PACKAGE: &str = "\n[[package]]\n";

/// What tests of the workspace need, and the vendored manifests don't have.
const FOR_TESTS: [&str; 2] = ["allocation-counter", "bennu-test-tiers"];

/// Packages with a dependency that only features need which other crates of the workspace ask for. The lock file doesn't tell features.
const FOR_OTHERS: [(&str, &str); 1] = [("bytes", "serde")];

/// The lock file of a project, without the project's own package: what the SDK and `serde` need, of the workspace's lock file. It is
/// text with the form that cargo gives it, so that cargo doesn't write it again.
fn lock(workspace: &str) -> Result<String> {
    let mut blocks = workspace.split(PACKAGE);
    let head = blocks.next().context("a lock file has a head")?;
    let packages: Vec<Package<'_>> = blocks.map(Package::read).collect();
    let (mut found, mut waiting) = (BTreeSet::new(), vec!["bennu-guest", "serde"]);
    while let Some(dependency) = waiting.pop() {
        // A dependency is a name, or a name and a version if there are several.
        let mut words = dependency.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next());
        for package in packages.iter().filter(|package| package.name == name) {
            if version.is_none_or(|version| version == package.version) && found.insert((name, package.version)) {
                waiting.extend(package.dependencies());
            }
        }
    }
    let kept: Vec<&Package<'_>> =
        packages.iter().filter(|package| found.contains(&(package.name, package.version))).collect();
    let is_one = |name: &str| kept.iter().filter(|package| package.name == name).count() == 1;
    let texts = kept.iter().map(|package| package.written(is_one));
    Ok(std::iter::once(head.to_owned()).chain(texts).collect::<Vec<_>>().join(PACKAGE))
}

/// What is left of a package's dependencies when all are left out.
const NO_DEPENDENCIES: &str = "dependencies = [\n]\n";

/// A package of a lock file.
struct Package<'l> {
    name: &'l str,
    version: &'l str,
    text: &'l str,
}

impl<'l> Package<'l> {
    fn read(text: &'l str) -> Self {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
            line.and_then(|line| line.strip_suffix('"')).unwrap_or_default()
        };
        Self { name: value("name"), version: value("version"), text }
    }

    /// The dependencies that a project has, too.
    fn dependencies(&self) -> impl Iterator<Item = &'l str> {
        self.text.lines().filter_map(dependency).filter(|name| !self.is_left_out(name))
    }

    fn is_left_out(&self, name: &str) -> bool {
        FOR_TESTS.contains(&name) || FOR_OTHERS.contains(&(self.name, name))
    }

    /// The text for a lock file with fewer packages. A dependency has a version only if there are several.
    fn written(&self, is_one: impl Fn(&str) -> bool) -> String {
        let line = |line: &str| match dependency(line).map(|it| it.split(' ').next().unwrap_or_default()) {
            Some(name) if self.is_left_out(name) => String::new(),
            Some(name) if is_one(name) => format!(" \"{name}\",\n"),
            _ => format!("{line}\n"),
        };
        let text: String = self.text.trim_end().lines().map(line).collect();
        text.replace(NO_DEPENDENCIES, "")
    }
}

/// The dependency of a line of a lock file.
fn dependency(line: &str) -> Option<&str> {
    line.strip_prefix(" \"")?.strip_suffix("\",")
}
