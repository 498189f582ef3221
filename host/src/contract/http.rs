//! Requests by HTTP that plugins ask for: who may ask for what, and the client that sends them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bennu_outbound::{
    Access, Answer, Checked, Client, Failure, FailureKind, OutboundCounts, OutboundLimits, PUSH_BYTES_MAX, PushKeys,
    Refused, Request,
};
use futures_util::future::BoxFuture;

use super::deliveries::{Attempt, Delivery, DeliveryRow, PushSubscription, read_retry_after};
use super::limits::keys;
use super::{Fault, HttpFailure, HttpRequest, HttpResponse, HttpResult, TRACEPARENT, Trace, limit_key, system_random};
use crate::counts::Limit;
use crate::protocol::Topic;

/// The limits of requests that the client doesn't know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// The maximum time of an answer that a call waits for.
    pub get: Duration,
    /// The maximum number of requests of a member that are under way.
    pub requests_per_member: usize,
    /// The maximum number of requests of a topic's own callbacks that are under way.
    pub requests_per_topic: usize,
    /// The maximum time of one attempt of a delivery.
    pub delivery: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            get: Duration::from_secs(3),
            requests_per_member: 16,
            requests_per_topic: 64,
            delivery: Duration::from_secs(15),
        }
    }
}

/// Sends requests: the client of the host, or a table of answers in tests.
pub trait HttpClient: Send + Sync {
    /// Returns the limits.
    fn limits(&self) -> &OutboundLimits;

    /// Sends a request, and returns its answer.
    fn send<'a>(&'a self, access: &'a Access, request: &'a Checked) -> BoxFuture<'a, Result<Answer, Failure>>;

    /// Returns what has happened to the requests so far.
    fn counts(&self) -> OutboundCounts {
        OutboundCounts::default()
    }
}

impl HttpClient for Client {
    fn limits(&self) -> &OutboundLimits {
        Self::limits(self)
    }

    fn send<'a>(&'a self, access: &'a Access, request: &'a Checked) -> BoxFuture<'a, Result<Answer, Failure>> {
        Box::pin(Self::send(self, access, request))
    }

    fn counts(&self) -> OutboundCounts {
        Self::counts(self)
    }
}

/// A client for hosts that grant nothing.
struct NoClient(OutboundLimits);

impl HttpClient for NoClient {
    fn limits(&self) -> &OutboundLimits {
        &self.0
    }

    fn send<'a>(&'a self, _: &'a Access, _: &'a Checked) -> BoxFuture<'a, Result<Answer, Failure>> {
        Box::pin(std::future::ready(Err(Failure::busy("this host sends no requests"))))
    }
}

/// The requests of a host.
pub struct Http {
    client: Arc<dyn HttpClient>,
    /// The plugins that may ask for something.
    access: ArcSwap<HashMap<String, Arc<Access>>>,
    limits: HttpLimits,
    /// The number of requests under way of each member and topic that has some.
    under_way: Mutex<HashMap<Asker, usize>>,
}

/// Who asked for a request as an effect, and gets the answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Asker {
    /// A member, by its number.
    Member(u64),
    /// A topic: one of its callbacks without a member.
    Topic(Topic),
}

impl Http {
    /// Requests through a client. Plugins that aren't in `access` may ask for nothing.
    #[must_use]
    pub fn new(client: Arc<dyn HttpClient>, access: HashMap<String, Arc<Access>>, limits: HttpLimits) -> Arc<Self> {
        let access = ArcSwap::from_pointee(access);
        Arc::new(Self { client, access, limits, under_way: Mutex::default() })
    }

    /// Replaces what plugins may ask for. Requests that are under way continue.
    pub fn replace_access(&self, access: HashMap<String, Arc<Access>>) {
        self.access.store(Arc::new(access));
    }

    /// No plugin may ask for anything.
    #[must_use]
    pub fn none() -> Arc<Self> {
        Self::new(Arc::new(NoClient(OutboundLimits::default())), HashMap::new(), HttpLimits::default())
    }

    /// Returns what a plugin may ask for.
    #[must_use]
    pub fn access(&self, plugin: &str) -> Arc<Access> {
        let granted = self.access.load().get(plugin).cloned();
        granted.unwrap_or_else(|| Arc::new(Access::new(plugin, Vec::new(), Vec::new())))
    }

    /// Returns what has happened to the requests so far.
    #[must_use]
    pub fn counts(&self) -> OutboundCounts {
        self.client.counts()
    }

