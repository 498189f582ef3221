//! What is answered where there is no page: a sentence that says what this is, instead of an empty 404.

use axum::body::HttpBody;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// Of a host, at its root.
const ROOT: &str = "This is a Bennu host: it serves channels, and has no pages.

Clients connect at a mount, which is /socket unless the configuration says otherwise: new Socket(\"/socket\") in phoenix.js.
To serve pages beside it, start it with `bennu serve --static DIR`.
";

/// Of a host without pages, elsewhere.
const ELSEWHERE: &str = "There is nothing at this address. This is a Bennu host, which serves channels and has no pages.

A client of channels connects at /PATH/websocket or /PATH/longpoll of a mount, as phoenix.js does for new Socket(\"/PATH\").
";

/// Of a host with pages, at its root.
const NO_INDEX: &str = "There is no page at this address: the directory of pages has no index.html.
";

/// Of a host with pages, elsewhere.
const NO_PAGE: &str = "There is no page at this address.
";

/// The answer of a host without pages.
pub(super) fn without_pages(path: &str) -> Response {
    match path {
        "/" => ROOT.into_response(),
        _ => (StatusCode::NOT_FOUND, ELSEWHERE).into_response(),
    }
}

/// Says more where a file isn't there. An answer that says something already is left as it is.
pub(super) fn beside_pages(path: &str, answer: Response) -> Response {
    let is_mute = answer.status() == StatusCode::NOT_FOUND && HttpBody::size_hint(answer.body()).exact() == Some(0);
    if !is_mute {
        return answer;
    }
    let (mut parts, _) = answer.into_parts();
    let said = if path == "/" { NO_INDEX } else { NO_PAGE }.into_response();
    // Not the length and the type of what was empty.
    parts.headers.extend(said.headers().clone());
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    Response::from_parts(parts, said.into_body())
}
