//! Checks which modules of the host import which others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bennu_tests::places;

use crate::imports;
use crate::tidy::sources;

/// Each top-level module with the modules that it may import. All modules are listed.
const MODULES: [(&str, &[&str]); 32] = [
    ("counts", &[]),
    ("files", &[]),
    ("health", &[]),
    ("protocol", &[]),
    ("parcel", &[]),
    ("handover", &["parcel"]),
    ("timing", &[]),
    ("auth", &[]),
    ("store", &["counts", "files", "timing"]),
    ("entries", &["counts", "store"]),
    ("clients", &["counts"]),
    ("contract", &["counts", "protocol", "store", "entries", "clients"]),
    ("pubsub", &["counts", "protocol", "parcel"]),
    ("presence", &["counts", "protocol", "pubsub"]),
    ("routes", &["protocol", "contract", "store"]),
    ("plugin", &["counts", "files", "protocol", "timing", "contract", "routes", "store", "entries"]),
    (
        "channel",
        &["counts", "protocol", "parcel", "contract", "presence", "pubsub", "routes", "store", "entries", "clients"],
    ),
    ("cluster", &["protocol", "parcel", "contract", "presence", "pubsub", "channel", "store"]),
    ("rollout", &["contract", "routes", "store", "plugin", "cluster"]),
    ("deliveries", &["contract", "store"]),
    ("webhooks", &["counts", "protocol", "contract", "pubsub", "store"]),
    ("jobs", &["protocol", "contract", "store", "channel"]),
    ("socket", &["counts", "protocol", "contract", "routes", "channel", "pubsub", "clients"]),
    ("transport", &["counts", "protocol", "timing", "auth", "contract", "routes", "socket", "pubsub", "clients"]),
    (
        "api",
        &[
            "counts",
            "files",
            "health",
            "protocol",
            "timing",
            "auth",
            "contract",
            "presence",
            "pubsub",
            "plugin",
            "channel",
            "cluster",
            "deliveries",
            "jobs",
            "socket",
            "store",
            "clients",
        ],
    ),
    (
        "dashboard",
        &[
            "counts",
            "health",
            "protocol",
            "api",
            "auth",
            "contract",
            "presence",
            "routes",
            "channel",
            "socket",
            "store",
            "clients",
            "transport",
        ],
    ),
    (
        "server",
        &[
            "counts",
            "files",
            "health",
            "protocol",
            "parcel",
            "handover",
            "timing",
            "api",
            "auth",
            "contract",
            "presence",
            "pubsub",
            "routes",
            "plugin",
            "channel",
            "cluster",
            "deliveries",
            "jobs",
            "socket",
            "store",
            "entries",
            "clients",
            "transport",
            "dashboard",
            "webhooks",
            "rollout",
        ],
    ),
    ("terminal", &["contract", "server"]),
    (
        "kit",
        &[
            "protocol",
            "contract",
            "pubsub",
            "routes",
            "plugin",
            "channel",
            "deliveries",
            "jobs",
            "socket",
            "server",
            "store",
            "entries",
        ],
    ),
    ("project", &["plugin", "server"]),
    (
        "fuzz",
        &[
            "protocol",
            "parcel",
            "handover",
            "auth",
            "contract",
            "store",
            "plugin",
            "channel",
            "cluster",
            "jobs",
            "socket",
            "transport",
            "api",
            "server",
            "kit",
        ],
    ),
    // The binary. It uses the library as the crate `bennu`.
    ("commands", &[]),
];

#[test]
fn a_module_imports_only_modules_that_it_may_import() -> Result<()> {
    let root = places::workspace()?.join("host").join("src");
    let mut findings = Vec::new();
    for path in sources(&root)? {
        let Some(module) = module_of(&root, &path)? else { continue };
        let (_, allowed) = MODULES
            .iter()
            .find(|(name, _)| *name == module)
            .with_context(|| format!("{} is in no module of the table", path.display()))?;
        for (number, line) in std::fs::read_to_string(&path)?.lines().enumerate() {
            for other in imported_by(line).into_iter().filter(|other| *other != module && !allowed.contains(other)) {
                findings.push(format!("{}:{}: `{module}` may not import `{other}`", path.display(), number + 1));
            }
        }
    }
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(())
}

#[test]
fn the_table_has_exactly_the_modules_of_the_host() -> Result<()> {
    let root = places::workspace()?.join("host").join("src");
    let mut found = BTreeSet::new();
    for path in sources(&root)? {
        found.extend(module_of(&root, &path)?);
    }
    let listed: BTreeSet<String> = MODULES.iter().map(|(module, _)| (*module).to_owned()).collect();
    ensure!(found == listed, "there are {found:?}, and the table lists {listed:?}");
    Ok(())
}

