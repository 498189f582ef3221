//! Builds components that no toolchain would build.
//!
//! A [`Crafted`] plugin is a core module in text form. It is wrapped as a component with the contract in `wit/`, or with a
//! changed contract. By default it is a valid plugin that serves no topic, admits every join and answers nothing.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap};

use crate::places;

/// Addresses in the module's memory. Address 0 holds zeros: the outcome of a callback that does nothing.
const DESCRIBED: u32 = 256;
const ADMITTED: u32 = 512;
const TEXTS: u32 = 1024;
const HEAP: u32 = 32 << 10;

/// One page of WebAssembly memory.
const MEMORY_BYTES: u32 = 64 << 10;

/// The builder of a plugin.
#[derive(Clone, Debug, Default)]
pub struct Crafted {
    routes: Vec<Route>,
    assigns: Vec<u8>,
    describe: Option<String>,
    handle_in: Option<String>,
    declarations: String,
    packages: String,
    interfaces: BTreeSet<String>,
    start: Option<String>,
    imports: Vec<(String, String)>,
    handles_out: bool,
    omitted: Vec<String>,
    locals: usize,
    alterations: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default)]
struct Route {
    pattern: String,
    intercepts: Vec<String>,
    options: Vec<(String, String)>,
}

impl Crafted {
    /// A plugin with one route.
    #[must_use]
    pub fn serving(pattern: &str) -> Self {
        Self::default().route(pattern)
    }

    /// Adds a route.
    #[must_use]
    pub fn route(mut self, pattern: &str) -> Self {
        self.routes.push(Route { pattern: pattern.to_owned(), ..Route::default() });
        self
    }

    /// The last route intercepts an event.
    #[must_use]
    pub fn intercepting(mut self, event: &str) -> Self {
        if let Some(route) = self.routes.last_mut() {
            route.intercepts.push(event.to_owned());
        }
        self
    }

    /// The last route has an option.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        if let Some(route) = self.routes.last_mut() {
            route.options.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Each member gets these assigns.
    #[must_use]
    pub fn assigns(mut self, bytes: &[u8]) -> Self {
        self.assigns = bytes.to_vec();
        self
    }

    /// The function `describe` consists of these instructions.
    #[must_use]
    pub fn describing_by(mut self, instructions: &str) -> Self {
        self.describe = Some(instructions.to_owned());
        self
    }

    /// The function `handle-in` consists of these instructions. The event's address and length are the parameters 8 and 9.
    #[must_use]
    pub fn handling_in_by(mut self, instructions: &str) -> Self {
        self.handle_in = Some(instructions.to_owned());
        self
    }

    /// The module begins with these declarations, such as imports.
    #[must_use]
    pub fn declaring(mut self, text: &str) -> Self {
        self.declarations += text;
        self
    }

    /// The plugin knows these packages in addition to the contract, written with braces: `package a:b@1.0.0 { .. }`.
    #[must_use]
    pub fn with_packages(mut self, text: &str) -> Self {
        self.packages += text;
        self
    }

    /// The plugin's world imports an interface of these packages.
    #[must_use]
    pub fn importing_interface(mut self, name: &str) -> Self {
        self.interfaces.insert(name.to_owned());
        self
    }

    /// The plugin runs these instructions when it is instantiated.
    #[must_use]
    pub fn starting_with(mut self, instructions: &str) -> Self {
        self.start = Some(instructions.to_owned());
        self
    }

    /// The plugin imports a function without parameters. The contract must have this function, or be altered to have it.
    #[must_use]
    pub fn importing(mut self, interface: &str, function: &str) -> Self {
        self.imports.push((interface.to_owned(), function.to_owned()));
        self
    }

    /// The plugin exports `handle-out`.
    #[must_use]
    pub fn handling_out(mut self) -> Self {
        self.handles_out = true;
        self
    }

    /// The plugin doesn't export this function.
    #[must_use]
    pub fn without(mut self, function: &str) -> Self {
        self.omitted.push(function.to_owned());
        self
    }

    /// The plugin is small but takes long to compile: it has an unused function with `locals` variables, all of which are
    /// live in `locals` branches.
    #[must_use]
    pub fn slow_to_compile(mut self, locals: usize) -> Self {
        self.locals = locals;
        self
    }

    /// Replaces a text in the contract. The core functions stay the same, so the change may affect their meaning but not
    /// their signatures.
    #[must_use]
    pub fn altering(mut self, text: &str, replacement: &str) -> Self {
        self.alterations.push((text.to_owned(), replacement.to_owned()));
        self
    }

