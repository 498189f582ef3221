//! Reads the kind, version, imports and exports of a component before anything is compiled.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use semver::Version;
use serde::{Deserialize, Serialize};
use wasmparser::{Encoding, Parser, Payload};

use super::core_module::is_typed_module;
use super::script::is_build;
use super::wasi;

/// The interface whose export makes a component a plugin, and the one that makes it a gatekeeper.
pub(super) const CHANNEL: &str = "bennu:channel/channel";
pub(super) const CONNECT: &str = "bennu:channel/connect";

/// The version of the contract that this host supports.
pub(super) const SPOKEN: Version = Version::new(0, 1, 0);

/// The purpose of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The component serves channels.
    Plugin,
    /// The component decides which clients may connect.
    Gatekeeper,
}

impl Kind {
    /// Returns `plugin` or `gatekeeper`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Gatekeeper => "gatekeeper",
        }
    }
}

/// The properties of a component that are visible without compiling it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anatomy {
    /// The names of the imports.
    pub imports: BTreeSet<String>,
    /// The names of the exports.
    pub exports: BTreeSet<String>,
    /// The purpose of the component.
    pub kind: Kind,
    /// The version of the contract that the component was built for.
    pub version: Version,
}

impl Anatomy {
    /// Reads the anatomy of a component.
    ///
    /// # Errors
    /// Returns an error if the component can't be a plugin of this host. Its message is one sentence that says what
    /// to do.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let Outside { imports, exports } = Outside::read(bytes)?;
        let (kind, version) = kind_of(&exports)?;
        refuse_foreign(&imports)?;
        Ok(Self { imports, exports, kind, version })
    }

    /// Reads the anatomy of the engine of scripts: the imports and exports of the contract.
    pub(super) fn of_engine(bytes: &[u8]) -> Result<Self> {
        let Outside { mut imports, mut exports } = Outside::read(bytes)?;
        [&mut imports, &mut exports].into_iter().for_each(|names| names.retain(|name| name.starts_with(CONTRACT)));
        Ok(Self { imports, exports, kind: Kind::Plugin, version: SPOKEN })
    }

    /// Returns this anatomy with only those exports that are in `offers`. A script that offers `connect` is a gatekeeper, and any other
    /// one is a plugin.
    pub(super) fn offering(mut self, offers: &[String]) -> Self {
        let is_gatekeeper = offers.iter().any(|offer| offer == "connect");
        self.kind = if is_gatekeeper { Kind::Gatekeeper } else { Kind::Plugin };
        let is_offered = |name: &str| (name == "channel" && !is_gatekeeper) || offers.iter().any(|offer| offer == name);
        self.exports.retain(|name| {
            let name = name.strip_prefix(CONTRACT).and_then(|name| name.split('@').next());
            name.is_some_and(is_offered)
        });
        self
    }

    /// Returns whether the component exports an interface of the contract. `name` has neither the package nor the
    /// version.
    #[must_use]
    pub fn exports_interface(&self, name: &str) -> bool {
        has_interface(&self.exports, name)
    }

    /// Returns whether the component imports WASI, or what the host's adapter of WASI imports.
    pub(super) fn imports_wasi(&self) -> bool {
        self.imports.iter().any(|import| wasi::is_wasi(import) || wasi::is_of_adapter(import))
    }

    /// Returns the names of the imports that the component has by itself.
    pub fn own_imports(&self) -> impl Iterator<Item = &String> {
        self.imports.iter().filter(|import| !wasi::is_of_adapter(import))
    }

    /// Returns whether the component imports an interface of the contract. `name` has neither the package nor the
    /// version.
    #[must_use]
    pub fn imports_interface(&self, name: &str) -> bool {
        has_interface(&self.imports, name)
    }
}

fn has_interface(names: &BTreeSet<String>, name: &str) -> bool {
    let prefix = format!("{CONTRACT}{name}@");
    names.iter().any(|found| found.starts_with(&prefix))
}

