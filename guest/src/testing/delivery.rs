//! A delivery, as a test sees it.

use bennu_world::Delivered;
use serde::de::DeserializeOwned;

/// A delivery that a callback has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: String,
    /// The URL.
    pub url: String,
    /// Names and values of the headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The key of its order, if it has one.
    pub order: Option<String>,
    /// `waiting`, `accepted`, `refused` (by the status 410, or 404 for a push message), or `given-up`.
    pub state: &'static str,
    /// The number of failed attempts.
    pub failures: u32,
}

impl Delivery {
    /// The body, as JSON.
    ///
    /// # Panics
    ///
    /// If it isn't a `T`.
    #[must_use]
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("the body of {}: {error}", self.id))
    }
}

impl From<&Delivered> for Delivery {
    fn from(Delivered { id, row, state }: &Delivered) -> Self {
        Self {
            id: id.to_string(),
            url: row.url.to_string(),
            headers: row.headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            body: row.body.to_vec(),
            order: row.order.as_ref().map(ToString::to_string),
            state: state.as_str(),
            failures: row.failures,
        }
    }
}
