//! Checks the documents against the code: keys, defaults, examples, options, API calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bennu::server::Config;
use bennu_tests::{bennu, places};
use tempfile::TempDir;

/// Every table of keys: the document, the heading of the table, and a configuration in which `KEY` stands for one key.
const TABLES: [(&str, &str, &str); 16] = [
    ("configuration.md", "## The file", "KEY"),
    ("configuration.md", "## `[api]`", "[api]\nKEY"),
    (
        "configuration.md",
        "## `[[api.keys]]`",
        "[[api.keys]]\nKEY\nname = \"a\"\nid = \"a\"\nscopes = [\"read\"]\n\
         hash = \"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"",
    ),
    ("configuration.md", "## `[reload]`", "[reload]\nKEY"),
    ("configuration.md", "## `[store]`", "[store]\nKEY"),
    ("configuration.md", "## `[cluster]`", "[store]\nurl = \"postgres://h/d\"\n[cluster]\nKEY"),
    ("configuration.md", "### `bus`", "[store]\nurl = \"postgres://h/d\"\n[cluster.bus]\nKEY\nnats = \"nats://h\""),
    ("configuration.md", "## `[mounts.\"/PATH\"]`", "[mounts.\"/socket\"]\nKEY"),
    ("configuration.md", "### `token`", "[mounts.\"/socket\".token]\nKEY\nsalt = \"s\""),
    ("configuration.md", "### `jwt`", "[mounts.\"/socket\".jwt]\nKEY\njwks = \"keys.json\""),
    ("configuration.md", "## `[plugins.NAME]`", "[plugins.chat]\nKEY"),
    ("projects.md", "## `[build.NAME]`", "[build.chat]\nKEY"),
    ("limits.md", "# Limits", "[limits]\nKEY"),
    ("limits.md", "### `[limits.user]`", "[limits.user]\nKEY"),
    ("limits.md", "### `[limits.socket]`", "[limits.socket]\nKEY"),
    ("limits.md", "### `[limits.address]`", "[limits.address]\nKEY"),
];

/// A row of a table of keys.
struct Row {
    key: String,
    /// The default in TOML; `None` if the document says that there is none.
    default: Option<String>,
}

pub(crate) fn read(document: &str) -> Result<String> {
    let path = places::workspace()?.join("docs").join(document);
    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// The text between a heading and the next one.
fn section<'a>(text: &'a str, heading: &str) -> Result<&'a str> {
    let start = format!("{heading}\n");
    let at = if text.starts_with(&start) { Some(0) } else { text.find(&format!("\n{start}")).map(|at| at + 1) };
    let rest = &text[at.with_context(|| format!("there is no heading `{heading}`"))? + start.len()..];
    Ok(rest.split("\n#").next().unwrap_or_default())
}

/// The cells of each table row in a text whose first cell begins with a word in backticks.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
}

/// The words in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn keys(section: &str) -> Result<Vec<Row>> {
    let header = section.lines().find(|line| line.starts_with("| key |")).context("there is no table of keys")?;
    let column = header
        .trim_matches('|')
        .split(" | ")
        .position(|cell| cell.trim() == "default")
        .context("the table has no column `default`")?;
    let row = |cells: Vec<&str>| {
        let key = quoted(cells[0]).next().context("the key isn't in backticks")?.to_owned();
        let default = cells.get(column).with_context(|| format!("`{key}` has no default"))?;
        let default = default.starts_with('`').then(|| quoted(default).next().map(str::to_owned)).flatten();
        Ok(Row { key, default })
    };
    rows(section).filter(|cells| cells.len() > column).map(row).collect()
}

/// Reads a configuration as the host does.
fn parse(home: &TempDir, text: &str) -> Result<Config> {
    let path = home.path().join("bennu.toml");
    fs::write(&path, text)?;
    Config::read(&path)
}

/// The keys that the host knows. They are taken from its error about an unknown key.
fn known(home: &TempDir, table: &str) -> Result<BTreeSet<String>> {
    let error = parse(home, &table.replace("KEY", "no_such_key = 1")).err().context("an unknown key isn't refused")?;
    let error = format!("{error:#}");
    let (_, expected) =
        error.split_once("expected ").with_context(|| format!("the error doesn't list the known keys: {error}"))?;
    Ok(quoted(expected).map(str::to_owned).collect())
}

