//! Finds out in which language and with which tools a file was made, from what compilers and linkers wrote into it.

use std::collections::BTreeMap;

use serde::Serialize;
use wasmparser::{KnownCustom, Name, NameSectionReader, Parser, Payload, ProducersSectionReader};

/// The maximum number of tools that are shown, and of the bytes of a name or a version.
const TOOLS_MAX: usize = 16;
const TEXT_BYTES_MAX: usize = 64;

/// How a file was made, as far as it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tools {
    /// The language, with its version if that is known.
    pub language: Option<String>,
    /// The compilers, linkers and SDKs, with their versions.
    pub tools: Vec<String>,
}

/// What has been read so far.
#[derive(Default)]
struct Reading {
    /// The modules and components whose end wasn't read yet, the innermost last.
    open: Vec<Open>,
    /// The size of the largest core module, and its language.
    largest: (usize, Option<String>),
    tools: BTreeMap<String, String>,
    python: Option<String>,
}

struct Open {
    is_module: bool,
    bytes: usize,
    language: Option<String>,
}

impl Tools {
    /// Reads the sections `producers` of a file and of all modules in it. The language is that of the largest module,
    /// because a component also contains small adapters in another language.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut reading = Reading::default();
        reading.begin(Parser::is_core_wasm(bytes), bytes.len());
        for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
            match payload {
                Payload::ModuleSection { unchecked_range, .. } => reading.begin(true, unchecked_range.len()),
                Payload::ComponentSection { unchecked_range, .. } => reading.begin(false, unchecked_range.len()),
                Payload::End(_) => reading.end(),
                Payload::CustomSection(section) => match section.as_known() {
                    KnownCustom::Producers(fields) => reading.read_producers(fields),
                    KnownCustom::Name(names) => reading.read_names(names),
                    _ => {}
                },
                _ => {}
            }
        }
        let Reading { largest: (_, language), tools, python, .. } = reading;
        let tools = tools.into_iter().map(|(name, version)| joined(&name, &version)).collect();
        Self { language: python.or(language), tools }
    }
}

impl Reading {
    fn begin(&mut self, is_module: bool, bytes: usize) {
        self.open.push(Open { is_module, bytes, language: None });
    }

    fn end(&mut self) {
        let Some(Open { is_module, bytes, language }) = self.open.pop() else { return };
        if is_module && bytes > self.largest.0 {
            self.largest = (bytes, language);
        }
    }

    fn read_producers(&mut self, fields: ProducersSectionReader<'_>) {
        for field in fields.into_iter().map_while(Result::ok) {
            for value in field.values.into_iter().map_while(Result::ok) {
                if field.name == "language" {
                    let language = joined(value.name, value.version);
                    if let Some(open) = self.open.last_mut() {
                        open.language = Some(language);
                    }
                } else if self.tools.len() < TOOLS_MAX {
                    self.tools.insert(short(value.name), short(value.version));
                }
            }
        }
    }

    fn read_names(&mut self, names: NameSectionReader<'_>) {
        for name in names.into_iter().map_while(Result::ok) {
            if let Name::Module { name, .. } = name {
                self.python = self.python.take().or_else(|| python_of(name));
            }
        }
    }
}

/// componentize-py writes no language. The interpreter is a module with the name of its library, such as
/// `libpython3.14.so`.
fn python_of(module: &str) -> Option<String> {
    let version = module.strip_prefix("libpython")?.strip_suffix(".so")?;
    Some(joined("Python", version))
}

fn joined(name: &str, version: &str) -> String {
    // Go repeats its name in the version: go1.27.3.
    let version = version.strip_prefix("go").unwrap_or(version);
    if version.is_empty() { short(name) } else { format!("{} {}", short(name), short(version)) }
}

/// A text that is short enough to be shown. A version of rustc ends with a hash and a date in brackets.
fn short(text: &str) -> String {
    let text = text.split(" (").next().unwrap_or(text);
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wat: &str) -> Tools {
        Tools::read(&wat::parse_str(wat).unwrap_or_default())
    }

    #[test]
    fn a_module_says_its_language_and_tools() {
        let module =
            r#"(module (@producers (language "Rust" "") (processed-by "rustc" "1.95.0 (59807616e 2026-04-14)")))"#;
        let expected = Tools { language: Some("Rust".into()), tools: vec!["rustc 1.95.0".into()] };
        assert_eq!(read(module), expected);
        let go = r#"(module (@producers (language "Go" "go1.27.3")))"#;
        assert_eq!(read(go).language.as_deref(), Some("Go 1.27.3"));
        assert_eq!(read("(module)"), Tools::default());
        assert_eq!(Tools::read(b"no wasm"), Tools::default());
    }

    #[test]
    fn the_language_of_a_component_is_that_of_its_largest_module() {
        let small = r#"(core module (@producers (language "Rust" "")))"#;
        let large = format!("(core module (memory 1) (data \"{}\"))", "x".repeat(100));
        let unknown = read(&format!("(component {small} {large})"));
        assert_eq!(unknown.language, None);
        let python = read(&format!("(component {small} {large} (core module $libpython3.14.so))"));
        assert_eq!(python.language.as_deref(), Some("Python 3.14"));
    }

    #[test]
    fn long_lists_and_texts_are_cut() {
        let name = "n".repeat(1000);
        let fields: String = (0..100).map(|at| format!("(processed-by \"{at}{name}\" \"{name}\")")).collect();
        let tools = read(&format!("(module (@producers {fields}))")).tools;
        assert!(tools.len() <= TOOLS_MAX);
        assert!(tools.iter().all(|tool| tool.len() <= 2 * TEXT_BYTES_MAX + 1));
    }
}
