//! Rules of the host that the test kit follows: the order of effects, limits, and refusals.

#![allow(clippy::unwrap_used)]

use bennu_guest::prelude::*;
use bennu_guest::testing::{Actor, Member, Setup, Stage, join};

/// A member that has several effects in one call.
#[derive(Serialize, Deserialize)]
struct Busy {
    heard: Vec<String>,
}

impl Channel for Busy {
    type Room = ();

    const INTERCEPTS: &'static [&'static str] = &["ids"];

    fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
        match params.field::<Option<String>>("how")?.as_deref() {
            Some("refuse_badly") => return refuse(Payload::Json("{".into())),
            Some("fail") => return fail("asked to"),
            _ => {}
        }
        socket.respond(json!({ "member": socket.member_id() }));
        Ok(Busy { heard: Vec::new() })
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        match event {
            "publish_and_subscribe" => {
                socket.publish("busy:news", "before", json!({}));
                socket.subscribe("busy:news");
                socket.publish("busy:news", "between", json!({}));
                socket.unsubscribe("busy:news");
                socket.publish("busy:news", "after", json!({}));
            }
            "send_and_push" => {
                socket.send("busy:1", "shout", json!({}));
                socket.push("pushed", json!({}));
            }
            "bounce" => socket.send("busy:1", "bounce", json!({ "to": "busy:2" })),
            "throw_out" => {
                socket.disconnect(&payload.field::<String>("id")?);
                socket.broadcast("thrown_out", json!({}));
            }
            "ids" => socket.broadcast("ids", json!({})),
            "echo" => return reply(payload),
            "heard" => return reply(&self.heard),
            "log" => log::info!("a\nb{}", "x".repeat(10_000)),
            "track" => socket.track("me", json!({ "at": payload.field::<u32>("at")?, "phx_ref_prev": "mine" })),
            "under" => return reply(topics::under("busy:", None, 10).len()),
            _ => return unknown_event(event),
        }
        ok()
    }

    fn handle_info(&mut self, _socket: &mut Socket, message: Message) -> Handled {
        self.heard.push(message.event);
        no_reply()
    }

    fn handle_message(topic: &mut Topic, event: &str, payload: Payload) -> Handled {
        match event {
            "shout" => topic.broadcast("shouted", json!({})),
            _ => {
                let (to, back): (String, String) = (payload.field("to")?, topic.name().into());
                topic.send(&to, "bounce", json!({ "to": back }));
            }
        }
        no_reply()
    }

    fn handle_out(&self, _recipient: &Recipient, _event: &str, _payload: &Payload) -> Decided {
        Ok(Decision::replace(json!({ "id": unique_id() })))
    }

    fn terminate(&mut self, socket: &mut Socket, _ending: Ending) {
        socket.push("last_words", json!({}));
    }
}

fn stage() -> Stage {
    Stage::new().channel::<Busy>("busy:*").publish("user:*")
}

fn member(stage: &Stage) -> Actor {
    stage.join("busy:1", json!({})).unwrap()
}

fn events(actor: &mut Actor) -> Vec<Value> {
    actor.received().into_iter().map(|frame| frame[3].clone()).collect()
}

#[test]
fn assertions_return_the_received_payload() {
    let stage = stage();
    let (mut alice, mut bob) = (member(&stage), member(&stage));
    assert_eq!(alice.response().value(), json!({ "member": 1 }));
    let echo = alice.push("echo", json!({ "a": { "b": 7 } }));
    assert_eq!(alice.assert_reply(&echo, "ok", json!({})).value()["a"]["b"], 7);
    alice.push("send_and_push", json!({}));
    assert_eq!(alice.assert_push("pushed", json!({})), json!({}).into_payload());
    assert_eq!(bob.assert_broadcast("shouted", json!({})).value(), json!({}));
    let bytes = alice.push("echo", Binary(vec![1, 2]));
    assert_eq!(alice.assert_reply(&bytes, "ok", Binary(vec![1, 2])).bytes(), Ok(&[1, 2][..]));
    assert_eq!(
        alice.received(),
        [
            json!(["1", "3", "busy:1", "phx_reply", { "status": "ok", "response": {} }]),
            json!([null, null, "busy:1", "shouted", {}]),
        ]
    );
    assert_eq!((alice.received(), bob.received()), (vec![], vec![]));
}

#[test]
fn a_message_to_a_topic_is_handled_after_the_call() {
    let stage = stage();
    let mut alice = member(&stage);
    alice.push("send_and_push", json!({}));
    assert_eq!(events(&mut alice), ["pushed", "phx_reply", "shouted"]);
}

#[test]
#[should_panic(expected = "the members sent 100000 messages, and go on")]
fn an_endless_exchange_between_topics_fails_the_test() {
    member(&stage()).push("bounce", json!({}));
}

#[test]
fn a_member_gets_broadcasts_while_it_is_subscribed() {
    let stage = stage();
    let mut alice = member(&stage);
    alice.push("publish_and_subscribe", json!({}));
    let heard = alice.push("heard", json!({}));
    alice.assert_reply(&heard, "ok", json!(["between"]));
}

#[test]
fn a_disconnected_client_gets_no_more_frames_and_its_member_ends_after_the_call() {
    let stage = stage();
    let mut alice = member(&stage);
    let bob = Setup::new().socket_id("user:bob");
    let mut bob = stage.join_as(bob, "busy:1", json!({})).unwrap();
    alice.push("throw_out", json!({ "id": "user:bob" }));
    assert_eq!(bob.received(), [json!({ "closed": 1001 })]);
    alice.assert_broadcast("thrown_out", json!({}));
    assert!(!bob.is_in());
    let late = bob.push("echo", json!({}));
    bob.refute_reply(&late);
    assert_eq!((stage.disconnect("user:bob"), stage.disconnect("user:nobody")), (0, 0));
}

