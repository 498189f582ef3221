//! Checks the source files: their first line, their length, the length of functions, and the names of types.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bennu_tests::places;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 80;

/// The checked folders. Generated files aren't checked.
const FOLDERS: [&str; 14] = [
    "cluster/src",
    "cluster/tests",
    "host/src",
    "host/loom/src",
    "host/tests",
    "guest/src",
    "guest/tests",
    "outbound/src",
    "outbound/tests",
    "semantics/src",
    "world/src",
    "xtask/src",
    "tests",
    "bench",
];

/// Former names of types that are hard to understand. No type may have one of these names again.
const RETIRED: [&str; 59] = [
    "Answered", "Beat", "Bell", "Burden", "Burial", "Calling", "Census", "Clock", "Denied", "Desk", "Doing", "Doorman",
    "Ear", "Entered", "Entry", "Errand", "Errands", "Fitted", "Gate", "Ghost", "Guard", "Guarding", "Guards",
    "Hearing", "Holdings", "Kept", "Letter", "Letters", "Life", "Line", "Lines", "Listener", "Load", "Loads", "Most",
    "Nowhere", "Patience", "Post", "Power", "Question", "Refusal", "Remains", "Rising", "Roll", "Shelf", "Sight",
    "Sights", "Spring", "Standing", "Step", "Telling", "Terms", "Told", "Turned", "Turning", "Untold", "Verdict",
    "Waiting", "Wish",
];

/// The folders in which these names are retired. Types that come from the contract keep the contract's names.
const RETIRED_IN: [&str; 7] =
    ["cluster/src", "host/src", "guest/src/testing", "outbound/src", "semantics/src", "world/src", "xtask/src"];

/// Names that are retired in all folders.
const RETIRED_EVERYWHERE: [&str; 19] = [
    "Beat",
    "Bell",
    "Contest",
    "Crowd",
    "Day",
    "Desk",
    "Entrant",
    "Heard",
    "House",
    "Kept",
    "Knock",
    "Lives",
    "News",
    "Rival",
    "Rivals",
    "Shelf",
    "TakenBack",
    "Verdict",
    "Voice",
];

pub(crate) const GENERATED: [&str; 3] =
    ["guest/src/bindings/effects.rs", "guest/src/bindings/gatekeeper.rs", "guest/src/bindings/plugin.rs"];

/// All Rust sources below a folder.
pub(crate) fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[test]
fn files_are_short_and_begin_with_a_description() -> Result<()> {
    let root = places::workspace()?;
    let mut findings = Vec::new();
    for folder in FOLDERS {
        for path in sources(&root.join(folder))? {
            let shown = path.strip_prefix(root)?.display().to_string();
            if !GENERATED.contains(&shown.as_str()) {
                let text = std::fs::read_to_string(&path)?;
                findings.extend(check(&text).into_iter().map(|finding| format!("{shown}: {finding}")));
            }
        }
    }
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(())
}

fn check(text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if !text.starts_with("//! ") {
        findings.push("it doesn't begin with a line that says what it is (`//! ..`)".to_owned());
    }
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > FILE_LINES_MAX {
        findings.push(format!("it has {} lines; at most {FILE_LINES_MAX}", lines.len()));
    }
    for (at, line) in lines.iter().enumerate() {
        if let Some(name) = function(line) {
            let indent = line.len() - line.trim_start().len();
            // rustfmt puts the closing brace of a function at the indentation of its first line.
            let end = lines[at..].iter().position(|line| line.trim_end() == format!("{:indent$}}}", ""));
            let length = if line.trim_end().ends_with(';') { 1 } else { end.map_or(1, |end| end + 1) };
            if length > FUNCTION_LINES_MAX {
                findings.push(format!("`{name}` has {length} lines; at most {FUNCTION_LINES_MAX}"));
            }
        }
    }
    findings
}

/// The name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("fn ")?;
    let is_definition = before.split_whitespace().all(|word| {
        word.starts_with("pub") || word.starts_with("in ") || ["async", "const", "unsafe", "extern"].contains(&word)
    });
    let name = rest.split(['(', '<']).next().unwrap_or_default();
    (is_definition && !name.is_empty()).then_some(name)
}

#[test]
fn no_type_has_a_retired_name() -> Result<()> {
    let root = places::workspace()?;
    let mut findings = Vec::new();
    for folder in FOLDERS {
        for path in sources(&root.join(folder))? {
            let shown = path.strip_prefix(root)?.display().to_string();
            if GENERATED.contains(&shown.as_str()) {
                continue;
            }
            let text = std::fs::read_to_string(&path)?;
            let is_in = |folder: &&str| Path::new(&shown).starts_with(folder);
            let retired: &[&str] = if RETIRED_IN.iter().any(is_in) { &RETIRED } else { &[] };
            let is_retired = |name: &&str| retired.contains(name) || RETIRED_EVERYWHERE.contains(name);
            let found = text.lines().filter_map(defined_type).filter(is_retired);
            findings.extend(found.map(|name| format!("{shown}: the name `{name}` is retired")));
        }
    }
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(())
}

/// The name of the type that a line defines.
fn defined_type(line: &str) -> Option<&str> {
    let is_keyword = |word: &&str| ["struct", "enum", "trait", "type", "union"].contains(word);
    let line = match line.trim_start().strip_prefix("pub(") {
        Some(rest) => rest.split_once(')')?.1,
        None => line,
    };
    let mut words = line.split_whitespace().skip_while(|word| *word == "pub");
    words.next().filter(is_keyword)?;
    let name = words.next()?;
    Some(name.split(|character: char| !character.is_alphanumeric()).next().unwrap_or(name))
}

#[test]
fn the_name_of_a_type_is_found_where_it_is_defined() {
    assert_eq!(defined_type("    pub(in crate::a) struct Line<'a>(&'a str);"), Some("Line"));
    assert_eq!(defined_type("pub type Doing<'a, T> = T;"), Some("Doing"));
    assert_eq!(defined_type("enum Step {"), Some("Step"));
    assert_eq!(defined_type("    let Line { who } = line;"), None);
    assert_eq!(defined_type("/// A struct Line."), None);
}

#[test]
fn files_and_functions_that_are_too_long_are_found() {
    let long = format!("//! A file.\n\npub(crate) async fn f() {{\n{}}}\n", "    g();\n".repeat(79));
    assert_eq!(check(&long), ["`f` has 81 lines; at most 80"]);
    assert_eq!(check(&long.replacen("    g();\n", "", 1)), Vec::<String>::new());
    assert_eq!(check("fn f() {}\n").len(), 1);
    assert_eq!(check(&format!("//! A file.\n{}", "\n".repeat(500))).len(), 1);
}
