//! Decides which clients may connect at a mount: all of them, those with a valid token, or those that a gatekeeper admits.

use std::sync::Arc;
use std::time::SystemTime;

use axum::http::StatusCode;
use serde_json::{Map, Value};

use crate::auth::{Derivation, Jwt, Leeway, MaxAge, TokenError, Tokens};
use crate::clients::{Client, OverLimit};
use crate::contract::{Admission, FAULT_LINES, Identity, ObjectText, RecentFault, Request, count_fault, keep_fault};
use crate::counts::Limit;
use crate::routes::{GatekeeperChoice, RouteTable};
use crate::socket::Reason;

/// How a mount authenticates.
pub enum Authenticator {
    /// Every client may connect.
    Open,
    /// The only gatekeeper of the host decides. If the host has none, every client may connect. If it has several, none may.
    Only,
    /// The gatekeeper with this name decides.
    Gatekeeper(Arc<str>),
    /// A client needs a signed token, which identifies it.
    Token(TokenCheck),
    /// A part of the host decides.
    Host(Arc<dyn HostGatekeeper>),
}

/// A gatekeeper that is a part of the host.
pub trait HostGatekeeper: Send + Sync {
    /// Decides about one request.
    ///
    /// # Errors
    /// The reason for the count, the HTTP status and the text, if the client may not connect.
    fn admit(&self, request: &Request) -> Result<Identity, (Reason, StatusCode, &'static str)>;

    /// Whether a client that was admitted may stay. It is asked when its socket can already be closed by its id. So what ends
    /// the permission in between can't leave a socket open.
    fn still_admits(&self, identity: &Identity) -> bool;
}

/// The settings for tokens that identify clients.
pub struct TokenCheck {
    /// Verifies a token.
    pub verifier: Verifier,
    /// The connect parameter with the token. A token in a header takes precedence.
    pub param: String,
    /// The claim with the user, if the token has several claims.
    pub user_claim: String,
    /// The socket's id. `{user}` in it is replaced by the user.
    pub socket_id: Option<String>,
}

/// Verifies tokens of one kind.
pub enum Verifier {
    /// `Phoenix.Token`.
    Phoenix {
        /// Verifies signatures with the host's secret.
        tokens: Arc<Tokens>,
        /// The derivation of the key from the secret, with its salt.
        derivation: Derivation,
        /// The age at which a token is expired.
        max_age: Option<MaxAge>,
        /// The tolerated difference between the signer's clock and the host's.
        leeway: Leeway,
    },
    /// A JSON Web Token.
    Jwt(Jwt),
}

/// Why a client may not connect.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// The client is refused, with this status and body.
    Refused(Reason, StatusCode, String),
    /// The decision failed because of an error, for example in the gatekeeper: 500.
    Failed(Reason),
    /// The gatekeeper isn't loaded: 503.
    NoGatekeeper,
    /// The keys that verify tokens couldn't be fetched yet: 503.
    NoKeys,
    /// The limit of sockets is reached: 503.
    Full,
    /// A limit of the user or of the address is reached: 429.
    Limited(OverLimit),
}

impl Rejection {
    /// Creates a refusal as in Phoenix: 403 with an empty body.
    pub(super) fn forbidden(reason: Reason) -> Self {
        Self::Refused(reason, StatusCode::FORBIDDEN, String::new())
    }

    /// Returns the reason for the log and the counts.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Refused(reason, ..) | Self::Failed(reason) => *reason,
            Self::NoGatekeeper => Reason::GatekeeperMissing,
            Self::NoKeys => Reason::KeysMissing,
            Self::Full => Reason::SocketLimit,
            Self::Limited(refusal) => Reason::of_limit(refusal.limit),
        }
    }
}

impl Authenticator {
    /// Decides about a request, and returns the client's identity. `request` composes the request, for whoever reads it: an open
    /// mount doesn't. `params` are the request's parameters, already parsed.
    ///
    /// # Errors
    /// The reason why the client may not connect.
    pub(super) async fn decide(
        &self,
        routes: &RouteTable,
        request: impl FnOnce() -> Request,
        params: &Map<String, Value>,
        client: &Client,
    ) -> Result<Identity, Rejection> {
        let choice = match self {
            Self::Open => return Ok(Identity::default()),
            Self::Token(check) if !check.has_keys() => return Err(Rejection::NoKeys),
            Self::Token(check) => {
                return check.verify(&request(), params).map_err(|why| Rejection::forbidden(reason_of(why)));
            }
            Self::Host(gatekeeper) => {
                let admitted = gatekeeper.admit(&request());
                return admitted.map_err(|(reason, status, text)| Rejection::Refused(reason, status, text.to_owned()));
            }
            Self::Only => routes.current().gatekeepers().only(),
            Self::Gatekeeper(name) => routes.current().gatekeepers().named(name),
        };
        let gatekeeper = match choice {
            GatekeeperChoice::Open => return Ok(Identity::default()),
            GatekeeperChoice::By(gatekeeper) => gatekeeper,
            GatekeeperChoice::Closed => {
                tracing::warn!(
                    mount = &*request().mount,
                    "no client can connect: the gatekeeper isn't loaded, or it isn't clear which gatekeeper decides"
                );
                return Err(Rejection::NoGatekeeper);
            }
        };
        let request = request();
        let mount = request.mount.clone();
        let (plugin, generation) = gatekeeper.origin();
        client.may_ask(plugin).map_err(Rejection::Limited)?;
        match gatekeeper.connect(request).await {
            Ok(Admission::Granted(identity)) => Ok(identity),
            Ok(Admission::Refused { status, body }) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
                Err(Rejection::Refused(Reason::Gatekeeper, status, body))
            }
            Err(fault) => {
                let kind = fault.kind.as_str();
                let (mount, peer) = (&*mount, client.address());
                count_fault(plugin, &fault);
                keep_fault(RecentFault {
                    plugin: plugin.to_owned(),
                    generation,
                    callback: "connect".to_owned(),
                    kind,
                    message: fault.detail.clone(),
                    peer: Some(peer.to_string()),
                    ..RecentFault::default()
                });
                let write = || {
                    tracing::warn!(plugin, generation, mount, callback = "connect", kind, %peer, "fault: {}", fault.detail);
                };
                let reported = plugin.to_owned();
                let report =
                    move |left_out| tracing::warn!(plugin = reported, left_out, "further faults of the gatekeeper");
                if !FAULT_LINES.limit(plugin, write, report) {
                    Limit::LogLinesOfFaults.hit();
                }
                if fault.is_of_call() {
                    client.on_connect_fault(plugin);
                }
                Err(Rejection::Failed(Reason::GatekeeperFailed))
            }
        }
    }
}

