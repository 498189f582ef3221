//! Wraps core modules as components.
//!
//! Toolchains without support for components make core modules: a language's compiler with a library for WASI preview 1,
//! or one without any system. A module with a custom section `component-type` says what its imports and exports mean in
//! the contract, so the host can wrap it by itself. So do the names of its exports, if there is no such section
//! (`implied_world.rs`). WASI preview 1 becomes functions of the contract's `host`, by an adapter.
//!
//! The adapter is written in WebAssembly's text format, in `preview1/adapter.wat`. It must have no memory, no data and no
//! stack, because it runs in the plugin's memory. In the text format this is the normal case; a Rust crate would need a
//! second target and rules that no compiler checks. The assembled file is checked in next to its text, so that the host
//! needs no build script. `cargo xtask bindings` assembles it, and the tests compare.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result, anyhow, bail};
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;
use wit_parser::PackageName;
use wit_parser::decoding::decode_world;

use super::implied_world::ImpliedWorld;

/// The module that a core module imports WASI preview 1 from.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// The adapter, which exports the functions of [`PREVIEW1`].
pub(super) const ADAPTER: &[u8] = include_bytes!("preview1/adapter.wasm");

/// The start of the names of custom sections with the types of a module's imports and exports. A module may have several.
const TYPES: &str = "component-type";

/// The properties of a core module that decide whether it can be wrapped.
#[derive(Default)]
struct CoreModule {
    has_types: bool,
    uses_preview1: bool,
    implied: ImpliedWorld,
}

