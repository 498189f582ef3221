//! The history of a chat room in the store. Each key begins with the room's topic and a slash:
//!
//! | key | value |
//! | --- | --- |
//! | `said/ID` | a message |
//! | `changed/CHANGE` | the id of the message whose last change this is |
//! | `sent/AUTHOR/NONCE` | the id of the message that its author sent with this nonce |
//! | `count` | the number of messages |
//!
//! Messages and changes have ids of the same sequence, which the topic's turns create in order. So two scans find all
//! news after an id: the messages after it, and the older messages that were changed after it.

use bennu_guest::prelude::*;

/// The number of messages in a page.
const PAGE: usize = 50;
/// A client that has missed more than this number gets the last page instead.
const MOST_MISSED: usize = 200;
/// The number of messages that a room keeps by default.
const KEPT: u64 = 10_000;
/// The longest id that a client may send. Ids of the host have 20 characters.
const LONGEST_ID: usize = 20;

/// A message, in the store and on the wire. Fields without a value are left out.
#[derive(Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) id: String,
    /// The author's name when the message was sent.
    pub(crate) user: String,
    pub(crate) body: String,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    /// The author, who may change the message; none if it was sent without a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) author: Option<String>,
    /// The nonce that the author's client gave to the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nonce: Option<String>,
    /// The time of the last edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edited: Option<u64>,
    /// Whether the message was deleted. A deleted message stays, without its text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleted: bool,
    /// The id of the last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) change: Option<String>,
}

/// Some messages, the oldest first.
#[derive(Serialize)]
pub(crate) struct Page {
    pub(crate) messages: Vec<Said>,
    /// Whether there are older messages.
    pub(crate) more: bool,
}

/// The messages that a client doesn't know yet.
#[derive(Serialize)]
pub(crate) struct News {
    /// Whether these are only the last messages. Then the client must drop all messages that it knew.
    anew: bool,
    #[serde(flatten)]
    page: Page,
}

#[derive(Deserialize)]
struct Config {
    /// The number of messages that a room keeps.
    #[serde(default = "kept")]
    kept: u64,
}

fn kept() -> u64 {
    KEPT
}

/// The history of one room.
pub(crate) struct History {
    said: String,
    changed: String,
    sent: String,
    count: String,
}

impl History {
    pub(crate) fn of(topic: &str) -> Self {
        let under = |what: &str| format!("{topic}/{what}");
        Self { said: under("said/"), changed: under("changed/"), sent: under("sent/"), count: under("count") }
    }

    /// Returns all news after a message or a change: each message once, in its current form.
    pub(crate) fn since(&self, id: &str) -> Result<News, Error> {
        if id.is_empty() {
            return Ok(News { anew: true, page: self.page(None)? });
        }
        let since = checked(id)?;
        let changes = store::scan(&self.changed).after(key(&self.changed, since)).limit(MOST_MISSED + 1);
        let changed = changes.values::<String>().collect::<Result<Vec<_>, _>>()?;
        let said = store::scan(&self.said).after(key(&self.said, since)).limit(MOST_MISSED + 1);
        let said = said.values().collect::<Result<Vec<Said>, _>>()?;
        if changed.len() + said.len() > MOST_MISSED {
            return Ok(News { anew: true, page: self.page(None)? });
        }
        let mut messages = Vec::new();
        // Messages after that id are in the second scan already.
        for id in changed.iter().filter(|id| id.as_str() <= since) {
            messages.extend(self.find(id)?);
        }
        messages.sort_by(|one, other| one.id.cmp(&other.id));
        messages.extend(said);
        Ok(News { anew: false, page: Page { messages, more: false } })
    }

    /// Returns the last messages, or the last ones before a message.
    pub(crate) fn page(&self, before: Option<&str>) -> Result<Page, Error> {
        let mut scan = store::scan(&self.said).backward().limit(PAGE + 1);
        if let Some(id) = before {
            scan = scan.before(key(&self.said, checked(id)?));
        }
        let mut messages = scan.values().collect::<Result<Vec<Said>, _>>()?;
        let more = messages.len() > PAGE;
        messages.truncate(PAGE);
        messages.reverse();
        Ok(Page { messages, more })
    }

    pub(crate) fn find(&self, id: &str) -> Result<Option<Said>, Error> {
        store::get(key(&self.said, checked(id)?))
    }

    /// Returns the id of the message that an author's client has already sent with this nonce, if there is one.
    pub(crate) fn sent(&self, author: &str, nonce: &str) -> Result<Option<String>, Error> {
        store::get(self.sent_key(author, nonce))
    }

    /// Stores a new message, and deletes the oldest ones past the room's limit.
    pub(crate) fn add(&self, said: &Said) -> Result<(), Error> {
        store::put(key(&self.said, &said.id), said);
        if let (Some(author), Some(nonce)) = (&said.author, &said.nonce) {
            store::put(self.sent_key(author, nonce), &said.id);
        }
        let Config { kept } = config()?;
        let mut count = store::get(&self.count)?.unwrap_or(0) + 1;
        if count > kept {
            // Deletes up to two, so that a room shrinks if its limit was lowered.
            let oldest = store::scan(&self.said).limit((count - kept).min(2) as usize);
            for said in oldest.values().collect::<Result<Vec<Said>, _>>()? {
                self.remove(&said);
                count -= 1;
            }
        }
        store::put(&self.count, count);
        Ok(())
    }

    /// Stores a changed message, and returns the id of the change.
    pub(crate) fn change(&self, mut said: Said) -> String {
        if let Some(last) = &said.change {
            store::delete(key(&self.changed, last));
        }
        let change = unique_id();
        store::put(key(&self.changed, &change), &said.id);
        said.change = Some(change.clone());
        store::put(key(&self.said, &said.id), said);
        change
    }

    fn remove(&self, said: &Said) {
        store::delete(key(&self.said, &said.id));
        if let Some(change) = &said.change {
            store::delete(key(&self.changed, change));
        }
        if let (Some(author), Some(nonce)) = (&said.author, &said.nonce) {
            store::delete(self.sent_key(author, nonce));
        }
    }

    fn sent_key(&self, author: &str, nonce: &str) -> String {
        format!("{}{author}/{nonce}", self.sent)
    }
}

fn key(prefix: &str, id: &str) -> String {
    format!("{prefix}{id}")
}

/// Checks an id from a client. An id that is too long for a key would be a fault of the plugin.
fn checked(id: &str) -> Result<&str, Error> {
    if id.len() > LONGEST_ID {
        return refuse(json!({ "reason": format!("an id has at most {LONGEST_ID} characters") }));
    }
    Ok(id)
}
