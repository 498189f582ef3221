//! Notifications: every topic `user:NAME` is one user's, and only this user may join it.
//!
//! Who the user is says the socket, by a token that the mount verifies; the join has no parameters. What is sent to the topic
//! is kept, whether the user is there or not, and all tabs of the user show the same: what one marks as read, the others are
//! told.
//!
//! | sent to the topic | what it does | reply |
//! | --- | --- | --- |
//! | `notify {"title", "body", "link"}` | keeps a notification, and shows it in every tab; `body` and `link` may be left out | `ok {"id"}` |
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | `read {"id"}` | marks one as read | `ok {"unread": 2}` |
//! | `read_all {"to": id}` | marks that one as read, and all that are older: those that the user has seen | `ok {"unread": 0}` |
//! | `older {"before": id}` | | `ok {"notifications": [..], "more": true}`, the next thirty, the latest first |
//!
//! | the client gets | when |
//! | --- | --- |
//! | `{"unread": 3, "notifications": [..], "more": true}` | it joined: the last thirty, and whether there are older ones |
//! | `notified {"notification", "unread"}` | one has come |
//! | `read {"id", "unread"}` | one was marked as read, perhaps in another tab |
//! | `all_read {"to", "unread"}` | that one was, and all that are older |
//!
//! A notification is `{"id", "title", "body", "link", "at", "read"}`: ids sort as they came, `at` is in milliseconds since
//! 1970, and `link` perhaps null. The last 500 of each user are kept.

use std::collections::BTreeSet;

use bennu_guest::prelude::*;

#[cfg(test)]
mod tests;

/// So many are kept for a user; then the oldest go.
const KEPT: usize = 500;
const PAGE: usize = 30;
const LONGEST_TITLE: usize = 120;
const LONGEST_BODY: usize = 1000;
const LONGEST_LINK: usize = 500;
/// More than any of the host's ids has.
const LONGEST_ID: usize = 32;

/// One tab of a user. All that there is to know is the user's, and none of it the tab's.
#[derive(Serialize, Deserialize)]
struct Tab;

/// What is known of a user's notifications without reading them.
#[derive(Default, Serialize, Deserialize)]
struct Inbox {
    kept: usize,
    /// The ids of those that nobody has read yet.
    unread: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct Notification {
    id: String,
    title: String,
    body: String,
    link: Option<String>,
    at: u64,
    /// As the room has it: what is stored is never written again.
    #[serde(skip_deserializing)]
    read: bool,
}

impl Channel for Tab {
    // A topic with a room takes one turn after another: nothing is counted twice, and ids are stored in their order.
    type Room = Inbox;
    const DURABLE: bool = true;

    fn join(socket: &mut Socket<Inbox>, _params: Payload) -> Join<Self> {
        if socket.user().as_deref() != Some(user(socket.topic())?) {
            return because("only the user may see these notifications");
        }
        let mut response = page(socket, None)?;
        response["unread"] = json!(socket.room().unread.len());
        socket.respond(response);
        Ok(Tab)
    }

    fn handle_in(&mut self, socket: &mut Socket<Inbox>, event: &str, payload: Payload) -> Handled {
        match event {
            "read" => read(socket, &payload.field::<String>("id")?),
            "read_all" => read_all(socket, &payload.field::<String>("to")?),
            "older" => reply(page(socket, Some(payload.field("before")?))?),
            _ => unknown_event(event),
        }
    }

