//! A delivery as it is stored, and its life: it waits, is sent, and is accepted, refused or given up.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use bytestring::ByteString;
use serde_json::json;

use super::{DELIVERY_EXPIRES_MS, Delivery, PushSubscription};
use crate::jobs::JobRow;
use crate::{HttpRequest, Payload, Topic};

/// The delay after the first failure. Each further one is twice as long: 1 s, 2 s, 4 s and so on.
const RETRY_FIRST_MS: u64 = 1000;

/// The longest delay that the host chooses itself. A server may ask for a longer one.
pub const DELIVERY_RETRY_LONGEST: Duration = Duration::from_secs(10 * 60);

/// The longest delay that a server may ask for by `retry-after`.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// The most bytes of the description of the last failure.
const FAILURE_BYTES_MAX: usize = 200;

/// The format of a row.
const FORMAT: u8 = 1;

/// The flags of a row.
const HAS_ORDER: u8 = 1;
const HAS_PUSH: u8 = 2;
const HAS_ON_FAILURE: u8 = 4;

/// A delivery. One that was accepted or refused has no row any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The plugin whose grants and secrets it is sent with.
    pub plugin: Box<str>,
    /// The topic whose callback asked for it. It is empty if there is none.
    pub topic: Topic,
    /// When it was asked for, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it is given up.
    pub expires_ms: u64,
    /// When it is sent next. `None` once it is given up.
    pub next_ms: Option<u64>,
    /// The number of failed attempts.
    pub failures: u32,
    /// What happened at the last one, such as `status 503`.
    pub failure: Box<str>,
    /// The URL.
    pub url: Box<str>,
    /// Names and values of headers.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The body.
    pub body: Bytes,
    /// Deliveries of the plugin with the same key are sent one after the other.
    pub order: Option<Arc<str>>,
    /// The browser for which the body is encrypted at each attempt.
    pub push: Option<PushSubscription>,
    /// The event by which the topic is told that the delivery was refused or given up.
    pub on_failure: Option<ByteString>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The server answered with this status.
    Answered {
        /// The status.
        status: u16,
        /// The delay that the server asks for before the next attempt, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// There was no answer. The text says why, for an operator.
    Failed(String),
}

/// What follows from an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// The server has accepted it: the row is removed.
    Accepted,
    /// The server wants no further attempt: the row is removed.
    Refused,
    /// The row is replaced by this one, and sent again later.
    Retry(Box<DeliveryRow>),
    /// The time is over. The row is replaced by this one, which waits for an operator.
    GivenUp(Box<DeliveryRow>),
}

impl DeliveryRow {
    /// A new delivery of a plugin, asked for by a callback of a topic.
    #[must_use]
    pub fn new(delivery: Delivery, plugin: &str, topic: Option<&Topic>, now_ms: u64) -> Self {
        let Delivery { url, headers, body, order, expires_ms, push, on_failure } = delivery;
        Self {
            plugin: plugin.into(),
            topic: topic.cloned().unwrap_or_else(|| Topic::new("")),
            created_ms: now_ms,
            expires_ms: now_ms.saturating_add(expires_ms.unwrap_or(DELIVERY_EXPIRES_MS)),
            next_ms: Some(now_ms),
            failures: 0,
            failure: "".into(),
            url: url.into(),
            headers: headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            body,
            order: order.map(Arc::from),
            push,
            on_failure: on_failure.map(|event| String::from(event).into()),
        }
    }

    /// The request of its attempts.
    #[must_use]
    pub fn request(&self) -> HttpRequest {
        HttpRequest {
            method: "POST".into(),
            url: self.url.to_string(),
            headers: self.headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            body: self.body.clone(),
            timeout: None,
        }
    }

    /// What follows from an attempt that ended at `now_ms`. `random` spreads the retries of many deliveries that failed together; a
    /// test kit has none.
    #[must_use]
    pub fn after(&self, attempt: &Attempt, now_ms: u64, random: Option<u64>) -> NextStep {
        let (failure, asked_ms) = match attempt {
            Attempt::Answered { status: 200..=299, .. } => return NextStep::Accepted,
            Attempt::Answered { status, .. } if self.is_refused_by(*status) => return NextStep::Refused,
            Attempt::Answered { status, retry_after_ms } => (format!("status {status}"), retry_after_ms.unwrap_or(0)),
            Attempt::Failed(text) => (text.clone(), 0),
        };
        let failures = self.failures.saturating_add(1);
        let delay = delivery_delay(failures, random).max(Duration::from_millis(asked_ms).min(RETRY_AFTER_MAX));
        let next_ms = now_ms.saturating_add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        let row = Self { failures, failure: shortened(&failure).into(), ..self.clone() };
        if next_ms >= self.expires_ms {
            return NextStep::GivenUp(Box::new(Self { next_ms: None, ..row }));
        }
        NextStep::Retry(Box::new(Self { next_ms: Some(next_ms), ..row }))
    }

    /// Whether a server with this status wants no further attempt: 410, and for a push message also 404, by which push services
    /// say that the subscription has ended.
    fn is_refused_by(&self, status: u16) -> bool {
        status == 410 || (status == 404 && self.push.is_some())
    }

