//! Gatekeepers made to measure, as no toolchain would build them.

use anyhow::{Context, Result};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::places;

/// What a gatekeeper does with every client.
#[derive(Clone, Copy, Debug)]
pub enum Gate {
    /// Lets it in as nobody in particular.
    Grants,
    /// Refuses it with 418 and `no tea`.
    Refuses,
    /// Refuses it with the status 200, which is none of a refusal.
    Nonsense,
    /// Lets it in with claims that are no JSON object.
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
    /// Where the contract and the module don't fit.
    pub fn build(self) -> Result<Vec<u8>> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(places::workspace()?.join("wit"))?;
        let world = resolve.select_world(&[package], Some("gatekeeper"))?;
        let mut module = wat::parse_str(self.module())?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        ComponentEncoder::default().module(&module)?.validate(true).encode().context("wrapping a gatekeeper")
    }

    /// The result lies at 0: ok; at 4: granted or refused; from 8 on what goes with it. Texts lie at 64.
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
