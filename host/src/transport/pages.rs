//! Pages into which HTML is inserted, while they are developed. A host that only serves doesn't use this.

use std::io;
use std::path::Path;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

/// The end of a page, before which HTML is inserted.
const END: &str = "</body>";

/// Whether a file is a page.
pub(super) fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "html" || extension == "htm")
}

/// Sends a whole page with the inserted HTML. Without an entity tag, a browser always asks for it again.
pub(super) async fn send(path: &Path, inserted: &str) -> io::Result<Response> {
    let page = tokio::fs::read(path).await?;
    Ok(([(CONTENT_TYPE, "text/html")], with(&page, inserted)).into_response())
}

/// Inserts HTML before the last `</body>`, or at the end. The page may have any encoding that contains ASCII.
fn with(page: &[u8], inserted: &str) -> Vec<u8> {
    let at = page.windows(END.len()).rposition(|window| window.eq_ignore_ascii_case(END.as_bytes()));
    let (before, after) = page.split_at(at.unwrap_or(page.len()));
    [before, inserted.as_bytes(), after].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_inserted_at_the_end_of_the_body() {
        let cases = [
            ("<body>a</body></html>", "<body>aX</body></html>"),
            ("<p></BODY></p></Body>\n", "<p></BODY></p>X</Body>\n"),
            ("<h1>a", "<h1>aX"),
            ("", "X"),
        ];
        for (page, expected) in cases {
            assert_eq!(String::from_utf8_lossy(&with(page.as_bytes(), "X")), expected);
        }
    }
}
