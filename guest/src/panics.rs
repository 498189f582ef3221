//! A panic's last words. What follows is a trap, which carries none.

use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use crate::log;

static INSTALLED: Once = Once::new();

/// Lets panics write their message and place to the host's log.
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
