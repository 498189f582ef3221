//! What was said in a room, as the store has it. Each key begins with the room's topic and a slash:
//!
//! | key | value |
//! | --- | --- |
//! | `said/ID` | a message |
//! | `changed/CHANGE` | the id of the message whose last change this is |
//! | `sent/AUTHOR/NONCE` | the id of the message that its author sent under this nonce |
//! | `count` | how many messages there are |
//!
//! Ids of messages and of changes are drawn from one line, in the topic's turns. So whoever knows all up to an id finds what
//! came later by two scans: the messages that were said after it, and those older ones that were changed after it.

use bennu_guest::prelude::*;

/// So many messages are a page.
const PAGE: usize = 50;
/// Who missed more than this begins anew.
const MOST_MISSED: usize = 200;
/// What a room keeps, unless the plugin's configuration says otherwise.
const KEPT: u64 = 10_000;
/// How long an id from a client may be: those that are drawn have 20 characters.
const LONGEST_ID: usize = 20;

/// A message, in the store and on the wire. What it hasn't got is left out.
#[derive(Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) id: String,
    /// The author's name, as it was.
    pub(crate) user: String,
    pub(crate) body: String,
    /// In milliseconds since 1970.
    pub(crate) at: u64,
    /// Who may change it; nobody, if it was said without a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) author: Option<String>,
    /// What the author's client called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nonce: Option<String>,
    /// When it was last edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edited: Option<u64>,
    /// A message that was deleted stays, without its text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleted: bool,
    /// The id of its last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) change: Option<String>,
}

/// Some messages, the oldest first.
#[derive(Serialize)]
pub(crate) struct Page {
    pub(crate) messages: Vec<Said>,
    /// Whether there are older ones.
    pub(crate) more: bool,
}

/// What somebody doesn't know yet.
#[derive(Serialize)]
pub(crate) struct News {
    /// These are the last messages, and nothing is said about what is older: whatever was known of that is to be forgotten.
    anew: bool,
    #[serde(flatten)]
    page: Page,
}

#[derive(Deserialize)]
struct Config {
    /// How many messages a room keeps.
    #[serde(default = "kept")]
    kept: u64,
}

fn kept() -> u64 {
    KEPT
}

/// A room's history.
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

    /// What happened since a message or a change: each message once, as it is now.
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
        // Those that were said after it are in their page already.
        for id in changed.iter().filter(|id| id.as_str() <= since) {
            messages.extend(self.find(id)?);
        }
        messages.sort_by(|one, other| one.id.cmp(&other.id));
        messages.extend(said);
        Ok(News { anew: false, page: Page { messages, more: false } })
    }

    /// The last messages before one of them, or of all.
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

    /// The message that an author's client sent under this nonce before, if it did.
    pub(crate) fn sent(&self, author: &str, nonce: &str) -> Result<Option<String>, Error> {
        store::get(self.sent_key(author, nonce))
    }

    /// Keeps a new message, and no more than the room keeps.
    pub(crate) fn add(&self, said: &Said) -> Result<(), Error> {
        store::put(key(&self.said, &said.id), said);
        if let (Some(author), Some(nonce)) = (&said.author, &said.nonce) {
            store::put(self.sent_key(author, nonce), &said.id);
        }
        let Config { kept } = config()?;
        let mut count = store::get(&self.count)?.unwrap_or(0) + 1;
        if count > kept {
            // Two of them, so that a room shrinks if it is to keep less than before.
            let oldest = store::scan(&self.said).limit((count - kept).min(2) as usize);
            for said in oldest.values().collect::<Result<Vec<Said>, _>>()? {
                self.forget(&said);
                count -= 1;
            }
        }
        store::put(&self.count, count);
        Ok(())
    }

    /// Keeps a message that was changed, and gives the id of that.
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

    fn forget(&self, said: &Said) {
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

/// An id as a client has sent it: one that couldn't be a key would be the plugin's fault.
fn checked(id: &str) -> Result<&str, Error> {
    if id.len() > LONGEST_ID {
        return refuse(json!({ "reason": format!("an id has at most {LONGEST_ID} characters") }));
    }
    Ok(id)
}
