//! How clients reach the host: axum, and at each mount a WebSocket or a long poll for each of them.
//!
//! A transport moves bytes: it brings a socket's frames in and writes its outbox. What they mean is decided elsewhere. Who
//! may connect is judged in one place (`connect`), for every transport.

mod connect;
mod doorman;
mod files;
mod listen;
mod longpoll;
mod mount;
mod nothing;
mod params;
mod subprotocol;
mod websocket;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::any;

pub use doorman::{Doorman, TokenCheck, Verifier};
pub use files::StaticFiles;
pub use listen::listen;
pub use mount::{Gate, Mount, WireLimits};
pub use websocket::Reactors;

/// The routes: the mounts, further ones such as the API's, and static files behind them.
pub fn router(mounts: Vec<Arc<Mount>>, further: Router, files: Option<StaticFiles>) -> Router {
    let mut router = further;
    for mount in mounts {
        if mount.websocket {
            let path = format!("{}/websocket", mount.path);
            router = router.route(&path, any(websocket::connect).with_state(Arc::clone(&mount)));
        }
        if mount.longpoll {
            let path = format!("{}/longpoll", mount.path);
            router = router.route(&path, any(longpoll::answer).with_state(longpoll::Polls::new(&mount)));
        }
    }
    match files {
        Some(files) => {
            let pages = Router::new().fallback_service(files.service()).layer(from_fn(nothing::beside_pages));
            router.fallback_service(pages)
        }
        None => router.fallback(nothing::without_pages),
    }
}
