//! Static files: the pages that use the channels.

use std::path::PathBuf;

use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::Response;
use tower_http::services::ServeDir;
use tower_http::services::fs::ServeFileSystemResponseBody;

/// A directory served at the root.
pub struct StaticFiles(pub PathBuf);

impl StaticFiles {
    /// The service. Browsers ask each time whether a file has changed: the directory is there to be worked on.
    pub(super) fn service(
        self,
    ) -> impl tower_service::Service<
        axum::extract::Request,
        Response = Response<ServeFileSystemResponseBody>,
        Error = std::convert::Infallible,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static {
        tower_http::set_header::SetResponseHeader::overriding(
            ServeDir::new(self.0),
            CACHE_CONTROL,
            HeaderValue::from_static("no-cache"),
        )
    }
}
