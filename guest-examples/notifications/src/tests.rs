//! Tests of the notifications, from the view of the user's tabs and of the senders.

use bennu_guest::testing::{Actor, NotJoined, Setup, Stage};

use super::*;

fn stage() -> Stage {
    Stage::new().channel::<Tab>("user:*").now(1_000)
}

fn open(stage: &Stage, topic: &str, user: &str) -> Result<Actor, NotJoined> {
    stage.join_as(Setup::new().user(user), topic, json!({}))
}

fn tab(stage: &Stage) -> Actor {
    open(stage, "user:ada", "ada").expect("ada may join her own topic")
}

/// Sends a notification, and returns its id.
fn notify(stage: &Stage, title: &str) -> String {
    let answer = stage.send("user:ada", "notify", json!({ "title": title })).unwrap().unwrap();
    assert_eq!(answer.status, "ok");
    answer.payload.field("id").unwrap()
}

/// Returns the titles of a join's response or of a page. A `-` before a title means that it was read.
fn titles(response: &Payload) -> String {
    let shown = |it: &Value| {
        let was_read = if it["read"] == true { "-" } else { "" };
        format!("{was_read}{}", it["title"].as_str().unwrap())
    };
    response.field::<Vec<Value>>("notifications").unwrap().iter().map(shown).collect::<Vec<_>>().join(" ")
}

fn unread(tab: &Actor) -> usize {
    tab.response().field("unread").unwrap()
}

#[test]
fn a_join_gets_stored_notifications_and_every_tab_gets_new_ones() {
    let stage = stage();
    notify(&stage, "one");
    let (mut first, mut second) = (tab(&stage), tab(&stage));
    let what = json!({ "title": " two ", "body": "and more", "link": "/chat/" });
    let answer = stage.send("user:ada", "notify", what).unwrap().unwrap().json();
    let two =
        json!({ "id": answer["id"], "title": "two", "body": "and more", "link": "/chat/", "at": 1_000, "read": false });
    for tab in [&mut first, &mut second] {
        assert_eq!((unread(tab), titles(&tab.response()).as_str()), (1, "one"));
        tab.assert_broadcast("notified", json!({ "unread": 2, "notification": two }));
    }
    assert_eq!(titles(&tab(&stage).response()), "two one");
}

#[test]
fn only_the_user_may_join_the_topic() {
    let stage = stage();
    let refused = json!({ "reason": "only the user may see these notifications" });
    let refused = ("error", refused);
    assert_eq!(open(&stage, "user:ada", "bo").unwrap_err().reply(), refused);
    assert_eq!(stage.join("user:ada", json!({ "user": "ada" })).unwrap_err().reply(), refused);
    notify(&stage, "for ada");
    assert_eq!(titles(&open(&stage, "user:bo", "bo").unwrap().response()), "");
    // Otherwise a user called `ada/…` would find its notifications among ada's.
    assert!(open(&stage, "user:ada/x", "ada/x").is_err());
    assert_eq!(stage.send("user:ada/x", "notify", json!({ "title": "t" })).unwrap().unwrap().status, "error");
}

#[test]
fn a_notification_read_in_one_tab_is_read_in_all() {
    let stage = stage();
    let one = notify(&stage, "one");
    let two = notify(&stage, "two");
    let (mut first, mut second) = (tab(&stage), tab(&stage));
    let asked = first.push("read", json!({ "id": one }));
    first.assert_reply(&asked, "ok", json!({ "unread": 1 }));
    second.assert_broadcast("read", json!({ "id": one, "unread": 1 }));

    let again = second.push("read", json!({ "id": one }));
    second.assert_reply(&again, "ok", json!({ "unread": 1 }));
    first.flush();
    first.refute_broadcast("read");

    let three = notify(&stage, "three");
    let asked = second.push("read_all", json!({ "to": two }));
    second.assert_reply(&asked, "ok", json!({ "unread": 1 }));
    first.assert_broadcast("all_read", json!({ "to": two, "unread": 1 }));
    let later = tab(&stage);
    assert_eq!((unread(&later), titles(&later.response()).as_str()), (1, "three -two -one"), "{three} is unread");
}

#[test]
fn older_notifications_are_sent_in_pages_of_thirty() {
    let stage = stage();
    let ids: Vec<_> = (0..65).map(|n| notify(&stage, &n.to_string())).collect();
    let mut tab = tab(&stage);
    assert!(titles(&tab.response()).starts_with("64 63 ") && titles(&tab.response()).ends_with(" 35"));
    assert_eq!(tab.response().field("more"), Ok(true));
    for (before, last, more) in [(35, 5, true), (5, 0, false)] {
        let asked = tab.push("older", json!({ "before": ids[before] }));
        let page: Vec<_> = (last..before).rev().map(|n| json!({ "title": n.to_string() })).collect();
        tab.assert_reply(&asked, "ok", json!({ "more": more, "notifications": page }));
    }
}

#[test]
fn past_the_limit_the_oldest_are_deleted() {
    let stage = stage();
    let ids: Vec<_> = (0..KEPT + 2).map(|n| notify(&stage, &n.to_string())).collect();
    let mut tab = tab(&stage);
    assert_eq!(unread(&tab), KEPT);
    let gone = tab.push("read", json!({ "id": ids[1] }));
    tab.assert_reply(&gone, "ok", json!({ "unread": KEPT }));
    let oldest = tab.push("read", json!({ "id": ids[2] }));
    tab.assert_reply(&oldest, "ok", json!({ "unread": KEPT - 1 }));
    // A read notification is removed without a change of the count.
    notify(&stage, "next");
    tab.assert_broadcast("notified", json!({ "unread": KEPT }));
    let all = tab.push("read_all", json!({ "to": ids[KEPT + 1] }));
    tab.assert_reply(&all, "ok", json!({ "unread": 1 }));
}