#[test]
fn the_code_map_has_the_same_table() -> Result<()> {
    let text = std::fs::read_to_string(places::workspace()?.join("ARCHITECTURE.md"))?;
    for (module, allowed) in MODULES {
        let start = format!("| `host/src/{module}` | ");
        let row =
            text.lines().find(|line| line.starts_with(&start)).with_context(|| format!("no row for `{module}`"))?;
        let said = row.trim_end_matches(" |").rsplit(" | ").next().context("a row has cells")?;
        let said: BTreeSet<&str> = match said {
            "nothing of ours" | "the library" => BTreeSet::new(),
            "all of these" => text[..text.find(&start).unwrap_or_default()].lines().filter_map(module_in).collect(),
            names => names.split(", ").collect(),
        };
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        ensure!(said == allowed, "ARCHITECTURE.md lets `{module}` use {said:?}, and this test {allowed:?}");
    }
    Ok(())
}

/// The module of a row of the code map. `None` if the row describes a part of a module.
fn module_in(line: &str) -> Option<&str> {
    line.strip_prefix("| `host/src/")?.split('`').next().filter(|module| !module.contains('/'))
}

/// The module of a file: the first folder below the root. `None` for a file in the root itself.
fn module_of(root: &Path, path: &Path) -> Result<Option<String>> {
    let below = path.strip_prefix(root)?;
    let is_at_root = below.components().count() == 1;
    let first = below.components().next().context("a file has a path")?;
    Ok((!is_at_root).then(|| first.as_os_str().to_string_lossy().into_owned()))
}

/// The modules that a line names, as `crate::module` or within `crate::{..}`.
fn imported_by(line: &str) -> Vec<&str> {
    let code = line.trim_start();
    if code.starts_with("//") {
        return Vec::new();
    }
    let mut imported = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        // It is the end of a longer name.
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            Some(list) => imported.extend(list.split(',').map(first_name)),
            None => imported.push(first_name(rest)),
        }
    }
    imported
}

fn first_name(path: &str) -> &str {
    let path = path.trim_start();
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    &path[..end]
}

/// The crates that the host and the test kits share, with their allowed dependencies.
const SHARED: [(&str, &[&str]); 2] = [
    ("semantics", &["bytes", "bytestring", "serde", "serde_json"]),
    ("world", &["bennu-semantics", "bytes", "bytestring", "serde_json"]),
];

/// Names in the standard library for input, output and clocks.
const OUTSIDE: [&str; 8] =
    ["std::fs", "std::io", "std::net", "std::process", "std::thread", "std::env", "SystemTime", "Instant"];

/// The shared crates do no I/O and read no clock, so that their results depend on their input only.
#[test]
fn the_crates_that_host_and_test_kits_share_do_no_io() -> Result<()> {
    let root = places::workspace()?;
    for (name, allowed) in SHARED {
        let manifest = std::fs::read_to_string(root.join(name).join("Cargo.toml"))?;
        let (_, dependencies) = manifest.split_once("[dependencies]\n").context("it has dependencies")?;
        let lines = dependencies.lines().take_while(|line| !line.starts_with('['));
        let names = lines.filter_map(|line| line.split(['.', ' ']).next()).filter(|name| !name.is_empty());
        let found: BTreeSet<&str> = names.collect();
        ensure!(found == allowed.iter().copied().collect(), "`{name}` depends on {found:?}");
        for path in sources(&root.join(name).join("src"))? {
            let text = std::fs::read_to_string(&path)?;
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                ensure!(!OUTSIDE.iter().any(|name| line.contains(name)), "{}: {line}", path.display());
            }
        }
    }
    Ok(())
}

/// The HTTP client knows nothing of plugins, and its files have no cycle of imports.
#[test]
fn the_client_for_http_depends_on_no_other_crate_of_ours() -> Result<()> {
    let folder = places::workspace()?.join("outbound");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml"))?;
    ensure!(!manifest.contains("path = \"../"), "`outbound` depends on another crate of the workspace");
    let imports = imports::read(&folder.join("src"), "crate")?;
    let cycle = imports::cycle(&imports);
    ensure!(cycle.is_empty(), "these files of outbound/ have an import cycle: {}", cycle.join(", "));
    Ok(())
}

