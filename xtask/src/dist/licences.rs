//! The licences of all crates that are in the executable, with their texts.
//!
//! They come from `cargo metadata` and from the crates' own files. `cargo-about` does the same with a configuration, a template and
//! guesses by comparing texts, and would have to be compiled first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::places;
use crate::process::{cargo, read};

/// The beginnings of the names of files with licences.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// What is in the executable without being a crate that it links: the name, the licence, and where its text is.
const OTHERS: [(&str, &str, &str); 4] = [
    ("QuickJS", "MIT", "https://bellard.org/quickjs/, Copyright (c) 2017-2025 Fabrice Bellard, Charlie Gordon"),
    ("componentize-qjs", "Apache-2.0 WITH LLVM-exception", "https://crates.io/crates/componentize-qjs"),
    (
        "phoenix (the client in JavaScript)",
        "MIT",
        "https://www.npmjs.com/package/phoenix, Copyright (c) 2014 Chris McCord",
    ),
    ("the standard library of Rust", "MIT OR Apache-2.0", "https://github.com/rust-lang/rust"),
];

/// A crate in the executable.
struct Crate {
    name: String,
    licence: String,
    repository: String,
    texts: Vec<String>,
}

/// Writes the licences of an executable for a target.
pub(super) fn write(target: &str, to: &Path) -> Result<()> {
    let mut metadata = cargo(places::root());
    metadata.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", target]);
    let metadata = serde_json::from_str(&read(&mut metadata)?).context("cargo's metadata")?;
    let crates = linked(&metadata)?;
    fs::write(to, text(&crates)?).with_context(|| format!("cannot write {}", to.display()))
}

/// Returns the crates that the package `bennu` links, without those that are only used at build time, and without our own.
fn linked(metadata: &Value) -> Result<Vec<Crate>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let by_id = |values: Vec<Value>| -> BTreeMap<String, Value> {
        values.into_iter().map(|value| (value["id"].as_str().unwrap_or_default().to_owned(), value)).collect()
    };
    let packages = by_id(list(&metadata["packages"]));
    let nodes = by_id(list(&metadata["resolve"]["nodes"]));
    let root = packages.iter().find(|(_, package)| package["name"] == "bennu").context("there is no package bennu")?.0;
    let (mut seen, mut unseen) = (BTreeSet::new(), vec![root.clone()]);
    while let Some(id) = unseen.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        for dependency in list(&nodes[&id]["deps"]) {
            if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                unseen.extend(dependency["pkg"].as_str().map(str::to_owned));
            }
        }
    }
    let foreign = seen.iter().map(|id| &packages[id]).filter(|package| !package["source"].is_null());
    foreign.map(read_crate).collect()
}

fn read_crate(package: &Value) -> Result<Crate> {
    let text = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
    let name = format!("{} {}", text("name"), text("version"));
    let manifest = text("manifest_path");
    let folder = Path::new(&manifest).parent().context("a manifest has a folder")?;
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().to_uppercase();
        if entry.file_type()?.is_file() && NAMES.iter().any(|name| file.starts_with(name)) {
            texts.push(String::from_utf8_lossy(&fs::read(entry.path())?).trim().to_owned());
        }
    }
    texts.sort();
    let licence = text("license");
    if texts.is_empty() && licence == "MIT" {
        let authors: Vec<_> = package["authors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        texts.push(MIT.replace("HOLDERS", &authors.join(", ")));
    }
    Ok(Crate { name, licence, repository: text("repository"), texts })
}

/// Returns the whole text: a list of the crates, and each text once, with the crates that it belongs to.
fn text(crates: &[Crate]) -> Result<String> {
    let mut text = "The executable contains the following software, under these licences.\n\n".to_owned();
    let mut by_text = BTreeMap::<&str, Vec<&str>>::new();
    for one in crates {
        let Crate { name, licence, repository, texts } = one;
        if licence.is_empty() && texts.is_empty() {
            bail!("the crate {name} names no licence");
        }
        writeln!(text, "{name}: {} ({repository})", if licence.is_empty() { "see its text" } else { licence })?;
        let texts = texts_of(one, crates);
        let texts = texts.with_context(|| format!("the crate {name} ({licence}) has no text of its licence"))?;
        texts.iter().for_each(|text| by_text.entry(text).or_default().push(name));
    }
    for (name, licence, place) in OTHERS {
        writeln!(text, "{name}: {licence} ({place})")?;
    }
    for (licence, names) in by_text {
        writeln!(text, "\n{}\n{}:\n\n{licence}", "-".repeat(100), names.join(", "))?;
    }
    Ok(text)
}

