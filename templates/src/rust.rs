//! What a project in Rust has: a crate that depends on the SDK in `vendor/bennu`.

use super::archive::{File, below, file};
use super::project::common;

/// The start of each package in a lock file.
const PACKAGE: &str = "\n[[package]]\n";

/// Adds the files of a template.
pub(crate) fn add(files: &mut Vec<File>, name: &str, template: &str) {
    let common = common("rust").into_iter();
    files.extend(common.map(|file| if file.path == "Cargo.lock" { with_own_package(&file, name) } else { file }));
    files.push(file(&format!("{template}/lib.rs"), "src/lib.rs"));
    files.push(file(&format!("{template}/tests.rs"), "src/tests.rs"));
    files.extend(below("sdk/rust/", "vendor/bennu/"));
}

/// Adds the project's own package to a lock file, whose packages are in the order of their names.
fn with_own_package(file: &File, name: &str) -> File {
    let text = String::from_utf8_lossy(&file.content);
    let own = format!("name = \"{name}\"\nversion = \"0.1.0\"\ndependencies = [\n \"bennu-guest\",\n \"serde\",\n]\n");
    let mut packages: Vec<&str> = text.split(PACKAGE).collect();
    let at = packages.iter().skip(1).position(|package| *package > own.as_str()).map_or(packages.len(), |at| at + 1);
    packages.insert(at, &own);
    File { path: file.path.clone(), content: packages.join(PACKAGE).into_bytes() }
}
