//! Makes faults from wasmtime's errors, with the guest's function names.

use std::fmt;

use wasmtime::{Error, Trap, WasmBacktrace};

use super::guest::CallDiagnostics;
use super::source_lines::{Place, SourceLines};
use crate::contract::{Fault, FaultKind};

/// The maximum number of frames in the text of a fault.
const FRAMES_MAX: usize = 8;

/// What a guest printed while its instance was created: a context of the error.
#[derive(Debug)]
struct PrintedAtStart(String);

impl fmt::Display for PrintedAtStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds what the guest printed to the error of an instance that could not be created. Such an error is returned without
/// the guest.
pub(super) fn with_diagnostics(error: Error, diagnostics: CallDiagnostics) -> Error {
    match diagnostics.panic.or(diagnostics.printed) {
        Some(printed) => error.context(PrintedAtStart(printed)),
        None => error,
    }
}

/// Makes a fault from the error of a call and the call's diagnostics.
pub(super) fn fault_of(error: &Error, diagnostics: CallDiagnostics) -> Fault {
    let CallDiagnostics { memory_refused, panic, mut printed, lines } = diagnostics;
    let lines = lines.as_deref();
    if let Some(PrintedAtStart(text)) = error.downcast_ref() {
        printed = Some(text.clone());
    }
    if let Some(fault) = error.downcast_ref::<Fault>() {
        return fault.with_detail(with_frames(with_printed(fault.detail.clone(), printed), error, lines));
    }
    // If a trap follows a panic, the panic message says more.
    let mut reason = panic.unwrap_or_else(|| error.root_cause().to_string());
    let is_refused_memory = memory_refused.is_some();
    if let Some(key) = memory_refused {
        reason = format!("it requested more memory than it may have{key}: {reason}");
    }
    let kind = match error.downcast_ref::<Trap>() {
        _ if is_refused_memory => FaultKind::Memory,
        Some(_) => FaultKind::Trap,
        // An error without a trap comes from the canonical ABI: the guest returned too much data, or invalid data.
        None if reason.contains("fuel") => FaultKind::Oversize,
        None => FaultKind::Failed,
    };
    Fault::new(kind, with_frames(with_printed(reason, printed), error, lines))
}

/// Adds what the call has printed last. Many languages print an uncaught exception, and then trap.
fn with_printed(mut detail: String, printed: Option<String>) -> String {
    if let Some(printed) = printed {
        detail.push_str("; it printed: ");
        detail.push_str(&printed);
    }
    detail
}

/// Adds the guest's functions. With debug information, each has its place in the source.
fn with_frames(mut detail: String, error: &Error, lines: Option<&SourceLines>) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return detail };
    let mut reader = lines.map(SourceLines::reader);
    let named = backtrace.frames().iter().flat_map(|frame| {
        let places = frame.module_offset().and_then(|at| Some(reader.as_mut()?.places(at))).unwrap_or_default();
        functions(frame.func_name(), places)
    });
    let named: Vec<String> = named.take(FRAMES_MAX).collect();
    if !named.is_empty() {
        detail.push_str("; in ");
        detail.push_str(&named.join(", called by "));
    }
    detail
}

/// Returns the functions of one frame that aren't the language's own, the innermost first.
fn functions(name: Option<&str>, places: Vec<Place>) -> Vec<String> {
    let whole = Place { function: name.map(str::to_owned), at: None };
    let places = if places.is_empty() { vec![whole] } else { places };
    let functions = places.into_iter().filter_map(|Place { function, at }| {
        let Some(name) = function.or_else(|| name.map(str::to_owned)) else { return at };
        let name = wasmtime_name(&name);
        let is_own = !is_machinery(&name);
        is_own.then(|| at.map_or_else(|| name.clone(), |at| format!("{name} ({at})")))
    });
    functions.collect()
}

fn wasmtime_name(name: &str) -> String {
    rustc_demangle::try_demangle(name).map_or_else(|_| name.to_owned(), |name| format!("{name:#}"))
}

/// The starts of the names of functions of a language's panic code, of Rust's standard library, of Go's runtime, and of the SDK in Go and
/// the bindings in C. Go's linker and C put `_` in the place of other characters.
const MACHINERY: [&str; 13] = [
    "std::",
    "core::",
    "alloc::",
    "rust_panic",
    "__rust",
    "<alloc::",
    "<core::",
    "<std::",
    "rustc",
    "runtime.",
    "wasm_pc_f_loop",
    "bennu.dev_bennu",
    "bennu_channel_",
];

/// Whether a frame belongs to the language's own code, between the trap and the guest's code.
fn is_machinery(name: &str) -> bool {
    MACHINERY.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_an_import_stays_what_it_is() {
        let fault = |fault: Fault| fault_of(&Error::from(fault), CallDiagnostics::default());
        assert!(fault(Fault::outdated("another node has changed it")).is_outdated());
        assert_eq!(fault(Fault::of_host("there is no task")), Fault::of_host("there is no task"));
    }

    #[test]
    fn function_names_are_readable() {
        assert_eq!(wasmtime_name("_ZN4chat4Chat4join17h0123456789abcdefE"), "chat::Chat::join");
        assert_eq!(wasmtime_name("handle-in"), "handle-in");
        assert!(is_machinery("core::panicking::panic_fmt"));
        assert!(is_machinery("runtime.mallocgc") && is_machinery("bennu.dev_bennu_internal_plugin.Run"));
        assert!(!is_machinery("main.__Chat_.HandleIn"));
        assert!(!is_machinery("chat::Chat::join"));
    }

    #[test]
    fn the_functions_of_a_frame_have_places_and_no_machinery() {
        let place = |function: Option<&str>, at: Option<&str>| Place {
            function: function.map(str::to_owned),
            at: at.map(str::to_owned),
        };
        let places = vec![
            place(Some("_ZN4core6option6unwrap17h0123456789abcdefE"), Some("src/option.rs:9")),
            place(Some("_ZN4chat4Chat4join17h0123456789abcdefE"), Some("src/lib.rs:12")),
            place(None, Some("src/lib.rs:3")),
        ];
        assert_eq!(functions(Some("outer"), places), ["chat::Chat::join (src/lib.rs:12)", "outer (src/lib.rs:3)"]);
        assert_eq!(functions(Some("join"), Vec::new()), ["join"]);
        assert_eq!(functions(None, Vec::new()), Vec::<String>::new());
        assert_eq!(functions(Some("core::fmt::write"), Vec::new()), Vec::<String>::new());
    }
}
