//! Chat rooms: each topic `room:NAME` is one. The messages are stored, and outlive the host.
//!
//! A client joins with `{"user": "alice"}`. Two more parameters are optional:
//!
//! - `key`: a secret that the client makes once and keeps. With it, the client is the author of its messages. A client
//!   with the same name and the same key may edit and delete them.
//! - `known`: the last id or `change` that the client knows, or `""`. With it, the client gets the messages that it
//!   doesn't know.
//! - `since`: the client gets what was broadcast while its connection was lost, as docs/history.md says. It needs no
//!   `known` then, unless the host tells it that something is missing: then it asks with `missed`.
//!
//! The join is refused with a `reason` if the name doesn't have 1 to 32 characters, if the key doesn't have 16 to 64
//! letters and digits, or if the room's name has other characters than letters, digits, `-` and `_`. The reply to the
//! join has these fields:
//!
//! | field | |
//! | --- | --- |
//! | `author` | for a client with a key: the author's id in its messages |
//! | `messages` | with `known`: the messages that were sent or changed after it, or the last 50 (see below) |
//! | `anew` | whether these are the last 50, so that the client must drop all messages that it knew |
//! | `more` | whether there are older messages than the last 50 |
//!
//! The client gets the last 50 messages if `known` is `""`, or if more than 200 were sent or changed after it.
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | `new_msg {"body": ".."}` | sends a message to everyone in the room | `ok {"id": ".."}` |
//! | `edit {"id", "body"}` | changes the text of its own message | `ok` |
//! | `delete {"id"}` | deletes the text of its own message | `ok` |
//! | `older {"before": "ID"}` | asks for the 50 messages before a message | `ok {"messages": [..], "more": true}` |
//! | `missed {"known": "ID"}` | asks for the messages that it doesn't know | `ok`, with the last three fields above |
//! | `typing {"typing": true}` | tells the others that this user is typing, or has stopped typing | none |
//!
//! A client with a key may add a `nonce` of its own to a `new_msg`. If the client sends the message again after a lost
//! connection, with the same nonce, the message is stored and broadcast once.
//!
//! | the client gets | when |
//! | --- | --- |
//! | `new_msg {"id", "user", "body", "at"}` | somebody has sent a message; `at` is in milliseconds since 1970 |
//! | `edited {"id", "body", "edited", "change"}` | a message has another text, since the time `edited` |
//! | `deleted {"id", "change"}` | a message was deleted |
//! | `typing {"user", "typing"}` | another user has started or stopped typing |
//! | `presence_state`, `presence_diff` | it has joined; a user has come or gone. Each name has an `online_at` |
//!
//! A message also has its `author` and `nonce`, if there are any. In a history it also has `edited`, `deleted` and its
//! last `change`.
//!
//! A room keeps 10,000 messages, or the number in its configuration, such as `config = { kept = 500 }`. Each new
//! message then replaces the oldest. All rooms together are limited by the plugin's quota, `store_bytes_per_plugin`.

use bennu_guest::prelude::*;
use sha2::{Digest, Sha256};

mod history;
#[cfg(test)]
mod tests;

use history::{History, Said};

const LONGEST_NAME: usize = 32;
const LONGEST_BODY: usize = 2000;
/// The longest key and the longest nonce.
const LONGEST_TOKEN: usize = 64;
/// A shorter key could be guessed.
const SHORTEST_KEY: usize = 16;

/// One user in one room.
#[derive(Serialize, Deserialize)]
struct Chat {
    user: String,
    /// The author's id in its messages; none without a key.
    #[serde(default)]
    author: Option<String>,
}

impl Channel for Chat {
    type Room = ();
    // Ids are stored in the order in which they are created. So a client that knows an id has missed no message with a
    // smaller id.
    const TURNS: Turns = Turns::Topic;
    const HISTORY_COUNT: u32 = 200;

    fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
        check_room(socket.topic())?;
        let user = user_name(params.field("user")?)?;
        let key = params.field::<Option<String>>("key")?;
        let author = key.map(|key| author(&user, &key)).transpose()?;
        let known = params.field::<Option<String>>("known")?;
        let news = known.map(|id| History::of(socket.topic()).since(&id)).transpose()?;
        socket.respond(json!(Welcome { author: author.as_deref(), news }));
        socket.push_presence();
        socket.track(&user, json!({ "online_at": now_ms() }));
        Ok(Chat { user, author })
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        match event {
            "new_msg" => self.say(socket, body(payload.field("body")?)?, payload.field("nonce")?),
            "edit" => self.edit(socket, payload.field("id")?, body(payload.field("body")?)?),
            "delete" => self.delete(socket, payload.field("id")?),
            "older" => {
                let before: String = payload.field("before")?;
                reply(json!(History::of(socket.topic()).page(Some(&before))?))
            }
            "missed" => {
                let known: String = payload.field("known")?;
                reply(json!(History::of(socket.topic()).since(&known)?))
            }
            "typing" => self.is_typing(socket, payload.field("typing")?),
            _ => unknown_event(event),
        }
    }
}

