//! The world of a core module without the types of its imports and exports.
//!
//! A linker that can't write custom sections, such as Go's, makes such modules. The names of their exports still say which functions
//! of the contract they are, because the contract's names have its version. So the host adds the types itself.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap};

use super::anatomy::{CHANNEL, CONNECT, CONTRACT, kind_of};

/// The contract of this host.
static CONTRACT_TYPES: LazyLock<Resolve> = LazyLock::new(|| {
    let mut sources = SourceMap::new();
    for file in bennu_templates::contract() {
        sources.push(Path::new(&file.path), String::from_utf8_lossy(&file.content));
    }
    let group = sources.parse().map_err(|(_, error)| error).expect("the tests parse this host's contract");
    let mut types = Resolve::default();
    types.push_group(group).expect("the tests resolve this host's contract");
    types
});

/// The interfaces of the contract that a module exports, by the names of its functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ImpliedWorld(BTreeSet<String>);

impl ImpliedWorld {
    /// Adds an export, if its name is that of a function of the contract, such as `bennu:channel/channel@0.1.0#join`.
    pub(super) fn add(&mut self, export: &str) {
        let interface = export.split_once('#').map(|(interface, _)| interface);
        self.0.extend(interface.filter(|name| name.starts_with(CONTRACT)).map(str::to_owned));
    }

    /// Whether the module exports nothing of the contract, so that the host can't know what its exports mean.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the module with the types of its imports and exports.
    ///
    /// # Errors
    /// Returns an error if the module is built for another version of the contract, or exports unknown interfaces.
    pub(super) fn add_types_to(&self, module: &[u8]) -> Result<Vec<u8>> {
        kind_of(&self.0)?;
        let mut types = CONTRACT_TYPES.clone();
        let package = types.push_source("module.wit", &self.text()).context(
            "it exports an interface that this host's contract doesn't have; build it against this host's `wit/`",
        )?;
        let world = types.select_world(&[package], None)?;
        let mut typed = module.to_vec();
        embed_component_metadata(&mut typed, &types, world, StringEncoding::UTF8)?;
        Ok(typed)
    }

    /// The world, as a package of its own.
    fn text(&self) -> String {
        let mut text = "package bennu:module;\nworld module {\n".to_owned();
        for interface in &self.0 {
            let (name, version) = interface.split_once('@').unwrap_or((interface, ""));
            let _ = match name {
                CHANNEL => writeln!(text, "  include {CONTRACT}plugin@{version};"),
                CONNECT => writeln!(text, "  include {CONTRACT}gatekeeper@{version};"),
                _ => writeln!(text, "  export {interface};"),
            };
        }
        text + "}\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn implied(exports: &[&str]) -> ImpliedWorld {
        let mut world = ImpliedWorld::default();
        exports.iter().for_each(|export| world.add(export));
        world
    }

    fn refusal(exports: &[&str]) -> String {
        implied(exports).add_types_to(b"").err().map_or_else(String::new, |error| format!("{error:#}"))
    }

    #[test]
    fn only_functions_of_the_contract_say_what_a_module_is() {
        assert!(implied(&["_initialize", "memory", "other:package/x@0.1.0#join", "join"]).is_empty());
        assert!(!implied(&["bennu:channel/channel@0.1.0#join"]).is_empty());
    }

    #[test]
    fn the_world_has_the_exports_of_the_module() -> Result<()> {
        let module = wat::parse_str("(module)")?;
        for exports in [
            &["bennu:channel/channel@0.1.0#join", "bennu:channel/handle-tick@0.1.0#handle-tick"][..],
            &["bennu:channel/connect@0.1.0#connect"],
        ] {
            let typed = implied(exports).add_types_to(&module)?;
            assert!(typed.len() > module.len() && typed.starts_with(&module), "{exports:?}");
        }
        Ok(())
    }

    #[test]
    fn a_module_for_another_contract_is_refused() {
        let why = refusal(&["bennu:channel/channel@0.2.0#join"]);
        assert!(why.contains("built for version 0.2.0 of the contract"), "{why}");
        let why = refusal(&["bennu:channel/handle-tick@0.1.0#handle-tick"]);
        assert!(why.contains("does not export `bennu:channel/channel@0.1.0`"), "{why}");
        let why = refusal(&["bennu:channel/channel@0.1.0#join", "bennu:channel/handle-dream@0.1.0#handle-dream"]);
        assert!(why.contains("an interface that this host's contract doesn't have"), "{why}");
    }
}
