//! Droppable messages in native tests: each arrives, and the effects have the key.

#![allow(clippy::unwrap_used)]

use bennu_guest::prelude::*;
use bennu_guest::testing::{Effect, Stage};

/// A member that moves a cursor on a board.
#[derive(Serialize, Deserialize)]
struct Painter {
    name: String,
}

impl Channel for Painter {
    type Room = u64;

    fn join(_socket: &mut Socket<u64>, params: Payload) -> Join<Self> {
        Ok(Painter { name: params.field("name")? })
    }

    fn handle_in(&mut self, socket: &mut Socket<u64>, event: &str, payload: Payload) -> Handled {
        match event {
            "cursor" => socket.broadcast_from_droppable(&self.name, "cursor", payload.object()?),
            "ping" => socket.broadcast_droppable(&self.name, "ping", payload.object()?),
            "peek" => socket.publish_droppable("board:2", &self.name, "peek", payload.object()?),
            "tick" => socket.tick(Duration::from_millis(50)),
            _ => return unknown_event(event),
        }
        no_reply()
    }

    fn handle_tick(topic: &mut Topic<u64>, _tick: &Tick) -> Ticked {
        *topic.room_mut() += 1;
        let payload = json!({ "n": topic.room() });
        topic.broadcast_droppable("clock", "clock", &payload);
        topic.publish_droppable("board:2", "clock", "clock", &payload);
        Ok(())
    }
}

#[test]
fn every_droppable_message_arrives_in_order_on_a_stage() {
    let stage = Stage::new().channel::<Painter>("board:*");
    let mut ada = stage.join("board:1", json!({ "name": "ada" })).unwrap();
    let mut bob = stage.join("board:1", json!({ "name": "bob" })).unwrap();
    let mut cleo = stage.join("board:2", json!({ "name": "cleo" })).unwrap();
    for x in 1..=3 {
        ada.push("cursor", json!({ "x": x }));
    }
    ada.push("ping", json!({}));
    ada.push("peek", json!({ "x": 4 }));
    let events = |frames: Vec<Value>| frames.into_iter().map(|frame| frame[4].clone()).collect::<Vec<_>>();
    assert_eq!(events(bob.received()), [json!({ "x": 1 }), json!({ "x": 2 }), json!({ "x": 3 }), json!({})]);
    assert_eq!(events(ada.received()), [json!({})], "her cursor goes to the others only");
    assert_eq!(events(cleo.received()), [json!({ "x": 4 })]);
    ada.push("tick", json!({}));
    stage.advance(Duration::from_millis(100));
    for actor in [&mut ada, &mut bob, &mut cleo] {
        assert_eq!(events(actor.received()), [json!({ "n": 1 }), json!({ "n": 2 })]);
    }
}

#[test]
fn an_outcome_lists_droppable_messages_among_the_others_and_has_their_keys() {
    let mut ada = testing::join::<Painter>("board:1", json!({ "name": "ada" })).unwrap();
    let out = ada.push("cursor", json!({ "x": 1 }));
    assert_eq!(out.broadcasts_from(), [("cursor", json!({ "x": 1 }))]);
    let [Effect::BroadcastFromDroppable { key, .. }] = out.effects() else { panic!("{out:?}") };
    assert_eq!(&**key, "ada");
    assert_eq!(ada.push("ping", json!({})).broadcasts(), [("ping", json!({}))]);
    let published = ada.push("peek", json!({})).published();
    let [(topic, sent)] = &published[..] else { panic!("{published:?}") };
    assert_eq!(topic, "board:2");
    assert_eq!(*sent, ("peek", json!({})));
}
