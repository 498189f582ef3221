//! What tests tell `cargo xtask test`: Rust's test runner hides what a test prints that passes.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;

/// The environment variable with the path of the file to which tests add a line of figures. `cargo xtask test` sets it.
pub const FIGURES: &str = "BENNU_TEST_FIGURES";

/// Notes what the current test has measured, in one line. `cargo xtask test` shows it below its table.
///
/// # Panics
/// If the note can't be written.
pub fn note_figures(text: &str) {
    eprintln!("{text}");
    add_line(FIGURES, text);
}

/// Adds a line to the file of a variable, if there is one: the name of the current test, a tab, and a text.
pub(crate) fn add_line(variable: &str, text: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let Some(path) = env::var_os(variable) else { return };
    // Many tests write to this file at the same time. A short line is written in one piece.
    let file = OpenOptions::new().append(true).create(true).open(path);
    let written = file.and_then(|mut file| file.write_all(format!("{test}\t{text}\n").as_bytes()));
    written.unwrap_or_else(|error| panic!("a note of a test can't be written: {error}"));
}