/// Whether bytes that can't be loaded were meant to be a gatekeeper. A mount must not be open to everyone because its
/// gatekeeper's file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// The bytes contain the name of a gatekeeper's export, or are a script that names the SDK's function for gatekeepers.
    Gatekeeper,
    /// The bytes can't be read as a component, so they may have been a gatekeeper or anything else.
    Unknown,
    /// The bytes are a component or a core module, but not a gatekeeper.
    Other,
}

impl Likeness {
    /// Classifies bytes that can't be loaded.
    pub(super) fn of(bytes: &[u8]) -> Self {
        if is_build(bytes) {
            // A script that can't be evaluated may have any content. A gatekeeper calls this function of the SDK.
            let name = b"gatekeeper";
            let is_named = bytes.windows(name.len()).any(|window| window == name);
            return if is_named { Self::Gatekeeper } else { Self::Other };
        }
        let name = CONNECT.as_bytes();
        if bytes.windows(name.len() + 1).any(|window| window.starts_with(name) && window.ends_with(b"@")) {
            return Self::Gatekeeper;
        }
        let is_known = is_typed_module(bytes) || Outside::read(bytes).is_ok();
        if is_known { Self::Other } else { Self::Unknown }
    }
}

/// The names of a component's imports and exports.
struct Outside {
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
}

