//! Generates the imports that ask for effects, for native tests: each one makes a value of `bennu_semantics::Effect`.
//!
//! The names of an effect's variant and fields are those of the function and its parameters. So a new function of the
//! contract doesn't compile until the rules have its variant.

use std::fmt::Write;

use anyhow::{Context, Result, bail};
use wit_bindgen_core::wit_parser::{Function, PackageId, Resolve, Type, TypeDefKind, TypeId};

/// The interfaces with effects.
const INTERFACES: [&str; 2] = ["socket", "presence"];

/// The functions whose variant has a longer name, because its interface isn't part of the name.
const RENAMED: [(&str, &str); 2] = [("update", "UpdatePresence"), ("push-state", "PushPresences")];

const HEADER: &str = "\
//! The contract's effects, for native tests. Generated from `wit/` by `cargo xtask bindings`. DO NOT EDIT!
";

/// Returns the text of the generated file.
pub(crate) fn generate(resolve: &Resolve, package: PackageId) -> Result<String> {
    let mut text = HEADER.to_owned();
    for name in INTERFACES {
        let interface = resolve.packages[package].interfaces.get(name);
        let interface = *interface.with_context(|| format!("wit/ has no interface {name}"))?;
        let functions = resolve.interfaces[interface].functions.values();
        write!(text, "\n/// The effects of `interface {name}`.\npub(crate) mod {name} {{\n")?;
        text += "    use bennu_semantics::Effect;\n\n    use crate::testing::recorder::ask_for;\n";
        for function in functions.filter(|function| is_effect(name, function)) {
            text += &import(resolve, function).with_context(|| format!("{name}.{}", function.name))?;
        }
        text += "}\n";
    }
    Ok(text)
}

/// Whether a function asks for an effect. Those of `presence` that return a value only read.
fn is_effect(interface: &str, function: &Function) -> bool {
    interface == "socket" || function.result.is_none()
}

/// The native import for a function.
fn import(resolve: &Resolve, function: &Function) -> Result<String> {
    let (mut parameters, mut fields) = (Vec::new(), Vec::new());
    for parameter in &function.params {
        let (name, (rust, is_converted)) = (snake(&parameter.name), rust_type(resolve, parameter.ty)?);
        fields.push(if is_converted { format!("{name}: {name}.into()") } else { name.clone() });
        parameters.push(format!("{name}: {rust}"));
    }
    let variant = RENAMED.iter().find(|(name, _)| *name == function.name);
    let variant = variant.map_or_else(|| camel(&function.name), |(_, variant)| (*variant).to_owned());
    let fields = if fields.is_empty() { String::new() } else { format!(" {{ {} }}", fields.join(", ")) };
    let (result, end) = match function.result {
        None => ("", ";"),
        Some(Type::U64) => (" -> u64", ".unwrap_or_default()"),
        Some(other) => bail!("an effect returns nothing or the number of a timer, not {other:?}"),
    };
    let (name, parameters) = (snake(&function.name), parameters.join(", "));
    Ok(format!(
        "\n    pub(crate) fn {name}({parameters}){result} {{\n        ask_for(Effect::{variant}{fields}){end}\n    }}\n"
    ))
}

/// The type of a parameter in the SDK, and whether the rules have another type for it.
fn rust_type(resolve: &Resolve, wit: Type) -> Result<(String, bool)> {
    Ok(match wit {
        Type::Bool => ("bool".into(), false),
        Type::U32 => ("u32".into(), false),
        Type::U64 => ("u64".into(), false),
        Type::String => ("&str".into(), true),
        Type::Id(id) => (format!("&crate::{}", camel(type_name(resolve, id)?)), true),
        other => bail!("the generator has no type for a parameter of the type {other:?}; add one here"),
    })
}

/// The name under which a type is defined.
fn type_name(resolve: &Resolve, id: TypeId) -> Result<&str> {
    let definition = &resolve.types[id];
    match definition.kind {
        TypeDefKind::Type(Type::Id(other)) => type_name(resolve, other),
        _ => definition.name.as_deref().context("a parameter has a type without a name"),
    }
}

fn snake(name: &str) -> String {
    name.replace('-', "_")
}

fn camel(name: &str) -> String {
    let word = |word: &str| word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect();
    name.split('-').map(word).collect::<Vec<String>>().concat()
}
