//! Output to a terminal, for the binaries: writes that cannot panic, and untrusted text made safe to print.

mod output;
pub mod shown;

pub use output::{Out, explain, finish, line, try_line};
