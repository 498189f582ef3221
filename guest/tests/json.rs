//! The test kit accepts and refuses the same JSON as the host.

#![allow(clippy::unwrap_used)]

mod nasty;

use bennu_guest::prelude::*;
use bennu_guest::testing::{Member, Stage, join};
use nasty::{Degree, texts};
use serde_json::value::RawValue;

/// A member that passes texts on unchanged.
#[derive(Serialize, Deserialize)]
struct Passing;

#[derive(Default, Serialize, Deserialize)]
struct Table {
    /// A type without data would mean no room.
    rows: u64,
}

impl Channel for Passing {
    type Room = Table;

    fn join(_socket: &mut Socket<Table>, _params: Payload) -> Join<Self> {
        Ok(Passing)
    }

    fn handle_in(&mut self, socket: &mut Socket<Table>, event: &str, payload: Payload) -> Handled {
        if event == "online" {
            let online = Presences::of(socket.topic());
            return reply(json!({ "keys": online.keys().collect::<Vec<_>>(), "first": online.metas::<Value>("a")? }));
        }
        let text: String = payload.field("text")?;
        if event == "push" {
            socket.push("pushed", Payload::Json(text));
            return ok();
        }
        let raw = RawValue::from_string(text).map_err(|error| Error::Failed(error.to_string()))?;
        match event {
            "publish" => socket.publish_state(&raw),
            "track" => socket.track(&payload.field::<Option<String>>("key")?.unwrap_or_default(), &raw),
            _ => drop(token::sign("salt", &raw, None)),
        }
        ok()
    }
}

#[test]
fn the_test_kit_accepts_the_same_texts_as_the_host() {
    for (text, degree) in texts() {
        let is_accepted = |event: &str| {
            let mut member: Member<Passing> = join("table:1", json!({})).unwrap();
            member.push(event, json!({ "text": text })).fault().is_none()
        };
        assert_eq!(is_accepted("push"), degree >= Degree::Passed, "{text:.200}");
        assert_eq!(is_accepted("publish"), degree == Degree::Readable, "{text:.200}");
        if text.len() <= 4096 {
            assert_eq!(is_accepted("track"), degree == Degree::Readable, "{text:.200}");
        }
        let is_deep = text.contains(&"[".repeat(64));
        assert_eq!(is_accepted("sign"), degree == Degree::Readable && !is_deep, "{text:.200}");
    }
}

/// The deepest valid state reaches the members, and a meta of the same depth doesn't make the presence list unreadable.
#[test]
fn the_deepest_valid_state_and_meta_are_usable() {
    let deep = format!("{{\"v\":{}{}}}", "[".repeat(126), "]".repeat(126));
    let stage = Stage::new().channel::<Passing>("table:*");
    let mut ada = stage.join("table:1", json!({})).unwrap();
    let published = ada.push("publish", json!({ "text": deep }));
    ada.assert_reply(&published, "ok", json!({}));
    assert_eq!(ada.room_state().map(|state| state.to_string()), Some(deep.clone()));
    for (key, text) in [("a", r#"{"n":1}"#), ("b", &deep)] {
        let tracked = ada.push("track", json!({ "key": key, "text": text }));
        ada.assert_reply(&tracked, "ok", json!({}));
    }
    let listed = ada.push("online", json!({}));
    ada.assert_reply(&listed, "ok", json!({ "keys": ["a", "b"], "first": [{ "n": 1 }] }));
}
