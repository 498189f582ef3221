//! Finds which source files of a module import each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use crate::tidy::sources;

/// For each file, without its extension, the files whose items it names. `mod.rs` files only re-export names, so they import
/// nothing. A file imports a `mod.rs` only if it imports a folder as a whole.
pub(crate) type Imports = BTreeMap<String, BTreeSet<String>>;

/// The modules below a folder, by their paths.
struct Modules {
    /// The path of the root module, such as `crate::channel`, in segments.
    root: Vec<String>,
    files: BTreeMap<Vec<String>, Source>,
    /// The names that `mod.rs` files re-export, with the files that define them.
    exported: BTreeMap<Vec<String>, String>,
}

struct Source {
    name: String,
    code: String,
}

/// Reads the imports of all files below `folder`, which is the module `root`.
pub(crate) fn read(folder: &Path, root: &str) -> Result<Imports> {
    let mut texts = Vec::new();
    for path in sources(folder)? {
        let name = path.strip_prefix(folder)?.with_extension("").to_string_lossy().into_owned();
        texts.push((name, std::fs::read_to_string(&path)?));
    }
    Ok(Modules::new(root, texts).imports())
}

impl Modules {
    fn new(root: &str, texts: Vec<(String, String)>) -> Self {
        let mut files = BTreeMap::new();
        for (name, text) in texts {
            let mut at: Vec<String> = name.split('/').map(str::to_owned).collect();
            at.pop_if(|last| last == "mod");
            files.insert(at, Source { name, code: code(&text) });
        }
        let root = root.split("::").map(str::to_owned).collect();
        let mut modules = Self { root, files, exported: BTreeMap::new() };
        // Inner folders come first, because outer ones re-export their names.
        let mut folders: Vec<_> = modules.files.iter().filter(|(_, source)| source.is_folder()).collect();
        folders.sort_by_key(|(at, _)| std::cmp::Reverse(at.len()));
        let folders: Vec<_> = folders.into_iter().map(|(at, source)| (at.clone(), used(&source.code))).collect();
        for (at, used) in folders {
            for (path, name) in used {
                let full: Vec<String> = at.iter().cloned().chain(path).collect();
                if let Some(file) = modules.file_of(&full).map(str::to_owned) {
                    modules.exported.insert(at.iter().cloned().chain([name]).collect(), file);
                }
            }
        }
        modules
    }

    fn imports(&self) -> Imports {
        let files = self.files.iter().filter(|(_, source)| !source.is_folder());
        files.map(|(at, source)| (source.name.clone(), self.imports_of(at, source))).collect()
    }

    fn imports_of(&self, at: &[String], source: &Source) -> BTreeSet<String> {
        let paths = used(&source.code).into_iter().map(|(path, _)| path).chain(inline(&source.code, &self.root));
        let full = paths.filter_map(|path| {
            if let Some(rest) = path.strip_prefix(&self.root[..]) {
                return Some(rest.to_vec());
            }
            let ups = path.iter().take_while(|segment| *segment == "super").count();
            let above = at.len().checked_sub(ups).filter(|_| ups > 0)?;
            Some([&at[..above], &path[ups..]].concat())
        });
        full.filter_map(|full| self.file_of(&full).map(str::to_owned)).filter(|file| *file != source.name).collect()
    }

    /// The file that defines the item of a path.
    fn file_of(&self, path: &[String]) -> Option<&str> {
        (0..=path.len()).rev().find_map(|length| {
            let known = self.files.get(&path[..length]).map(|source| &source.name);
            self.exported.get(&path[..length]).or(known).map(String::as_str)
        })
    }
}

impl Source {
    fn is_folder(&self) -> bool {
        self.name == "mod" || self.name.ends_with("/mod")
    }
}

/// A file's code, without comments, tests, and the paths in visibilities.
pub(crate) fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\n").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut code = lines.collect::<Vec<_>>().join("\n");
    while let Some(start) = code.find("pub(in ") {
        let end = code[start..].find(')').map_or(code.len(), |end| start + end + 1);
        code.replace_range(start..end, "pub");
    }
    code
}

/// The paths of the `use` declarations, each with the name under which it is used.
fn used(code: &str) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    for (start, end) in declarations(code) {
        expand(&code[start..end], &mut found);
    }
    found
}

