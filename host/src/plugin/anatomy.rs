//! What a file is, read before anything is compiled.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use semver::Version;
use serde::{Deserialize, Serialize};
use wasmparser::{Encoding, Parser, Payload};

/// The interfaces that make a component a plugin, or a gatekeeper.
const CHANNEL: &str = "bennu:channel/channel";
const CONNECT: &str = "bennu:channel/connect";

/// The version of the contract that this host speaks.
pub(super) const SPOKEN: Version = Version::new(0, 1, 0);

/// What a component is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It serves channels.
    Plugin,
    /// It decides who may connect.
    Gatekeeper,
}

impl Kind {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Gatekeeper => "gatekeeper",
        }
    }
}

/// The outside of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anatomy {
    /// What it asks for.
    pub imports: BTreeSet<String>,
    /// What it gives.
    pub exports: BTreeSet<String>,
    /// What it is for.
    pub kind: Kind,
    /// The version of the contract that it was built for.
    pub version: Version,
}

impl Anatomy {
    /// Reads a file.
    ///
    /// # Errors
    /// Where it can't be a plugin of this host, in one sentence that says what to do.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let Outside { imports, exports } = Outside::read(bytes)?;
        let (kind, version) = kind_of(&exports)?;
        refuse_foreign(&imports)?;
        Ok(Self { imports, exports, kind, version })
    }

    /// Whether it exports an interface of the contract, by its name without package and version.
    #[must_use]
    pub fn exports_interface(&self, name: &str) -> bool {
        let prefix = format!("bennu:channel/{name}@");
        self.exports.iter().any(|export| export.starts_with(&prefix))
    }
}

/// Whether bytes that can't be served were meant to be a gatekeeper. A mount must not stand open because its guard is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// A gatekeeper's export is named in them.
    Gatekeeper,
    /// They can't be read as a component, so they may have been anything.
    Unknown,
    /// They are a component, and no gatekeeper.
    Other,
}

impl Likeness {
    /// What these bytes look like.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let name = CONNECT.as_bytes();
        if bytes.windows(name.len() + 1).any(|window| window.starts_with(name) && window.ends_with(b"@")) {
            return Self::Gatekeeper;
        }
        if Outside::read(bytes).is_err() { Self::Unknown } else { Self::Other }
    }
}

/// The names that a component imports and exports.
struct Outside {
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
}

