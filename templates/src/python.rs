//! What a project in Python has: a module that imports the SDK in `vendor/bennu`.

use super::archive::{File, below, file};
use super::project::common;

/// Adds the files of a template.
pub(crate) fn add(files: &mut Vec<File>, template: &str) {
    files.extend(common("python"));
    files.push(file(&format!("{template}/channels.py"), "src/channels.py"));
    files.push(file(&format!("{template}/test_channels.py"), "tests/test_channels.py"));
    files.extend(sdk("vendor/bennu/"));
}

/// The SDK with the contract, from which builds make the world of a plugin.
pub(crate) fn sdk(place: &str) -> Vec<File> {
    let mut files = below("sdk/python/", place);
    files.extend(below("wit/", &format!("{place}wit/")));
    files
}