#[test]
fn the_event_disconnect_closes_the_sockets_with_that_id() {
    let stage = stage();
    let bob = Setup::new().socket_id("user:bob");
    let mut bob = stage.join_as(bob, "busy:1", json!({})).unwrap();
    stage.broadcast("user:bob", "disconnect", json!({}));
    bob.assert_disconnected();
}

#[test]
fn a_leave_is_answered_and_a_later_push_is_unmatched() {
    let stage = stage();
    let mut alice = member(&stage);
    let left = alice.leave();
    alice.assert_reply(&left, "ok", json!({}));
    assert_eq!(events(&mut alice), ["phx_close", "last_words"]);
    let late = alice.push("echo", json!({}));
    alice.assert_reply(&late, "error", json!({ "reason": "unmatched topic" }));
    let again = alice.leave();
    alice.assert_reply(&again, "ok", json!({}));
}

#[test]
fn a_refused_join_uses_a_member_number_and_a_failed_join_is_a_fault() {
    let stage = stage();
    let failed = stage.join("busy:1", json!({ "how": "fail" })).unwrap_err();
    assert_eq!(failed.fault(), stage.faults().first());
    let refused = stage.join("busy:1", json!({ "how": "refuse_badly" })).unwrap_err();
    assert!(refused.fault().unwrap().detail.starts_with("the payload is not one JSON value: "), "{refused:?}");
    let alone = join::<Busy>("busy:1", json!({ "how": "refuse_badly" })).unwrap_err();
    assert_eq!(alone.fault(), refused.fault());
    assert_eq!(member(&stage).id(), 3);
}

#[test]
fn a_reply_to_a_message_without_a_ref_has_no_ref() {
    let mut alice: Member<Busy> = join("busy:1", json!({})).unwrap();
    assert_eq!(alice.push_without_ref("echo", json!({ "a": 1 })).reply(), ("ok", json!({ "a": 1 })));
    let mut bob = stage().connect(Setup::new());
    bob.push("busy:1", "phx_join", json!({}));
    bob.send(r#"["1",null,"busy:1","echo",{}]"#);
    let answer = json!(["1", null, "busy:1", "phx_reply", { "status": "ok", "response": {} }]);
    assert_eq!(bob.received().last(), Some(&answer));
}

#[test]
fn ids_are_unique() {
    let stage = stage();
    let (mut alice, mut bob) = (member(&stage), member(&stage));
    alice.push("ids", json!({}));
    let [one, other] = [&mut alice, &mut bob].map(|actor| actor.assert_push("ids", json!({})).value());
    assert_ne!(one["id"], other["id"]);
}

#[test]
fn a_log_line_is_cut_and_has_no_line_break() {
    let mut alice: Member<Busy> = join("busy:1", json!({})).unwrap();
    let logged = alice.push("log", json!({}));
    let line = &logged.log()[0].1;
    assert!(line.starts_with("a\\nbxx") && line.len() == (8 << 10) + 1, "{}", line.len());
}

#[test]
fn a_plugin_cannot_set_the_refs_of_a_meta() {
    let mut alice: Member<Busy> = join("busy:1", json!({})).unwrap();
    assert_eq!(alice.push("track", json!({ "at": 1 })).tracked(), [("me".into(), json!({ "at": 1 }))]);
}

#[test]
fn many_presence_changes_at_once_are_merged_into_one_diff() {
    let stage = stage();
    let mut watcher = member(&stage);
    let members: Vec<Actor> = (0..12).map(|_| member(&stage)).collect();
    for (at, mut actor) in members.into_iter().enumerate() {
        actor.push("track", json!({ "at": at }));
        actor.flush();
    }
    assert_eq!(events(&mut watcher), ["presence_diff"; 8]);
    stage.advance(Duration::from_millis(100));
    let rest = watcher.assert_broadcast("presence_diff", json!({ "leaves": {} })).value();
    assert_eq!(rest["joins"]["me"]["metas"].as_array().unwrap().len(), 4);
    watcher.refute_broadcast("presence_diff");
}

#[test]
fn an_exact_route_does_not_grant_topics_with_that_prefix() {
    let exact = Stage::new().channel::<Busy>("busy:");
    let mut alice = exact.join("busy:", json!({})).unwrap();
    alice.push("under", json!({}));
    alice.assert_error();
    assert!(exact.faults()[0].detail.starts_with("reading `busy:*` isn't granted"), "{:?}", exact.faults());
}

/// A channel whose callbacks never write the room.
#[derive(Serialize, Deserialize)]
struct Shown;

impl Channel for Shown {
    type Room = u32;

    fn join(socket: &mut Socket<u32>, params: Payload) -> Join<Self> {
        if let Some(state) = params.field::<Option<Value>>("state")? {
            socket.publish_state(state);
        }
        Ok(Shown)
    }
}

#[test]
fn an_unwritten_room_ends_with_its_last_member() {
    let stage = Stage::new().channel::<Shown>("shown");
    let mut alice = stage.join("shown", json!({ "state": { "a": 1 } })).unwrap();
    alice.assert_broadcast("room_state", json!({ "n": 1 }));
    alice.leave();
    let bob = stage.join("shown", json!({})).unwrap();
    assert_eq!(bob.room_state(), None);
}