#[test]
fn every_key_is_documented_with_its_default() -> Result<()> {
    let home = tempfile::tempdir()?;
    let mut findings = Vec::new();
    for (document, heading, table) in TABLES {
        let text = read(document)?;
        let rows = keys(section(&text, heading)?).with_context(|| format!("{document}, {heading}"))?;
        let documented: BTreeSet<String> = rows.iter().map(|row| row.key.clone()).collect();
        let known = known(&home, table)?;
        for key in known.symmetric_difference(&documented) {
            let what = if known.contains(key) { "doesn't document" } else { "documents, but the host doesn't know," };
            findings.push(format!("{document} {what} `{key}` of {heading}"));
        }
        let usual = parse(&home, &table.replace("KEY", ""))?;
        let shown = format!("{usual:?}");
        for Row { key, default } in rows.iter().filter(|row| known.contains(&row.key)) {
            let is_so = match default {
                // Setting a key to its default changes nothing.
                Some(default) => parse(&home, &table.replace("KEY", &format!("{key} = {default}")))? == usual,
                None => has_no_default(&home, table, key, &shown)?,
            };
            if !is_so {
                findings.push(format!("{document} is wrong about the default of `{key}` of {heading}: {default:?}"));
            }
        }
    }
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(())
}

/// Whether a key without a default is `None` in the configuration, or is required.
fn has_no_default(home: &TempDir, table: &str, key: &str, shown: &str) -> Result<bool> {
    let given = format!("\n{key} = ");
    if table.contains(&given) {
        // The test's configuration sets this key, because the configuration is refused without it.
        let without: String =
            table.lines().filter(|line| !line.starts_with(&given[1..])).collect::<Vec<_>>().join("\n");
        return Ok(parse(home, &without.replace("KEY", "")).is_err());
    }
    // The name of the field. It differs from the key if the key is a keyword of Rust.
    let field = if key == "static" { "static_directory" } else { key };
    Ok(shown.contains(&format!("{field}: None")))
}

/// The fenced blocks of a document: the info string after the fence, and the content.
pub(crate) fn blocks(text: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let block = lines.by_ref().take_while(|line| !line.starts_with("```"));
            found.push((kind, block.fold(String::new(), |block, line| block + line + "\n")));
        }
    }
    found
}

/// All documents with their names.
fn documents() -> Result<Vec<(String, String)>> {
    let root = places::workspace()?;
    let mut paths = vec![root.join("README.md")];
    for entry in root.join("docs").read_dir()? {
        paths.push(entry?.path());
    }
    let named = |path: &Path| {
        let name = path.strip_prefix(root)?.display().to_string();
        Ok((name, fs::read_to_string(path)?))
    };
    paths.iter().filter(|path| path.extension().is_some_and(|it| it == "md")).map(|path| named(path)).collect()
}

#[test]
fn example_configurations_are_valid() -> Result<()> {
    let home = tempfile::tempdir()?;
    let mut seen = 0;
    for (name, text) in documents()? {
        for (kind, block) in blocks(&text) {
            if kind == "toml" && !block.contains("[package]") {
                parse(&home, &block).with_context(|| format!("{name}:\n{block}"))?;
                seen += 1;
            }
        }
    }
    ensure!(seen >= 5, "only {seen} examples were found");
    Ok(())
}

#[test]
fn links_have_existing_targets() -> Result<()> {
    let root = places::workspace()?;
    let mut findings = Vec::new();
    for (name, text) in documents()? {
        let folder = root.join(&name).parent().context("the file has no folder")?.to_owned();
        // Code isn't Markdown: a call of a generic function in Go looks like a link.
        let outside = |text: &str, fence: &str| text.split(fence).step_by(2).collect::<String>();
        let prose = outside(&outside(&text, "```"), "`");
        for link in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { root.join(&name) } else { folder.join(path) };
            let is_there = match anchor {
                "" => target.exists(),
                anchor => fs::read_to_string(&target).is_ok_and(|text| anchors(&text).any(|it| it == anchor)),
            };
            if !is_there {
                findings.push(format!("{name} links to {link}"));
            }
        }
    }
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(())
}

/// The anchors of all headings.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

/// The options of a command, from its help text, without `--help` and `--version`.
fn flags(help: &str) -> BTreeSet<&str> {
    let starts = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let flags = starts.filter_map(|line| line.split([' ', ',']).find(|word| word.starts_with("--")));
    flags.filter(|flag| !["--help", "--version"].contains(flag)).collect()
}

