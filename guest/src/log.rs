//! Macros that write lines to the host's log. The host adds the plugin's name, its generation and the topic.
//!
//! ```no_run
//! # use bennu_guest::prelude::*;
//! # let user = "alice";
//! log::info!("{user} joined");
//! ```
//!
//! A line is cut at 8 KiB. More than 256 lines in one call (`log_lines_per_call`) are a fault `oversize`. In a test,
//! `Outcome::log` returns the lines.

use std::fmt::Arguments;

use crate::host::host;

pub use crate::bindings::bennu::channel::host::Level;

/// Writes a line with a level. The macros of this module are shorter.
pub fn write(level: Level, line: Arguments<'_>) {
    match line.as_str() {
        Some(text) => host::log(level, text),
        None => host::log(level, &line.to_string()),
    }
}

/// Writes a line with the most detailed level, which is off by default. The arguments are those of `format!`.
#[doc(inline)]
pub use crate::__trace as trace;

/// Writes a line for debugging. This level is off by default. The arguments are those of `format!`.
#[doc(inline)]
pub use crate::__debug as debug;

/// Writes a line with normal information. The arguments are those of `format!`.
#[doc(inline)]
pub use crate::__info as info;

/// Writes a line about a problem that somebody should look at. The arguments are those of `format!`.
#[doc(inline)]
pub use crate::__warn as warn;

/// Writes a line about a failure. The arguments are those of `format!`.
#[doc(inline)]
pub use crate::__error as error;

#[doc(hidden)]
#[macro_export]
macro_rules! __trace {
    ($($line:tt)+) => { $crate::log::write($crate::log::Level::Trace, format_args!($($line)+)) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __debug {
    ($($line:tt)+) => { $crate::log::write($crate::log::Level::Debug, format_args!($($line)+)) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    ($($line:tt)+) => { $crate::log::write($crate::log::Level::Info, format_args!($($line)+)) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __warn {
    ($($line:tt)+) => { $crate::log::write($crate::log::Level::Warn, format_args!($($line)+)) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($($line:tt)+) => { $crate::log::write($crate::log::Level::Error, format_args!($($line)+)) };
}
