//! Channels on the stage of the test kit: several members, messages between topics, and gatekeepers.

#![allow(clippy::unwrap_used)]

use bennu_guest::prelude::*;
use bennu_guest::testing::{ConnectRequest, Setup, Stage, token};

/// A chat room whose members follow their clients' commands.
#[derive(Serialize, Deserialize)]
struct Room {
    heard: Vec<String>,
}

impl Channel for Room {
    type Room = ();

    const INTERCEPTS: &'static [&'static str] = &["secret"];
    const ON_FAULT: OnFault = OnFault::Keep;

    fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
        if let Some(key) = params.field::<Option<String>>("presence")? {
            socket.push_presence();
            socket.track(&key, json!({ "away": false }));
        }
        Ok(Room { heard: Vec::new() })
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        match event {
            "shout" | "secret" => socket.broadcast(event, payload.object()?),
            "whisper" => socket.broadcast_from(event, payload.object()?),
            "away" => socket.update_presence(&payload.field::<String>("key")?, json!({ "away": true })),
            "gone" => socket.untrack(&payload.field::<String>("key")?),
            "who" => {
                let presences = socket.presences();
                return reply(presences.keys().collect::<Vec<_>>());
            }
            "ask" => socket.send("desk:1", "question", json!({})),
            "listen" => socket.subscribe(&payload.field::<String>("topic")?),
            "publish" => socket.publish(&payload.field::<String>("topic")?, "news", json!({})),
            "kick" => socket.disconnect(&payload.field::<String>("id")?),
            "later" => drop(socket.send_after(Duration::from_secs(60), "timer", json!({}))),
            "heard" => return reply(&self.heard),
            "me" => {
                return reply(
                    json!({ "user": socket.user(), "role": socket.claims().field::<Option<String>>("role")? }),
                );
            }
            "count" => {
                return reply(
                    json!({ "here": topics::count(socket.topic()), "rooms": topics::under("room:", None, 10).len() }),
                );
            }
            "crash" => return fail("asked to"),
            _ => return unknown_event(event),
        }
        ok()
    }

    fn handle_out(&self, recipient: &Recipient, _event: &str, payload: &Payload) -> Decided {
        let to: u64 = payload.field("to")?;
        Ok(if to == recipient.member_id() { Decision::Pass } else { Decision::Drop })
    }

    fn handle_info(&mut self, socket: &mut Socket, message: Message) -> Handled {
        if message.event == "timer" {
            socket.push("rang", json!({ "at": now_ms() }));
        }
        self.heard.push(format!("{} {} {}", message.source, message.topic, message.event));
        no_reply()
    }

    fn terminate(&mut self, socket: &mut Socket, ending: Ending) {
        socket.broadcast("bye", json!({ "cause": ending.cause }));
    }
}

/// A topic that answers questions, with or without members.
#[derive(Serialize, Deserialize)]
struct HelpDesk;

impl Channel for HelpDesk {
    type Room = ();

    fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
        Ok(HelpDesk)
    }

    fn handle_message(topic: &mut Topic, event: &str, _payload: Payload) -> Handled {
        match event {
            "question" => reply(json!({ "from": topic.name() })),
            "announce" => {
                topic.broadcast("announced", json!({ "online": topic.presences().len() }));
                no_reply()
            }
            "crash" => fail("asked to"),
            _ => unknown_event(event),
        }
    }
}

fn stage() -> Stage {
    Stage::new().channel::<Room>("room:*").channel::<HelpDesk>("desk:*")
}

#[test]
fn members_get_the_broadcasts_of_their_topic() {
    let stage = stage();
    let mut alice = stage.join("room:1", json!({})).unwrap();
    let mut bob = stage.join("room:1", json!({})).unwrap();
    let mut carol = stage.join("room:2", json!({})).unwrap();
    let shout = alice.push("shout", json!({ "a": 1, "b": [2] }));
    alice.assert_reply(&shout, "ok", json!({}));
    alice.assert_broadcast("shout", json!({ "b": [2] }));
    bob.assert_broadcast("shout", json!({ "a": 1, "b": [2] }));
    bob.refute_broadcast("shout");
    carol.refute_broadcast("shout");
    let whisper = bob.push("whisper", Binary(vec![1]));
    bob.refute_broadcast("whisper");
    alice.assert_broadcast("whisper", Binary(vec![1]));
    bob.assert_reply(&whisper, "ok", json!({}));
    bob.refute_reply(&whisper);
    stage.broadcast("room:2", "news", json!({}));
    carol.assert_broadcast("news", json!({}));
}

