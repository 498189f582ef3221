//! What a project in Go has: a module that takes the SDK from the folder `sdk/bennu`.

use super::GO_SDK_FOLDER;
use super::archive::{File, below, file};
use super::project::common;

/// Adds the files of a template.
pub(crate) fn add(files: &mut Vec<File>, template: &str) {
    files.extend(common("go").into_iter().map(manifest));
    files.push(file(&format!("{template}/{template}.go"), "main.go"));
    files.push(file(&format!("{template}/{template}_test.go"), "main_test.go"));
    files.extend(below("sdk/go/", &format!("{GO_SDK_FOLDER}/")));
}

/// Gives the manifest its name. In the templates it has another one, because a folder with a `go.mod` is a module there, too.
fn manifest(file: File) -> File {
    let path = if file.path == "go.mod.txt" { "go.mod".to_owned() } else { file.path };
    File { path, content: file.content }
}