#[test]
fn flags_and_commands_are_documented() -> Result<()> {
    let home = tempfile::tempdir()?;
    let help =
        |command: &[&str]| -> Result<String> { Ok(bennu(home.path(), &[command, &["--help"]].concat())?.output) };
    let (configuration, api) = (read("configuration.md")?, read("api.md")?);
    let serve = help(&["serve"])?;
    let documented: BTreeSet<&str> =
        rows(section(&configuration, "## `bennu serve`")?).filter_map(|row| quoted(row[0]).next()).collect();
    let documented: BTreeSet<&str> = documented.into_iter().filter(|flag| flag.starts_with("--")).collect();
    ensure!(
        documented == flags(&serve),
        "the document lists the options {documented:?} of `serve`, but they are {:?}",
        flags(&serve)
    );
    let all = help(&[])?;
    let commands = all.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    ensure!(commands.len() > 8, "the commands weren't found: {all}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        ensure!(api.contains(&format!("`bennu {command}")), "docs/api.md doesn't document `bennu {command}`");
        for variable in help(&[command])?.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next()) {
            ensure!(
                configuration.contains(&format!("`{variable}`")),
                "{variable} of `bennu {command}` isn't documented"
            );
        }
    }
    Ok(())
}

#[test]
fn every_call_of_the_api_is_listed() -> Result<()> {
    let described = fs::read_to_string(places::workspace()?.join("host/src/api/openapi.json"))?;
    let described: serde_json::Value = serde_json::from_str(&described)?;
    let mut calls = BTreeSet::new();
    for (path, methods) in described["paths"].as_object().context("paths")? {
        calls.extend(methods.as_object().context("methods")?.keys().map(|it| format!("{} {path}", it.to_uppercase())));
    }
    let api = read("api.md")?;
    let listed = rows(section(&api, "## Calls")?).filter_map(|row| quoted(row[0]).next().map(str::to_owned));
    let listed: BTreeSet<String> = listed.collect();
    ensure!(listed == calls, "docs/api.md lists {listed:?}, but the calls are {calls:?}");
    Ok(())
}

#[test]
fn every_scenario_that_differs_is_explained() -> Result<()> {
    let protocol = read("protocol.md")?;
    let explained = rows(section(&protocol, "### By transcript")?).filter_map(|row| quoted(row[0]).next());
    let explained: BTreeSet<&str> = explained.collect();
    let differ: BTreeSet<&str> = crate::transcripts::DIFFERENCES.iter().map(|(scenario, ..)| *scenario).collect();
    if explained != differ {
        bail!("docs/protocol.md explains {explained:?}, but these scenarios differ: {differ:?}");
    }
    Ok(())
}

/// The oldest Node is the one that the commands of the repository ask for: nothing is tested in an older one.
#[test]
fn the_oldest_node_is_the_same_everywhere() -> Result<()> {
    let root = places::workspace()?;
    let asked = fs::read_to_string(root.join("xtask/src/node.rs"))?;
    ensure!(asked.contains("const OLDEST: (u32, u32) = (20, 11);"), "the commands ask for another Node");
    for (path, line) in [
        ("README.md", "Node 20.11 or later"),
        ("CONTRIBUTING.md", "Node 20.11 or later"),
        ("docs/projects.md", "Tests and types: Node 20.11 |"),
        ("docs/projects.md", "Tests: Node 20.11 |"),
        ("docs/testing.md", "Node 20.11 or later"),
        ("sdk/typescript/README.md", "Node 20.11 or later"),
        ("sdk/typescript/package.json", "\"node\": \">=20.11\""),
        ("packages/npm/package.json", "\"node\": \">=20.11\""),
        ("templates/files/typescript/commands.md", "Node 20.11 or later"),
        ("host/src/project/node.rs", "Node 20.11 or later"),
        ("tests/package.json", "\"node\": \">=20.11\""),
        ("tests/tests/it/conformance/mod.rs", "Node 20.11 or later"),
    ] {
        ensure!(fs::read_to_string(root.join(path))?.contains(line), "{path} doesn't say `{line}`");
    }
    Ok(())
}

/// Words for what the host has, in small letters.
const THERE: [&str; 10] =
    ["history", "recover", "http request", "prometheus", "webhook", "schedule", "cron", "idempoten", "node", "cluster"];

/// What a line says that denies something.
const DENIALS: [&str; 8] =
    [" yet", "not there", "not supported", "can't call", "aren't planned", "One node.", "is one node", "one node:"];

/// The guides for users of other servers deny nothing that the host has, and name the pages that describe it.
#[test]
fn the_guides_from_other_servers_deny_nothing_that_is_there() -> Result<()> {
    for document in ["centrifugo.md", "socketio.md"] {
        let text = read(document)?;
        let missing = section(&text, "## Not there yet")?.lines();
        let denying = text.lines().filter(|line| DENIALS.iter().any(|denial| line.contains(denial)));
        for line in missing.chain(denying) {
            let word = THERE.iter().find(|word| line.to_lowercase().contains(**word));
            ensure!(word.is_none(), "{document} denies `{}`, which the host has: {line}", word.unwrap_or(&""));
        }
        for page in [
            "history.md",
            "http.md",
            "time.md",
            "cluster.md",
            "api.md#requests-that-are-sent-again",
            "configuration.md#webhooks",
        ] {
            ensure!(text.contains(&format!("({page}")), "{document} doesn't name {page}");
        }
    }
    Ok(())
}

/// The names of the pages, and their texts.
fn pages() -> Result<BTreeMap<String, String>> {
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(places::workspace()?.join("docs"))? {
        let file = entry?.file_name().to_string_lossy().into_owned();
        if let Some(name) = file.strip_suffix(".md") {
            pages.insert(name.to_owned(), read(&file)?);
        }
    }
    Ok(pages)
}

#[test]
fn the_executable_prints_each_page() -> Result<()> {
    let home = tempfile::tempdir()?;
    let listed = bennu(home.path(), &["docs"])?;
    ensure!(listed.code == Some(0), "{listed:?}");
    let titles = listed.output.lines().filter_map(|line| line.split_once(' '));
    let titles: Vec<(&str, &str)> = titles.map(|(name, title)| (name, title.trim())).collect();
    let pages = pages()?;
    ensure!(titles.len() == pages.len(), "{listed:?}");
    for ((listed, title), (name, text)) in titles.into_iter().zip(&pages) {
        ensure!(listed == name && text.starts_with(&format!("# {title}\n")), "`{listed}` is listed as `{title}`");
        let printed = bennu(home.path(), &["docs", name.as_str()])?;
        ensure!(printed.code == Some(0) && printed.output == *text, "`bennu docs {name}` prints another text");
    }
    let unknown = bennu(home.path(), &["docs", "limit"])?;
    ensure!(unknown.code == Some(2) && unknown.errors.contains("'limits'"), "{unknown:?}");
    let completions = bennu(home.path(), &["completions", "bash"])?;
    ensure!(completions.output.contains(" centrifugo "), "a shell doesn't complete the names of the pages");
    Ok(())
}

/// Whoever has only the executable has no folder `docs`. So texts for them name the command that prints a page, and the page exists.
#[test]
fn texts_for_users_name_pages_by_the_command() -> Result<()> {
    let (root, pages, mut named) = (places::workspace()?, pages()?, 0);
    let mut folders: Vec<PathBuf> =
        ["host/src", "guest/src", "templates/files", "sdk/go", "sdk/python/bennu", "sdk/typescript", "packages"]
            .iter()
            .map(|folder| root.join(folder))
            .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.extend((!path.ends_with("node_modules")).then_some(path));
                continue;
            }
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let own = path.extension().is_some_and(|extension| extension == "rs");
            // Comments in Rust are for people with the repository, and so is the documentation that tests read.
            let is_for_users =
                |line: &&str| !own || !line.trim_start().starts_with("//") && !line.contains("include_str!");
            for line in text.lines().filter(is_for_users) {
                ensure!(!line.contains("docs/") || !line.contains(".md"), "{}: {line}", path.display());
                for rest in line.split("`bennu docs ").skip(1) {
                    let name = rest.split(['`', ' ']).next().unwrap_or_default();
                    ensure!(pages.contains_key(name), "{}: there is no page `{name}`", path.display());
                    named += 1;
                }
            }
        }
    }
    ensure!(named > 8, "only {named} pages are named");
    Ok(())
}

#[test]
fn keys_and_blocks_are_found() -> Result<()> {
    let text =
        "# A\n\n| key | type | default |\n| --- | --- | --- |\n| `a` | x | `1` (one) |\n| `b` | y | none |\n\n## B\n";
    let rows = keys(section(text, "# A")?)?;
    ensure!(
        rows.len() == 2 && rows[0].key == "a" && rows[0].default.as_deref() == Some("1"),
        "the first key has a default"
    );
    ensure!(rows[1].key == "b" && rows[1].default.is_none(), "the second key has no default");
    ensure!(section(text, "# C").is_err() && anchors(text).eq(["a", "b"]), "there is no such heading");
    let text = "a\n```toml x\nb = 1\n\n```\nc\n```\nd\n```\n";
    ensure!(blocks(text) == [("toml x", "b = 1\n\n".to_owned()), ("", "d\n".to_owned())], "{:?}", blocks(text));
    ensure!(
        flags("  -h, --help\n      --listen <A>  x --no\n      --log-format") == ["--listen", "--log-format"].into(),
        "two options"
    );
    Ok(())
}