#[test]
fn an_intercepted_event_only_reaches_the_chosen_member() {
    let stage = stage();
    let mut alice = stage.join("room:1", json!({})).unwrap();
    let mut bob = stage.join("room:1", json!({})).unwrap();
    let to = bob.id();
    alice.push("secret", json!({ "to": to }));
    bob.assert_broadcast("secret", json!({ "to": to }));
    alice.refute_broadcast("secret");
}

#[test]
fn presence_events_have_phoenix_format() {
    let stage = stage();
    let mut alice = stage.join("room:1", json!({ "presence": "alice" })).unwrap();
    alice.assert_push("presence_state", json!({}));
    alice.assert_broadcast(
        "presence_diff",
        json!({ "joins": { "alice": { "metas": [{ "away": false }] } }, "leaves": {} }),
    );
    let mut bob = stage.join("room:1", json!({ "presence": "bob" })).unwrap();
    bob.assert_push("presence_state", json!({ "alice": { "metas": [{ "phx_ref": "ref-1" }] } }));
    alice.flush();
    bob.push("away", json!({ "key": "bob" }));
    alice.assert_broadcast(
        "presence_diff",
        json!({
            "joins": { "bob": { "metas": [{ "away": true, "phx_ref": "ref-3", "phx_ref_prev": "ref-2" }] } },
            "leaves": { "bob": { "metas": [{ "away": false, "phx_ref": "ref-2" }] } },
        }),
    );
    let who = alice.push("who", json!({}));
    alice.assert_reply(&who, "ok", json!(["alice", "bob"]));
    bob.close();
    alice.assert_broadcast("presence_diff", json!({ "leaves": { "bob": { "metas": [{ "away": true }] } } }));
    alice.assert_broadcast("bye", json!({ "cause": "closed" }));
    assert_eq!(stage.presences("room:1").as_object().unwrap().len(), 1);
}

#[test]
fn a_second_presence_under_one_key_is_a_fault() {
    let stage = stage();
    let mut alice = stage.join("room:1", json!({ "presence": "alice" })).unwrap();
    let away = alice.push("away", json!({ "key": "nobody" }));
    alice.assert_reply(&away, "error", json!({ "reason": "channel_crash" }));
    assert!(stage.faults()[0].to_string().contains("isn't tracked under `nobody`"), "{:?}", stage.faults());
    assert!(alice.is_in(), "the channel keeps its members through a fault");
}

#[test]
fn topics_send_messages_to_each_other() {
    let stage = stage();
    let mut alice = stage.join("room:1", json!({})).unwrap();
    alice.push("ask", json!({}));
    alice.push("listen", json!({ "topic": "room:2" }));
    stage.broadcast("room:2", "flash", json!({}));
    assert_eq!(alice.assigns::<Room>().heard, ["answer desk:1 question", "topic room:2 flash"]);
    let answer = stage.send("desk:7", "question", json!({})).unwrap().unwrap();
    assert_eq!(answer, ("ok", json!({ "from": "desk:7" })));
    let mut clerk = stage.join("desk:7", json!({})).unwrap();
    assert_eq!(stage.send("desk:7", "announce", json!({})), Ok(None));
    clerk.assert_broadcast("announced", json!({ "online": 0 }));
    assert_eq!(stage.send("desk:7", "odd", json!({})).unwrap().unwrap().status, "error");
    assert!(stage.send("desk:7", "crash", json!({})).is_err() && stage.send("nowhere", "odd", json!({})).is_err());
}

#[test]
fn an_effect_without_a_grant_is_a_fault() {
    let stage = stage();
    let mut alice = stage.join("room:1", json!({})).unwrap();
    for (event, payload) in [
        ("publish", json!({ "topic": "news" })),
        ("listen", json!({ "topic": "news" })),
        ("kick", json!({ "id": "user:1" })),
    ] {
        let pushed = alice.push(event, payload);
        alice.assert_reply(&pushed, "error", json!({ "reason": "channel_crash" }));
    }
    assert!(stage.faults().iter().all(|fault| fault.to_string().contains("isn't granted")), "{:?}", stage.faults());
    let stage = self::stage().publish("news").publish("user:*").read("news");
    let mut alice = stage.join("room:1", json!({})).unwrap();
    for event in ["publish", "listen"] {
        let pushed = alice.push(event, json!({ "topic": "news" }));
        alice.assert_reply(&pushed, "ok", json!({}));
    }
}

