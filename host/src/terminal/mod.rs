//! Output to a terminal, for the binaries: writes that cannot panic, untrusted text made safe to print, and progress.

mod output;
mod progress;
pub mod shown;

pub use output::{Out, explain, finish, line, try_line};
pub use progress::{Progress, Unit, bytes};