#[test]
fn imports_are_found_in_every_notation() {
    assert_eq!(imported_by("use crate::routes::{Route, Turns};"), ["routes"]);
    assert_eq!(imported_by("    let x: crate::socket::Y = crate::plugin::z();"), ["socket", "plugin"]);
    assert_eq!(imported_by("use crate::{channel::Node, pubsub};"), ["channel", "pubsub"]);
    assert!(imported_by("// see crate::plugin").is_empty() && imported_by("use mycrate::plugin;").is_empty());
}

/// The parts of `channel` with the parts that each may import: three folders, and the files in its root.
const CHANNEL: [(&str, &[&str]); 4] =
    [("turn", &[]), ("room", &["turn"]), ("member", &["turn", "room"]), ("", &["turn", "room", "member"])];

/// The maximum number of files of `channel` with `impl` blocks of one type.
const IMPL_FILES_MAX: usize = 2;

fn channel() -> Result<PathBuf> {
    Ok(places::workspace()?.join("host").join("src").join("channel"))
}

#[test]
fn the_parts_of_channel_import_each_other_in_one_direction_only() -> Result<()> {
    let part = |file: &str| file.split_once('/').map_or(String::new(), |(part, _)| part.to_owned());
    let imports = imports::read(&channel()?, "crate::channel")?;
    let mut findings = Vec::new();
    for (file, others) in &imports {
        let own = part(file);
        let (_, allowed) =
            CHANNEL.iter().find(|(name, _)| *name == own).with_context(|| format!("{file} is in no part"))?;
        for other in others {
            let imported = part(other);
            if imported != own && !allowed.contains(&&*imported) {
                findings.push(format!("channel/{file}: `{own}` may not import `{imported}` ({other})"));
            }
            if other.ends_with("mod") {
                findings.push(format!("channel/{file}: it imports a folder as a whole ({other}), not its names"));
            }
        }
    }
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    let cycle = imports::cycle(&imports);
    ensure!(cycle.is_empty(), "these files of channel/ have an import cycle: {}", cycle.join(", "));
    Ok(())
}

#[test]
fn the_code_map_has_the_parts_of_channel() -> Result<()> {
    let text = std::fs::read_to_string(places::workspace()?.join("ARCHITECTURE.md"))?;
    for (part, allowed) in CHANNEL.into_iter().filter(|(part, _)| !part.is_empty()) {
        let start = format!("| `host/src/channel/{part}` | ");
        let row = text.lines().find(|line| line.starts_with(&start)).with_context(|| format!("no row for `{part}`"))?;
        let said = row.trim_end_matches(" |").rsplit(" | ").next().context("a row has cells")?;
        let allowed = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
        let expected = format!("within `channel`: {allowed}");
        ensure!(said == expected, "ARCHITECTURE.md says of `channel/{part}` {said:?}, and this test {expected:?}");
    }
    Ok(())
}

#[test]
fn a_type_of_channel_is_implemented_in_two_files_at_most() -> Result<()> {
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let root = channel()?;
    for path in sources(&root)? {
        let shown = path.strip_prefix(&root)?.display().to_string();
        for name in std::fs::read_to_string(&path)?.lines().filter_map(implemented) {
            files.entry(name.to_owned()).or_default().insert(shown.clone());
        }
    }
    ensure!(files.contains_key("Channel"), "the search finds no `impl Channel`");
    files.retain(|_, files| files.len() > IMPL_FILES_MAX);
    ensure!(files.is_empty(), "types with `impl` blocks in more than {IMPL_FILES_MAX} files: {files:?}");
    Ok(())
}

/// The type of the `impl` block that a line begins.
fn implemented(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?;
    let rest = if rest.starts_with('<') { rest.split_once("> ")?.1 } else { rest.strip_prefix(' ')? };
    let of = rest.split_once(" for ").map_or(rest, |(_, of)| of);
    let path = of.split(['<', ' ', '{']).next()?;
    path.rsplit("::").next().filter(|name| !name.is_empty() && *name != "()")
}

#[test]
fn the_type_of_an_impl_block_is_found() {
    assert_eq!(implemented("impl Channel {"), Some("Channel"));
    assert_eq!(implemented("impl<S: Sender> Job for MessageJob<S> {"), Some("MessageJob"));
    assert_eq!(implemented("impl<'a> Frames<'a> {"), Some("Frames"));
    assert_eq!(implemented("impl Sender for oneshot::Sender<Delivered> {"), Some("Sender"));
    assert_eq!(implemented("    impl Inner {"), None);
    assert_eq!(implemented("impl Sender for () {"), None);
}
