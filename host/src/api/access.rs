//! Access to the API: every request needs an API key, and most calls need a scope of it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;

use super::keys::{Access, Caller, Scope};
use super::{Api, ApiError, Sessions};
use crate::socket::{Client, Reason};

/// The scheme of `Authorization` for the key. Its case doesn't matter (RFC 9110, section 11.1).
const SCHEME: &str = "bearer";

/// How the page that makes a request is related to this host. Browsers set it, and pages can't.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Why a request has no access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessError {
    /// It has no key.
    NoKey,
    /// Its key isn't one of the host's.
    WrongKey,
    /// It may change something, and comes from a page of another origin.
    ForeignOrigin,
}

impl From<AccessError> for ApiError {
    fn from(refusal: AccessError) -> Self {
        let (status, code, reason, message) = match refusal {
            AccessError::NoKey => (
                StatusCode::UNAUTHORIZED,
                "key_needed",
                Reason::ApiKeyMissing,
                "this host's API requires a key; send it as `Authorization: Bearer KEY`. `api.key` of the configuration names \
                 the key; otherwise it is in the file `api-key` of the host's data directory",
            ),
            AccessError::WrongKey => {
                (StatusCode::UNAUTHORIZED, "wrong_key", Reason::ApiKeyWrong, "this is not the key of this host's API")
            }
            AccessError::ForeignOrigin => (
                StatusCode::FORBIDDEN,
                "foreign_origin",
                Reason::ApiOrigin,
                "a page of another origin may not change anything here",
            ),
        };
        Self { reason: Some(reason), ..Self::new(status, code, message) }
    }
}

/// Which topics a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those that the request names. The handler checks them.
    Named,
    /// All: the call isn't limited to some topics.
    All,
}

/// Passes on a request with a valid key, and tells the handlers whose key it is. Counts the requests without access.
pub(super) async fn admit(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).map(str::to_owned);
    let response = match caller(&api.access, api.sessions.as_deref(), request.method(), request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => ApiError::from(refusal).into_response(),
    };
    if let Some(reason) = response.extensions().get::<Reason>() {
        let client = Client { peer: Some(peer), mount: &path, origin: origin.as_deref() };
        api.sockets.tally.note(*reason, &client);
    }
    response
}

/// Makes a call need a scope, and a key for all topics if it isn't about certain ones.
pub(super) fn needs(scope: Scope, reach: Reach, call: MethodRouter<Arc<Api>>) -> MethodRouter<Arc<Api>> {
    let check = move |Extension(caller): Extension<Caller>, request: Request, next: Next| async move {
        let checked = caller.check_scope(scope).and_then(|()| match reach {
            Reach::Named => Ok(()),
            Reach::All => caller.check_all_topics(),
        });
        if let Err(refusal) = checked {
            return refusal.into_response();
        }
        if scope == Scope::Operate {
            let (method, path) = (request.method(), request.uri().path());
            tracing::info!(key = caller.key.id, name = caller.key.name, %method, path, "an operator's call");
        }
        next.run(request).await
    };
    call.route_layer(from_fn(check))
}

/// Checks a request, and finds its key.
///
/// The key must come as `Authorization: Bearer KEY`, also from this machine: a request through a proxy on this machine may
/// look like one of a local command. A page of the dashboard has a session instead.
///
/// # Errors
/// If the key is missing or wrong. Also if the request may change something (any method except `GET` and `HEAD`) and comes
/// from a page of another origin, even with a right key.
fn caller(
    access: &Access,
    sessions: Option<&Sessions>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Caller, AccessError> {
    let may_change = method != Method::GET && method != Method::HEAD;
    if may_change {
        check_origin(headers)?;
    }
    match sessions.filter(|_| !headers.contains_key(header::AUTHORIZATION)).and_then(|sessions| sessions.of(headers)) {
        Some(session) => {
            check_own_page(headers, may_change)?;
            Ok(session.caller())
        }
        None => key_of(access, headers),
    }
}

/// Checks that a request with a session comes from the dashboard's own page. A browser sends the cookie of a session also with
/// requests of pages at other ports of the same machine.
fn check_own_page(headers: &HeaderMap, may_change: bool) -> Result<(), AccessError> {
    let site = headers.get(SEC_FETCH_SITE).map(|site| site.as_bytes());
    let is_foreign = site.is_some_and(|site| site != b"same-origin" && site != b"none");
    if is_foreign || (may_change && !headers.contains_key(header::ORIGIN)) {
        return Err(AccessError::ForeignOrigin);
    }
    Ok(())
}

/// Finds the key of a request that changes nothing.
///
/// # Errors
/// If the key is missing or wrong.
pub(super) fn key_of(access: &Access, headers: &HeaderMap) -> Result<Caller, AccessError> {
    let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let key = given.and_then(bearer).ok_or(AccessError::NoKey)?;
    access.find(key).ok_or(AccessError::WrongKey)
}

/// Returns the key after the scheme `Bearer`, or none for another scheme.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    let key = rest.strip_prefix(b" ")?;
    scheme.eq_ignore_ascii_case(SCHEME.as_bytes()).then(|| key.trim_ascii_start())
}