    /// Checks that a plugin may ask for a request.
    ///
    /// # Errors
    /// Fault: failed, or oversize. It says what is wrong, or which key grants the request.
    pub fn check(&self, access: &Access, request: &HttpRequest) -> Result<Checked, Fault> {
        let request = Request {
            method: request.method.clone(),
            url: request.url.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
            timeout: request.timeout,
        };
        access.check(&request, self.client.limits()).map_err(|refused| match &refused {
            Refused::NotGranted(_) => Fault::failed(format!("{refused}; add them to `plugins.{}.http`", access.name())),
            Refused::Body(limit) => Fault::oversize(format!("{refused}{}", limit_key(keys::HTTP_SENT_BYTES, limit))),
            Refused::Headers => Fault::oversize(refused.to_string()),
            _ => Fault::failed(refused.to_string()),
        })
    }

    /// Checks that a plugin may deliver a request, and send it as a push message if it is one.
    ///
    /// # Errors
    /// Fault: failed, or oversize.
    pub fn check_delivery(&self, access: &Access, delivery: &Delivery) -> Result<(), Fault> {
        self.check(access, &delivery.request())?;
        if delivery.push.is_none() {
            return Ok(());
        }
        if !access.has_web_push() {
            let name = access.name();
            return Err(Fault::failed(format!(
                "a push message needs a key of the sender; set `plugins.{name}.web_push`"
            )));
        }
        if delivery.body.len() > PUSH_BYTES_MAX {
            return Err(Fault::oversize(format!("a push message has at most {PUSH_BYTES_MAX} bytes")));
        }
        // The keys are a browser's. If they are invalid, the attempts fail, and not the callback.
        Ok(())
    }

    /// Adds the trace of the client to a delivery. `span` is the id of the delivery in the trace, which all its attempts have. It adds
    /// nothing if the plugin or the configuration sets that header, or if the delivery has as many headers as it may have.
    #[must_use]
    pub fn within_trace(&self, access: &Access, delivery: Delivery, trace: Trace, span: u64) -> Delivery {
        if delivery.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(TRACEPARENT)) {
            return delivery;
        }
        let mut traced = delivery.clone();
        traced.headers.push((TRACEPARENT.into(), trace.parent_of(span)));
        if self.check(access, &traced.request()).is_ok() { traced } else { delivery }
    }

    /// Sends a request for which a call waits.
    /// `trace` is that of the client.
    pub async fn get(&self, access: &Access, mut request: Checked, trace: Option<Trace>) -> HttpResult {
        add_trace(&mut request, trace);
        read(self.send(access, &mut request, (self.limits.get, Limit::HttpGetMs)).await)
    }

    /// Counts a request, unless too many of the same member or topic are under way.
    pub fn begin(self: &Arc<Self>, asker: Asker) -> Option<UnderWay> {
        let most = match asker {
            Asker::Member(_) => self.limits.requests_per_member,
            Asker::Topic(_) => self.limits.requests_per_topic,
        };
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let count = under_way.get(&asker).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        under_way.insert(asker.clone(), count + 1);
        drop(under_way);
        Some(UnderWay { http: Arc::clone(self), asker })
    }

    /// Sends a delivery once. The grants and secrets are those of now, because the configuration may have changed since the plugin
    /// asked for it. Returns none if the limits of the host have prevented the attempt: it says nothing about the receiver.
    pub async fn deliver(&self, row: &DeliveryRow, id: &str, now_ms: u64) -> Option<Attempt> {
        let access = self.access(&row.plugin);
        let mut checked = match self.check(&access, &row.request()) {
            Ok(checked) => checked,
            Err(fault) => return Some(Attempt::Failed(fault.detail)),
        };
        if let Some(push) = &row.push
            && let Err(why) = encrypt(&access, &mut checked, push, now_ms, row.expires_ms)
        {
            return Some(Attempt::Failed(why));
        }
        access.identify(&mut checked, id, now_ms / 1000);
        match self.send(&access, &mut checked, (self.limits.delivery, Limit::HttpDeliveryMs)).await {
            Ok(answer) => {
                let header = answer.headers.iter().find(|(name, _)| name == RETRY_AFTER);
                let retry_after_ms = header.and_then(|(_, value)| read_retry_after(value));
                Some(Attempt::Answered { status: answer.status, retry_after_ms })
            }
            Err(Failure { kind: FailureKind::Busy, .. }) => None,
            Err(failure) => Some(Attempt::Failed(failure.to_string())),
        }
    }

    /// Sends a request that was asked for as an effect, at most once. Its idempotency key is `id`, unless the plugin has set one.
    /// `trace` is that of the client.
    pub async fn request(&self, plugin: &str, request: &HttpRequest, id: &str, trace: Option<Trace>) -> HttpResult {
        let access = self.access(plugin);
        // The request was checked when the plugin asked for it. Its grant may have been removed meanwhile.
        let mut checked = self.check(&access, request).map_err(|fault| not_sent(&fault.detail))?;
        if checked.header(IDEMPOTENCY_KEY).is_none() {
            checked.set(IDEMPOTENCY_KEY, id);
        }
        checked.send_at_most_once();
        add_trace(&mut checked, trace);
        let whole = self.whole();
        read(self.send(&access, &mut checked, whole).await)
    }

    /// Sends a request within the time of a limit. A timeout counts for the limit that it reaches.
    async fn send(&self, access: &Access, request: &mut Checked, within: (Duration, Limit)) -> Result<Answer, Failure> {
        let shortest = shorten(request, [within, self.whole()]);
        let result = self.client.send(access, request).await;
        if let (Some(limit), Err(failure)) = (shortest, &result)
            && failure.kind == FailureKind::Timeout
        {
            limit.hit();
        }
        result
    }

    /// The limit of the time of any request.
    fn whole(&self) -> (Duration, Limit) {
        (self.client.limits().whole, Limit::HttpMs)
    }
}