    fn handle_message(topic: &mut Topic<Inbox>, event: &str, payload: Payload) -> Handled {
        match event {
            "notify" => notify(topic, &payload),
            _ => unknown_event(event),
        }
    }
}

fn notify(topic: &mut Topic<Inbox>, payload: &Payload) -> Handled {
    user(topic.name())?;
    let (title, body): (String, Option<String>) = (payload.field("title")?, payload.field("body")?);
    let notification = Notification {
        id: unique_id(),
        title: text("title", title, 1, LONGEST_TITLE)?,
        body: text("body", body.unwrap_or_default(), 0, LONGEST_BODY)?,
        link: payload.field::<Option<String>>("link")?.map(link).transpose()?,
        at: now_ms(),
        read: false,
    };
    let id = notification.id.clone();
    store::put(key(topic.name(), &id)?, &notification);
    let inbox = topic.room_mut();
    inbox.kept += 1;
    inbox.unread.insert(id.clone());
    forget_the_oldest(topic);
    let unread = topic.room().unread.len();
    topic.broadcast("notified", json!({ "notification": notification, "unread": unread }));
    reply(json!({ "id": id }))
}

fn forget_the_oldest(topic: &mut Topic<Inbox>) {
    let surplus = topic.room().kept.saturating_sub(KEPT);
    let prefix = prefix(topic.name());
    for oldest in store::scan(&prefix).limit(surplus) {
        let inbox = topic.room_mut();
        inbox.kept -= 1;
        inbox.unread.remove(&*oldest.name(&prefix));
        store::delete(oldest.key);
    }
}

/// One that was read before, perhaps in another tab, is read.
fn read(socket: &mut Socket<Inbox>, id: &str) -> Handled {
    let unread = &mut socket.room_mut().unread;
    let news = unread.remove(id);
    let unread = unread.len();
    if news {
        socket.broadcast("read", json!({ "id": id, "unread": unread }));
    }
    reply(json!({ "unread": unread }))
}

/// Up to the last that the user has seen: one that came meanwhile stays unread.
fn read_all(socket: &mut Socket<Inbox>, to: &str) -> Handled {
    let unread = &mut socket.room_mut().unread;
    let before = unread.len();
    unread.retain(|id| id.as_str() > to);
    let unread = unread.len();
    if unread < before {
        socket.broadcast("all_read", json!({ "to": to, "unread": unread }));
    }
    reply(json!({ "unread": unread }))
}

/// The latest, or the latest of those that are older than another.
fn page(socket: &Socket<Inbox>, before: Option<String>) -> Result<Value, Error> {
    let topic = socket.topic();
    // One more than is shown tells whether there are more.
    let scan = store::scan(prefix(topic)).backward().limit(PAGE + 1);
    let scan = match before {
        Some(id) => scan.before(key(topic, &id)?),
        None => scan,
    };
    let mut notifications = scan.values::<Notification>().collect::<Result<Vec<_>, _>>()?;
    let more = notifications.len() > PAGE;
    notifications.truncate(PAGE);
    for notification in &mut notifications {
        notification.read = !socket.room().unread.contains(&notification.id);
    }
    Ok(json!({ "notifications": notifications, "more": more }))
}

/// Whose topic it is.
fn user(topic: &str) -> Result<&str, Error> {
    match topic.strip_prefix("user:") {
        // A slash ends the topic in the keys, so there may be none in it.
        Some(user) if !user.is_empty() && !user.contains('/') => Ok(user),
        _ => because("a user's name isn't empty and has no slash in it"),
    }
}

fn prefix(topic: &str) -> String {
    format!("{topic}/")
}

fn key(topic: &str, id: &str) -> Result<String, Error> {
    if id.len() > LONGEST_ID {
        return because("that is no notification's id");
    }
    Ok(prefix(topic) + id)
}

fn text(name: &str, text: String, least: usize, most: usize) -> Result<String, Error> {
    let text = text.trim();
    if !(least..=most).contains(&text.chars().count()) {
        return because(format!("a {name} has {least} to {most} characters"));
    }
    Ok(text.to_owned())
}

/// Only what a browser opens as a page: no script.
fn link(link: String) -> Result<String, Error> {
    let link = text("link", link, 1, LONGEST_LINK)?;
    if !["/", "https://", "http://"].iter().any(|start| link.starts_with(start)) {
        return because("a link begins with /, https:// or http://");
    }
    Ok(link)
}

/// The sender's mistake, with its reason: a join is refused with it, a message answered by it.
fn because<T>(reason: impl Into<String>) -> Result<T, Error> {
    refuse(json!({ "reason": reason.into() }))
}

channels! { "user:*" => Tab }
