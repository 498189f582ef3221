//! Static files: the pages that use the channels.
//!
//! This module decides which names may be requested, which file belongs to a path, and whether the client already has the
//! file. tower-http sends it. Names that begin with a dot, links out of the directory, and all but regular files are
//! answered with 404.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED, LOCATION, RANGE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tower_http::services::ServeFile;

use super::pages;
use super::request::AskedUri;
use super::tags::Tags;

/// The file that is served for a directory.
const INDEX: &str = "index.html";

/// The only allowed name that begins with a dot, and only at the root (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// The characters of a name in a `Location` that are encoded: all except alphanumeric ones and `-_.~`.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A directory served at the root.
pub struct StaticFiles {
    directory: PathBuf,
    /// HTML that is inserted into each page; none on a host that serves the files as they are.
    pub inserted: Option<&'static str>,
}

/// The service for a directory.
#[derive(Clone)]
pub(super) struct Files {
    root: Arc<Path>,
    tags: Arc<Tags>,
    inserted: Option<&'static str>,
}

/// The result of looking up a path.
enum Found {
    /// A file, with its entity tag.
    File(PathBuf, HeaderValue),
    /// A directory without its final slash. The client is redirected to this path.
    At(String),
    Nothing,
}

impl StaticFiles {
    /// The files of a directory, as they are.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, inserted: None }
    }

    pub(super) fn service(self) -> Files {
        Files { root: self.directory.into(), tags: Arc::default(), inserted: self.inserted }
    }
}

impl Files {
    /// Answers a request.
    pub(super) async fn answer(&self, request: Request<Body>) -> Response {
        let (parts, _) = request.into_parts();
        let mut answer = self.find_and_send(parts).await;
        // With this header, browsers ask each time whether a file has changed, because developers edit the directory.
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answer
    }

    async fn find_and_send(&self, parts: Parts) -> Response {
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET,HEAD")]).into_response();
        }
        let path = AskedUri::of(&parts).path();
        let Some(names) = names(path) else { return StatusCode::NOT_FOUND.into_response() };
        let (files, is_directory) = (self.clone(), path.ends_with('/'));
        let found = tokio::task::spawn_blocking(move || files.find(&names, is_directory)).await;
        match found {
            Ok(Ok(Found::File(path, tag))) => match self.inserted.filter(|_| pages::is_page(&path)) {
                Some(inserted) => pages::send(&path, inserted).await.unwrap_or_else(|error| failed(&error)),
                None => send(&path, &tag, parts).await,
            },
            Ok(Ok(Found::At(path))) => {
                let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
                (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, format!("{path}{query}"))]).into_response()
            }
            Ok(Ok(Found::Nothing)) => StatusCode::NOT_FOUND.into_response(),
            Ok(Err(error)) => failed(&error),
            Err(error) => failed(&error.into()),
        }
    }

    /// Finds the file for the names of a path. A path to a directory must end with a slash. Without it, relative links of
    /// its page would be resolved against the parent directory.
    ///
    /// # Errors
    /// If the file system fails, except for errors that mean that the file isn't there.
    fn find(&self, names: &[String], is_directory: bool) -> std::io::Result<Found> {
        // The root is resolved for each request, because it may be a link that is changed to another directory.
        let root = self.root.canonicalize()?;
        let below = |path: &Path| match path.canonicalize() {
            Ok(path) => Ok(Some(path).filter(|path| path.starts_with(&root))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        };
        let mut path = root.clone();
        path.extend(names);
        let Some(mut path) = below(&path)? else { return Ok(Found::Nothing) };
        if path.is_dir() {
            let Some(index) = below(&path.join(INDEX))? else { return Ok(Found::Nothing) };
            if !is_directory && !names.is_empty() {
                let encoded = names.iter().map(|name| utf8_percent_encode(name, PLAIN).to_string());
                return Ok(Found::At(format!("/{}/", encoded.collect::<Vec<_>>().join("/"))));
            }
            path = index;
        }
        match self.tags.of(&path) {
            Ok(Some(tag)) => Ok(Found::File(path, tag)),
            Ok(None) => Ok(Found::Nothing),
            Err(error) if is_absent(&error) => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }
}

/// Returns the decoded names of a path, without the empty ones. Returns none if a name can't be that of a served file: it
/// isn't UTF-8, it begins with a dot (hidden files, and `..`), or it contains a path separator or a zero byte.
fn names(path: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let name = percent_decode_str(segment).decode_utf8().ok()?;
        let is_well_known = names.is_empty() && name == WELL_KNOWN;
        if (name.starts_with('.') && !is_well_known) || name.contains(['/', '\\', '\0']) {
            return None;
        }
        names.push(name.into_owned());
    }
    Some(names)
}