/// Lowers the time of a request to the shortest of these limits, and returns this limit: a timeout reaches it. Of equal ones it is the
/// first. Returns none if the plugin has asked for no more than all of them: then a timeout is what it wanted, and reaches no limit.
fn shorten(request: &mut Checked, limits: [(Duration, Limit); 2]) -> Option<Limit> {
    let mut shortest = None;
    for (most, limit) in limits {
        if request.shorten(most) {
            shortest = Some(limit);
        }
    }
    shortest
}

/// Adds the trace of the client to a request, unless the plugin has set one. The request has an id of its own in the trace.
fn add_trace(request: &mut Checked, trace: Option<Trace>) {
    // Without a random number there is no id, and the request goes without the trace.
    if let (Some(trace), None, Ok(span)) = (trace, request.header(TRACEPARENT), system_random()) {
        request.set(TRACEPARENT, &trace.parent_of(span));
    }
}

/// Encrypts a push message for its browser.
fn encrypt(
    access: &Access,
    request: &mut Checked,
    push: &PushSubscription,
    now_ms: u64,
    expires_ms: u64,
) -> Result<(), String> {
    let keys = PushKeys::parse(&push.p256dh, &push.auth)?;
    access.encrypt(request, &keys, now_ms / 1000, expires_ms.saturating_sub(now_ms) / 1000)
}

/// The header in which a server asks for a delay before the next attempt.
const RETRY_AFTER: &str = "retry-after";

/// The header by which a server finds out that it has already received a request.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A request that is under way. It counts until this is dropped.
pub struct UnderWay {
    http: Arc<Http>,
    asker: Asker,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut under_way = self.http.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = under_way.get_mut(&self.asker) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.asker);
            }
        }
    }
}

fn read(answer: Result<Answer, Failure>) -> HttpResult {
    match answer {
        Ok(Answer { status, headers, body }) => Ok(HttpResponse { status, headers, body }),
        Err(Failure { kind, detail }) => Err(HttpFailure { kind: kind.name().into(), detail }),
    }
}

fn not_sent(detail: &str) -> HttpFailure {
    HttpFailure { kind: "unreachable".into(), detail: detail.into() }
}

/// The answers that a call has got, for its later runs: a call runs again after a conflict in the store, after an upgrade of
/// entries, and on the previous build during a probation. It has the requests in their order, each with its result.
#[derive(Debug, Default)]
pub struct HttpJournal(Mutex<Vec<(HttpRequest, HttpResult)>>);

impl HttpJournal {
    /// Returns the result that an earlier run got for this request at this place in the call.
    #[must_use]
    pub fn find(&self, place: usize, request: &HttpRequest) -> Option<HttpResult> {
        let journal = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (noted, result) = journal.get(place)?;
        let key = |request: &HttpRequest| (request.method.clone(), request.url.clone(), request.headers.clone());
        (key(noted) == key(request)).then(|| result.clone())
    }

    /// Notes the result of a request at a place. What an earlier run got from there on was for another course of the call.
    pub fn note(&self, place: usize, request: HttpRequest, result: HttpResult) {
        let mut journal = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        journal.truncate(place);
        journal.push((request, result));
    }
}

#[cfg(test)]
mod tests {
    use bennu_outbound::{Grant, HEADERS_MAX, SecretHeaders};

    use super::*;

