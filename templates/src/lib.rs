//! The files that `bennu new`, `bennu wit` and `bennu types` write: templates of projects, the SDKs as source, and the contract. Also the
//! documentation, which `bennu docs` prints.
//!
//! The build script puts them into the program, so these commands need no network. The crate has no I/O: it returns the files.
//!
//! To add a language, add a variant to [`Language`], a file like `typescript.rs` that lists what its projects have, and
//! the language's sources of each template in `files/TEMPLATE`.

mod archive;
mod golang;
mod project;
mod python;
mod rust;
mod typescript;

pub use archive::{File, PACKAGED};
pub use project::{Language, Name, Template, project};

/// Returns the official Phoenix client, as a module for browsers.
#[must_use]
pub fn phoenix_client() -> Vec<u8> {
    archive::file("page/phoenix.mjs", "").content
}

/// Returns the names of the pages of the documentation.
pub fn page_names() -> impl Iterator<Item = &'static str> {
    archive::PAGES.lines()
}

/// Returns the pages of the documentation, in the order of their names. The path of a page is its name with `.md`.
#[must_use]
pub fn pages() -> Vec<File> {
    archive::docs()
}

/// Returns the contract: the files of `wit/`.
#[must_use]
pub fn contract() -> Vec<File> {
    archive::below("wit/", "")
}

/// The folder of the SDK in a project, relative to the project's folder.
pub const SDK_FOLDER: &str = "vendor/bennu";

/// Returns the SDK in TypeScript with its test kit, for the folder [`SDK_FOLDER`].
#[must_use]
pub fn typescript_sdk() -> Vec<File> {
    archive::below("sdk/typescript/", "")
}

/// Returns the crates of the SDK in Rust with its test kit, for the folder [`SDK_FOLDER`].
#[must_use]
pub fn rust_sdk() -> Vec<File> {
    archive::below("sdk/rust/", "")
}

/// The folder of the SDK in a project in Go. Go itself uses the folder `vendor`, for another purpose.
pub const GO_SDK_FOLDER: &str = "sdk/bennu";

/// Returns the SDK in Go with its test kit, for the folder [`GO_SDK_FOLDER`].
#[must_use]
pub fn go_sdk() -> Vec<File> {
    archive::below("sdk/go/", "")
}

/// Returns the SDK in Python with its test kit and the contract, for the folder [`SDK_FOLDER`].
#[must_use]
pub fn python_sdk() -> Vec<File> {
    python::sdk("")
}

/// Returns a `tsconfig.json` with which editors find the SDK in [`SDK_FOLDER`]. It covers all files except those of tests.
#[must_use]
pub fn editor_settings() -> File {
    let mut file = archive::file("typescript/tsconfig.json", "tsconfig.json");
    let text = String::from_utf8_lossy(&file.content)
        .replace(r#""include": ["plugins", "#, r#""include": ["*.ts", "*.js", "plugins", "#);
    file.content = text.into_bytes();
    file
}
