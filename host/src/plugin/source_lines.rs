//! Finds the places in the source of a plugin's functions, if the component has debug information (DWARF).
//!
//! wasmtime can do this too, but then it reads the debug information again for each frame of each fault, and a client that
//! causes faults would cost the host up to a hundred milliseconds each. Here, a fault reads it once.

use std::ops::Range;

use addr2line::Context;
use gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use memchr::memmem;
use wasmparser::{Parser, Payload};

/// The maximum size of the debug information of a plugin, in bytes. It stays in memory. Above it, faults have no lines.
const BYTES_MAX: usize = 16 << 20;

/// The maximum number of functions that a frame consists of, because the compiler has put them into one.
const INLINED_MAX: usize = 16;

/// The section without which there are no lines.
const LINES: &str = ".debug_line";

/// The debug information of a component.
pub(super) struct SourceLines {
    modules: Vec<Module>,
}

/// The debug information of a module of the component.
#[derive(Default)]
struct Module {
    /// The positions of its code in the component. The debug information counts from their start.
    code: Range<usize>,
    sections: Vec<(String, Box<[u8]>)>,
}

/// A function in the source, and the place in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The name of the function, as the compiler has written it.
    pub(super) function: Option<String>,
    /// The file and the line, such as `src/lib.rs:12`.
    pub(super) at: Option<String>,
}

impl SourceLines {
    /// Reads the debug information of a component. Returns `None` if it has none, or too much.
    pub(super) fn read(component: &[u8]) -> Option<Self> {
        memmem::find(component, LINES.as_bytes())?;
        // The modules whose end wasn't read yet, the innermost last. A component in between counts as one without code.
        let (mut open, mut modules, mut bytes) = (vec![Module::default()], Vec::new(), 0);
        for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
            match payload {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => open.push(Module::default()),
                Payload::CodeSectionStart { range, .. } => open.last_mut()?.code = range,
                Payload::CustomSection(section) if section.name().starts_with(".debug_") => {
                    bytes += section.data().len();
                    open.last_mut()?.sections.push((section.name().to_owned(), section.data().into()));
                }
                Payload::End(_) => modules.extend(open.pop()),
                _ => {}
            }
        }
        modules.retain(|module| !module.sections.is_empty() && !module.code.is_empty());
        (!modules.is_empty() && bytes <= BYTES_MAX).then_some(Self { modules })
    }

    /// Returns a reader for the frames of one fault.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader(self.modules.iter().map(|module| (module, None)).collect())
    }
}

/// Finds the places of frames. It reads the debug information of a module when it first needs it.
pub(super) struct Reader<'a>(Vec<(&'a Module, Option<Context<EndianSlice<'a, LittleEndian>>>)>);

impl Reader<'_> {
    /// Returns the functions that are at a position of the component, the innermost first: a function that the compiler has
    /// put into another one comes before that one.
    pub(super) fn places(&mut self, position: usize) -> Vec<Place> {
        let found = self.0.iter_mut().find(|(module, _)| module.code.contains(&position));
        let Some((module, context)) = found else { return Vec::new() };
        if context.is_none() {
            *context = module.context();
        }
        let offset = (position - module.code.start) as u64;
        let Some(Ok(mut frames)) = context.as_ref().map(|context| context.find_frames(offset).skip_all_loads()) else {
            return Vec::new();
        };
        let mut places = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let function = frame.function.as_ref().and_then(|function| function.raw_name().ok()).map(String::from);
            let at = frame.location.as_ref().and_then(|location| Some(shown(location.file?, location.line?)));
            places.push(Place { function, at });
            if places.len() == INLINED_MAX {
                break;
            }
        }
        places
    }
}

impl Module {
    fn context(&self) -> Option<Context<EndianSlice<'_, LittleEndian>>> {
        let section = |id: SectionId| {
            let found = self.sections.iter().find(|(name, _)| name == id.name());
            Ok::<_, gimli::Error>(EndianSlice::new(found.map_or(&[][..], |(_, bytes)| bytes), LittleEndian))
        };
        // Without valid debug information, a fault has no lines.
        Context::from_dwarf(Dwarf::load(section).ok()?).ok()
    }
}

/// A place with at most the last two parts of the path: the rest is about the machine on which the plugin was built.
fn shown(path: &str, line: u32) -> String {
    let start = path.rmatch_indices(['/', '\\']).nth(1).map_or(0, |(at, _)| at + 1);
    format!("{}:{line}", &path[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_the_end_of_its_path() {
        assert_eq!(shown("/home/ada/chat/src/lib.rs", 12), "src/lib.rs:12");
        assert_eq!(shown("src/lib.rs", 12), "src/lib.rs:12");
        assert_eq!(shown("/chat.c", 1), "/chat.c:1");
        assert_eq!(shown("C:\\chat\\src\\chat.c", 1), "src\\chat.c:1");
    }

    #[test]
    fn a_component_without_debug_information_has_no_lines() {
        let component = |module: &str| wat::parse_str(format!("(component (core module {module}))")).expect("valid");
        assert!(SourceLines::read(&component("(func)")).is_none());
        assert!(SourceLines::read(&component("(@custom \".debug_line\" \"x\")")).is_none(), "it has no code");
        // Whatever the bytes are, nothing panics.
        let broken = SourceLines::read(&component(
            "(func) (@custom \".debug_line\" \"\\ff\\ff\") (@custom \".debug_info\" \"\\01\")",
        ));
        let broken = broken.expect("it has sections");
        let code = broken.modules[0].code.clone();
        for position in [0, code.start, code.end - 1, code.end, usize::MAX] {
            assert_eq!(broken.reader().places(position), []);
        }
        assert!(SourceLines::read(b".debug_line").is_none());
    }
}
