//! Notifications: each topic `user:NAME` belongs to one user, and only this user may join it.
//!
//! The socket identifies the user, with a token that the mount verifies. The join has no parameters. A notification
//! that is sent to the topic is stored, whether the user is connected or not. All tabs of a user show the same: if one
//! tab marks a notification as read, the others are told.
//!
//! | sent to the topic | what it does | reply |
//! | --- | --- | --- |
//! | `notify {"title", "body", "link"}` | stores it, and shows it in every tab; `body` and `link` are optional | `ok {"id"}` |
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | `read {"id"}` | marks a notification as read | `ok {"unread": 2}` |
//! | `read_all {"to": id}` | marks that one and all older ones as read | `ok {"unread": 0}` |
//! | `subscribe {"endpoint", "keys": {"p256dh", "auth"}}` | keeps the browser's subscription to push messages for 60 days | `ok {}` |
//! | `unsubscribe {"endpoint"}` | forgets it | `ok {}` |
//! | `older {"before": id}` | | `ok {"notifications": [..], "more": true}`: thirty, the latest first |
//!
//! | the client gets | when |
//! | --- | --- |
//! | `{"unread": 3, "notifications": [..], "more": true, "push_key": "BN.."}` | it has joined: the last thirty; `more` if there are older ones; the key for subscriptions, or null |
//! | `notified {"notification", "unread"}` | there is a new notification |
//! | `read {"id", "unread"}` | a notification was marked as read, perhaps in another tab |
//! | `all_read {"to", "unread"}` | that notification and all older ones were marked as read |
//!
//! A notification is `{"id", "title", "body", "link", "at", "read"}`. Ids sort in the order in which the notifications
//! came. `at` is in milliseconds since 1970, and `link` may be null. The last 500 notifications of each user are kept.
//!
//! If the user has no socket, the notification also goes to the user's browsers as a push message: `{"id", "title", "body"}`. A
//! subscription that has ended is forgotten as soon as its push service says so.
//!
//! ```toml
//! [plugins.notifications]
//! http = ["https://fcm.googleapis.com/*"]
//! web_push = { key = { file = "vapid.pem" }, subject = "mailto:ops@example.com" }
//! # The start of the URLs of push services, because a browser names the URL. And the public half of `vapid.pem`, for pages.
//! config = { push = ["https://fcm.googleapis.com/"], push_key = "BN.." }
//! ```

use std::collections::BTreeSet;

use bennu_guest::prelude::*;

#[cfg(test)]
mod tests;

/// The largest number of notifications of a user. A new one then replaces the oldest.
const KEPT: usize = 500;
const PAGE: usize = 30;
const LONGEST_TITLE: usize = 120;
const LONGEST_BODY: usize = 1000;
const LONGEST_LINK: usize = 500;
/// The most subscriptions of a user, and how long they are kept: a page subscribes again whenever it is opened.
const SUBSCRIPTIONS: usize = 5;
const SUBSCRIBED: Duration = Duration::from_secs(60 * 24 * 60 * 60);
const LONGEST_ENDPOINT: usize = 1000;
const LONGEST_KEY: usize = 100;
/// The characters of a body in a push message. The page shows all of it, and a message has at most 3,993 bytes.
const PUSHED_BODY: usize = 200;
/// The topic is told that a push message wasn't delivered.
const NOT_PUSHED: &str = "not_pushed";
/// Longer than any id of the host.
const LONGEST_ID: usize = 32;

/// One tab of a user. It has no state of its own, because all data belongs to the user.
#[derive(Serialize, Deserialize)]
struct Tab;

/// The data about a user's notifications that is needed without reading them.
#[derive(Default, Serialize, Deserialize)]
struct Inbox {
    kept: usize,
    /// The ids of unread notifications.
    unread: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct Notification {
    id: String,
    title: String,
    body: String,
    link: Option<String>,
    at: u64,
    /// Set from the room, and ignored when a stored notification is read. So a stored notification is never written
    /// again.
    #[serde(skip_deserializing)]
    read: bool,
}

#[derive(Default, Deserialize)]
struct Config {
    /// The starts of the URLs of push services.
    #[serde(default)]
    push: Vec<String>,
    /// The key by which push services know the sender. A page needs it for a subscription.
    push_key: Option<String>,
}

/// A browser's subscription to push messages, as the browser writes it.
#[derive(PartialEq, Serialize, Deserialize)]
struct Subscription {
    endpoint: String,
    keys: Keys,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct Keys {
    p256dh: String,
    auth: String,
}

impl Channel for Tab {
    // In a topic with a room, callbacks run one after another. So no count is wrong, and ids are stored in their order.
    type Room = Inbox;
    const DURABLE: bool = true;

    fn join(socket: &mut Socket<Inbox>, _params: Payload) -> Join<Self> {
        if socket.user().as_deref() != Some(user(socket.topic())?) {
            return because("only the user may see these notifications");
        }
        let mut response = page(socket, None)?;
        response["unread"] = json!(socket.room().unread.len());
        response["push_key"] = json!(config::<Config>()?.push_key);
        socket.respond(response);
        Ok(Tab)
    }

