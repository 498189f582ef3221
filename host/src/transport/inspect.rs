//! `GET /api/inspect`: what runs here, for operators.
//!
//! It has no key yet, so it answers this machine alone: the peer is on a loopback address, nothing says that the request
//! was forwarded, and the `Host` names this machine (a page elsewhere that made its own name point here is refused).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// What can be shown of the host.
pub trait Overview: Send + Sync {
    /// As a JSON object.
    fn overview(&self) -> serde_json::Value;
}

pub(super) async fn inspect(
    State(overview): State<Arc<dyn Overview>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if !is_local(peer, &headers) {
        let answer = "this host shows itself over loopback only; ask on its own machine\n";
        return (StatusCode::FORBIDDEN, answer).into_response();
    }
    axum::Json(overview.overview()).into_response()
}

fn is_local(peer: SocketAddr, headers: &HeaderMap) -> bool {
    let is_forwarded = headers.keys().any(|name| name == header::FORWARDED || name.as_str().starts_with("x-forwarded"));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    peer.ip().to_canonical().is_loopback() && !is_forwarded && matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(peer: &str, headers: &[(&str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = header::HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            map.insert(name, value.parse().expect("a header value"));
        }
        is_local(peer.parse().expect("an address"), &map)
    }

    #[test]
    fn only_this_machine_is_answered() {
        assert!(asked("127.0.0.1:9", &[("host", "localhost:4000")]));
        assert!(asked("[::1]:9", &[("host", "[::1]:4000")]));
        assert!(!asked("192.0.2.1:9", &[("host", "localhost:4000")]));
        assert!(!asked("127.0.0.1:9", &[("host", "rebound.example:4000")]));
        assert!(!asked("127.0.0.1:9", &[("host", "localhost:4000"), ("x-forwarded-for", "192.0.2.1")]));
        assert!(!asked("127.0.0.1:9", &[]));
    }
}
