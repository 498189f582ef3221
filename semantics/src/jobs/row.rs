//! A job as it is stored, and its life: it waits, is tried, and is done or given up.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use crate::Payload;

/// How often a job is tried before it is given up.
pub const TRIES_MAX: u32 = 5;

/// The delay after the first failure. Each further one is five times as long: 1 s, 5 s, 25 s, about 2 minutes.
const RETRY_FIRST_MS: u64 = 1000;
const RETRY_FACTOR: u64 = 5;

/// The format of a row.
const FORMAT: u8 = 1;

const JSON: u8 = 0;
const BINARY: u8 = 1;

/// The content of a job: a message to its topic, and when it is due. A job that succeeds has no row any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    /// When it was first due, in milliseconds since 1970. Retries don't change it.
    pub due_ms: u64,
    /// When it is tried next. `None` once it is given up.
    pub next_ms: Option<u64>,
    /// The number of failed tries.
    pub failures: u32,
    /// Its event.
    pub event: ByteString,
    /// Its payload.
    pub payload: Payload,
}

impl JobRow {
    /// A job that is due at a time.
    #[must_use]
    pub fn new(due_ms: u64, event: ByteString, payload: Payload) -> Self {
        Self { due_ms, next_ms: Some(due_ms), failures: 0, event, payload }
    }

    /// The job after a failed try. After the last one it is given up. `random` spreads the retries of many jobs that
    /// failed together; a test kit has none.
    #[must_use]
    pub fn failed(self, now_ms: u64, random: Option<u64>) -> Self {
        let failures = self.failures.saturating_add(1);
        let next_ms = (failures < TRIES_MAX).then(|| now_ms.saturating_add(ms(retry_delay(failures, random))));
        Self { failures, next_ms, ..self }
    }

    /// The job, to be tried again at once, as often as a new one.
    #[must_use]
    pub fn retried(self, now_ms: u64) -> Self {
        Self { failures: 0, next_ms: Some(now_ms), ..self }
    }

    /// Its stored form.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut row = BytesMut::with_capacity(32 + self.event.len() + self.payload.len());
        row.put_u8(FORMAT);
        row.put_u64(self.due_ms);
        row.put_u8(u8::from(self.next_ms.is_none()));
        row.put_u64(self.next_ms.unwrap_or_default());
        row.put_u32(self.failures);
        // An event has at most 255 bytes. A longer one is refused before.
        row.put_u16(u16::try_from(self.event.len()).unwrap_or(u16::MAX));
        row.put_slice(self.event.as_bytes());
        let (tag, bytes) = match &self.payload {
            Payload::Json(text) => (JSON, text.as_bytes().as_ref()),
            Payload::Binary(bytes) => (BINARY, &bytes[..]),
        };
        row.put_u8(tag);
        row.put_slice(bytes);
        row.freeze()
    }

    /// Reads a stored form. `None` if it is damaged.
    #[must_use]
    pub fn decode(mut row: Bytes) -> Option<Self> {
        if row.try_get_u8().ok()? != FORMAT {
            return None;
        }
        let due_ms = row.try_get_u64().ok()?;
        let is_given_up = row.try_get_u8().ok()? != 0;
        let next_ms = row.try_get_u64().ok()?;
        let failures = row.try_get_u32().ok()?;
        let length = usize::from(row.try_get_u16().ok()?);
        let event = ByteString::try_from((row.len() >= length).then(|| row.split_to(length))?).ok()?;
        let payload = match row.try_get_u8().ok()? {
            JSON => Payload::Json(ByteString::try_from(row).ok()?),
            BINARY => Payload::Binary(row),
            _ => return None,
        };
        Some(Self { due_ms, next_ms: (!is_given_up).then_some(next_ms), failures, event, payload })
    }
}

/// The delay before the next try, after this number of failures: the nominal one, or with `random` 75 % to 125 % of it.
#[must_use]
pub fn retry_delay(failures: u32, random: Option<u64>) -> Duration {
    let nominal = RETRY_FIRST_MS.saturating_mul(RETRY_FACTOR.saturating_pow(failures.saturating_sub(1)));
    let delay = random.map_or(nominal, |random| (nominal - nominal / 4).saturating_add(random % (nominal / 2)));
    Duration::from_millis(delay)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
