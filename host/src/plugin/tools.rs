//! Finds out in which language and with which tools a file was made, from what compilers and linkers wrote into it.

use std::collections::BTreeMap;

use memchr::memmem;
use serde::Serialize;
use wasmparser::{
    ComponentImportSectionReader, KnownCustom, Name, NameSectionReader, Parser, Payload, ProducersSectionReader,
};

use super::wasi;

/// The maximum number of tools that are shown, and of the bytes of a name or a version.
const TOOLS_MAX: usize = 16;
const TEXT_BYTES_MAX: usize = 64;

/// How a file was made, as far as it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tools {
    /// The language, with its version if that is known.
    pub language: Option<String>,
    /// The SDK of Bennu, with its version.
    pub sdk: Option<String>,
    /// The compilers, linkers and other SDKs, with their versions.
    pub tools: Vec<String>,
    /// Whether the builder has put something empty in the place of WASI, though a part of the file imports it.
    #[serde(skip)]
    pub lacks_wasi: bool,
}

/// The start of the names of Bennu's SDKs.
const SDK: &str = "bennu";

/// The custom section in which the SDK in Rust names itself. The linker writes the section `producers` by itself.
const SDK_SECTION: &str = "bennu-sdk";

/// The module of the SDK in Go, in the list of modules that Go writes into the data of each program. Its version follows, up to
/// a tab or the end of the line.
const GO_MODULE: &[u8] = b"\ndep\tbennu.dev/bennu\t";

/// What has been read so far.
#[derive(Default)]
struct Reading {
    /// The modules and components whose end wasn't read yet, the innermost last.
    open: Vec<Open>,
    /// The size of the largest core module, and its language.
    largest: (usize, Option<String>),
    sdk: Option<String>,
    tools: BTreeMap<String, String>,
    python: Option<String>,
    /// Whether the file imports WASI, and whether a component in it does.
    imports_wasi: bool,
    contains_wasi: bool,
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
                    _ if section.name() == SDK_SECTION => {
                        reading.sdk = Some(short(&String::from_utf8_lossy(section.data())));
                    }
                    _ => {}
                },
                Payload::ComponentImportSection(imports) => reading.read_imports(imports),
                Payload::DataSection(data) => reading.read_data(&bytes[data.range()]),
                _ => {}
            }
        }
        let Reading { largest: (_, language), sdk, tools, python, imports_wasi, contains_wasi, .. } = reading;
        // componentize-py links Python's libraries into one component, which imports WASI unless that was taken out.
        let lacks_wasi = !imports_wasi && (contains_wasi || python.is_some());
        let tools = tools.into_iter().map(|(name, version)| joined(&name, &version)).collect();
        Self { language: python.or(language), sdk, tools, lacks_wasi }
    }

    /// What to say about a file from which WASI was taken out. `None` if it wasn't.
    pub(super) fn warning(&self) -> Option<&'static str> {
        self.lacks_wasi.then_some(
            "a part of it imports WASI, and the file itself does not, as after a build with `--stub-wasi`: the text of an exception is \
             lost; build it without this option",
        )
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
                } else if field.name == "sdk" && value.name.starts_with(SDK) {
                    self.sdk = Some(joined(value.name, value.version));
                } else if self.tools.len() < TOOLS_MAX {
                    self.tools.insert(short(value.name), short(value.version));
                }
            }
        }
    }

    fn read_imports(&mut self, imports: ComponentImportSectionReader<'_>) {
        for import in imports.into_iter().map_while(Result::ok) {
            if wasi::is_wasi(import.name.name) {
                if self.open.len() > 1 { self.contains_wasi = true } else { self.imports_wasi = true }
            }
        }
    }

    /// Go writes no section about its modules. It has the list of them in its data.
    fn read_data(&mut self, data: &[u8]) {
        let Some(at) = memmem::find(data, GO_MODULE) else { return };
        let rest = &data[at + GO_MODULE.len()..];
        let end = rest.iter().take(TEXT_BYTES_MAX).position(|byte| matches!(byte, b'\t' | b'\n'));
        let version = String::from_utf8_lossy(&rest[..end.unwrap_or_default()]);
        self.sdk = Some(joined("bennu for Go", version.trim_start_matches('v')));
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
        let expected = Tools { language: Some("Rust".into()), tools: vec!["rustc 1.95.0".into()], ..Tools::default() };
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
    fn an_sdk_names_itself_in_a_section_or_in_the_data_of_go() {
        let sdk = |wat: &str| read(wat).sdk;
        let rust = r#"(component (core module (@custom "bennu-sdk" "bennu-guest 0.1.0")))"#;
        assert_eq!(sdk(rust).as_deref(), Some("bennu-guest 0.1.0"));
        let python = r#"(module (@producers (sdk "bennu for Python" "0.1.0") (sdk "wasi-sdk" "25")))"#;
        let expected =
            Tools { sdk: Some("bennu for Python 0.1.0".into()), tools: vec!["wasi-sdk 25".into()], ..Tools::default() };
        assert_eq!(read(python), expected);
        let go = |modules: &str| {
            format!("(module (memory 1) (data \"\\ff path\\tapp\\nmod\\tapp\\t(devel)\\t\\n{modules}\"))")
        };
        assert_eq!(
            sdk(&go("dep\\tbennu.dev/bennu\\tv0.1.0\\n=>\\t./sdk/bennu\\t(devel)\\t\\n")).as_deref(),
            Some("bennu for Go 0.1.0")
        );
        // As `bennu build` wraps it.
        let module = go("dep\\tbennu.dev/bennu\\tv0.1.0\\n").replacen("(module", "(core module", 1);
        assert_eq!(sdk(&format!("(component (core module) {module})")).as_deref(), Some("bennu for Go 0.1.0"));
        assert_eq!(sdk(&go("dep\\tbennu.dev/other\\tv0.1.0\\n")), None);
        // An unreadable version is none.
        assert_eq!(sdk(&go(&format!("dep\\tbennu.dev/bennu\\t{}", "v".repeat(1000)))).as_deref(), Some("bennu for Go"));
    }

    #[test]
    fn a_file_whose_wasi_was_taken_out_is_warned_of() {
        let wasi = r#"(import "wasi:cli/stderr@0.2.0" (instance))"#;
        let inner = format!("(component {wasi})");
        // The outer component gives something empty to the inner one.
        assert!(read(&format!("(component {inner})")).warning().is_some_and(|warning| warning.contains("--stub-wasi")));
        assert!(read("(component (core module $libpython3.14.so))").warning().is_some());
        assert_eq!(read(&format!("(component {wasi} {inner})")).warning(), None);
        assert_eq!(read(&format!("(component {wasi} (core module $libpython3.14.so))")).warning(), None);
        assert_eq!(read("(component (core module))").warning(), None);
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
