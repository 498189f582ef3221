//! A new project: its name, its language, its template, and its files.

use std::fmt;

use super::GO_SDK_FOLDER;
use super::archive::{self, File, file};
use super::{golang, python, rust, typescript};

/// The language of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// TypeScript, which the host serves as source.
    TypeScript,
    /// JavaScript, which the host serves as source.
    JavaScript,
    /// Rust, which is compiled to WebAssembly.
    Rust,
    /// Go, which is compiled to WebAssembly.
    Go,
    /// Python, which is compiled to WebAssembly with its interpreter.
    Python,
}

/// What a project begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// Messages and presences.
    Chat,
    /// A state that all members of a topic share.
    Room,
    /// Ticks and seats.
    Game,
    /// A topic for each user, messages from other programs, and stored data.
    Notifications,
}

impl Template {
    /// All templates.
    pub const ALL: [Self; 4] = [Self::Chat, Self::Room, Self::Game, Self::Notifications];

    /// Returns the template's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Room => "room",
            Self::Game => "game",
            Self::Notifications => "notifications",
        }
    }

    /// Whether its page shows a published state.
    fn publishes(self) -> bool {
        matches!(self, Self::Room | Self::Game)
    }
}

/// The name of a project: of its folder, its plugin and its package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// The maximum length of a name.
const NAME_CHARS_MAX: usize = 64;

impl Name {
    /// Checks a name. It begins with a letter, and has lower-case letters, digits, `-` and `_`, so that it can be the name of a
    /// file, of a crate and of an npm package.
    ///
    /// # Errors
    /// Returns a sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if text.len() > NAME_CHARS_MAX {
            return Err(format!("a name has at most {NAME_CHARS_MAX} characters"));
        }
        if !text.starts_with(|c: char| c.is_ascii_lowercase()) || !text.chars().all(is_allowed) {
            return Err(format!(
                "`{text}` can't be a name: use lower-case letters, digits, `-` and `_`, and begin with a letter"
            ));
        }
        match RESERVED.iter().find(|(name, _)| *name == text) {
            Some((_, why)) => Err(format!("`{text}` can't be a name, because {why}; choose another one")),
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// Names that a project can't have, and why.
const RESERVED: [(&str, &str); 5] = [
    ("bennu", "it is the name of the SDK"),
    ("cmd", "Go has a module of this name"),
    ("core", "Rust has a crate of this name"),
    ("std", "Rust has a crate of this name"),
    ("test", "Rust has a crate of this name"),
];

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text in templates that stands for the name of the project.
const NAME: &str = "{{name}}";

/// The text in templates that stands for the path of the channel's source.
const SOURCE: &str = "{{source}}";

/// Returns the files of a new project. Those in JavaScript are in TypeScript here: whoever can parse TypeScript removes the types.
#[must_use]
pub fn project(name: &Name, language: Language, template: Template) -> Vec<File> {
    let folder = template.name();
    let mut files = vec![
        file(&format!("{folder}/index.html"), "public/index.html"),
        file(&format!("{folder}/app.js"), "public/app.js"),
        file("page/style.css", "public/style.css"),
        file("page/phoenix.mjs", "public/phoenix.mjs"),
        file(&format!("{folder}/{folder}.script"), "tests/{{name}}.script"),
    ];
    if template.publishes() {
        files.push(file("page/room_state.mjs", "public/room_state.mjs"));
    }
    let source = match language {
        Language::TypeScript => "plugins/{{name}}.ts",
        Language::JavaScript => "plugins/{{name}}.js",
        Language::Rust => "src/lib.rs",
        Language::Go => "main.go",
        Language::Python => "src/channels.py",
    };
    match language {
        Language::TypeScript | Language::JavaScript => typescript::add(&mut files, language, folder),
        Language::Rust => rust::add(&mut files, &name.0, folder),
        Language::Go => golang::add(&mut files, folder),
        Language::Python => python::add(&mut files, folder),
    }
    for file in &mut files {
        if file.path == "README.md" {
            let beginning = archive::file(&format!("{folder}/README.md"), "").content;
            file.content.splice(0..0, beginning);
        }
    }
    files.into_iter().map(|file| named(file, name, source)).collect()
}

/// Puts the name of the project, and the path of its source, into a file and its path.
fn named(file: File, name: &Name, source: &str) -> File {
    let File { path, content } = file;
    let is_own = !path.starts_with("vendor/") && !path.starts_with(GO_SDK_FOLDER) && !path.ends_with(".mjs");
    let content = match String::from_utf8(content) {
        Ok(text) if is_own => text.replace(SOURCE, source).replace(NAME, &name.0).into_bytes(),
        Ok(text) => text.into_bytes(),
        Err(error) => error.into_bytes(),
    };
    File { path: path.replace(NAME, &name.0), content }
}

/// The files that all projects in a language have. Some have another name in the templates, so that they mean nothing there.
pub(crate) fn common(language: &str) -> Vec<File> {
    let renamed = |path: String| match path.as_str() {
        "gitignore" => ".gitignore".to_owned(),
        "commands.md" => "README.md".to_owned(),
        _ => path,
    };
    let files = archive::below(&format!("{language}/"), "").into_iter();
    files.map(|file| File { path: renamed(file.path), content: file.content }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_that_of_a_file_a_crate_and_a_package() {
        for name in ["chat", "my-chat", "chat_2", &"a".repeat(NAME_CHARS_MAX)] {
            assert!(Name::parse(name).is_ok(), "{name}");
        }
        let long = "a".repeat(NAME_CHARS_MAX + 1);
        for name in ["", "Chat", "2chat", "-chat", "my chat", "../chat", "chät", "a.b", "bennu", "test", &long] {
            assert!(Name::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn every_project_is_complete() {
        let name = Name::parse("my-app").unwrap_or_else(|why| panic!("{why}"));
        for language in [Language::TypeScript, Language::JavaScript, Language::Rust, Language::Go, Language::Python] {
            for template in Template::ALL {
                let files = project(&name, language, template);
                let has = |path: &str| files.iter().any(|file| file.path == path);
                for path in [
                    "bennu.toml",
                    ".gitignore",
                    "README.md",
                    "public/index.html",
                    "public/phoenix.mjs",
                    "tests/my-app.script",
                ] {
                    assert!(has(path), "{language:?} {template:?} has no {path}");
                }
                for file in files
                    .iter()
                    .filter(|file| !file.path.starts_with("vendor/") && !file.path.starts_with(GO_SDK_FOLDER))
                {
                    let text = String::from_utf8_lossy(&file.content);
                    let is_filled = !text.contains(NAME) && !text.contains(SOURCE) && !file.path.contains("{{");
                    assert!(is_filled, "{}", file.path);
                }
                let mut paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
                paths.sort_unstable();
                let all = paths.len();
                paths.dedup();
                assert_eq!(paths.len(), all, "{language:?} {template:?} has a file twice");
            }
        }
    }
}
