//! The rooms of the host, and which of them each may know.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bennu_tests::places;

use crate::imports;
use crate::tidy::sources;

/// Each room with those that it may import. A room that isn't listed may not exist.
const ROOMS: [(&str, &[&str]); 17] = [
    ("files", &[]),
    ("protocol", &[]),
    ("timing", &[]),
    ("auth", &[]),
    ("store", &["files"]),
    ("contract", &["protocol", "store"]),
    ("pubsub", &["protocol"]),
    ("presence", &["protocol", "pubsub"]),
    ("routes", &["protocol", "contract", "store"]),
    ("plugin", &["files", "protocol", "contract", "routes", "store"]),
    ("channel", &["protocol", "contract", "presence", "pubsub", "routes", "store"]),
    ("socket", &["protocol", "contract", "routes", "channel", "pubsub"]),
    ("transport", &["protocol", "timing", "auth", "contract", "routes", "socket", "pubsub"]),
    ("api", &["files", "protocol", "timing", "auth", "contract", "presence", "pubsub", "plugin", "channel", "socket"]),
    (
        "server",
        &[
            "files",
            "protocol",
            "timing",
            "api",
            "auth",
            "contract",
            "presence",
            "pubsub",
            "routes",
            "plugin",
            "channel",
            "socket",
            "store",
            "transport",
        ],
    ),
    ("terminal", &["contract", "server"]),
    // The binary. It sees the library from outside, as `bennu`.
    ("commands", &[]),
];

#[test]
fn no_room_knows_more_than_it_may() -> Result<()> {
    let root = places::workspace()?.join("host").join("src");
    let mut trespasses = Vec::new();
    for path in sources(&root)? {
        let Some(room) = room_of(&root, &path)? else { continue };
        let (_, allowed) = ROOMS
            .iter()
            .find(|(name, _)| *name == room)
            .with_context(|| format!("{} is in no room of the table", path.display()))?;
        for (number, line) in std::fs::read_to_string(&path)?.lines().enumerate() {
            for known in known_by(line).into_iter().filter(|known| *known != room && !allowed.contains(known)) {
                trespasses.push(format!("{}:{}: `{room}` may not know `{known}`", path.display(), number + 1));
            }
        }
    }
    ensure!(trespasses.is_empty(), "{}", trespasses.join("\n"));
    Ok(())
}

/// The table is complete, and the rooms are all there.
#[test]
fn the_rooms_are_those_of_the_table() -> Result<()> {
    let root = places::workspace()?.join("host").join("src");
    let mut found = BTreeSet::new();
    for path in sources(&root)? {
        found.extend(room_of(&root, &path)?);
    }
    let listed: BTreeSet<String> = ROOMS.iter().map(|(room, _)| (*room).to_owned()).collect();
    ensure!(found == listed, "there are {found:?}, and the table lists {listed:?}");
    Ok(())
}

/// What ARCHITECTURE.md says of the rooms is what is held to.
#[test]
fn the_architecture_has_this_table() -> Result<()> {
    let text = std::fs::read_to_string(places::workspace()?.join("ARCHITECTURE.md"))?;
    for (room, allowed) in ROOMS {
        let start = format!("| `host/src/{room}` | ");
        let row = text.lines().find(|line| line.starts_with(&start)).with_context(|| format!("no row for `{room}`"))?;
        let said = row.trim_end_matches(" |").rsplit(" | ").next().context("a row has cells")?;
        let said: BTreeSet<&str> = match said {
            "nothing of ours" | "the library" => BTreeSet::new(),
            "all of these" => text[..text.find(&start).unwrap_or_default()].lines().filter_map(room_in).collect(),
            names => names.split(", ").collect(),
        };
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        ensure!(said == allowed, "ARCHITECTURE.md lets `{room}` use {said:?}, and this test {allowed:?}");
    }
    Ok(())
}

