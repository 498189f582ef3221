//! Lines for the host's log, which puts the plugin, its generation and the topic beside them.
//!
//! ```no_run
//! # use bennu_guest::prelude::*;
//! # let user = "alice";
//! log::info!("{user} joined");
//! ```

use std::fmt::Arguments;

use crate::host::host;

pub use crate::bindings::bennu::channel::host::Level;

/// Writes a line. The macros of this module read better.
pub fn write(level: Level, line: Arguments<'_>) {
    match line.as_str() {
        Some(text) => host::log(level, text),
        None => host::log(level, &line.to_string()),
    }
}

/// The finest: off by default.
#[doc(inline)]
pub use crate::__trace as trace;

/// For those who look for a mistake: off by default.
#[doc(inline)]
pub use crate::__debug as debug;

/// Worth knowing.
#[doc(inline)]
pub use crate::__info as info;

/// Something that should be looked at.
#[doc(inline)]
pub use crate::__warn as warn;

/// Something that went wrong.
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