/// Checks that a request comes from a page of this origin, and not from a program.
///
/// # Errors
/// If it has no `Origin`, or another one.
pub(crate) fn check_page(headers: &HeaderMap) -> Result<(), ApiError> {
    check_origin(headers).and_then(|()| check_own_page(headers, true)).map_err(ApiError::from)
}

/// Refuses a page of another origin. Only host and port are compared, not the scheme, because there may be a proxy for TLS in
/// front of the host.
fn check_origin(headers: &HeaderMap) -> Result<(), AccessError> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if origin.to_str().is_ok_and(|origin| is_own_origin(origin, host)) {
        Ok(())
    } else {
        Err(AccessError::ForeignOrigin)
    }
}

/// Whether an origin has this host and port.
pub(crate) fn is_own_origin(origin: &str, host: &str) -> bool {
    let site = origin.split_once("://").map(|(_scheme, site)| site);
    site.is_some_and(|site| !host.is_empty() && site.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ApiKey;
    use crate::auth::Secret;

    fn asked(method: &Method, headers: &[(&str, &str)]) -> Option<u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = header::HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            map.insert(name, value.parse().expect("a header value"));
        }
        let access = Access::new(vec![ApiKey::for_everything(&Secret::new(b"sesame"))]);
        caller(&access, None, method, &map).err().map(|refusal| ApiError::from(refusal).status.as_u16())
    }

    #[test]
    fn every_request_needs_the_key() {
        let with = |value| asked(&Method::GET, &[("host", "localhost:4000"), ("authorization", value)]);
        for good in ["Bearer sesame", "bearer sesame", "BEARER sesame", "Bearer  sesame"] {
            assert_eq!(with(good), None, "{good}");
        }
        for bad in ["Bearer sesam", "Bearer sesame2", "sesame", "Basic sesame", "Bearersesame", "Bearer", "Bearer ", ""]
        {
            assert_eq!(with(bad), Some(401), "{bad}");
        }
        assert_eq!(asked(&Method::GET, &[("host", "localhost:4000")]), Some(401), "also from this machine");
        assert_eq!(asked(&Method::GET, &[]), Some(401));
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let with_key = ("authorization", "Bearer sesame");
        let from = |method, origin| asked(method, &[("host", "localhost:4000"), ("origin", origin), with_key]);
        for own in ["http://localhost:4000", "https://localhost:4000", "http://LOCALHOST:4000"] {
            assert_eq!(from(&Method::POST, own), None, "{own}");
        }
        for foreign in
            ["http://evil.example", "http://localhost:4001", "http://localhost", "localhost:4000", "null", ""]
        {
            assert_eq!(from(&Method::POST, foreign), Some(403), "{foreign}");
            assert_eq!(from(&Method::DELETE, foreign), Some(403), "{foreign}");
        }
        assert_eq!(
            asked(&Method::POST, &[("origin", "http://"), with_key]),
            Some(403),
            "without a host, no origin matches"
        );
        assert_eq!(asked(&Method::POST, &[("host", "localhost:4000"), with_key]), None, "a program sends no origin");
    }

    #[tokio::test]
    async fn a_session_is_for_pages_of_this_origin() {
        let access = Access::new(vec![ApiKey::for_everything(&Secret::new(b"sesame"))]);
        let sessions = std::sync::Arc::new(Sessions::default());
        let (_, cookie) = sessions.open(&access, b"sesame").ok().expect("a session");
        let asked = |method: Method, headers: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            map.insert("host", "localhost:4000".parse().expect("a header"));
            map.insert("cookie", format!("bennu_session_4000={cookie}").parse().expect("a header"));
            headers.iter().for_each(|(name, value)| drop(map.insert(*name, value.parse().expect("a header"))));
            caller(&access, Some(&*sessions), &method, &map).err()
        };
        let own = ("origin", "http://localhost:4000");
        assert_eq!(asked(Method::GET, &[]), None);
        assert_eq!(asked(Method::GET, &[("sec-fetch-site", "same-origin")]), None);
        assert_eq!(asked(Method::POST, &[own, ("sec-fetch-site", "same-origin")]), None);
        for (method, headers) in [
            (Method::GET, &[("sec-fetch-site", "same-site")][..]),
            (Method::GET, &[("sec-fetch-site", "cross-site")]),
            (Method::POST, &[]),
            (Method::POST, &[("origin", "http://localhost:4001")]),
            (Method::POST, &[own, ("sec-fetch-site", "same-site")]),
        ] {
            assert_eq!(asked(method.clone(), headers), Some(AccessError::ForeignOrigin), "{method} {headers:?}");
        }
        assert_eq!(asked(Method::GET, &[("authorization", "Bearer no")]), Some(AccessError::WrongKey));
    }
}