impl Outside {
    fn read(bytes: &[u8]) -> Result<Self> {
        if !bytes.starts_with(b"\0asm") {
            bail!("it is not WebAssembly; give a component, as `cargo xtask guests` builds it");
        }
        let mut imports = BTreeSet::new();
        let mut exports = BTreeSet::new();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = match payload {
                Ok(payload) => payload,
                Err(error) => bail!("it is damaged or only half there ({error}); build or copy it again"),
            };
            match payload {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    bail!("it is a core module and not a component; wrap it with `wasm-tools component new`");
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        imports.insert(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        exports.insert(export?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(Self { imports, exports })
    }
}

fn kind_of(exports: &BTreeSet<String>) -> Result<(Kind, Version)> {
    let find = |interface: &str| exports.iter().find_map(|name| name.strip_prefix(interface));
    match (find(CHANNEL), find(CONNECT)) {
        (Some(text), None) => Ok((Kind::Plugin, version_of(CHANNEL, text)?)),
        (None, Some(text)) => Ok((Kind::Gatekeeper, version_of(CONNECT, text)?)),
        (Some(_), Some(_)) => {
            bail!("it exports `channel` and `connect`; a gatekeeper is a component of its own, so make two of it")
        }
        (None, None) => {
            let list: Vec<&str> = exports.iter().map(String::as_str).collect();
            let found = if list.is_empty() { "nothing".to_owned() } else { list.join(", ") };
            bail!("it does not export `{CHANNEL}@{SPOKEN}`, so it is no Bennu plugin; it exports {found}")
        }
    }
}

fn version_of(interface: &str, text: &str) -> Result<Version> {
    let Some(version) = text.strip_prefix('@').and_then(|text| Version::parse(text).ok()) else {
        bail!("it exports `{interface}{text}`, which has no version; build it against this host's `wit/`");
    };
    // Within a minor version the contract only grows: an older guest is served, a newer one may ask for what isn't here.
    if (version.major, version.minor) != (SPOKEN.major, SPOKEN.minor) || version > SPOKEN {
        bail!("it was built for version {version} of the contract and this host speaks {SPOKEN}; {}", remedy(&version));
    }
    Ok(version)
}

fn remedy(version: &Version) -> &'static str {
    if *version > SPOKEN {
        "use a newer host, or build it against this host's `wit/`"
    } else {
        "build it against this host's `wit/`"
    }
}

/// What stands before the name of an interface of the contract.
const CONTRACT: &str = "bennu:channel/";

/// The interfaces that this host gives to plugins and gatekeepers.
const GIVEN: [&str; 9] = ["host", "member", "presence", "request", "socket", "store", "token", "topics", "types"];

/// Refuses a component that imports what this host doesn't give, by the name of the interface: the linker's own words wouldn't tell
/// an author that a newer host has it.
fn refuse_foreign(imports: &BTreeSet<String>) -> Result<()> {
    let is_given = |name: &str| GIVEN.contains(&name.split('@').next().unwrap_or_default());
    let is_foreign = |import: &&String| !import.strip_prefix(CONTRACT).is_some_and(is_given);
    let Some(foreign) = imports.iter().find(is_foreign) else { return Ok(()) };
    if foreign.starts_with(CONTRACT) {
        bail!(
            "it imports the interface `{foreign}`, which this host ({}) does not have; use a newer host, or build it without \
             that interface",
            env!("CARGO_PKG_VERSION")
        );
    }
    if foreign.starts_with("wasi:") {
        bail!("it imports `{foreign}`, and plugins have no system to call; build it with WASI stubbed out");
    }
    bail!("it imports `{foreign}`, which this host does not give; a plugin imports from `bennu:channel` alone");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wat: &str) -> Result<Anatomy> {
        Anatomy::read(&wat::parse_str(wat)?)
    }

    fn refusal(wat: &str) -> String {
        read(wat).err().map_or_else(String::new, |error| error.to_string())
    }

    fn exporting(name: &str) -> String {
        format!("(component (instance $i) (export \"{name}\" (instance $i)))")
    }

    #[test]
    fn a_component_of_this_version_is_read() -> Result<()> {
        let anatomy = read(&exporting("bennu:channel/channel@0.1.0"))?;
        assert_eq!((anatomy.kind, anatomy.version.clone()), (Kind::Plugin, SPOKEN));
        assert!(anatomy.exports_interface("channel") && !anatomy.exports_interface("handle-out"));
        let gatekeeper = read(&exporting("bennu:channel/connect@0.1.0"))?;
        assert_eq!(gatekeeper.kind, Kind::Gatekeeper);
        Ok(())
    }

    #[test]
    fn a_damaged_gatekeeper_is_still_known_as_one() {
        let gatekeeper = wat::parse_str(exporting("bennu:channel/connect@0.1.0")).unwrap_or_default();
        let half = &gatekeeper[..gatekeeper.len() - 3];
        assert!(Anatomy::read(half).is_err());
        assert_eq!(Likeness::of(half), Likeness::Gatekeeper);
        let plugin = wat::parse_str(exporting("bennu:channel/channel@0.1.0")).unwrap_or_default();
        assert_eq!(Likeness::of(&plugin), Likeness::Other);
        let other = wat::parse_str(exporting("other:thing/x@1.0.0")).unwrap_or_default();
        assert_eq!(Likeness::of(&other), Likeness::Other);
    }

    #[test]
    fn what_cant_be_read_as_a_component_may_have_been_a_gatekeeper() {
        let module = wat::parse_str("(module)").unwrap_or_default();
        for bytes in [&b""[..], b"#!/bin/sh", b"\0asm", &gatekeeper_start(), &module] {
            assert_eq!(Likeness::of(bytes), Likeness::Unknown, "{bytes:?}");
        }
    }

    /// A gatekeeper that was cut before its export is named.
    fn gatekeeper_start() -> Vec<u8> {
        let gatekeeper = wat::parse_str(exporting("bennu:channel/connect@0.1.0")).unwrap_or_default();
        gatekeeper[..gatekeeper.len() / 3].to_vec()
    }

    #[test]
    fn everything_else_is_refused_with_what_to_do() {
        let not_wasm = Anatomy::read(b"#!/bin/sh").err().map_or_else(String::new, |error| error.to_string());
        assert!(not_wasm.contains("not WebAssembly"), "{not_wasm}");
        let half = wat::parse_str(exporting("bennu:channel/channel@0.1.0")).unwrap_or_default();
        let half = Anatomy::read(&half[..half.len() - 3]).err().map_or_else(String::new, |error| error.to_string());
        assert!(half.contains("half there"), "{half}");
        let cases = [
            ("(module)".to_owned(), "core module"),
            ("(component)".to_owned(), "exports nothing"),
            (exporting("other:thing/x@1.0.0"), "it exports other:thing/x@1.0.0"),
            (exporting("bennu:channel/channel@0.2.0"), "use a newer host"),
            (exporting("bennu:channel/connect@0.2.0"), "use a newer host"),
            (exporting("bennu:channel/channel@0.1.1"), "use a newer host"),
            (exporting("bennu:channel/channel@0.0.9"), "build it against this host's"),
            (
                "(component (import \"wasi:cli/exit@0.2.0\" (instance)) (instance $i) \
                 (export \"bennu:channel/channel@0.1.0\" (instance $i)))"
                    .to_owned(),
                "WASI stubbed",
            ),
            (
                "(component (import \"bennu:channel/later@0.1.0\" (instance)) (instance $i) \
                 (export \"bennu:channel/channel@0.1.0\" (instance $i)))"
                    .to_owned(),
                "it imports the interface `bennu:channel/later@0.1.0`, which this host",
            ),
        ];
        for (wat, expected) in cases {
            assert!(refusal(&wat).contains(expected), "{wat}: {}", refusal(&wat));
        }
    }
}