impl Outside {
    fn read(bytes: &[u8]) -> Result<Self> {
        if !bytes.starts_with(b"\0asm") {
            bail!(
                "it is not WebAssembly; give a component, as `bennu build` makes it of a project in Rust, Go or Python"
            );
        }
        let mut imports = BTreeSet::new();
        let mut exports = BTreeSet::new();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = match payload {
                Ok(payload) => payload,
                Err(error) => bail!("it is damaged or incomplete ({error}); build or copy it again"),
            };
            match payload {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    bail!("it is a core module and not a component");
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

/// Returns what a component with these exports is, and the version of the contract that it was built for.
///
/// # Errors
/// Returns an error if it is neither a plugin nor a gatekeeper of this host.
pub(super) fn kind_of(exports: &BTreeSet<String>) -> Result<(Kind, Version)> {
    let find = |interface: &str| exports.iter().find_map(|name| name.strip_prefix(interface));
    match (find(CHANNEL), find(CONNECT)) {
        (Some(text), None) => Ok((Kind::Plugin, version_of(CHANNEL, text)?)),
        (None, Some(text)) => Ok((Kind::Gatekeeper, version_of(CONNECT, text)?)),
        (Some(_), Some(_)) => {
            bail!("it exports `channel` and `connect`; a gatekeeper must be a separate component, so split it into two")
        }
        (None, None) => {
            let list: Vec<&str> = exports.iter().map(String::as_str).collect();
            let found = if list.is_empty() { "nothing".to_owned() } else { list.join(", ") };
            let what_to_do = match find("wasi:cli/run") {
                Some(_) => {
                    "it is a program with `main`; build a library: `crate-type = [\"cdylib\"]` in Rust, \
                     `-mexec-model=reactor` in C, `-buildmode=c-shared` in Go"
                }
                None => "build it for the world `plugin` of this host's `wit/`",
            };
            bail!(
                "it does not export `{CHANNEL}@{SPOKEN}`, so it is not a Bennu plugin; it exports {found}; {what_to_do}"
            )
        }
    }
}

fn version_of(interface: &str, text: &str) -> Result<Version> {
    let Some(version) = text.strip_prefix('@').and_then(|text| Version::parse(text).ok()) else {
        bail!("it exports `{interface}{text}`, which has no version; build it against this host's `wit/`");
    };
    // Within a minor version the contract only grows. So an older guest works on this host, but a newer guest may
    // import functions that this host doesn't have.
    if (version.major, version.minor) != (SPOKEN.major, SPOKEN.minor) || version > SPOKEN {
        bail!(
            "it was built for version {version} of the contract, but this host supports {SPOKEN}; {}",
            remedy(&version)
        );
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

/// The prefix of the names of the contract's interfaces.
pub(super) const CONTRACT: &str = "bennu:channel/";

/// The interfaces that this host provides to plugins and gatekeepers.
const GIVEN: [&str; 13] = [
    "droppable",
    "entries",
    "host",
    "http",
    "member",
    "presence",
    "request",
    "schedule",
    "socket",
    "store",
    "token",
    "topics",
    "types",
];

/// Refuses a component with an import that this host doesn't provide, and names the interface. The linker's own
/// message wouldn't tell the author that a newer host has the interface.
fn refuse_foreign(imports: &BTreeSet<String>) -> Result<()> {
    let is_given = |name: &str| GIVEN.contains(&name.split('@').next().unwrap_or_default());
    let is_known = |import: &str| wasi::is_wasi(import) || wasi::is_of_adapter(import);
    let is_foreign = |import: &&String| !is_known(import) && !import.strip_prefix(CONTRACT).is_some_and(is_given);
    imports.iter().filter(|import| wasi::is_wasi(import)).try_for_each(|import| wasi::check(import))?;
    let Some(foreign) = imports.iter().find(is_foreign) else { return Ok(()) };
    if foreign.starts_with(CONTRACT) {
        bail!(
            "it imports the interface `{foreign}`, which this host ({}) does not have; use a newer host, or build it without \
             that interface",
            env!("CARGO_PKG_VERSION")
        );
    }
    bail!(
        "it imports `{foreign}`, which this host does not provide; a plugin imports only `bennu:channel` and WASI 0.2"
    );
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
    fn a_damaged_gatekeeper_is_still_recognized() {
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
    fn bytes_that_cant_be_read_as_a_component_may_have_been_a_gatekeeper() {
        let module = wat::parse_str("(module)").unwrap_or_default();
        for bytes in [&b""[..], b"#!/bin/sh", b"\0asm", &gatekeeper_start(), &module] {
            assert_eq!(Likeness::of(bytes), Likeness::Unknown, "{bytes:?}");
        }
    }

    /// Returns the start of a gatekeeper, cut off before the name of its export.
    fn gatekeeper_start() -> Vec<u8> {
        let gatekeeper = wat::parse_str(exporting("bennu:channel/connect@0.1.0")).unwrap_or_default();
        gatekeeper[..gatekeeper.len() / 3].to_vec()
    }

    #[test]
    fn anything_else_is_refused_with_advice() {
        let not_wasm = Anatomy::read(b"#!/bin/sh").err().map_or_else(String::new, |error| error.to_string());
        assert!(not_wasm.contains("not WebAssembly") && not_wasm.contains("`bennu build`"), "{not_wasm}");
        let half = wat::parse_str(exporting("bennu:channel/channel@0.1.0")).unwrap_or_default();
        let half = Anatomy::read(&half[..half.len() - 3]).err().map_or_else(String::new, |error| error.to_string());
        assert!(half.contains("incomplete"), "{half}");
        let cases = [
            ("(module)".to_owned(), "core module"),
            ("(component)".to_owned(), "exports nothing"),
            (exporting("other:thing/x@1.0.0"), "it exports other:thing/x@1.0.0; build it for the world `plugin`"),
            (exporting("wasi:cli/run@0.2.0"), "it is a program with `main`; build a library"),
            (exporting("bennu:channel/channel@0.2.0"), "use a newer host"),
            (exporting("bennu:channel/connect@0.2.0"), "use a newer host"),
            (exporting("bennu:channel/channel@0.1.1"), "use a newer host"),
            (exporting("bennu:channel/channel@0.0.9"), "build it against this host's"),
            (
                "(component (import \"wasi:http/outgoing-handler@0.2.0\" (instance)) (instance $i) \
                 (export \"bennu:channel/channel@0.1.0\" (instance $i)))"
                    .to_owned(),
                "build it without its HTTP client: a plugin makes requests by `bennu:channel/http`",
            ),
            (
                "(component (import \"wasi:cli/exit@0.3.0\" (instance)) (instance $i) \
                 (export \"bennu:channel/channel@0.1.0\" (instance $i)))"
                    .to_owned(),
                "build it for the target `wasip2`",
            ),
            (
                "(component (import \"wasi:nn/tensor@0.2.0\" (instance)) (instance $i) \
                 (export \"bennu:channel/channel@0.1.0\" (instance $i)))"
                    .to_owned(),
                "build it without that interface",
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