    /// Builds the component.
    ///
    /// # Errors
    /// If the functions don't match the contract.
    pub fn build(&self) -> Result<Vec<u8>> {
        let module = self.build_module()?;
        ComponentEncoder::default().module(&module)?.validate(true).encode().context("wrapping a crafted module")
    }

    /// Builds the component with an adapter for WASI preview 1, as `bennu build` does with the host's.
    ///
    /// # Errors
    /// If the functions don't match the contract, or the adapter.
    pub fn build_with_adapter(&self, adapter: &[u8]) -> Result<Vec<u8>> {
        let encoder = ComponentEncoder::default().module(&self.build_module()?)?.validate(true);
        encoder.adapter("wasi_snapshot_preview1", adapter)?.encode().context("wrapping a crafted module")
    }

    /// Builds the core module with the type of its imports and exports, as toolchains without support for components do.
    ///
    /// # Errors
    /// If the contract doesn't have what the plugin declares.
    pub fn build_module(&self) -> Result<Vec<u8>> {
        let (resolve, package) = self.contract()?;
        let world = resolve.select_world(&[package], Some("crafted"))?;
        let version = resolve.packages[package].name.version.clone().context("the contract has no version")?;
        let mut module = wat::parse_str(self.module(&version.to_string())?)?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        Ok(module)
    }

    fn contract(&self) -> Result<(Resolve, wit_parser::PackageId)> {
        let folder = places::workspace()?.join("wit");
        let mut sources = SourceMap::default();
        let mut altered = 0;
        for entry in folder.read_dir().with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "wit") {
                continue;
            }
            let mut text = std::fs::read_to_string(&path)?;
            for (from, to) in &self.alterations {
                altered += text.matches(from.as_str()).count();
                text = text.replace(from.as_str(), to);
            }
            sources.push(&path, text);
        }
        // A world with exactly the exports of this plugin.
        let optional = if self.handles_out { "export handle-out;" } else { "" };
        let imports: String = self.interfaces.iter().map(|name| format!("import {name};\n")).collect();
        let world = format!("world crafted {{ include plugin; {optional} {imports} }}\n{}", self.packages);
        sources.push(Path::new("crafted.wit"), world);
        ensure!(altered >= self.alterations.len(), "the contract has changed: it lacks {:?}", self.alterations);
        let group =
            sources.parse().map_err(|(_, error)| anyhow::anyhow!("the altered contract is invalid: {error:?}"))?;
        let mut resolve = Resolve::default();
        let package = resolve.push_group(group)?;
        Ok((resolve, package))
    }

    fn module(&self, version: &str) -> Result<String> {
        let mut text = format!("(module\n{}\n", self.declarations);
        for (interface, function) in &self.imports {
            writeln!(text, "(import \"{interface}\" \"{function}\" (func))")?;
        }
        text += "(memory (export \"memory\") 1)\n";
        writeln!(text, "(data (i32.const {DESCRIBED}) \"{}\")", escape(&self.memory()?))?;
        writeln!(text, "(global $heap (mut i32) (i32.const {HEAP}))")?;
        // Memory is never freed. Each call begins with an empty heap, because callbacks ignore their arguments.
        text += "(func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)
            (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
            global.get $heap
            (global.set $heap (i32.add (global.get $heap) (local.get 3))))\n";
        let described = format!("i32.const {DESCRIBED}");
        let admitted = format!("i32.const {ADMITTED}");
        let describe = self.describe.as_deref().unwrap_or(&described);
        let handle_in = self.handle_in.as_deref().unwrap_or("i32.const 0");
        let functions = [
            ("channel", "describe", "", describe),
            ("channel", "join", "i64 i32 i32 i32 i32 i32 i32 i32 i32", &admitted),
            ("channel", "handle-in", "i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32", handle_in),
            ("channel", "handle-info", "i32", "i32.const 0"),
            ("channel", "terminate", "i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32", "i32.const 0"),
            ("handle-out", "handle-out", "i32 i32 i32 i32 i32 i32 i32 i32 i32", "i32.const 0"),
        ];
        for (interface, function, parameters, body) in functions {
            let is_there = interface == "channel" || self.handles_out;
            if is_there && !self.omitted.iter().any(|omitted| omitted == function) {
                let name = format!("bennu:channel/{interface}@{version}#{function}");
                let signature = format!("(export \"{name}\") (param {parameters}) (result i32)");
                writeln!(text, "(func {signature} (global.set $heap (i32.const {HEAP})) {body})")?;
            }
        }
        if let Some(start) = &self.start {
            writeln!(text, "(func $start {start}) (start $start)")?;
        }
        if self.locals > 0 {
            text += &crowded(self.locals);
        }
        text += ")";
        Ok(text)
    }

    /// The content of the memory from [`DESCRIBED`] on.
    fn memory(&self) -> Result<Vec<u8>> {
        let mut memory = Memory { bytes: vec![0; (TEXTS - DESCRIBED) as usize] };
        let mut routes = Vec::new();
        for route in &self.routes {
            let intercepts = memory.strings(&route.intercepts);
            let options: Vec<String> =
                route.options.iter().flat_map(|(name, value)| [name.clone(), value.clone()]).collect();
            let mut options = memory.strings(&options);
            // The count is in options: each has two strings.
            options[1] /= 2;
            routes.extend(memory.text(route.pattern.as_bytes()));
            routes.extend(intercepts);
            // The state versions of assigns and room.
            routes.extend([0, 0]);
            routes.extend(options);
        }
        let count = u32::try_from(self.routes.len())?;
        let [start, _] = memory.words(&routes);
        memory.put(DESCRIBED, &[start, count]);
        let [start, bytes] = memory.text(&self.assigns);
        let [response, response_bytes] = memory.text(b"{}");
        // Ok, admitted, the assigns, no room, and JSON.
        memory.put(ADMITTED, &[0, 0, start, bytes, 0, 0, 0, 0, response, response_bytes]);
        ensure!(memory.end() < HEAP && HEAP < MEMORY_BYTES, "the plugin doesn't fit into its memory");
        Ok(memory.bytes)
    }
}