    /// The job that tells the topic how the delivery ended, if it wasn't accepted and the plugin has asked for that. `id` is that of
    /// the delivery, and also the key of the job.
    #[must_use]
    pub fn failure_job(&self, id: &str, attempt: &Attempt, step: &NextStep, now_ms: u64) -> Option<JobRow> {
        let event = self.on_failure.as_ref().filter(|_| matches!(step, NextStep::Refused | NextStep::GivenUp(_)))?;
        let (status, reason) = match attempt {
            Attempt::Answered { status, .. } => (Some(*status), format!("status {status}")),
            Attempt::Failed(text) => (None, shortened(text).to_owned()),
        };
        let told = json!({ "delivery": id, "url": &*self.url, "status": status, "reason": reason });
        Some(JobRow::new(now_ms, event.clone(), Payload::Json(told.to_string().into())))
    }

    /// The delivery, to be sent again at once, for as long as a new one.
    #[must_use]
    pub fn retried(self, now_ms: u64) -> Self {
        let lifetime_ms = self.expires_ms.saturating_sub(self.created_ms);
        Self { failures: 0, next_ms: Some(now_ms), expires_ms: now_ms.saturating_add(lifetime_ms), ..self }
    }

    /// Its stored form.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let headers: usize = self.headers.iter().map(|(name, value)| 8 + name.len() + value.len()).sum();
        let mut row = BytesMut::with_capacity(128 + self.url.len() + headers + self.body.len());
        row.put_u8(FORMAT);
        row.put_u64(self.created_ms);
        row.put_u64(self.expires_ms);
        row.put_u8(u8::from(self.next_ms.is_none()));
        row.put_u64(self.next_ms.unwrap_or_default());
        row.put_u32(self.failures);
        let flag = |is_there, flag| if is_there { flag } else { 0 };
        let (order, push) = (flag(self.order.is_some(), HAS_ORDER), flag(self.push.is_some(), HAS_PUSH));
        row.put_u8(order | push | flag(self.on_failure.is_some(), HAS_ON_FAILURE));
        put_text(&mut row, self.order.as_deref().unwrap_or_default());
        put_text(&mut row, &self.plugin);
        put_text(&mut row, self.topic.as_str());
        put_text(&mut row, &self.failure);
        put_text(&mut row, &self.url);
        row.put_u32(u32::try_from(self.headers.len()).unwrap_or(u32::MAX));
        for (name, value) in &self.headers {
            put_text(&mut row, name);
            put_text(&mut row, value);
        }
        if let Some(PushSubscription { p256dh, auth }) = &self.push {
            put_text(&mut row, p256dh);
            put_text(&mut row, auth);
        }
        if let Some(event) = &self.on_failure {
            put_text(&mut row, event);
        }
        row.put_slice(&self.body);
        row.freeze()
    }

    /// Reads a stored form. `None` if it is damaged.
    #[must_use]
    pub fn decode(mut row: Bytes) -> Option<Self> {
        if row.try_get_u8().ok()? != FORMAT {
            return None;
        }
        let (created_ms, expires_ms) = (row.try_get_u64().ok()?, row.try_get_u64().ok()?);
        let is_given_up = row.try_get_u8().ok()? != 0;
        let next_ms = row.try_get_u64().ok()?;
        let failures = row.try_get_u32().ok()?;
        let flags = row.try_get_u8().ok()?;
        let order = take_text(&mut row)?;
        let (plugin, topic) = (take_text(&mut row)?, take_text(&mut row)?);
        let (failure, url) = (take_text(&mut row)?, take_text(&mut row)?);
        let mut headers = Vec::new();
        for _ in 0..row.try_get_u32().ok()? {
            headers.push((take_text(&mut row)?, take_text(&mut row)?));
        }
        let push = if flags & HAS_PUSH == 0 {
            None
        } else {
            Some(PushSubscription { p256dh: take_text(&mut row)?, auth: take_text(&mut row)? })
        };
        let on_failure =
            if flags & HAS_ON_FAILURE == 0 { None } else { Some(String::from(take_text(&mut row)?).into()) };
        Some(Self {
            plugin,
            topic: Topic::new(&topic),
            created_ms,
            expires_ms,
            next_ms: (!is_given_up).then_some(next_ms),
            failures,
            failure,
            url,
            headers,
            body: row,
            order: (flags & HAS_ORDER != 0).then(|| order.into()),
            push,
            on_failure,
        })
    }
}

/// The delay before the next attempt, after this number of failures: the nominal one, or with `random` 75 % to 125 % of it.
#[must_use]
pub fn delivery_delay(failures: u32, random: Option<u64>) -> Duration {
    let longest = u64::try_from(DELIVERY_RETRY_LONGEST.as_millis()).unwrap_or(u64::MAX);
    let nominal = RETRY_FIRST_MS.saturating_mul(2_u64.saturating_pow(failures.saturating_sub(1))).min(longest);
    let delay = random.map_or(nominal, |random| (nominal - nominal / 4).saturating_add(random % (nominal / 2)));
    Duration::from_millis(delay)
}

/// The delay in a header `retry-after`, in milliseconds: a number of seconds. A date isn't read, because the clocks of two machines
/// differ; then the host's own delay counts.
#[must_use]
pub fn read_retry_after(value: &str) -> Option<u64> {
    value.trim().parse::<u64>().ok().map(|seconds| seconds.saturating_mul(1000))
}

fn shortened(text: &str) -> &str {
    let end = (0..=text.len().min(FAILURE_BYTES_MAX)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

fn put_text(row: &mut BytesMut, text: &str) {
    // The parts of a request are bounded far below 4 GiB.
    row.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    row.put_slice(text.as_bytes());
}

fn take_text(row: &mut Bytes) -> Option<Box<str>> {
    let length = usize::try_from(row.try_get_u32().ok()?).ok()?;
    let text = (row.len() >= length).then(|| row.split_to(length))?;
    Some(std::str::from_utf8(&text).ok()?.into())
}
