//! The routes that only `bennu dev` has: the events of the board, the script that shows them on each page, and a page for a project
//! without one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use bennu::transport::Intake;
use futures_util::{Stream, StreamExt, stream};

use super::board::Board;

/// The HTML that is inserted into each page.
pub(super) const INSERTED: &str = "<script src=\"/__bennu/dev.js\"></script>";

/// The script that shows the board above a page.
const OVERLAY: &str = include_str!("overlay.js");

/// The page of a project that has none.
const PAGE: &str = include_str!("page.html");

/// How often a comment is sent, so that no proxy ends the stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The routes of a host with this intake. With `has_pages`, the project has its own start page.
pub(super) fn routes(board: Arc<Board>, intake: Intake, has_pages: bool) -> Router {
    let routes = Router::new()
        .route("/__bennu/events", get(events))
        .route("/__bennu/dev.js", get(overlay))
        .with_state((board, intake));
    if has_pages { routes } else { routes.route("/", get(|| async { Html(PAGE) })) }
}

async fn overlay() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8"), (CACHE_CONTROL, "no-cache")], OVERLAY)
}

/// Sends the whole state at once, and after each change. Changes in quick succession are sent together.
async fn events(
    State((board, intake)): State<(Arc<Board>, Intake)>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut receiver = board.watch();
    receiver.mark_changed();
    let states = stream::unfold(receiver, |mut receiver| async move {
        receiver.changed().await.ok()?;
        let shown = receiver.borrow_and_update().clone();
        // The state has nothing that JSON can't express.
        let event = Event::default().json_data(shown).ok()?;
        Some((Ok(event), receiver))
    });
    // A host that stops waits for its answers.
    let ends = async move { intake.closed().await };
    Sse::new(states.take_until(ends)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
