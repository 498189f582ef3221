//! The files that the build script has collected.

use std::io::Read as _;
use std::sync::LazyLock;

use flate2::read::DeflateDecoder;

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The path, relative to the folder that is written, with `/`.
    pub path: String,
    /// The content.
    pub content: Vec<u8>,
}

/// The archive of templates and SDKs, compressed.
static ARCHIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/files.deflate"));

/// The archive of the documentation, compressed. A host reads the other one at its start, and keeps it in its memory.
static DOCS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/docs.deflate"));

/// The names of the pages of the documentation, each in a line.
pub(crate) static PAGES: &str = include_str!(concat!(env!("OUT_DIR"), "/pages.txt"));

/// The files that a package of this crate needs in its directory `packaged`: their names and contents.
pub static PACKAGED: [(&str, &[u8]); 3] =
    [("files.deflate", ARCHIVE), ("docs.deflate", DOCS), ("pages.txt", PAGES.as_bytes())];

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| unpacked(ARCHIVE));

/// Returns the pages of the documentation.
pub(crate) fn docs() -> Vec<File> {
    unpacked(DOCS)
}

fn unpacked(archive: &[u8]) -> Vec<File> {
    let mut unpacked = Vec::new();
    DeflateDecoder::new(archive).read_to_end(&mut unpacked).expect("the build script has compressed it");
    split(&unpacked)
}

/// Reads an archive: for each file a line `LENGTH PATH`, and then its content.
fn split(mut archive: &[u8]) -> Vec<File> {
    let mut files = Vec::new();
    while let Some(end) = archive.iter().position(|byte| *byte == b'\n') {
        let head = String::from_utf8_lossy(&archive[..end]);
        let (length, path) = head.split_once(' ').unwrap_or_default();
        let (content, rest) = archive[end + 1..].split_at(length.parse().unwrap_or_default());
        files.push(File { path: path.to_owned(), content: content.to_vec() });
        archive = rest;
    }
    files
}

/// Returns the files whose paths begin with `prefix`. Their new paths begin with `place` instead.
pub(crate) fn below(prefix: &str, place: &str) -> Vec<File> {
    let files = FILES.iter().filter_map(|file| {
        let path = format!("{place}{}", file.path.strip_prefix(prefix)?);
        Some(File { path, content: file.content.clone() })
    });
    files.collect()
}

/// Returns a file under another path. The build fails its tests if there is no such file.
pub(crate) fn file(from: &str, path: &str) -> File {
    let found = FILES.iter().find(|file| file.path == from).unwrap_or_else(|| panic!("there is no file {from}"));
    File { path: path.to_owned(), content: found.content.clone() }
}
