//! The long-poll transport: a client polls repeatedly, and the answers contain the frames for it.
//!
//! A GET without a token begins a session, and its answer has the session's token. Every further GET waits for frames. A
//! POST brings messages. Its answer never has the replies to them. Most answers have the HTTP status 200, and the outcome is
//! in the JSON body, as in Phoenix (`Phoenix.Transports.LongPoll`).

mod answer;
mod body;
mod poll_queue;
mod session;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Extension, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use dashmap::DashMap;

use self::answer::{Answer, options};
#[cfg(any(test, fuzzing))]
pub(super) use self::body::read as read_body;
use self::body::{Unreadable, read};
use self::session::{Session, Unposted};
use super::authenticator::Rejection;
use super::connect::{POLL_TOKEN, Transport, origin_of};
use super::mount::Mount;
use super::params;
use super::stream::Receipts;
use crate::counts::Limit;
use crate::socket::{Client, Reason};
use crate::timing::within;

/// The most bytes of the body of a POST, as with Bandit.
const BODY_BYTES_MAX: usize = 8_000_000;

/// The random bytes of a session's token: so many that a token can't be guessed.
const TOKEN_BYTES: usize = 24;

/// The sessions of a mount, by their tokens.
pub(super) struct Polls {
    mount: ArcSwap<Mount>,
    sessions: DashMap<String, Session>,
}

impl Polls {
    pub(super) fn new(mount: &Arc<Mount>) -> Arc<Self> {
        Arc::new(Self { mount: ArcSwap::new(Arc::clone(mount)), sessions: DashMap::new() })
    }

    /// Replaces the mount. Further requests use its settings, also those of sessions that exist.
    pub(super) fn replace(&self, mount: &Arc<Mount>) {
        self.mount.store(Arc::clone(mount));
    }

    fn session(&self, token: &str) -> Option<Session> {
        self.sessions.get(token).map(|session| session.clone())
    }
}

/// A session's entry in the map. It is removed when this is dropped, so also if the session's task panics.
struct ListedSession {
    polls: Arc<Polls>,
    token: String,
}

impl Drop for ListedSession {
    fn drop(&mut self) {
        self.polls.sessions.remove(&self.token);
    }
}

/// Answers a request.
pub(super) async fn answer(
    State(polls): State<Arc<Polls>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(receipts): Extension<Arc<Receipts>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    match parts.method {
        Method::GET => poll(&polls, &parts, peer, &receipts).await,
        Method::POST => post(&polls, &parts, body).await,
        Method::OPTIONS => options(&parts.headers),
        _ => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// Handles a POST: messages for its session. Without a session, the body isn't read. For one session, only one body is read
/// at a time, so that its messages stay in order and take little memory.
async fn post(polls: &Polls, parts: &Parts, body: Body) -> Response {
    let Some(session) = token(parts).and_then(|token| polls.session(&token)) else {
        return Answer::of(410).into_response();
    };
    let _turn = session.turn().await;
    let limits = polls.mount.load().limits;
    let body: Bytes = match within(limits.idle, to_bytes(body, BODY_BYTES_MAX)).await {
        Some(Ok(body)) => body,
        Some(Err(_)) => {
            Limit::LongpollBody.hit();
            return StatusCode::BAD_REQUEST.into_response();
        }
        None => {
            Limit::IdleMs.hit();
            return StatusCode::REQUEST_TIMEOUT.into_response();
        }
    };
    let content_type = parts.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    match read(&body, content_type, limits.frame_bytes) {
        Ok(frames) => match session.post(frames).await {
            Ok(()) => Answer::of(200).into_response(),
            Err(Unposted::Gone) => Answer::of(410).into_response(),
            Err(Unposted::NotTaken) => Answer::of(408).into_response(),
        },
        Err(Unreadable::TooLarge) => {
            Limit::FrameBytes.hit();
            StatusCode::BAD_REQUEST.into_response()
        }
        Err(Unreadable::Garbage) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Handles a GET: answers with the frames of its session, or begins a new session.
async fn poll(polls: &Arc<Polls>, parts: &Parts, peer: SocketAddr, receipts: &Arc<Receipts>) -> Response {
    if let Some(token) = token(parts)
        && let Some(session) = polls.session(&token)
        && let Some(response) = session.poll().await
    {
        return Answer::messages(&response.frames, token).with_receipt(response.receipt, receipts);
    }
    match begin(polls, parts, peer).await {
        Ok(token) => Answer::begun(token).into_response(),
        Err(rejection) => {
            polls.mount.load().note_refused(rejection.reason(), &parts.headers, peer);
            match rejection {
                Rejection::Refused(..) => Answer::of(403).into_response(),
                rejection => rejection.response(),
            }
        }
    }
}

/// Begins a session, and returns its token.
///
/// # Errors
/// The reason why the client may not connect.
async fn begin(polls: &Arc<Polls>, parts: &Parts, peer: SocketAddr) -> Result<String, Rejection> {
    let mount = polls.mount.load_full();
    let admitted = mount.admit(parts, peer, Transport::LongPoll).await?;
    let permit = mount.gate.acquire().ok_or(Rejection::Full)?;
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| Rejection::Failed(Reason::HostFailed))?;
    let token = BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let socket = mount.endpoint.connect(admitted.facts, admitted.serializer);
    let (session, work) = Session::new(socket, mount.limits.poll_window);
    polls.sessions.insert(token.clone(), session);
    let listed = ListedSession { polls: Arc::clone(polls), token: token.clone() };
    let origin = origin_of(&parts.headers).map(Cow::into_owned);
    tokio::spawn(async move {
        let _permit = permit;
        if let Some((code, rest)) = work.run().await {
            let client = Client { peer: Some(peer), mount: &mount.path, origin: origin.as_deref() };
            mount.endpoint.sockets.tally.note(Reason::of_close(code), &client);
            rest.deliver().await;
        }
        drop(listed);
    });
    Ok(token)
}

/// Returns the session token of a request: that of the header, or otherwise that of the query parameter.
fn token(parts: &Parts) -> Option<String> {
    if let Some(token) = parts.headers.get(POLL_TOKEN) {
        return token.to_str().ok().map(str::to_owned);
    }
    let params = params::read(parts.uri.query().unwrap_or_default());
    params.get("token").and_then(|token| token.as_str()).map(str::to_owned)
}
