//! Makes faults from wasmtime's errors, with the guest's function names.

use std::fmt;

use wasmtime::{Error, Trap, WasmBacktrace};

use super::guest::CallDiagnostics;
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
    let CallDiagnostics { memory_refused, panic, mut printed } = diagnostics;
    if let Some(PrintedAtStart(text)) = error.downcast_ref() {
        printed = Some(text.clone());
    }
    if let Some(fault) = error.downcast_ref::<Fault>() {
        return Fault::new(fault.kind, with_frames(with_printed(fault.detail.clone(), printed), error));
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
    Fault::new(kind, with_frames(with_printed(reason, printed), error))
}

/// Adds what the call has printed last. Many languages print an uncaught exception, and then trap.
fn with_printed(mut detail: String, printed: Option<String>) -> String {
    if let Some(printed) = printed {
        detail.push_str("; it printed: ");
        detail.push_str(&printed);
    }
    detail
}

fn with_frames(mut detail: String, error: &Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return detail };
    let named = backtrace.frames().iter().filter_map(|frame| {
        let name = frame.func_name()?;
        Some(wasmtime_name(name))
    });
    let named: Vec<String> = named.filter(|name| !is_machinery(name)).take(FRAMES_MAX).collect();
    if !named.is_empty() {
        detail.push_str("; in ");
        detail.push_str(&named.join(", called by "));
    }
    detail
}

fn wasmtime_name(name: &str) -> String {
    rustc_demangle::try_demangle(name).map_or_else(|_| name.to_owned(), |name| format!("{name:#}"))
}

/// Whether a frame belongs to the language's panic code, between the panic and the guest's own code.
fn is_machinery(name: &str) -> bool {
    ["std::", "core::", "alloc::", "rust_panic", "__rust", "<alloc::", "<core::", "<std::", "rustc"]
        .iter()
        .any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_names_are_readable() {
        assert_eq!(wasmtime_name("_ZN4chat4Chat4join17h0123456789abcdefE"), "chat::Chat::join");
        assert_eq!(wasmtime_name("handle-in"), "handle-in");
        assert!(is_machinery("core::panicking::panic_fmt"));
        assert!(!is_machinery("chat::Chat::join"));
    }
}
