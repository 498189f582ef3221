//! Logs the text of a panic. The trap that follows a panic has no text.

use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use crate::log;

static INSTALLED: Once = Once::new();

/// Installs a panic hook that writes a panic's text and location to the host's log. The host adds them to the fault.
pub(crate) fn write_to_log() {
    INSTALLED.call_once(|| panic::set_hook(Box::new(write)));
}

fn write(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("(no message)");
    match panic.location() {
        Some(place) => log::error!("panicked at {place}: {message}"),
        None => log::error!("panicked: {message}"),
    }
}