#[test]
fn an_invalid_message_gets_a_reason_and_is_not_stored() {
    let stage = stage();
    for (payload, reason) in [
        (json!({}), "title: missing, expected a string"),
        (json!({ "title": " " }), "a title has 1 to 120 characters"),
        (json!({ "title": "t", "body": "x".repeat(1001) }), "a body has 0 to 1000 characters"),
        (json!({ "title": "t", "link": "javascript:alert(1)" }), "a link begins with /, https:// or http://"),
        (json!({ "title": "t", "link": "x".repeat(501) }), "a link has 1 to 500 characters"),
    ] {
        let answer = stage.send("user:ada", "notify", payload).unwrap().unwrap();
        assert_eq!(answer, ("error", json!({ "reason": reason })));
    }
    let mut tab = tab(&stage);
    assert_eq!((unread(&tab), titles(&tab.response()).as_str()), (0, ""));
    for (event, payload, reason) in [
        ("read", json!({}), "id: missing, expected a string"),
        ("read_all", json!({ "to": 1 }), "to: invalid type: integer `1`, expected a string"),
        ("older", json!({ "before": "x".repeat(33) }), "this isn't the id of a notification"),
        ("notify", json!({ "title": "from a client" }), r#"unknown event "notify""#),
    ] {
        let asked = tab.push(event, payload);
        tab.assert_reply(&asked, "error", json!({ "reason": reason }));
    }
    assert!(stage.faults().is_empty());
}

#[test]
fn a_user_without_a_socket_gets_a_push_message() {
    let config = json!({ "push": ["https://push.example/"] });
    let stage = stage().config(config);
    let mut ada = tab(&stage);
    let subscription = |endpoint: &str| json!({ "endpoint": endpoint, "keys": { "p256dh": "p", "auth": "a" } });
    for refused in ["https://elsewhere.example/1", "https://push.example.evil/1"] {
        let pushed = ada.push("subscribe", subscription(refused));
        ada.assert_reply(&pushed, "error", json!({ "reason": "this push service isn't allowed" }));
    }
    // The fifth of six replaces the first; the same one again is one.
    for number in [0, 1, 2, 3, 4, 5, 5] {
        let pushed = ada.push("subscribe", subscription(&format!("https://push.example/{number}")));
        ada.assert_reply(&pushed, "ok", json!({}));
    }
    notify(&stage, "seen");
    assert_eq!(stage.deliveries(), []);
    ada.leave();
    notify(&stage, "pushed");
    let deliveries = stage.deliveries();
    let urls: Vec<_> = deliveries.iter().map(|delivery| delivery.url.as_str()).collect();
    assert_eq!(urls, [1, 2, 3, 4, 5].map(|number| format!("https://push.example/{number}")));
    assert_eq!(deliveries[0].json::<Value>()["title"], "pushed");
}

#[test]
fn a_subscription_that_has_ended_is_forgotten() {
    let mut stage = stage().config(json!({ "push": ["https://push.example/"], "push_key": "BN" }));
    for (name, status) in [("gone", 410), ("unknown", 404), ("busy", 503)] {
        stage = stage.http("POST", &format!("https://push.example/{name}"), status, json!({}));
    }
    let mut ada = tab(&stage);
    assert_eq!(ada.response().field::<String>("push_key").as_deref(), Ok("BN"));
    for name in ["gone", "unknown", "busy", "left"] {
        let endpoint = format!("https://push.example/{name}");
        let pushed = ada.push("subscribe", json!({ "endpoint": endpoint, "keys": { "p256dh": "p", "auth": "a" } }));
        ada.assert_reply(&pushed, "ok", json!({}));
    }
    let pushed = ada.push("unsubscribe", json!({ "endpoint": "https://push.example/left" }));
    ada.assert_reply(&pushed, "ok", json!({}));
    ada.leave();
    notify(&stage, "first");
    // A service that is busy for more than a day says nothing about the subscription.
    stage.advance(Duration::from_secs(2 * 24 * 60 * 60));
    let before = stage.deliveries();
    assert_eq!(before.iter().map(|delivery| delivery.state).collect::<Vec<_>>(), ["refused", "refused", "given-up"]);
    notify(&stage, "second");
    let urls: Vec<_> = stage.deliveries()[before.len()..].iter().map(|delivery| delivery.url.clone()).collect();
    assert_eq!(urls, ["https://push.example/busy"]);
}

#[test]
fn the_largest_notification_fits_into_a_push_message() {
    let stage = stage().config(json!({ "push": ["https://push.example/"] }));
    let mut ada = tab(&stage);
    let keys = json!({ "p256dh": "p", "auth": "a" });
    ada.push("subscribe", json!({ "endpoint": "https://push.example/1", "keys": keys }));
    ada.leave();
    // Written as JSON, this character has six bytes.
    let wide = |length| "\u{1}".repeat(length);
    let largest = json!({ "title": wide(120), "body": wide(1000), "link": format!("/{}", wide(499)) });
    stage.send("user:ada", "notify", largest).unwrap();
    assert!(stage.faults().is_empty());
    assert!(stage.deliveries()[0].body.len() <= 3_993, "{}", stage.deliveries()[0].body.len());
}