/// The positions of the trees in the `use` declarations.
fn declarations(code: &str) -> Vec<(usize, usize)> {
    let starts = code.match_indices("use ").filter(|(at, _)| {
        let line = code[..*at].rsplit('\n').next().unwrap_or_default().trim_start();
        line.is_empty() || line == "pub " || (line.starts_with("pub(") && line.ends_with(") "))
    });
    let spans = starts.map(|(at, keyword)| at + keyword.len());
    spans.filter_map(|start| Some((start, start + code[start..].find(';')?))).collect()
}

/// The paths of a tree such as `a::{b, c::{self, d as e}}`.
fn expand(tree: &str, found: &mut Vec<(Vec<String>, String)>) {
    let tree = tree.trim();
    if let Some((before, inner)) = tree.split_once('{') {
        let inner = inner.strip_suffix('}').unwrap_or(inner);
        let mut depth = 0_usize;
        let parts = inner.split(|letter: char| {
            match letter {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            letter == ',' && depth == 0
        });
        for part in parts.filter(|part| !part.trim().is_empty()) {
            expand(&format!("{before}{}", part.trim()), found);
        }
        return;
    }
    let (path, renamed) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name)));
    let mut path: Vec<String> = path.split("::").map(|segment| segment.trim().to_owned()).collect();
    path.pop_if(|last| last == "self");
    if let Some(last) = path.last() {
        let name = renamed.map_or_else(|| last.clone(), |name| name.trim().to_owned());
        found.push((path, name));
    }
}

/// The paths outside `use` declarations that begin with `super` or the root module.
fn inline(code: &str, root: &[String]) -> Vec<Vec<String>> {
    let mut rest = code.to_owned();
    for (start, end) in declarations(code).into_iter().rev() {
        rest.replace_range(start..end, "");
    }
    let root = format!("{}::", root.join("::"));
    let starts =
        ["super::", &root].map(|begin| rest.match_indices(begin).map(|(at, _)| at).collect::<Vec<_>>()).concat();
    let path = |at: usize| {
        let end = rest[at..].find(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':');
        let path = &rest[at..end.map_or(rest.len(), |end| at + end)];
        path.split("::").filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
    };
    starts.into_iter().map(path).collect()
}

/// The files that remain when files without imports, and files that no file imports, are removed repeatedly. It is empty if
/// there is no import cycle.
pub(crate) fn cycle(imports: &Imports) -> Vec<&str> {
    let mut left: BTreeSet<&str> = imports.keys().map(String::as_str).collect();
    loop {
        let ends = |file: &&str| {
            let is_end = imports[*file].iter().all(|import| !left.contains(import.as_str()));
            let is_start = left.iter().all(|other| !imports[*other].contains(*file));
            is_end || is_start
        };
        let outside: Vec<&str> = left.iter().copied().filter(ends).collect();
        if outside.is_empty() {
            return left.into_iter().collect();
        }
        left.retain(|file| !outside.contains(file));
    }
}

#[test]
fn imports_are_resolved_to_the_files_that_define_the_names() {
    let modules = |texts: &[(&str, &str)]| {
        let texts = texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Modules::new("crate::channel", texts).imports()
    };
    let imports = modules(&[
        ("mod", "mod a;\npub use a::Thing;\n"),
        ("a/mod", "mod thing;\nmod other;\npub(in crate::channel) use thing::{Thing, make as make_thing};\n"),
        ("a/thing", "use std::sync::Arc;\n// use super::other::Nothing;\npub(in crate::channel::a) struct Thing;\n"),
        (
            "a/other",
            "use super::thing::{\n    self, Thing,\n};\n\n#[cfg(test)]\nmod tests {\n    use super::super::b;\n}\n",
        ),
        ("b", "use crate::{channel::a::make_thing, pubsub::X};\nfn f() { super::a::other::g(); }\n"),
        ("c", "use super::Thing;\nuse super::a;\n"),
    ]);
    let of = |file: &str| imports[file].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(of("a/thing"), [""; 0]);
    assert_eq!(of("a/other"), ["a/thing"]);
    assert_eq!(of("b"), ["a/other", "a/thing"]);
    assert_eq!(of("c"), ["a/mod", "a/thing"], "a folder as a whole is `mod`");
    assert!(!imports.contains_key("mod") && cycle(&imports).is_empty());

    let imports = modules(&[
        ("mod", ""),
        ("a", "use super::b::X;\n"),
        ("b", "use super::c::X;\n"),
        ("c", "use super::b::Y;\n"),
        ("d", ""),
    ]);
    assert_eq!(cycle(&imports), ["b", "c"]);
}
