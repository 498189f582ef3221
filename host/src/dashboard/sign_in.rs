//! The calls that open, show and close the session of a page.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::attempts::Attempts;
use crate::api::{AccessError, Api, ApiError, Body, Scope, Session, Sessions, SignInError, check_page, set_cookie};
use crate::socket::{Client, Reason};

/// The path of the session.
const PATH: &str = "/dashboard/session";

/// The most bytes of a body with a key.
const BODY_BYTES_MAX: usize = 4 << 10;

/// The parts that the calls use.
pub(super) struct SignIn {
    api: Arc<Api>,
    sessions: Arc<Sessions>,
    attempts: Attempts,
}

/// The body of `POST /dashboard/session`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Presented {
    key: String,
}

impl SignIn {
    pub(super) fn router(api: &Arc<Api>, sessions: &Arc<Sessions>) -> Router {
        let (api, sessions) = (Arc::clone(api), Arc::clone(sessions));
        let state = Arc::new(Self { api, sessions, attempts: Attempts::default() });
        Router::new()
            .route(PATH, get(show).post(open).delete(close))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(state)
    }

    /// Counts and logs a client without access.
    fn note(&self, reason: Reason, client: SocketAddr, headers: &HeaderMap) {
        let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
        self.api.sockets.tally.note(reason, &Client { peer: Some(client), mount: PATH, origin });
    }
}

/// `GET /dashboard/session`: what the session may do. Not having one is no error: the page asks when it opens.
async fn show(State(this): State<Arc<SignIn>>, headers: HeaderMap) -> Json<Value> {
    Json(this.sessions.of(&headers).map_or_else(|| json!({ "session": null }), |session| described(&session)))
}

/// `POST /dashboard/session`: signs in with a key.
async fn open(
    State(this): State<Arc<SignIn>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Response> {
    check_page(&headers).map_err(|error| {
        this.note(Reason::ApiOrigin, client, &headers);
        error.into_response()
    })?;
    let now = Instant::now();
    this.attempts.check(client, now).map_err(|wait| {
        let text = "too many wrong keys came from this address; wait a minute";
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", text);
        ([(header::RETRY_AFTER, (wait.as_secs() + 1).to_string())], error).into_response()
    })?;
    let Presented { key } = body.read().map_err(IntoResponse::into_response)?;
    let opened = this.sessions.open(&this.api.access, key.trim().as_bytes()).map_err(|error| {
        if matches!(error, SignInError::WrongKey) {
            this.attempts.note_wrong(client, now);
            this.note(Reason::ApiKeyWrong, client, &headers);
        }
        explained(&error).into_response()
    });
    let (session, cookie) = opened?;
    let (id, name) = (&session.key().id, &session.key().name);
    tracing::info!(session = session.id, key = id, name, %client, "a session of the dashboard begins");
    let cookie = HeaderValue::from_str(&set_cookie(&headers, Some(&cookie)));
    let cookie = cookie.map_err(|_| ApiError::fault().into_response())?;
    Ok(([(header::SET_COOKIE, cookie)], Json(described(&session))).into_response())
}

/// `DELETE /dashboard/session`: signs out.
async fn close(
    State(this): State<Arc<SignIn>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    check_page(&headers).inspect_err(|_| this.note(Reason::ApiOrigin, client, &headers))?;
    if let Some(session) = this.sessions.of(&headers) {
        this.sessions.close(&session);
    }
    let cookie = HeaderValue::from_str(&set_cookie(&headers, None)).map_err(|_| ApiError::fault())?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// What a session may do, for the page.
fn described(session: &Session) -> Value {
    json!({
        "session": {
            "key": session.key().name,
            "id": session.key().id,
            "may_operate": session.may(Scope::Operate),
            "rest_ms": u64::try_from(session.rest().as_millis()).unwrap_or(u64::MAX),
        },
    })
}

fn explained(error: &SignInError) -> ApiError {
    match error {
        SignInError::WrongKey => AccessError::WrongKey.into(),
        SignInError::TooNarrow => {
            let text = "the dashboard needs a key for all topics, with the scope `read` or `operate`";
            ApiError::out_of_scope("missing_scope", text)
        }
        SignInError::NoRandomness => ApiError::fault(),
    }
}
