//! The long-poll transport: a client asks again and again, and what is for it comes as the answers.
//!
//! A GET without a token begins a session and is told its token; every further GET waits for something to say. A POST brings
//! messages, and never carries what they lead to. The HTTP status is 200 for all of it: the outcome stands in the JSON body,
//! as in Phoenix (`Phoenix.Transports.LongPoll`).

mod answer;
mod body;
mod session;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

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
use self::body::{Unreadable, read};
use self::session::{Session, Unposted};
use super::authenticator::Rejection;
use super::connect::{POLL_TOKEN, Transport, origin_of};
use super::mount::Mount;
use super::params;
use super::stream::Receipts;
use crate::socket::{Client, Reason};
use crate::timing::within;

/// Bytes of a POST at most, as with Bandit.
const BODY_BYTES_MAX: usize = 8_000_000;

/// Bytes of a session's token, before they are written as text: nobody guesses one.
const TOKEN_BYTES: usize = 24;

/// The sessions of a mount, by their tokens.
pub(super) struct Polls {
    mount: Arc<Mount>,
    sessions: DashMap<String, Session>,
}

impl Polls {
    pub(super) fn new(mount: &Arc<Mount>) -> Arc<Self> {
        Arc::new(Self { mount: Arc::clone(mount), sessions: DashMap::new() })
    }

    fn session(&self, token: &str) -> Option<Session> {
        self.sessions.get(token).map(|session| session.clone())
    }

    /// A session has ended.
    fn forget(&self, token: &str) {
        self.sessions.remove(token);
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

/// A POST: messages for its session. Nothing is read for who has none, and one body at a time for who has.
async fn post(polls: &Polls, parts: &Parts, body: Body) -> Response {
    let Some(session) = token(parts).and_then(|token| polls.session(&token)) else {
        return Answer::of(410).into_response();
    };
    let _turn = session.turn().await;
    let limits = &polls.mount.limits;
    let body: Bytes = match within(limits.idle, to_bytes(body, BODY_BYTES_MAX)).await {
        Some(Ok(body)) => body,
        Some(Err(_)) => return StatusCode::BAD_REQUEST.into_response(),
        None => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let content_type = parts.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    match read(&body, content_type, limits.frame_bytes) {
        Ok(frames) => match session.post(frames).await {
            Ok(()) => Answer::of(200).into_response(),
            Err(Unposted::Gone) => Answer::of(410).into_response(),
            Err(Unposted::NotTaken) => Answer::of(408).into_response(),
        },
        Err(Unreadable::TooLarge) => StatusCode::BAD_REQUEST.into_response(),
        Err(Unreadable::Garbage) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A GET: what is there for its session, or a new session.
async fn poll(polls: &Arc<Polls>, parts: &Parts, peer: SocketAddr, receipts: &Arc<Receipts>) -> Response {
    if let Some(token) = token(parts)
        && let Some(session) = polls.session(&token)
        && let Some(said) = session.poll().await
    {
        return Answer::messages(&said.frames, token).with_receipt(said.receipt, receipts);
    }
    match begin(polls, parts, peer).await {
        Ok(token) => Answer::begun(token).into_response(),
        Err(turned) => {
            polls.mount.note_refused(turned.reason(), &parts.headers, peer);
            match turned {
                Rejection::Away(..) => Answer::of(403).into_response(),
                turned => turned.status().into_response(),
            }
        }
    }
}

/// Begins a session. Gives its token.
async fn begin(polls: &Arc<Polls>, parts: &Parts, peer: SocketAddr) -> Result<String, Rejection> {
    let mount = &polls.mount;
    let admitted = mount.admit(parts, peer, Transport::LongPoll).await?;
    let entered = mount.gate.acquire().ok_or(Rejection::Full)?;
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| Rejection::Failed(Reason::HostFailed))?;
    let token = BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let socket = mount.endpoint.connect(admitted.facts, admitted.serializer);
    let (session, work) = Session::new(socket, mount.limits.poll_window);
    polls.sessions.insert(token.clone(), session);
    let (polls, name) = (Arc::clone(polls), token.clone());
    let origin = origin_of(&parts.headers).map(Cow::into_owned);
    tokio::spawn(async move {
        let _entered = entered;
        if let Some(code) = work.run().await {
            let mount = &polls.mount;
            let client = Client { peer: Some(peer), mount: &mount.path, origin: origin.as_deref() };
            mount.endpoint.sockets.tally.note(Reason::of_close(code), &client);
        }
        polls.forget(&name);
    });
    Ok(token)
}

/// The token of a request: its header's, or else its parameter's.
fn token(parts: &Parts) -> Option<String> {
    if let Some(token) = parts.headers.get(POLL_TOKEN) {
        return token.to_str().ok().map(str::to_owned);
    }
    let params = params::read(parts.uri.query().unwrap_or_default());
    params.get("token").and_then(|token| token.as_str()).map(str::to_owned)
}