    fn request(url: &str) -> HttpRequest {
        let (method, headers) = ("GET".into(), Vec::new());
        HttpRequest { method, url: url.into(), headers, body: bytes::Bytes::new(), timeout: None }
    }

    fn response(status: u16) -> HttpResult {
        Ok(HttpResponse { status, headers: Vec::new(), body: bytes::Bytes::new() })
    }

    #[test]
    fn a_run_gets_the_answers_of_the_runs_before_it_as_long_as_it_asks_the_same() {
        let journal = HttpJournal::default();
        journal.note(0, request("a"), response(1));
        journal.note(1, request("b"), response(2));
        assert_eq!(journal.find(0, &request("a")), Some(response(1)));
        assert_eq!(journal.find(1, &request("b")), Some(response(2)));
        assert_eq!((journal.find(0, &request("b")), journal.find(2, &request("a"))), (None, None));
        // The second run asks for something else at its second place.
        journal.note(0, request("c"), response(3));
        assert_eq!((journal.find(0, &request("c")), journal.find(1, &request("b"))), (Some(response(3)), None));
    }

    #[test]
    fn a_timeout_reaches_the_shortest_limit_and_none_if_the_plugin_asked_for_less() {
        let access = Access::new("p", vec![Grant::parse("https://a.example/*", false).expect("a grant")], Vec::new());
        let reached = |asked: Option<u64>, get: u64, whole: u64| {
            let timeout = asked.map(Duration::from_millis);
            let asked = HttpRequest { timeout, ..request("https://a.example/hook") };
            let mut checked = Http::none().check(&access, &asked).expect("it is granted");
            let limits = [(get, Limit::HttpGetMs), (whole, Limit::HttpMs)];
            shorten(&mut checked, limits.map(|(ms, limit)| (Duration::from_millis(ms), limit)))
        };
        for asked in [None, Some(9)] {
            assert_eq!(reached(asked, 3, 5), Some(Limit::HttpGetMs));
            assert_eq!(reached(asked, 5, 3), Some(Limit::HttpMs));
            assert_eq!(reached(asked, 3, 3), Some(Limit::HttpGetMs));
        }
        assert_eq!(reached(Some(4), 3, 5), Some(Limit::HttpGetMs));
        assert_eq!(reached(Some(4), 5, 3), Some(Limit::HttpMs));
        assert_eq!((reached(Some(3), 3, 5), reached(Some(2), 5, 3)), (None, None));
    }

    #[test]
    fn a_delivery_gets_the_trace_unless_that_header_is_set_or_has_no_place() {
        let trace = Trace::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").expect("a trace");
        let own = "00-0af7651916cd43dd8448eb211c80319c-0000000000000005-01".to_owned();
        let access = |secrets: &[(&str, &str)]| {
            let grants = vec![Grant::parse("https://a.example/*", false).expect("a grant")];
            let secrets = SecretHeaders::new("https://a.example", secrets.iter().copied()).expect("headers");
            Access::new("p", grants, vec![secrets])
        };
        let headers = |access: &Access, headers: Vec<(String, String)>| {
            let delivery = Delivery::new("https://a.example/hook".into(), headers, bytes::Bytes::new());
            Http::none().within_trace(access, delivery, trace, 5).headers
        };
        let plain = access(&[]);
        assert_eq!(headers(&plain, Vec::new()), [(TRACEPARENT.to_owned(), own)]);
        let of_plugin = vec![("TraceParent".to_owned(), "x".to_owned())];
        assert_eq!(headers(&plain, of_plugin.clone()), of_plugin);
        let most = vec![("a".to_owned(), String::new()); HEADERS_MAX];
        assert_eq!(headers(&plain, most.clone()), most);
        assert!(headers(&access(&[(TRACEPARENT, "secret")]), Vec::new()).is_empty());
    }

    #[test]
    fn the_requests_of_a_member_and_of_a_topic_are_counted_until_they_end() {
        let limits = HttpLimits { requests_per_member: 1, requests_per_topic: 2, ..HttpLimits::default() };
        let http = Http::new(Arc::new(NoClient(OutboundLimits::default())), HashMap::new(), limits);
        let member = |id| http.begin(Asker::Member(id));
        let topic = || http.begin(Asker::Topic(Topic::new("room:1")));
        let (first, of_topic) = (member(1), [topic(), topic()]);
        assert!(first.is_some() && member(1).is_none() && member(2).is_some());
        assert!(of_topic.iter().all(Option::is_some) && topic().is_none());
        drop((first, of_topic));
        assert!(http.under_way.lock().is_ok_and(|under_way| under_way.is_empty()));
        assert!(member(1).is_some() && topic().is_some());
    }
}