impl Authenticator {
    /// Whether a client that was admitted may stay, now that its socket can be closed by its id.
    pub(super) fn still_admits(&self, identity: &Identity) -> bool {
        if let Self::Host(gatekeeper) = self { gatekeeper.still_admits(identity) } else { true }
    }
}

impl TokenCheck {
    fn has_keys(&self) -> bool {
        match &self.verifier {
            Verifier::Phoenix { .. } => true,
            Verifier::Jwt(jwt) => jwt.has_keys(),
        }
    }

    fn verify(&self, request: &Request, params: &Map<String, Value>) -> Result<Identity, TokenError> {
        let param = params.get(&self.param).and_then(Value::as_str);
        let token = request.auth_token.as_deref().or(param);
        let now = SystemTime::now();
        let data = match &self.verifier {
            Verifier::Phoenix { tokens, derivation, max_age, leeway } => {
                tokens.verify(derivation, token, *max_age, *leeway, now)?
            }
            Verifier::Jwt(jwt) => Value::Object(jwt.verify(token, now)?),
        };
        let identity = self.identity(&data);
        identity.check_names().map_err(|fault| {
            tracing::debug!(mount = &*request.mount, "a token is refused, because it makes {}", fault.detail);
            TokenError::Invalid
        })?;
        Ok(identity)
    }

    /// Returns the identity from the signed data.
    fn identity(&self, data: &Value) -> Identity {
        let user = match data {
            Value::Object(claims) => claims.get(&self.user_claim).and_then(as_user),
            scalar => as_user(scalar),
        };
        let claims = if data.is_object() { data.to_string().into() } else { ObjectText::default() };
        let socket_id =
            self.socket_id.as_ref().zip(user.as_deref()).map(|(id, user)| id.replace("{user}", user).into());
        Identity { socket_id, user: user.map(Into::into), claims }
    }
}

fn reason_of(error: TokenError) -> Reason {
    match error {
        TokenError::Missing => Reason::TokenMissing,
        TokenError::Invalid => Reason::TokenInvalid,
        TokenError::Expired => Reason::TokenExpired,
    }
}

fn as_user(value: &Value) -> Option<String> {
    match value {
        Value::String(user) => Some(user.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::Secret;
    use crate::contract::Uri;

    fn check() -> TokenCheck {
        let secret = Secret::new(b"twenty bytes at the very least");
        let tokens = Arc::new(Tokens::new(secret).expect("long enough"));
        let leeway = Leeway::both(60);
        let verifier = Verifier::Phoenix { tokens, derivation: Derivation::of("user"), max_age: None, leeway };
        let socket_id = Some("user_socket:{user}".to_owned());
        TokenCheck { verifier, param: "token".into(), user_claim: "id".into(), socket_id }
    }

    #[test]
    fn a_token_is_a_user_or_has_one_among_its_claims() {
        let cases = [
            (json!("ada"), Some("ada"), "{}"),
            (json!(42), Some("42"), "{}"),
            (json!({"id": 7, "role": "admin"}), Some("7"), r#"{"id":7,"role":"admin"}"#),
            (json!({"role": "guest"}), None, r#"{"role":"guest"}"#),
            (json!([1]), None, "{}"),
        ];
        for (data, user, claims) in cases {
            let identity = check().identity(&data);
            assert_eq!((identity.user.as_deref(), &*identity.claims), (user, claims), "{data}");
            let socket_id = user.map(|user| format!("user_socket:{user}"));
            assert_eq!(identity.socket_id.as_deref(), socket_id.as_deref(), "{data}");
        }
    }

    /// A longer one couldn't be kicked or disconnected.
    #[test]
    fn a_token_with_a_long_user_or_for_a_long_socket_id_is_invalid() {
        for (socket_id, longest) in [(None, 255), (Some("{user}"), 255), (Some("user_socket:{user}"), 243)] {
            let check = TokenCheck { socket_id: socket_id.map(str::to_owned), ..check() };
            let Verifier::Phoenix { tokens, derivation, .. } = &check.verifier else { panic!("it is of Phoenix") };
            let verified = |bytes: usize| {
                let token = tokens.sign(derivation, &json!("x".repeat(bytes)), MaxAge::Infinity, SystemTime::now());
                let request = Request {
                    mount: "/socket".into(),
                    transport: "websocket",
                    params: "{}".into(),
                    headers: Box::default(),
                    peer: ([127, 0, 0, 1], 1).into(),
                    uri: Uri::default(),
                    auth_token: Some(token.expect("short enough").into()),
                };
                check.verify(&request, &Map::new()).map(|identity| identity.user.map_or(0, |user| user.len()))
            };
            assert_eq!(verified(longest), Ok(longest), "{socket_id:?}");
            assert_eq!(verified(longest + 1), Err(TokenError::Invalid), "{socket_id:?}");
        }
    }
}
