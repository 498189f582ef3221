//! Builds gatekeepers that no toolchain would build.

use anyhow::{Context, Result};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::places;

/// The behaviour of a gatekeeper. It is the same for every client.
#[derive(Clone, Copy, Debug)]
pub enum Gate {
    /// Grants the connection, without a user.
    Grants,
    /// Refuses the connection with the status 418 and `no tea`.
    Refuses,
    /// Refuses the connection with the status 200, which isn't allowed for a refusal.
    Nonsense,
    /// Grants the connection with claims that aren't a JSON object.
    BadClaims,
    /// Traps.
    Traps,
    /// Never answers.
    Loops,
}

impl Gate {
    /// Builds the component.
    ///
    /// # Errors
    /// If the module doesn't match the contract.
    pub fn build(self) -> Result<Vec<u8>> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(places::workspace()?.join("wit"))?;
        let world = resolve.select_world(&[package], Some("gatekeeper"))?;
        let mut module = wat::parse_str(self.module())?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        ComponentEncoder::default().module(&module)?.validate(true).encode().context("wrapping a gatekeeper")
    }

    /// The module. Its result has `ok` at address 0, `granted` or `refused` at 4, and the data of the variant from 8 on.
    /// Texts are at 64.
    fn module(self) -> String {
        let (what, text) = match self {
            Self::Refuses => (refused(418), "no tea"),
            Self::Nonsense => (refused(200), "fine"),
            Self::BadClaims => (granted("[1]"), "[1]"),
            _ => (granted("{}"), "{}"),
        };
        let body = match self {
            Self::Traps => "unreachable",
            Self::Loops => "(loop (br 0)) unreachable",
            _ => "i32.const 0",
        };
        format!(
            r#"(module
                (memory (export "memory") 1)
                (data (i32.const 0) "{what}")
                (data (i32.const 64) "{}")
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
                (func (export "bennu:channel/connect@0.1.0#connect") (result i32) {body}))"#,
            text.replace('"', "\\22")
        )
    }
}

fn words(words: &[u32]) -> String {
    words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect()
}

fn granted(claims: &str) -> String {
    // No socket id, no user, and the claims.
    words(&[0, 0, 0, 0, 0, 0, 0, 0, 64, claims.len() as u32])
}

fn refused(status: u32) -> String {
    let length = if status == 418 { 6 } else { 4 };
    words(&[0, 1, status, 64, length])
}