    fn handle_in(&mut self, socket: &mut Socket<Inbox>, event: &str, payload: Payload) -> Handled {
        match event {
            "read" => read(socket, &payload.field::<String>("id")?),
            "read_all" => read_all(socket, &payload.field::<String>("to")?),
            "subscribe" => subscribe(socket.topic(), &payload),
            "unsubscribe" => {
                forget(socket.topic(), &payload.field::<String>("endpoint")?)?;
                ok()
            }
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

    /// A push service has refused a message, or couldn't be reached for a day.
    fn handle_topic_info(topic: &mut Topic<Inbox>, message: Message) -> Told {
        match http::undelivered(&message) {
            // The subscription has ended: the user has revoked it, or uses another browser.
            Some(http::Undelivered { url, status: Some(404 | 410), .. }) => forget(topic.name(), &url),
            _ => Ok(()),
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
    delete_the_oldest(topic);
    let unread = topic.room().unread.len();
    if topics::count(topic.name()) == 0 {
        push(topic.name(), &notification)?;
    }
    topic.broadcast("notified", json!({ "notification": notification, "unread": unread }));
    reply(json!({ "id": id }))
}

/// Keeps a browser's subscription.
fn subscribe(topic: &str, payload: &Payload) -> Handled {
    let subscription: Subscription = payload.parse()?;
    let Subscription { endpoint, keys } = &subscription;
    let is_allowed = config::<Config>()?.push.iter().any(|start| endpoint.starts_with(start));
    let is_long = endpoint.len() > LONGEST_ENDPOINT || keys.p256dh.len().max(keys.auth.len()) > LONGEST_KEY;
    if !is_allowed || is_long {
        return because("this push service isn't allowed");
    }
    let mut all = subscriptions(topic)?;
    all.retain(|other| other.endpoint != subscription.endpoint);
    all.push(subscription);
    let surplus = all.len().saturating_sub(SUBSCRIPTIONS);
    all.drain(..surplus);
    store::put_expiring(subscriptions_key(topic), &all, SUBSCRIBED);
    ok()
}

fn subscriptions(topic: &str) -> Result<Vec<Subscription>, Error> {
    Ok(store::get(subscriptions_key(topic))?.unwrap_or_default())
}

/// No topic begins so.
fn subscriptions_key(topic: &str) -> String {
    format!("push/{topic}")
}

/// Forgets a browser's subscription.
fn forget(topic: &str, endpoint: &str) -> Result<(), Error> {
    let mut all = subscriptions(topic)?;
    let before = all.len();
    all.retain(|subscription| subscription.endpoint != endpoint);
    if all.len() < before {
        store::put_expiring(subscriptions_key(topic), &all, SUBSCRIBED);
    }
    Ok(())
}

/// Sends a notification to the browsers of a user without a socket.
fn push(topic: &str, notification: &Notification) -> Result<(), Error> {
    let body: String = notification.body.chars().take(PUSHED_BODY).collect();
    let message = json!({ "id": notification.id, "title": notification.title, "body": body });
    for Subscription { endpoint, keys: Keys { p256dh, auth } } in subscriptions(topic)? {
        http::Delivery::new(&endpoint).json(&message).push(&p256dh, &auth).on_failure(NOT_PUSHED).send();
    }
    Ok(())
}

fn delete_the_oldest(topic: &mut Topic<Inbox>) {
    let surplus = topic.room().kept.saturating_sub(KEPT);
    let prefix = prefix(topic.name());
    for oldest in store::scan(&prefix).limit(surplus) {
        let inbox = topic.room_mut();
        inbox.kept -= 1;
        inbox.unread.remove(&*oldest.name(&prefix));
        store::delete(oldest.key);
    }
}

/// Marks a notification as read. It may be read already, for example in another tab.
fn read(socket: &mut Socket<Inbox>, id: &str) -> Handled {
    let unread = &mut socket.room_mut().unread;
    let is_new = unread.remove(id);
    let unread = unread.len();
    if is_new {
        socket.broadcast("read", json!({ "id": id, "unread": unread }));
    }
    reply(json!({ "unread": unread }))
}

/// Marks all notifications up to the last one that the user has seen. A newer one stays unread.
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

/// Returns the latest notifications, or the latest ones before another.
fn page(socket: &Socket<Inbox>, before: Option<String>) -> Result<Value, Error> {
    let topic = socket.topic();
    // One more than the page has, to find out whether there are older ones.
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

/// Returns the user that the topic belongs to.
fn user(topic: &str) -> Result<&str, Error> {
    match topic.strip_prefix("user:") {
        // In the keys, a slash ends the topic. So the topic must not contain one.
        Some(user) if !user.is_empty() && !user.contains('/') => Ok(user),
        _ => because("a user's name must not be empty, and must not contain a slash"),
    }
}

fn prefix(topic: &str) -> String {
    format!("{topic}/")
}

fn key(topic: &str, id: &str) -> Result<String, Error> {
    if id.len() > LONGEST_ID {
        return because("this isn't the id of a notification");
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

/// Accepts only a link that a browser opens as a page, and no script.
fn link(link: String) -> Result<String, Error> {
    let link = text("link", link, 1, LONGEST_LINK)?;
    if !["/", "https://", "http://"].iter().any(|start| link.starts_with(start)) {
        return because("a link begins with /, https:// or http://");
    }
    Ok(link)
}

/// Refuses a join or a message, with a reason.
fn because<T>(reason: impl Into<String>) -> Result<T, Error> {
    refuse(json!({ "reason": reason.into() }))
}

channels! { "user:*" => Tab }
