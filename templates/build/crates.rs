//! The crates of the Rust SDK, as they are in `vendor/bennu` of a project: without anything of the workspace.

use std::collections::{BTreeMap, BTreeSet};
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
        files.put(&format!("sdk/rust/{name}/Cargo.toml"), toml::to_string(&manifest)?.into_bytes());
        files.folder(&root.join(name).join("src"), &format!("sdk/rust/{name}/src"), |name| {
            name != "tests" && name != "tests.rs"
        })?;
    }
    files.put("rust/Cargo.lock", lock(&read(&root.join("Cargo.lock"))?)?.into_bytes());
    Ok(())
}

fn read(path: &Path) -> Result<Table> {
    println!("cargo:rerun-if-changed={}", path.display());
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("reading {}", path.display()))
}

/// Returns a manifest with the values that it takes from the workspace, and without what only the workspace needs.
fn resolved(mut manifest: Table, workspace: &Table) -> Result<Table> {
    let workspace = workspace["workspace"].as_table().context("it has a workspace")?;
    manifest.remove("lints");
    manifest.remove("dev-dependencies");
    let mut package = manifest["package"].as_table().context("it has a package")?.clone();
    for (name, value) in &mut package {
        if is_inherited(value) {
            value.clone_from(&workspace["package"][name]);
        }
    }
    manifest.insert("package".to_owned(), Value::Table(package));
    // Nothing in a project checks the formatting or the tests of its SDK, and some of their files are left out.
    manifest.insert("lib".to_owned(), toml::from_str("doctest = false\ntest = false")?);
    let shared = workspace["dependencies"].as_table().context("the workspace has dependencies")?;
    dependencies(&mut manifest, shared)?;
    if let Some(targets) = manifest.get_mut("target").and_then(Value::as_table_mut) {
        for (_, target) in targets.iter_mut() {
            dependencies(target.as_table_mut().context("a target is a table")?, shared)?;
        }
    }
    Ok(manifest)
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

/// The lock file of a project: what the SDK and `serde` need, of the workspace's lock file. Cargo adds the project's own package.
fn lock(workspace: &Table) -> Result<String> {
    let all = workspace["package"].as_array().context("a lock file has packages")?;
    let mut by_name = BTreeMap::<&str, Vec<&Value>>::new();
    for package in all {
        by_name.entry(text(package, "name")).or_default().push(package);
    }
    let (mut found, mut waiting) = (BTreeSet::new(), vec!["bennu-guest", "serde"]);
    while let Some(dependency) = waiting.pop() {
        // A dependency is a name, or a name and a version if there are several.
        let mut words = dependency.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next());
        for package in by_name.get(name).into_iter().flatten() {
            let own = text(package, "version");
            if version.is_none_or(|version| version == own) && found.insert((name, own)) {
                let needed = package.get("dependencies").and_then(Value::as_array);
                waiting.extend(needed.into_iter().flatten().filter_map(Value::as_str));
            }
        }
    }
    let kept = all.iter().filter(|package| found.contains(&(text(package, "name"), text(package, "version")))).cloned();
    let lock = Table::from_iter([
        ("version".to_owned(), workspace["version"].clone()),
        ("package".to_owned(), Value::Array(kept.map(without_dev).collect())),
    ]);
    Ok(toml::to_string(&lock)?)
}

/// A package of the lock file without the dependencies of tests, which the vendored manifests don't have.
fn without_dev(mut package: Value) -> Value {
    const FOR_TESTS: [&str; 2] = ["allocation-counter", "bennu-test-tiers"];
    if let Some(needed) = package.get_mut("dependencies").and_then(Value::as_array_mut) {
        needed.retain(|name| name.as_str().is_none_or(|name| !FOR_TESTS.contains(&name)));
    }
    package
}

fn text<'v>(package: &'v Value, name: &str) -> &'v str {
    package.get(name).and_then(Value::as_str).unwrap_or_default()
}
