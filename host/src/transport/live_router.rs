//! The router of a host: the mounts, further routes such as those of the API, and static files as the fallback. The mounts can be
//! replaced while the host serves.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::http::header::SEC_WEBSOCKET_KEY;
use axum::response::Response;
use axum::routing::any;

use super::connect::origin_of;
use super::files::Files;
use super::longpoll::{self, Polls};
use super::mount::Mount;
use super::{StaticFiles, nothing, websocket};
use crate::socket::{Client, Reason, Tally};

/// A router that answers each request with the mounts of that moment.
pub struct LiveRouter {
    now: ArcSwap<Router>,
    further: Router,
    elsewhere: Arc<Elsewhere>,
    /// The long-poll sessions of each mount, by its path. They stay when the mount is replaced. The mutex is held only while
    /// the mounts are replaced.
    polls: Mutex<HashMap<String, Arc<Polls>>>,
}

impl LiveRouter {
    /// Makes a router of mounts, further routes and static files.
    #[must_use]
    pub fn new(mounts: Vec<Arc<Mount>>, further: Router, files: Option<StaticFiles>, tally: Arc<Tally>) -> Arc<Self> {
        let elsewhere = Arc::new(Elsewhere { files: files.map(StaticFiles::service), tally });
        let router = Self { now: ArcSwap::default(), further, elsewhere, polls: Mutex::default() };
        router.replace(mounts);
        Arc::new(router)
    }

    /// Makes a router that is never replaced.
    #[must_use]
    pub fn fixed(router: Router) -> Arc<Self> {
        let elsewhere = Arc::new(Elsewhere { files: None, tally: Arc::default() });
        let now = ArcSwap::from_pointee(router);
        Arc::new(Self { now, further: Router::new(), elsewhere, polls: Mutex::default() })
    }

    /// Replaces the mounts. Connections over WebSocket keep the settings with which they began. Sessions over long-poll stay, if
    /// their mount is still there.
    pub fn replace(&self, mounts: Vec<Arc<Mount>>) {
        let mut known = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *known);
        let mut router = self.further.clone();
        for mount in mounts {
            if mount.websocket {
                let path = format!("{}/websocket", mount.path);
                router = router.route(&path, any(websocket::connect).with_state(websocket::MountState::new(&mount)));
            }
            if mount.longpoll {
                let path = format!("{}/longpoll", mount.path);
                let polls = match before.get(&mount.path) {
                    Some(polls) => {
                        polls.replace(&mount);
                        Arc::clone(polls)
                    }
                    None => Polls::new(&mount),
                };
                known.insert(mount.path.clone(), Arc::clone(&polls));
                router = router.route(&path, any(longpoll::answer).with_state(polls));
            }
        }
        let router = router.fallback_service(any(elsewhere).with_state(Arc::clone(&self.elsewhere)));
        self.now.store(Arc::new(router));
    }

    /// Returns the router of this moment, for one request.
    pub(super) fn now(&self) -> Router {
        Router::clone(&self.now.load())
    }
}

/// The state of the fallback, for paths without a route.
struct Elsewhere {
    files: Option<Files>,
    tally: Arc<Tally>,
}

/// Answers requests to paths without a route.
async fn elsewhere(
    State(elsewhere): State<Arc<Elsewhere>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (uri, headers) = (request.uri().clone(), request.headers());
    let connects = headers.contains_key(SEC_WEBSOCKET_KEY) || is_transport(uri.path());
    let origin = if connects { origin_of(headers).map(Cow::into_owned) } else { None };
    let answer = match &elsewhere.files {
        Some(files) => nothing::beside_pages(uri.path(), files.answer(request).await),
        None => nothing::without_pages(uri.path()),
    };
    if connects && answer.status() == StatusCode::NOT_FOUND {
        let client = Client { peer: Some(peer), mount: uri.path(), origin: origin.as_deref() };
        elsewhere.tally.note(Reason::UnknownMount, &client);
    }
    answer
}

/// Whether a path looks like that of a transport.
fn is_transport(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|last| last == "websocket" || last == "longpoll")
}
