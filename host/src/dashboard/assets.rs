//! The files of the pages, which are a part of the executable.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($path:literal: $kind:expr,)*) => {
        /// All files of the folder `page`: the path, the content type and the content.
        const FILES: &[(&str, &str, &str)] = &[$(($path, $kind, include_str!(concat!("page/", $path))),)*];
    };
}

files! {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "app.mjs": SCRIPT,
    "actions.mjs": SCRIPT,
    "chart.mjs": SCRIPT,
    "connection.mjs": SCRIPT,
    "dom.mjs": SCRIPT,
    "format.mjs": SCRIPT,
    "requests.mjs": SCRIPT,
    "series.mjs": SCRIPT,
    "sign_in.mjs": SCRIPT,
    "pages/overview.mjs": SCRIPT,
    "pages/topics.mjs": SCRIPT,
    "pages/topic.mjs": SCRIPT,
    "pages/rooms.mjs": SCRIPT,
    "pages/plugins.mjs": SCRIPT,
    "pages/faults.mjs": SCRIPT,
    "pages/store.mjs": SCRIPT,
    "pages/playground.mjs": SCRIPT,
}

/// A file as it is served.
struct Asset {
    kind: &'static str,
    content: Vec<u8>,
    etag: String,
}

/// All files.
pub(super) struct Assets;

/// The files with their paths. They are made when the first one is asked for.
static ASSETS: LazyLock<Vec<(&'static str, Asset)>> = LazyLock::new(|| {
    let files = FILES.iter().map(|(path, kind, text)| (*path, Asset::new(kind, text.as_bytes().to_vec())));
    files.chain([("phoenix.mjs", Asset::new(SCRIPT, bennu_templates::phoenix_client()))]).collect()
});

impl Asset {
    fn new(kind: &'static str, content: Vec<u8>) -> Self {
        let mut etag = String::from("\"");
        for byte in &Sha256::digest(&content)[..16] {
            let _ = write!(etag, "{byte:02x}");
        }
        etag.push('"');
        Self { kind, content, etag }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let validation = [(header::ETAG, self.etag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
        let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
        if known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == self.etag)) {
            return (StatusCode::NOT_MODIFIED, validation).into_response();
        }
        (validation, [(header::CONTENT_TYPE, self.kind)], self.content.clone()).into_response()
    }
}

impl Assets {
    /// Returns the routes of the files. They need no session, because they show nothing of the host.
    pub(super) fn router() -> Router {
        let paths = FILES.iter().map(|(path, ..)| *path).chain(["phoenix.mjs"]);
        paths.fold(Router::new(), |router, path| {
            let answer = move |headers: HeaderMap| async move {
                let found = ASSETS.iter().find(|(known, _)| *known == path);
                found.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |(_, asset)| asset.answer(&headers))
            };
            // A request for `/dashboard/` is routed as one for `/dashboard`. So the page names its files by absolute paths.
            let place = if path == "index.html" { String::new() } else { format!("/{path}") };
            router.route(&format!("/dashboard{place}"), get(answer))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Otherwise a module would be missing in the executable only.
    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dashboard/page");
        let mut found = Vec::new();
        for (below, place) in [("", folder.clone()), ("pages/", folder.join("pages"))] {
            for file in fs::read_dir(place).expect("the folder").map(|file| file.expect("a file")) {
                if file.path().is_file() {
                    found.push(format!("{below}{}", file.file_name().to_string_lossy()));
                }
            }
        }
        let mut listed: Vec<_> = FILES.iter().map(|(path, ..)| (*path).to_owned()).collect();
        found.sort();
        listed.sort();
        assert_eq!(listed, found);
    }

    #[test]
    fn pages_have_no_inline_script_and_make_no_markup_of_text() {
        let page = FILES.iter().find(|(path, ..)| *path == "index.html").map(|(.., text)| *text).expect("the page");
        assert!(!page.contains("style=") && !page.contains("<style") && !page.contains(" on"), "{page}");
        for (path, _, text) in FILES {
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://"] {
                let is_name =
                    forbidden == "http://" && text.replace("http://www.w3.org/", "").find(forbidden).is_none();
                assert!(is_name || !text.contains(forbidden), "{path} has {forbidden}");
            }
        }
    }
}
