//! The parameters of the effect that delivers a request.

use std::time::Duration;

use bytes::Bytes;

use crate::record::check_name;
use crate::{Fault, HttpRequest};

/// How long a delivery is tried, unless the plugin asks for another time: a day.
pub const DELIVERY_EXPIRES_MS: u64 = 24 * 60 * 60 * 1000;

/// The longest time for which a delivery is tried.
pub const DELIVERY_EXPIRES_MAX: Duration = Duration::from_millis(7 * DELIVERY_EXPIRES_MS);

/// The start of the names of headers that the host makes for each attempt.
const OWN_HEADERS: &str = "webhook-";

/// A request that is stored, and sent until the server accepts it. The method is `POST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The URL.
    pub url: String,
    /// Names and values of headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// Deliveries of the plugin with the same key are sent one after the other, in the order in which they were asked for.
    pub order: Option<Box<str>>,
    /// How long it is tried, in milliseconds.
    pub expires_ms: Option<u64>,
    /// The browser for which the host encrypts the body, if it is a push message.
    pub push: Option<PushSubscription>,
    /// The event by which the topic is told that the delivery was refused or given up.
    pub on_failure: Option<Box<str>>,
}

/// The keys of a browser's subscription to push messages, in base64url.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushSubscription {
    /// The public key of the browser.
    pub p256dh: Box<str>,
    /// The secret that authenticates the sender to the browser.
    pub auth: Box<str>,
}

impl Delivery {
    /// A delivery without options.
    #[must_use]
    pub fn new(url: String, headers: Vec<(String, String)>, body: Bytes) -> Self {
        Self { url, headers, body, order: None, expires_ms: None, push: None, on_failure: None }
    }

    /// Sets its named options: `order`, `expires-ms`, `on-failure`, `push-p256dh` and `push-auth`.
    ///
    /// # Errors
    /// Fault: failed, for an unknown name or a value that isn't allowed.
    pub fn set<'a>(mut self, settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Fault> {
        for (name, value) in settings {
            match name {
                "order" => self.order = Some(value.into()),
                "on-failure" => self.on_failure = Some(value.into()),
                "push-p256dh" => self.push.get_or_insert_default().p256dh = value.into(),
                "push-auth" => self.push.get_or_insert_default().auth = value.into(),
                "expires-ms" => {
                    let number = value.parse().map_err(|_| not_a_time(value))?;
                    self.expires_ms = Some(number);
                }
                _ => {
                    return Err(Fault::failed(format!(
                        "a delivery has no option `{name}`; it has `order`, `expires-ms`, `on-failure`, `push-p256dh` and \
                         `push-auth`"
                    )));
                }
            }
        }
        Ok(self)
    }

    /// Checks all that doesn't depend on the grants.
    ///
    /// # Errors
    /// Fault: failed or oversize.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if let Some(order) = &self.order {
            check_name("the order key of a delivery", order)?;
        }
        if let Some(event) = &self.on_failure {
            check_name("the event of a delivery's failure", event)?;
        }
        let is_own = |(name, _): &&(String, String)| {
            name.get(..OWN_HEADERS.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN_HEADERS))
        };
        if let Some((name, _)) = self.headers.iter().find(is_own) {
            return Err(Fault::failed(format!("the header `{name}` of a delivery is made by the host itself")));
        }
        match self.expires_ms {
            Some(0) => Err(not_a_time("0")),
            Some(expires_ms) if Duration::from_millis(expires_ms) > DELIVERY_EXPIRES_MAX => {
                let days = DELIVERY_EXPIRES_MAX.as_secs() / (24 * 60 * 60);
                Err(Fault::oversize(format!("a delivery is tried for at most {days} days (`expires-ms`)")))
            }
            _ => Ok(()),
        }
    }

    /// The same as a request, whose URL and headers the host checks.
    #[must_use]
    pub fn request(&self) -> HttpRequest {
        HttpRequest {
            method: "POST".into(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: self.body.clone(),
            timeout: None,
        }
    }

    /// The bytes that count among those of the effects of a call.
    pub(crate) fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let names = [&self.order, &self.on_failure].into_iter().flatten().map(|name| name.len());
        self.url.len() + headers + self.body.len() + names.sum::<usize>()
    }
}

fn not_a_time(value: &str) -> Fault {
    Fault::failed(format!("`expires-ms` is a number from 1, and not `{value}`"))
}
