//! What a project in Rust has: a crate that depends on the SDK in `vendor/bennu`.

use super::archive::{File, below, file};
use super::project::common;

/// Adds the files of a template.
pub(crate) fn add(files: &mut Vec<File>, template: &str) {
    files.extend(common("rust"));
    files.push(file(&format!("{template}/lib.rs"), "src/lib.rs"));
    files.push(file(&format!("{template}/tests.rs"), "src/tests.rs"));
    files.extend(below("sdk/rust/", "vendor/bennu/"));
}