/// A function with `locals` variables. Each is changed in one of `locals` branches, and all are used at the end.
fn crowded(locals: usize) -> String {
    let mut text = String::from("(func (export \"crowded\") (param $n i64) (result i64)\n");
    text += &"(local i64)".repeat(locals);
    for at in 1..=locals {
        let condition = format!("(i64.gt_u (local.get $n) (i64.const {at}))");
        let sum = format!("(i64.add (local.get $n) (local.get {}))", (at * 7) % locals + 1);
        text += &format!("(if {condition} (then (local.set {at} {sum})))\n");
    }
    text += "local.get $n\n";
    for at in 1..=locals {
        text += &format!("(i64.xor (local.get {at}))\n");
    }
    text + ")\n"
}

/// The static part of the module's memory.
struct Memory {
    bytes: Vec<u8>,
}

impl Memory {
    fn end(&self) -> u32 {
        DESCRIBED + u32::try_from(self.bytes.len()).unwrap_or(u32::MAX - DESCRIBED)
    }

    /// Adds bytes and returns their address and length.
    fn text(&mut self, text: &[u8]) -> [u32; 2] {
        let place = [self.end(), u32::try_from(text.len()).unwrap_or(u32::MAX)];
        self.bytes.extend(text);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        place
    }

    fn words(&mut self, words: &[u32]) -> [u32; 2] {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.text(&bytes)
    }

    fn strings(&mut self, strings: &[String]) -> [u32; 2] {
        let places: Vec<u32> = strings.iter().flat_map(|string| self.text(string.as_bytes())).collect();
        let [start, _] = self.words(&places);
        [start, u32::try_from(strings.len()).unwrap_or(u32::MAX)]
    }

    fn put(&mut self, at: u32, words: &[u32]) {
        let start = (at - DESCRIBED) as usize;
        for (place, word) in self.bytes[start..].chunks_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// Bytes as escapes of the text format.
fn escape(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// Another build of the same component. It differs only in a custom section, which has no effect.
#[must_use]
pub fn another_build(component: &[u8], note: &str) -> Vec<u8> {
    let note = &note.as_bytes()[..note.len().min(100)];
    let mut bytes = component.to_vec();
    // A custom section, whose name is the note.
    bytes.extend([0, note.len() as u8 + 1, note.len() as u8]);
    bytes.extend(note);
    bytes
}

/// Builds a component from its text format.
///
/// # Errors
/// If the text isn't a valid component.
pub fn component(text: &str) -> Result<Vec<u8>> {
    Ok(wat::parse_str(text)?)
}