/// The room that a row of the code map is about; none for a part of a room.
fn room_in(line: &str) -> Option<&str> {
    line.strip_prefix("| `host/src/")?.split('`').next().filter(|room| !room.contains('/'))
}

/// The first folder below the root; none for what stands at the root itself.
fn room_of(root: &Path, path: &Path) -> Result<Option<String>> {
    let below = path.strip_prefix(root)?;
    let is_at_root = below.components().count() == 1;
    let first = below.components().next().context("a file has a path")?;
    Ok((!is_at_root).then(|| first.as_os_str().to_string_lossy().into_owned()))
}

/// The rooms that a line names, as `crate::room` or within `crate::{..}`.
fn known_by(line: &str) -> Vec<&str> {
    let code = line.trim_start();
    if code.starts_with("//") {
        return Vec::new();
    }
    let mut known = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        // Not the end of a longer name.
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            Some(list) => known.extend(list.split(',').map(first_name)),
            None => known.push(first_name(rest)),
        }
    }
    known
}

fn first_name(path: &str) -> &str {
    let path = path.trim_start();
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    &path[..end]
}

/// The crates that a host and test kits share, each with the crates that it may depend on.
const SHARED: [(&str, &[&str]); 2] = [
    ("semantics", &["bytes", "bytestring", "serde", "serde_json"]),
    ("world", &["bennu-semantics", "bytes", "bytestring", "serde_json"]),
];

/// Names of the standard library that stand for input, output or a clock.
const OUTSIDE: [&str; 8] =
    ["std::fs", "std::io", "std::net", "std::process", "std::thread", "std::env", "SystemTime", "Instant"];

/// They do no I/O and read no clock, so that their result depends on their input alone.
#[test]
fn what_a_host_and_test_kits_share_has_no_io() -> Result<()> {
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

#[test]
fn imports_are_found_however_they_are_written() {
    assert_eq!(known_by("use crate::routes::{Route, Turns};"), ["routes"]);
    assert_eq!(known_by("    let x: crate::socket::Y = crate::plugin::z();"), ["socket", "plugin"]);
    assert_eq!(known_by("use crate::{channel::Node, pubsub};"), ["channel", "pubsub"]);
    assert!(known_by("// see crate::plugin").is_empty() && known_by("use mycrate::plugin;").is_empty());
}

/// The parts of `channel`, each with those that it may import: three folders, and the files at its root.
const CHANNEL: [(&str, &[&str]); 4] =
    [("turn", &[]), ("room", &["turn"]), ("member", &["turn", "room"]), ("", &["turn", "room", "member"])];

/// The most files of `channel` with `impl` blocks of one type.
const IMPL_FILES_MAX: usize = 2;

fn channel() -> Result<PathBuf> {
    Ok(places::workspace()?.join("host").join("src").join("channel"))
}

#[test]
fn channel_is_followed_in_one_direction() -> Result<()> {
    let part = |file: &str| file.split_once('/').map_or(String::new(), |(part, _)| part.to_owned());
    let imports = imports::read(&channel()?, "crate::channel")?;
    let mut findings = Vec::new();
    for (file, imported) in &imports {
        let own = part(file);
        let (_, allowed) =
            CHANNEL.iter().find(|(name, _)| *name == own).with_context(|| format!("{file} is in no part"))?;
        for other in imported {
            let known = part(other);
            if known != own && !allowed.contains(&&*known) {
                findings.push(format!("channel/{file}: `{own}` may not import `{known}` ({other})"));
            }
            if other.ends_with("mod") {
                findings.push(format!("channel/{file}: it imports a folder as a whole ({other}), not its names"));
            }
        }
    }
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    let circle = imports::circle(&imports);
    ensure!(circle.is_empty(), "in channel/, these files import one another in a circle: {}", circle.join(", "));
    Ok(())
}

#[test]
fn the_architecture_has_the_parts_of_channel() -> Result<()> {
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
