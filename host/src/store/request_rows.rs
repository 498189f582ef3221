//! Answers to requests with an idempotency key, in the draft of the callback that gave the answer. So either the callback was
//! committed and its answer is known, or nothing of it happened.

use bennu_semantics::lifetime;
use bytes::Bytes;

use super::draft::{Draft, ReadError};
use super::space::Kind;
use super::sweep::expiry_name;

impl Draft {
    /// Returns what is stored for a request, if it hasn't expired. A later write of the request by another commit is a conflict.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn request(&mut self, request: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let place = self.owner.place(Kind::Requests, request);
        let stored = self.value(&place).await?;
        Ok(stored.filter(|stored| !lifetime::is_expired(stored, self.now_ms)).map(|stored| lifetime::open(stored).0))
    }

    /// Stores the answer to a request for a number of milliseconds. The host does this, once per call. So it counts for the plugin's
    /// quota, but not for the limits of a call's writes.
    pub fn set_request(&mut self, request: &[u8], answer: &[u8], lifetime_ms: u64) {
        let expires_ms = self.now_ms.saturating_add(lifetime_ms);
        let place = self.owner.place(Kind::Requests, request);
        self.writes.insert(place, Some(lifetime::seal(answer, expires_ms)));
        let hint = self.owner.place(Kind::RequestExpiries, &expiry_name(expires_ms, request));
        self.writes.insert(hint, Some(Bytes::new()));
    }
}
