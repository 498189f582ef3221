//! Which connections of pages the host admits: those with a session, from the dashboard's own page.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Map, Value};

use crate::api::{Scope, Session, Sessions, is_own_origin};
use crate::contract::{Identity, Request};
use crate::counts::Limit;
use crate::protocol::{NAME_BYTES_MAX, read_object};
use crate::socket::{Reason, Sockets};
use crate::transport::HostGatekeeper;

/// The beginning of the ids of sockets with a session.
const PREFIX: &str = "bennu_dashboard:";

/// The connect parameters with which the playground says who it is.
const USER: &str = "playground_user";
const CLAIMS: &str = "playground_claims";

/// The most bytes of the claims.
const CLAIMS_BYTES_MAX: usize = 4 << 10;

/// Why a connection is refused.
type Refused = (Reason, StatusCode, &'static str);

/// The id of all sockets of a session.
pub(super) fn socket_id(session: &str) -> String {
    format!("{PREFIX}{session}")
}

/// Finds the session of a socket.
pub(super) fn session_of(sessions: &Sessions, identity: &Identity) -> Option<Arc<Session>> {
    sessions.by_id(identity.socket_id.as_deref()?.strip_prefix(PREFIX)?)
}

/// Finds the session of a request, which must come from a page of the same host and port. A mount's own check of the origin
/// doesn't compare ports.
fn session(sessions: &Sessions, request: &Request) -> Result<Arc<Session>, Refused> {
    let values = |wanted: &'static str| {
        let headers = request.headers.iter().filter(move |(name, _)| &**name == wanted);
        headers.map(|(_, value)| &**value)
    };
    let (origin, host) = (values("origin").next(), values("host").next().unwrap_or_default());
    if !origin.is_some_and(|origin| is_own_origin(origin, host)) {
        return Err((Reason::Origin, StatusCode::FORBIDDEN, "only a page of the dashboard may connect here\n"));
    }
    let found = sessions.of_cookies(values("cookie"), Some(host));
    found.ok_or((Reason::ApiKeyMissing, StatusCode::UNAUTHORIZED, "sign in first\n"))
}

/// Admits pages to the dashboard's own channel.
pub(super) struct Pages {
    sessions: Arc<Sessions>,
    sockets: Arc<Sockets>,
    sockets_max: usize,
}

impl Pages {
    pub(super) fn new(sessions: &Arc<Sessions>, sockets: &Arc<Sockets>, sockets_max: usize) -> Self {
        Self { sessions: Arc::clone(sessions), sockets: Arc::clone(sockets), sockets_max }
    }
}

impl HostGatekeeper for Pages {
    fn admit(&self, request: &Request) -> Result<Identity, Refused> {
        let session = session(&self.sessions, request)?;
        if self.sockets.count() >= self.sockets_max {
            Limit::DashboardSockets.hit();
            let text = "too many pages of the dashboard are open\n";
            return Err((Reason::ConnectionLimit, StatusCode::SERVICE_UNAVAILABLE, text));
        }
        Ok(Identity { socket_id: Some(socket_id(&session.id).into()), ..Identity::default() })
    }

    fn still_admits(&self, identity: &Identity) -> bool {
        session_of(&self.sessions, identity).is_some()
    }
}

/// Admits the playground to the host's own topics, as the user that it names.
pub(super) struct Playground {
    sessions: Arc<Sessions>,
}

impl Playground {
    pub(super) fn new(sessions: &Arc<Sessions>) -> Self {
        Self { sessions: Arc::clone(sessions) }
    }
}

impl HostGatekeeper for Playground {
    fn admit(&self, request: &Request) -> Result<Identity, Refused> {
        let session = session(&self.sessions, request)?;
        if !session.may(Scope::Operate) {
            let text = "the playground needs a key with the scope `operate`\n";
            return Err((Reason::ApiScope, StatusCode::FORBIDDEN, text));
        }
        let params: Map<String, Value> = serde_json::from_str(&request.params).unwrap_or_default();
        let identity = identity(&params, &session.id)?;
        let (key, name) = (&session.key().id, &session.key().name);
        let (user, peer) = (identity.user.as_deref(), request.peer);
        tracing::info!(session = session.id, key, name, user, %peer, "an operator's playground connects");
        Ok(identity)
    }

    fn still_admits(&self, identity: &Identity) -> bool {
        session_of(&self.sessions, identity).is_some_and(|session| session.may(Scope::Operate))
    }
}

fn identity(params: &Map<String, Value>, session: &str) -> Result<Identity, Refused> {
    let bad = |text| (Reason::Gatekeeper, StatusCode::BAD_REQUEST, text);
    let text = |name| params.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let user = text(USER);
    if user.is_some_and(|user| user.len() > NAME_BYTES_MAX) {
        return Err(bad("a user has at most 255 bytes\n"));
    }
    let claims = text(CLAIMS).unwrap_or("{}");
    let is_object = read_object(claims).is_ok();
    if !is_object || claims.len() > CLAIMS_BYTES_MAX {
        return Err(bad("the claims must be a JSON object of at most 4 KiB\n"));
    }
    Ok(Identity { socket_id: Some(socket_id(session).into()), user: user.map(Into::into), claims: claims.into() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(params: &Value) -> Result<Identity, u16> {
        identity(params.as_object().expect("an object"), "s").map_err(|(_, status, _)| status.as_u16())
    }

    #[test]
    fn the_playground_says_who_it_is() {
        let anonymous = of(&json!({})).expect("an identity");
        assert_eq!((anonymous.user, &*anonymous.claims), (None, "{}"));
        let ada = of(&json!({ (USER): "ada", (CLAIMS): "{\"role\":\"admin\"}" })).expect("an identity");
        assert_eq!((ada.user.as_deref(), &*ada.claims), (Some("ada"), "{\"role\":\"admin\"}"));
        assert_eq!(ada.socket_id.as_deref(), Some("bennu_dashboard:s"));
        for wrong in [json!({ (USER): "x".repeat(256) }), json!({ (CLAIMS): "[]" }), json!({ (CLAIMS): "{" })] {
            assert_eq!(of(&wrong), Err(400), "{wrong}");
        }
    }
}
