//! Reads a connect request, and decides whether the client may connect. This is the same for every transport.

use std::borrow::Cow;
use std::net::SocketAddr;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::authenticator::Rejection;
use super::mount::Mount;
use super::params;
use super::request::AskedUri;
use super::subprotocol::{NoChoice, choose};
use crate::auth::Site;
use crate::contract::{Headers, Request, SocketFacts, TRACEPARENT, Trace, Uri};
use crate::protocol::Serializer;
use crate::socket::{Client, Reason};

/// The scheme of the host itself. A proxy in front of the host may use another one with the client.
const SCHEME: &str = "http";

/// The header with the token of a long-poll client. Such a client can set headers.
const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-phoenix-authtoken");

/// The header with the token of a long-poll session. The query parameter `token` is another way to send it.
pub(super) const POLL_TOKEN: HeaderName = HeaderName::from_static("x-phoenix-longpoll-token");

/// The transport of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    WebSocket,
    LongPoll,
}

/// A client that may connect.
pub(super) struct Admitted {
    pub(super) serializer: Serializer,
    pub(super) facts: SocketFacts,
    /// The chosen subprotocol, for the answer.
    pub(super) protocol: Option<String>,
}

impl Transport {
    fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::LongPoll => "longpoll",
        }
    }
}

impl Mount {
    /// Checks a request: first the limits of its address, then as in Phoenix the origin, the token among the subprotocols, the
    /// subprotocol, the version and the identity, and last the limits of the user.
    ///
    /// # Errors
    /// The reason why the client may not connect.
    pub(super) async fn admit(
        &self,
        parts: &Parts,
        peer: SocketAddr,
        transport: Transport,
    ) -> Result<Admitted, Rejection> {
        let mut client = self.endpoint.node.clients.arrive(peer).map_err(Rejection::Limited)?;
        let headers = &parts.headers;
        let authority = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        // A header that isn't text counts as an empty origin, which is in no list of allowed origins.
        let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
        if !self.origins.allow(origin, Site { scheme: SCHEME, authority }) {
            return Err(Rejection::forbidden(Reason::Origin));
        }
        let (protocol, auth_token) = self.choose(headers, transport)?;
        let params = params::read(parts.uri.query().unwrap_or_default());
        let vsn = match params.get("vsn") {
            None => None,
            Some(Value::String(vsn)) => Some(vsn.as_str()),
            Some(_) => return Err(Rejection::forbidden(Reason::Version)),
        };
        let serializer =
            Serializer::for_version(vsn, self.dialect).ok_or_else(|| Rejection::forbidden(Reason::Version))?;
        // This can't fail: JSON has a form for each text, list and object.
        let connect_params: Box<str> = serde_json::to_string(&params).unwrap_or_else(|_| "{}".to_owned()).into();
        // Composed only if it is read, because it needs two allocations for each header.
        let request = || Request {
            mount: self.path.as_str().into(),
            transport: transport.as_str(),
            params: connect_params.clone(),
            headers: named(headers, |_| true),
            peer,
            uri: uri(parts, authority),
            auth_token: auth_token.map(Into::into),
        };
        let identity = self.authenticator.decide(&self.endpoint.node.routes, request, &params, &client).await?;
        client.identify(identity.limited_as()).map_err(Rejection::Limited)?;
        // The tokens are for the transport, so channels don't get them.
        let x_headers = named(headers, |name| name.starts_with("x-") && name != AUTH_TOKEN && name != POLL_TOKEN);
        let (trace, client) = (trace(headers, &params).map(Box::new), Some(client));
        let transport = transport.as_str();
        let facts = SocketFacts { identity, transport, connect_params, x_headers, trace, client };
        Ok(Admitted { serializer, facts, protocol })
    }

    /// Counts and logs a client that is refused.
    pub(super) fn note_refused(&self, reason: Reason, headers: &HeaderMap, peer: SocketAddr) {
        let origin = origin_of(headers);
        let client = Client { peer: Some(peer), mount: &self.path, origin: origin.as_deref() };
        self.endpoint.sockets.tally.note(reason, &client);
    }

    fn choose(&self, headers: &HeaderMap, transport: Transport) -> Result<(Option<String>, Option<String>), Rejection> {
        match transport {
            Transport::WebSocket => {
                let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
                let offered: Vec<&str> = lists.filter_map(|list| list.to_str().ok()).collect();
                let choice = choose(&offered.join(","), &self.subprotocols, self.auth_token);
                choice.map(|choice| (choice.protocol, choice.auth_token)).map_err(|why| match why {
                    NoChoice::BadBearer => Rejection::Failed(Reason::TokenUnreadable),
                    NoChoice::NoneSpoken => Rejection::forbidden(Reason::Subprotocol),
                })
            }
            Transport::LongPoll => {
                let token = headers.get(AUTH_TOKEN).filter(|_| self.auth_token);
                Ok((None, token.and_then(|token| token.to_str().ok()).map(str::to_owned)))
            }
        }
    }
}

impl Rejection {
    /// Returns the HTTP answer.
    pub(super) fn response(self) -> Response {
        match self {
            Self::Refused(_, status, body) => (status, body).into_response(),
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            Self::NoGatekeeper | Self::NoKeys => {
                (StatusCode::SERVICE_UNAVAILABLE, "no client can connect here at the moment\n").into_response()
            }
            Self::Full => {
                (StatusCode::SERVICE_UNAVAILABLE, "this host has reached its limit of sockets\n").into_response()
            }
            Self::Limited(refusal) => {
                let seconds = refusal.seconds();
                let text = format!("{}; try again in {seconds} s\n", refusal.limit.reason());
                (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds.to_string())], text).into_response()
            }
        }
    }
}

/// Returns the `Origin` header, as it was sent.
pub(super) fn origin_of(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    headers.get(header::ORIGIN).map(|origin| String::from_utf8_lossy(origin.as_bytes()))
}

/// Returns the trace of a client: from the header, or from the parameter, because a browser's WebSocket can't set headers.
fn trace(headers: &HeaderMap, params: &Map<String, Value>) -> Option<Trace> {
    let header = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    Trace::parse(header.or_else(|| params.get(TRACEPARENT)?.as_str())?)
}

fn named(headers: &HeaderMap, wanted: impl Fn(&str) -> bool) -> Headers {
    let headers = headers.iter().filter(|(name, _)| wanted(name.as_str()));
    headers.map(|(name, value)| (name.as_str().into(), String::from_utf8_lossy(value.as_bytes()).into())).collect()
}

fn uri(parts: &Parts, authority: Option<&str>) -> Uri {
    let authority = authority.unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(80)),
        _ => (authority, 80),
    };
    Uri {
        scheme: SCHEME.into(),
        host: host.into(),
        port,
        path: AskedUri::of(parts).path().into(),
        query: parts.uri.query().unwrap_or_default().into(),
    }
}