impl CoreModule {
    fn read(bytes: &[u8]) -> Result<Self> {
        let mut found = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(|error| damaged(&error))? {
                Payload::CustomSection(section) => found.has_types |= section.name().starts_with(TYPES),
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        found.uses_preview1 |= import.map_err(|error| damaged(&error))?.module == PREVIEW1;
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        found.implied.add(export.map_err(|error| damaged(&error))?.name);
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

fn damaged(error: &wasmparser::BinaryReaderError) -> anyhow::Error {
    anyhow!("it is damaged or incomplete ({error}); build or copy it again")
}

/// Returns whether the bytes are a complete core module that says what its imports and exports mean.
pub(super) fn is_typed_module(bytes: &[u8]) -> bool {
    let is_typed = |module: CoreModule| module.has_types || !module.implied.is_empty();
    Parser::is_core_wasm(bytes) && CoreModule::read(bytes).is_ok_and(is_typed)
}

/// Returns a file's component: the bytes themselves, or the component that a core module is wrapped as.
///
/// # Errors
/// Returns an error if the bytes are a core module that can't be wrapped. Its message is one sentence that says what to
/// do.
pub(super) fn to_component(bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
    if !Parser::is_core_wasm(bytes) {
        return Ok(Cow::Borrowed(bytes));
    }
    // wit-parser and wit-component panic at some types that no toolchain makes. They change nothing outside of themselves.
    let wrapped = catch_unwind(AssertUnwindSafe(|| wrap_module(bytes)));
    wrapped.unwrap_or_else(|_| bail!("its `{TYPES}` section is invalid; build it again")).map(Cow::Owned)
}

/// Wraps the product of a build, if it is a core module. So what is built is a component, as other tools expect it.
///
/// # Errors
/// Returns an error if it is a core module that can't be wrapped, as when a host loads it.
pub fn wrapped(product: Vec<u8>) -> Result<Vec<u8>> {
    let component = match to_component(&product)? {
        Cow::Owned(component) => Some(component),
        Cow::Borrowed(_) => None,
    };
    Ok(component.unwrap_or(product))
}

fn wrap_module(bytes: &[u8]) -> Result<Vec<u8>> {
    let module = CoreModule::read(bytes)?;
    if module.has_types {
        check_packages(bytes)?;
        return wrap(bytes, module.uses_preview1);
    }
    if module.implied.is_empty() {
        bail!(
            "it is a core module without a `{TYPES}` section, and none of its exports has a name of the contract, so the host \
             can't know what its exports mean; in Rust, use the crate `bennu-guest`; in Go, the module `bennu.dev/bennu` (`bennu \
             new --lang go`); in C and Zig, link the `_component_type.o` that `wit-bindgen c` makes; otherwise, run `wasm-tools \
             component embed --world plugin wit CORE.wasm -o NAME.wasm` (`bennu` loads what comes out)"
        );
    }
    wrap(&module.implied.add_types_to(bytes)?, module.uses_preview1)
}

/// The most packages that the types of a module may have. `wit-component` visits a package's dependencies recursively, without a bound.
const PACKAGES_MAX: usize = 64;

/// The packages of a module's types, each with those that it depends on.
type Packages = HashMap<PackageName, HashSet<PackageName>>;

/// Checks that the packages of a module's types are few, and don't depend on each other in a circle. For others,
/// `wit-component` would overflow the stack, which ends the process.
fn check_packages(bytes: &[u8]) -> Result<()> {
    let mut packages = Packages::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let Payload::CustomSection(section) = payload.map_err(|error| damaged(&error))? else { continue };
        if !section.name().starts_with(TYPES) {
            continue;
        }
        if !Parser::is_component(section.data()) {
            bail!(
                "its `{TYPES}` section is invalid or has an old format; build it with a newer `wit-bindgen` or `wasm-tools`"
            );
        }
        let (types, _) = decode_world(section.data()).with_context(|| format!("its `{TYPES}` section is invalid"))?;
        for (id, package) in &types.packages {
            let dependencies = types.package_direct_deps(id).map(|id| types.packages[id].name.clone());
            packages.entry(package.name.clone()).or_default().extend(dependencies);
        }
        if packages.len() > PACKAGES_MAX {
            bail!("its `{TYPES}` sections have more than {PACKAGES_MAX} packages");
        }
    }
    if has_circle(packages) {
        bail!("its `{TYPES}` section is invalid: its packages depend on each other in a circle");
    }
    Ok(())
}

/// Whether packages depend on each other in a circle. Removes the packages that depend on no other one, until there is none.
fn has_circle(mut packages: Packages) -> bool {
    loop {
        let before = packages.len();
        let waiting: HashSet<PackageName> = packages.keys().cloned().collect();
        packages.retain(|_, dependencies| !dependencies.is_disjoint(&waiting));
        if packages.len() == before {
            return before > 0;
        }
    }
}

fn wrap(bytes: &[u8], uses_preview1: bool) -> Result<Vec<u8>> {
    let mut encoder = ComponentEncoder::default().module(bytes).context("its `component-type` section is invalid")?;
    if uses_preview1 {
        encoder = encoder.adapter(PREVIEW1, ADAPTER).context("its `component-type` section contradicts `wit/`")?;
    }
    // Wasmtime validates the component when it compiles it.
    encoder.encode().map_err(|error| {
        anyhow!(
            "it is a core module that can't be wrapped as a component ({error:#}); it may import only `bennu:channel` and \
             `{PREVIEW1}`, and must export all functions of its world"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(wat: &str) -> String {
        let module = wat::parse_str(wat).unwrap_or_default();
        to_component(&module).err().map_or_else(String::new, |error| format!("{error:#}"))
    }

    #[test]
    fn a_component_stays_as_it_is() -> Result<()> {
        let component = wat::parse_str("(component)")?;
        assert!(matches!(to_component(&component)?, Cow::Borrowed(bytes) if bytes == component));
        assert!(matches!(to_component(b"no wasm")?, Cow::Borrowed(b"no wasm")));
        assert_eq!(wrapped(component.clone())?, component);
        assert_eq!(wrapped(b"a script".to_vec())?, b"a script");
        Ok(())
    }

    #[test]
    fn a_module_without_types_is_refused_with_what_to_do_in_each_language() {
        let why = refusal("(module)");
        for word in ["core module", "component-type", "bennu-guest", "wit-bindgen c", "wasm-tools component embed"] {
            assert!(why.contains(word), "{word}: {why}");
        }
    }

    #[test]
    fn types_at_which_a_library_panics_are_refused() {
        let module = include_bytes!("../../fuzz/corpus/core_module/unreachable");
        let why = to_component(module).err().map_or_else(String::new, |error| format!("{error:#}"));
        assert!(why.contains("`component-type` section is invalid"), "{why}");
    }

    #[test]
    fn packages_that_depend_on_each_other_in_a_circle_are_found() {
        let name = |name: &str| PackageName { namespace: "a".into(), name: name.into(), version: None };
        let packages = |edges: &[(&str, &str)]| -> Packages {
            let mut packages = Packages::new();
            for (from, to) in edges {
                packages.entry(name(from)).or_default().insert(name(to));
                packages.entry(name(to)).or_default();
            }
            packages
        };
        assert!(!has_circle(packages(&[])));
        assert!(!has_circle(packages(&[("x", "y"), ("x", "z"), ("y", "z")])));
        assert!(has_circle(packages(&[("x", "y"), ("y", "z"), ("z", "y")])));
        assert!(has_circle(packages(&[("x", "x")])));
    }

    #[test]
    fn a_module_with_invalid_types_is_refused() {
        let why = refusal("(module (@custom \"component-type:x\" \"nonsense\"))");
        assert!(why.contains("section is invalid"), "{why}");
        let module = wat::parse_str("(module (@custom \"component-type:x\" \"nonsense\"))").unwrap_or_default();
        assert!(is_typed_module(&module));
        assert!(!is_typed_module(&module[..module.len() - 1]));
    }

    /// The names and signatures of the whole of preview 1 are checked where a module that imports all of them is loaded:
    /// `tests/tests/it/core_modules.rs`.
    #[test]
    fn the_adapter_has_no_memory_and_no_data_of_its_own() -> Result<()> {
        for payload in Parser::new(0).parse_all(ADAPTER) {
            let payload = payload?;
            assert!(!matches!(payload, Payload::MemorySection(_) | Payload::DataSection(_)), "{payload:?}");
        }
        Ok(())
    }
}
