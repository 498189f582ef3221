//! The state that a call publishes for its topic.

use bytestring::ByteString;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::read_object;

/// A topic's published state: the text that clients get, and the parsed object that the host compares with the next
/// state.
///
/// A state that is made of a text isn't parsed yet. The record parses it, after it has checked its size, so that a call
/// can't make the host parse more than its limit.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "ByteString")]
pub struct PublishedState {
    text: ByteString,
    fields: Option<Map<String, Value>>,
}

impl PublishedState {
    /// Parses its text, and keeps the object, so that the text is parsed once only.
    ///
    /// # Errors
    /// If the text isn't a JSON object that the host can read.
    pub(crate) fn parse(&mut self) -> serde_json::Result<()> {
        self.fields = Some(read_object(&self.text)?);
        Ok(())
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its text, and the parsed object. The object is empty if the text can't be read. The record refuses such a text.
    #[must_use]
    pub fn into_parts(self) -> (ByteString, Map<String, Value>) {
        let fields = self.fields.unwrap_or_else(|| read_object(&self.text).unwrap_or_default());
        (self.text, fields)
    }
}

/// The object follows from the text.
impl PartialEq for PublishedState {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl From<ByteString> for PublishedState {
    fn from(text: ByteString) -> Self {
        Self { text, fields: None }
    }
}

impl From<String> for PublishedState {
    fn from(text: String) -> Self {
        Self::from(ByteString::from(text))
    }
}

impl From<&str> for PublishedState {
    fn from(text: &str) -> Self {
        Self::from(ByteString::from(text))
    }
}