/// The response to a join. It has the parts that the client has asked for.
#[derive(Serialize)]
struct Welcome<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<&'a str>,
    #[serde(flatten)]
    news: Option<history::News>,
}

impl Chat {
    fn say(&self, socket: &mut Socket, body: String, nonce: Option<String>) -> Handled {
        if nonce.as_ref().is_some_and(|nonce| nonce.len() > LONGEST_TOKEN) {
            return because(format!("a nonce has at most {LONGEST_TOKEN} characters"));
        }
        let (history, author) = (History::of(socket.topic()), self.author.clone());
        // Nonces are stored by author. So without an author, the nonce is ignored.
        let nonce = nonce.filter(|_| author.is_some());
        if let (Some(author), Some(nonce)) = (&author, &nonce)
            && let Some(id) = history.sent(author, nonce)?
        {
            return reply(json!({ "id": id }));
        }
        let (id, user, at) = (unique_id(), self.user.clone(), now_ms());
        let said = Said { id, user, body, at, author, nonce, edited: None, deleted: false, change: None };
        history.add(&said)?;
        socket.broadcast("new_msg", json!(said));
        reply(json!({ "id": said.id }))
    }

    fn edit(&self, socket: &mut Socket, id: String, body: String) -> Handled {
        let history = History::of(socket.topic());
        let mut said = self.own(&history, &id)?;
        if said.deleted {
            return because("the message was deleted");
        }
        if said.body == body {
            return ok();
        }
        let edited = now_ms();
        (said.body, said.edited) = (body.clone(), Some(edited));
        let change = history.change(said);
        socket.broadcast("edited", json!({ "id": id, "body": body, "edited": edited, "change": change }));
        ok()
    }

    fn delete(&self, socket: &mut Socket, id: String) -> Handled {
        let history = History::of(socket.topic());
        let mut said = self.own(&history, &id)?;
        if said.deleted {
            return ok();
        }
        (said.body, said.deleted, said.edited) = (String::new(), true, None);
        let change = history.change(said);
        socket.broadcast("deleted", json!({ "id": id, "change": change }));
        ok()
    }

    /// Returns a message of this author.
    fn own(&self, history: &History, id: &str) -> Result<Said, Error> {
        let Some(said) = history.find(id)? else { return because("there is no such message") };
        if self.author.is_none() || said.author != self.author {
            return because("only the author can change a message");
        }
        Ok(said)
    }

    fn is_typing(&self, socket: &mut Socket, typing: bool) -> Handled {
        // Only the last one counts, so it isn't kept for clients that join again.
        socket.broadcast_from_droppable(&self.user, "typing", json!({ "user": self.user, "typing": typing }));
        no_reply()
    }
}

fn check_room(topic: &str) -> Result<(), Error> {
    let name = topic.strip_prefix("room:").unwrap_or_default();
    if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || "-_".contains(c)) {
        return because("a room's name has letters, digits, - and _");
    }
    Ok(())
}

fn user_name(wanted: String) -> Result<String, Error> {
    let name = wanted.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        return because(format!("a name has 1 to {LONGEST_NAME} characters"));
    }
    Ok(name.to_owned())
}

/// Returns the author's id for a name and a key. Everybody sees the id, but nobody can find the key from it.
fn author(user: &str, key: &str) -> Result<String, Error> {
    let length = SHORTEST_KEY..=LONGEST_TOKEN;
    if !length.contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return because(format!("a key has {SHORTEST_KEY} to {LONGEST_TOKEN} letters and digits"));
    }
    let digest = Sha256::new().chain_update(key).chain_update("/").chain_update(user).finalize();
    Ok(digest[..10].iter().map(|byte| format!("{byte:02x}")).collect())
}

fn body(wanted: String) -> Result<String, Error> {
    if wanted.trim().is_empty() {
        return because("a message needs some text");
    }
    if wanted.chars().count() > LONGEST_BODY {
        return because(format!("a message has at most {LONGEST_BODY} characters"));
    }
    Ok(wanted)
}

/// Refuses a join or a message, with a reason.
fn because<T>(reason: impl Into<String>) -> Result<T, Error> {
    refuse(json!({ "reason": reason.into() }))
}

channels! { "room:*" => Chat }
