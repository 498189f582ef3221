//! The client: one request with its redirects, within all limits.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, COOKIE, HOST, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::access::Access;
use crate::at_once::AtOnce;
use crate::body;
use crate::connection::Connection;
use crate::counts::{Counters, OutboundCounts};
use crate::failure::{Failure, FailureKind};
use crate::limits::{OutboundLimits, READY_WITHIN, REDIRECTS_MAX};
use crate::network::Network;
use crate::pool::{Origin, Pool};
use crate::request::{Answer, Checked};
use crate::target::Target;
use crate::tls::{Roots, Tls};

/// The client of the host. Clones are the same client.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    limits: OutboundLimits,
    network: Arc<dyn Network>,
    tls: Tls,
    pool: Arc<Pool>,
    at_once: Arc<AtOnce>,
    counters: Counters,
}

impl Client {
    /// A client without connections. It does nothing until the first request.
    #[must_use]
    pub fn new(limits: OutboundLimits, network: Arc<dyn Network>, roots: Roots) -> Self {
        let (pool, at_once, counters) = (Arc::default(), Arc::default(), Counters::default());
        Self(Arc::new(Inner { limits, network, tls: Tls::new(roots), pool, at_once, counters }))
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &OutboundLimits {
        &self.0.limits
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> OutboundCounts {
        OutboundCounts {
            under_way: self.0.at_once.len(),
            busy_host: self.0.at_once.busy_host(),
            busy_plugins: self.0.at_once.busy_plugins(),
            idle_connections: self.0.pool.len(),
            ..self.0.counters.read()
        }
    }

    /// Sends a request, and reads its answer. A `GET` or a `HEAD` follows redirects, each of which has to match a grant. It can reach
    /// the server twice, unless [`Checked::send_at_most_once`] was called. If the future is dropped, the connection is closed.
    ///
    /// # Errors
    /// Returns a [`Failure`] if there is no answer. An answer with any status is one.
    pub async fn send(&self, access: &Access, request: &Checked) -> Result<Answer, Failure> {
        let result = self.send_within(access, request).await;
        self.0.counters.add(request.body.len(), &result);
        result
    }

    async fn send_within(&self, access: &Access, request: &Checked) -> Result<Answer, Failure> {
        let _place = self.0.at_once.enter(access.name(), &self.0.limits)?;
        let whole = request.timeout.map_or(self.0.limits.whole, |asked| asked.min(self.0.limits.whole));
        // Boxed, because the future is large, and is a part of a caller's.
        timeout(whole, Box::pin(self.0.follow(access, request))).await.unwrap_or_else(|_| Err(timed_out(whole)))
    }
}

fn timed_out(whole: Duration) -> Failure {
    Failure::new(FailureKind::Timeout, format!("the answer took more than {} ms", whole.as_millis()))
}

impl Inner {
    /// Sends a request, and the requests that its redirects lead to.
    async fn follow(&self, access: &Access, request: &Checked) -> Result<Answer, Failure> {
        let (mut target, mut headers) = (request.target.clone(), request.headers.clone());
        for _ in 0..=REDIRECTS_MAX {
            // The grants may have changed since the request was checked.
            let rule = access.addresses(&target).ok_or_else(|| not_granted(&target))?;
            let origin = Origin::new(&target, rule);
            let all = complete(access, &target, &headers);
            let (connection, response) = self.exchange(&origin, &target, request, all).await?;
            let Some(next) = redirect(&request.method, &response, &target)? else {
                return self.answer(origin, connection, response).await;
            };
            if access.addresses(&next).is_none() {
                return Err(not_granted(&next));
            }
            if !next.has_same_origin(&target) {
                // What the plugin sent as a credential was for the first server only.
                headers.remove(AUTHORIZATION);
                headers.remove(COOKIE);
            }
            target = next;
        }
        Err(Failure::new(FailureKind::Redirect, format!("there are more than {REDIRECTS_MAX} redirects")))
    }

    /// Sends one request on an idle connection, or on a new one.
    async fn exchange(
        &self,
        origin: &Origin,
        target: &Target,
        request: &Checked,
        headers: HeaderMap,
    ) -> Result<(Connection, http::Response<Incoming>), Failure> {
        let message = || {
            let mut message = http::Request::new(Full::new(request.body.clone()));
            *message.method_mut() = request.method.clone();
            let uri = target.path_and_query().parse();
            *message.uri_mut() = uri.map_err(|_| Failure::broken("the path can't be sent"))?;
            *message.headers_mut() = headers.clone();
            Ok(message)
        };
        if let Some(mut connection) = self.pool.take(origin) {
            match connection.send(message()?).await {
                Ok(response) => return Ok((connection, response)),
                // The server has closed the idle connection at the same moment. A request that was perhaps received is sent
                // again only if that changes nothing, and if the caller allows it.
                Err((_, is_unsent)) if is_unsent || can_be_sent_twice(request) => {}
                Err((error, _)) => return Err(failed(target, &error)),
            }
        }
        let rule = origin.rule();
        let mut connection = Connection::open(target, rule, &*self.network, &self.tls).await?;
        match connection.send(message()?).await {
            Ok(response) => Ok((connection, response)),
            Err((error, _)) => Err(failed(target, &error)),
        }
    }

    async fn answer(
        &self,
        origin: Origin,
        mut connection: Connection,
        response: http::Response<Incoming>,
    ) -> Result<Answer, Failure> {
        let (head, body) = response.into_parts();
        let body = body::read(&head.headers, body, self.limits.received_bytes).await?;
        // A server may answer before it has read the request. Such a connection isn't worth a wait.
        let is_ready = timeout(READY_WITHIN, connection.ready()).await.unwrap_or(false);
        if head.status != StatusCode::SWITCHING_PROTOCOLS && is_ready {
            self.pool.put(origin, connection);
        }
        Ok(Answer { status: head.status.as_u16(), headers: shown(&head.headers), body })
    }
}

/// The headers of a request as they are sent: the caller's, the secrets of this origin, and the client's own.
fn complete(access: &Access, target: &Target, headers: &HeaderMap) -> HeaderMap {
    let mut all = headers.clone();
    for (name, value) in access.secrets(target) {
        all.insert(name.clone(), value.clone());
    }
    if let Ok(host) = HeaderValue::try_from(target.authority()) {
        all.insert(HOST, host);
    }
    all.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    all
}

/// Whether a request can be sent again although the server has perhaps received it.
fn can_be_sent_twice(request: &Checked) -> bool {
    !request.at_most_once && follows_redirects(&request.method)
}

/// Whether redirects of this method are followed: it only reads.
fn follows_redirects(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The URL that an answer redirects to, if the answer is to be followed.
fn redirect(method: &Method, response: &http::Response<Incoming>, target: &Target) -> Result<Option<Target>, Failure> {
    if !follows_redirects(method) || !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response.headers().get(LOCATION) else { return Ok(None) };
    let failure = |why: &str| Failure::new(FailureKind::Redirect, format!("the answer redirects to a bad URL: {why}"));
    let location = location.to_str().map_err(|_| failure("it isn't ASCII"))?;
    target.join(location).map(Some).map_err(|error| failure(&error.to_string()))
}

fn not_granted(target: &Target) -> Failure {
    let (scheme, authority) = (target.scheme(), target.authority());
    Failure::new(FailureKind::Redirect, format!("the answer redirects to {scheme}://{authority}, which isn't granted"))
}

fn failed(target: &Target, error: &hyper::Error) -> Failure {
    let server = target.authority();
    if error.is_parse_too_large() {
        return Failure::new(FailureKind::TooLarge, format!("the headers of {server}'s answer are too large"));
    }
    Failure::broken(format!("{server} gave no HTTP answer: {error}"))
}

/// The headers that a caller sees.
fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    let is_encoded = headers.contains_key(CONTENT_ENCODING);
    let is_shown = |name: &str| !is_encoded || (name != CONTENT_ENCODING && name != CONTENT_LENGTH);
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers
        .iter()
        .filter(|(name, _)| is_shown(name.as_str()))
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect()
}
