//! Answers for paths without a page: a sentence that says what this server is, instead of an empty 404.

use axum::body::HttpBody;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// For the root of a host without pages.
const ROOT: &str = "This is a Bennu host: it serves channels, and has no pages.

Clients connect at a mount, which is /socket unless the configuration says otherwise: new Socket(\"/socket\") in phoenix.js.
To serve pages too, start the host with `bennu serve --static DIR`.
";

/// For other paths of a host without pages.
const ELSEWHERE: &str = "There is nothing at this address. This is a Bennu host, which serves channels and has no pages.

A client connects at /PATH/websocket or /PATH/longpoll, where /PATH is a mount. phoenix.js does so for new Socket(\"/PATH\").
";

/// For the root of a host with pages.
const NO_INDEX: &str = "There is no page at this address: the directory of pages has no index.html.
";

/// For other paths of a host with pages.
const NO_PAGE: &str = "There is no page at this address.
";

/// Returns the answer of a host without pages.
pub(super) fn without_pages(path: &str) -> Response {
    match path {
        "/" => ROOT.into_response(),
        _ => (StatusCode::NOT_FOUND, ELSEWHERE).into_response(),
    }
}

/// Adds a text to an empty 404 answer of the static files. Other answers are returned unchanged.
pub(super) fn beside_pages(path: &str, answer: Response) -> Response {
    let is_mute = answer.status() == StatusCode::NOT_FOUND && HttpBody::size_hint(answer.body()).exact() == Some(0);
    if !is_mute {
        return answer;
    }
    let (mut parts, _) = answer.into_parts();
    let text = if path == "/" { NO_INDEX } else { NO_PAGE }.into_response();
    // The headers for the empty body are replaced by those for the text.
    parts.headers.extend(text.headers().clone());
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    Response::from_parts(parts, text.into_body())
}