/// Whether an error is answered with 404, as if the file didn't exist.
fn is_absent(error: &std::io::Error) -> bool {
    use ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound, PermissionDenied};
    let is_loop = rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::LOOP);
    is_loop || matches!(error.kind(), NotFound | NotADirectory | PermissionDenied | InvalidInput | InvalidFilename)
}

fn failed(error: &std::io::Error) -> Response {
    tracing::warn!("a static file can't be read: {error}");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

/// Sends a file, a range of it, or only a status if the client's conditions say so.
async fn send(path: &Path, tag: &HeaderValue, mut parts: Parts) -> Response {
    let headers = &mut parts.headers;
    if headers.contains_key(IF_MATCH) && !lists(headers, &IF_MATCH, tag) {
        return (StatusCode::PRECONDITION_FAILED, [(ETAG, tag)]).into_response();
    }
    if lists(headers, &IF_NONE_MATCH, tag) {
        return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
    }
    // Answers have no `Last-Modified`, because one second is too coarse. So conditions with times are ignored.
    headers.remove(IF_MODIFIED_SINCE);
    headers.remove(IF_UNMODIFIED_SINCE);
    let is_of_another = headers.get(IF_RANGE).is_some_and(|known| known != tag);
    match headers.get(RANGE).and_then(one_range).filter(|_| !is_of_another) {
        Some(range) => drop(headers.insert(RANGE, range)),
        // A server may always ignore `Range` and send the whole file.
        None => drop(headers.remove(RANGE)),
    }
    let sent = ServeFile::new(path).try_call(Request::from_parts(parts, Body::empty())).await;
    match sent {
        Ok(mut answer) => {
            answer.headers_mut().remove(LAST_MODIFIED);
            if answer.status().is_success() {
                answer.headers_mut().insert(ETAG, tag.clone());
            }
            answer.map(Body::new)
        }
        Err(error) => failed(&error),
    }
}

/// Whether a list of entity tags contains this one, or `*`, which matches any. A weak tag counts too, because the content is
/// the same.
fn lists(headers: &HeaderMap, name: &HeaderName, tag: &HeaderValue) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut listed = values.flat_map(|value| value.split(',')).map(str::trim);
    listed.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known).as_bytes() == tag.as_bytes())
}

/// Returns a `Range` header for one range of bytes, with its unit in lower case. The unit is case-insensitive (RFC 9110,
/// 14.1). Returns none for other units and for several ranges.
fn one_range(range: &HeaderValue) -> Option<HeaderValue> {
    let (unit, ranges) = range.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return None;
    }
    HeaderValue::from_str(&format!("bytes={}", ranges.trim())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_served_file_may_have_are_accepted() {
        let found = |path| names(path).map(|names| names.join("|"));
        let good = [
            ("/", ""),
            ("//a//b.js/", "a|b.js"),
            ("/a%20b/%C3%A9", "a b|é"),
            ("/.well-known/acme", ".well-known|acme"),
        ];
        for (path, expected) in good {
            assert_eq!(found(path).as_deref(), Some(expected), "{path}");
        }
        let bad = [
            "/..",
            "/a/../b",
            "/./a",
            "/%2e%2e/a",
            "/a%2fb",
            "/a%5Cb",
            "/a%00",
            "/%ff",
            "/.git/config",
            "/a/.env",
            "/%2egit",
            "/a/.well-known/b",
            "/.well-known/.git",
            "/..a..",
            "/\\a",
        ];
        for path in bad {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn one_range_of_bytes_is_served_and_others_are_ignored() {
        let read = |range: &'static str| one_range(&HeaderValue::from_static(range));
        assert_eq!(read("Bytes=0-1"), Some(HeaderValue::from_static("bytes=0-1")));
        for other in ["bytes=0-1,3-4", "lines=0-1", "bytes", ""] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn a_tag_is_found_in_any_of_the_lists() {
        let mut headers = HeaderMap::new();
        headers.append(IF_NONE_MATCH, HeaderValue::from_static("\"a\", W/\"b\""));
        headers.append(IF_NONE_MATCH, HeaderValue::from_static("\"c\""));
        let has = |tag: &'static str| lists(&headers, &IF_NONE_MATCH, &HeaderValue::from_static(tag));
        assert!(has("\"a\"") && has("\"b\"") && has("\"c\"") && !has("\"d\""));
    }
}