/// Returns the texts of a crate's licence: its own, those of another crate of its repository, or Apache's, which names no holder and so
/// is the same for all.
fn texts_of<'a>(one: &'a Crate, crates: &'a [Crate]) -> Option<&'a [String]> {
    let has_texts = |other: &&Crate| !other.texts.is_empty();
    let is_sibling = |other: &&Crate| has_texts(other) && home(&other.repository) == home(&one.repository);
    let found = Some(one).filter(has_texts).or_else(|| crates.iter().find(is_sibling));
    let of_all = || {
        let mut texts = crates.iter().flat_map(|other| &other.texts);
        texts.find(|text| text.starts_with(APACHE) && text.contains(APACHE_WITHOUT_HOLDER)).map(std::slice::from_ref)
    };
    match found {
        Some(found) => Some(&found.texts),
        None if one.licence == "Apache-2.0" => of_all(),
        None => None,
    }
}

/// The first line of the text of Apache's licence.
const APACHE: &str = "Apache License";

/// A part of that text that the holder of a crate's rights replaces, if they fill in their name.
const APACHE_WITHOUT_HOLDER: &str = "[name of copyright owner]";

/// Returns the address of a repository without a folder in it, so that crates of one repository have the same.
fn home(repository: &str) -> &str {
    let home = repository.split_once("/tree/").map_or(repository, |(home, _)| home);
    home.trim_end_matches('/').trim_end_matches(".git")
}

const MIT: &str = "Copyright (c) HOLDERS

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
\"Software\"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.";

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, licence: &str, texts: &[&str]) -> Crate {
        let texts = texts.iter().map(|&text| text.to_owned()).collect();
        Crate { name: name.into(), licence: licence.into(), repository: "https://example.com".into(), texts }
    }

    #[test]
    fn each_text_is_there_once_with_its_crates() -> Result<()> {
        let text = text(&[one("a 1", "MIT", &["the text"]), one("b 2", "MIT", &["the text"]), one("c 3", "MIT", &[])])?;
        assert!(text.contains("a 1: MIT (https://example.com)\nb 2: MIT"), "{text}");
        assert!(text.contains("a 1, b 2, c 3:\n\nthe text"), "{text}");
        assert_eq!(text.matches("the text").count(), 1);
        Ok(())
    }

    #[test]
    fn crates_of_one_repository_are_siblings() {
        for repository in ["https://example.com/a/tree/main/b", "https://example.com/a.git", "https://example.com/a/"] {
            assert_eq!(home(repository), "https://example.com/a");
        }
    }

    #[test]
    fn the_text_of_apache_s_licence_is_that_of_another_crate() -> Result<()> {
        let (filled, general) =
            ("Apache License\nCopyright 2020 Ada", "Apache License\nCopyright [name of copyright owner]");
        let mut alone = one("a 1", "Apache-2.0", &[]);
        alone.repository = "https://example.org".into();
        let text =
            text(&[alone, one("b 2", "Apache-2.0", &[filled]), one("c 3", "MIT OR Apache-2.0", &["MIT", general])])?;
        assert!(text.contains("a 1, c 3:\n\nApache License\nCopyright [name"), "{text}");
        Ok(())
    }

    #[test]
    fn a_crate_without_a_licence_or_without_a_text_is_an_error() {
        for crates in [[one("a 1", "", &[])], [one("a 1", "Apache-2.0", &[])]] {
            assert!(text(&crates).is_err_and(|error| error.to_string().contains("a 1")));
        }
    }
}
