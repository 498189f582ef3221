//! Generates the imports that ask for effects, for native tests: each one makes a value of `bennu_semantics::Effect`.
//!
//! The names of an effect's variant and fields are those of the function and its parameters. So a new function of the
//! contract doesn't compile until the rules have its variant.

use std::fmt::Write;

use anyhow::{Context, Result, bail};
use wit_bindgen_core::wit_parser::{Function, PackageId, Resolve, Type, TypeDefKind, TypeId};

/// The interfaces with effects.
const INTERFACES: [&str; 5] = ["socket", "droppable", "presence", "entries", "schedule"];

/// The functions whose variant has a longer name, because the interface isn't part of the name: the interface, the
/// function, and the variant.
const RENAMED: [(&str, &str, &str); 2] =
    [("presence", "update", "UpdatePresence"), ("presence", "push-state", "PushPresences")];

/// The functions whose variant has its fields in a box, because they are many: the interface, and the function. The struct
/// has the name of the variant, and is in the module `jobs` of the rules.
const BOXED: [(&str, &str); 1] = [("schedule", "schedule")];

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
        // rustfmt skips this module, as it skips the other generated ones. So a long line stays as it was generated.
        write!(text, "\n/// The effects of `interface {name}`.\n#[rustfmt::skip]\npub(crate) mod {name} {{\n")?;
        text += "    use bennu_semantics::Effect;\n\n    use crate::testing::recorder::ask_for;\n";
        for function in functions.filter(|function| is_effect(name, function)) {
            text += &import(resolve, name, function).with_context(|| format!("{name}.{}", function.name))?;
        }
        text += "}\n";
    }
    Ok(text)
}

/// The effects of `entries`. Its other functions read and write.
const OF_ENTRIES: [&str; 2] = ["follow", "unfollow"];

/// Whether a function asks for an effect. Those of `presence` that return a value only read.
fn is_effect(interface: &str, function: &Function) -> bool {
    match interface {
        "socket" => function.name != "discard",
        "entries" => OF_ENTRIES.contains(&&*function.name),
        _ => function.result.is_none(),
    }
}

/// The native import for a function of an interface.
fn import(resolve: &Resolve, interface: &str, function: &Function) -> Result<String> {
    let (mut parameters, mut fields) = (Vec::new(), Vec::new());
    for parameter in &function.params {
        let (name, (rust, is_converted)) = (snake(&parameter.name), rust_type(resolve, parameter.ty)?);
        fields.push(if is_converted { format!("{name}: {name}.into()") } else { name.clone() });
        parameters.push(format!("{name}: {rust}"));
    }
    let renamed = RENAMED.iter().find(|(of, name, _)| (*of, *name) == (interface, &*function.name));
    let variant = renamed.map_or_else(|| camel(&function.name), |(.., variant)| (*variant).to_owned());
    let is_boxed = BOXED.contains(&(interface, &*function.name));
    let fields = if is_boxed {
        format!("(Box::new(bennu_semantics::jobs::{variant} {{ {} }}))", fields.join(", "))
    } else if fields.is_empty() {
        String::new()
    } else {
        format!(" {{ {} }}", fields.join(", "))
    };
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// Generates the imports for the functions of these two interfaces.
    fn generated(socket: &str, presence: &str) -> Result<String> {
        let mut resolve = Resolve::default();
        let text = format!(
            "package a:b; interface socket {{ {socket} }} interface droppable {{ }} interface presence {{ {presence} }} interface entries {{ }} interface schedule {{ }}"
        );
        let package = resolve.push_source("test.wit", &text)?;
        generate(&resolve, package)
    }

    #[test]
    fn a_variant_is_renamed_only_for_the_function_of_its_interface() -> Result<()> {
        let text = generated("update: func(key: string);", "update: func(key: string); untrack: func(key: string);")?;
        let variants: Vec<&str> =
            text.lines().filter_map(|line| line.trim_start().strip_prefix("ask_for(Effect::")).collect();
        let expected = ["Update", "UpdatePresence", "Untrack"].map(|name| format!("{name} {{ key: key.into() }});"));
        assert_eq!(variants, expected);
        Ok(())
    }

    /// The check compares the file with the generator's text, so rustfmt must not change the file.
    #[test]
    fn rustfmt_does_not_change_a_line_that_is_too_long() -> Result<()> {
        let parameters: Vec<String> = (0..20).map(|number| format!("parameter{number}: string")).collect();
        let text = generated(&format!("push: func({});", parameters.join(", ")), "push-state: func();")?;
        assert!(text.lines().any(|line| line.len() > 120), "{text}");
        let mut rustfmt = Command::new("rustfmt").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        rustfmt.stdin.take().context("a pipe")?.write_all(text.as_bytes())?;
        let formatted = rustfmt.wait_with_output()?;
        assert!(formatted.status.success());
        assert_eq!(String::from_utf8(formatted.stdout)?, text);
        Ok(())
    }
}