#[test]
fn sockets_are_disconnected_by_their_ids() {
    let stage = stage().publish("user:*");
    let bob = Setup::new().user("bob").socket_id("user:bob").claims(json!({ "role": "guest" }));
    let mut bob = stage.join_as(bob, "room:1", json!({})).unwrap();
    let mut alice = stage.join("room:1", json!({})).unwrap();
    let me = bob.push("me", json!({}));
    bob.assert_reply(&me, "ok", json!({ "user": "bob", "role": "guest" }));
    let count = alice.push("count", json!({}));
    alice.assert_reply(&count, "ok", json!({ "here": 2, "rooms": 1 }));
    alice.push("kick", json!({ "id": "user:bob" }));
    bob.assert_disconnected();
    assert!(!bob.is_in());
    stage.disconnect("user:nobody");
    let count = alice.push("count", json!({}));
    alice.assert_reply(&count, "ok", json!({ "here": 1 }));
}

#[test]
fn time_passes_only_when_the_test_says_so() {
    let stage = stage().now(1_000);
    let mut alice = stage.join("room:1", json!({})).unwrap();
    alice.push("later", json!({}));
    stage.advance(Duration::from_millis(59_999));
    alice.refute_push("rang");
    stage.advance(Duration::from_millis(1));
    alice.assert_push("rang", json!({ "at": 61_000 }));
}

#[test]
fn a_leave_is_seen_by_the_others() {
    let stage = stage();
    let mut alice = stage.join("room:1", json!({})).unwrap();
    let mut bob = stage.join("room:1", json!({})).unwrap();
    bob.leave();
    bob.assert_close();
    alice.assert_broadcast("bye", json!({ "cause": "left" }));
}

#[test]
#[should_panic(
    expected = "expected a push of \"nothing\" with {}; it received\n  a broadcast of \"shout\" with {\"a\":1}"
)]
fn a_failed_assertion_shows_the_received_messages() {
    let stage = stage();
    let mut alice = stage.join("room:1", json!({})).unwrap();
    let shout = alice.push("shout", json!({ "a": 1 }));
    alice.assert_reply(&shout, "ok", json!({}));
    alice.assert_push("nothing", json!({}));
}

struct Gate;

impl Gatekeeper for Gate {
    fn connect(request: &Request) -> Connect {
        if request.header("x-banned").is_some() {
            return Err(Refused::new(429, format!("{} is banned", request.peer().ip)));
        }
        let by = request.auth_token().map_or_else(|| request.params().field("token"), Ok)?;
        let user: String = token::verify("user", &by, Some(Duration::from_secs(60))).map_err(|_| Refused::default())?;
        Ok(Identity::user(&user).claim("via", request.transport()))
    }
}

gatekeeper! { Gate }

#[test]
fn a_gatekeeper_decides_who_may_connect() {
    let good = token("user", "42");
    let granted = ConnectRequest::new().params(json!({ "token": good })).connect::<Gate>();
    assert_eq!(granted, Ok(Identity::user("42").claim("via", "websocket")));
    let granted = ConnectRequest::new().at("/admin", "longpoll").auth_token(&good).connect::<Gate>();
    assert_eq!(granted, Ok(Identity::user("42").claim("via", "longpoll")));
    let banned = ConnectRequest::new().header("X-Banned", "1").peer("192.0.2.7").connect::<Gate>();
    assert_eq!(banned, Err(Refused::new(429, "192.0.2.7 is banned")));
    for (params, now) in [
        (json!({}), 0),
        (json!({ "token": "" }), 0),
        (json!({ "token": token("other", "42") }), 0),
        (json!({ "token": good }), 1_767_225_600_000 + 60_001),
    ] {
        let request = if now == 0 { ConnectRequest::new() } else { ConnectRequest::new().now(now) };
        assert_eq!(request.params(params).connect::<Gate>(), Err(Refused::default()));
    }
}
