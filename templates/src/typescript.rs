//! What a project in TypeScript or JavaScript has. The host serves its plugin as source, so it needs no build.

use super::Language;
use super::archive::{File, below, file};
use super::project::common;

/// Adds the files of a template.
pub(crate) fn add(files: &mut Vec<File>, language: Language, template: &str) {
    let ending = if language == Language::JavaScript { "js" } else { "ts" };
    files.extend(common("typescript").into_iter().map(|file| renamed(file, ending)));
    files.push(file(&format!("{template}/{template}.ts"), &format!("plugins/{{{{name}}}}.{ending}")));
    let test = renamed(file(&format!("{template}/{template}.test.ts"), "tests/{{name}}.test.ts"), ending);
    files.push(test);
    files.extend(below("sdk/typescript/", "vendor/bennu/"));
}

/// Puts the ending of the language into a file. The templates have that of TypeScript.
fn renamed(file: File, ending: &str) -> File {
    if ending == "ts" {
        return file;
    }
    let text =
        String::from_utf8_lossy(&file.content).replace("{{name}}.ts", "{{name}}.js").replace(".test.ts", ".test.js");
    let path = file.path.replace(".test.ts", ".test.js");
    File { path, content: text.into_bytes() }
}
