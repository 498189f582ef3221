//! The test kit refuses the same JSON as the host.

#![allow(clippy::unwrap_used)]

mod nasty;

use bennu_guest::prelude::*;
use bennu_guest::testing::{Member, Stage, join};
use nasty::{Degree, texts};
use serde_json::value::RawValue;

/// One who passes texts on as they are.
#[derive(Serialize, Deserialize)]
struct Passing;

#[derive(Default, Serialize, Deserialize)]
struct Table {
    /// A room without anything in it is none.
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
fn the_test_kit_takes_what_the_host_takes() {
    for (text, degree) in texts() {
        let is_taken = |event: &str| {
            let mut member: Member<Passing> = join("table:1", json!({})).unwrap();
            member.push(event, json!({ "text": text })).fault().is_none()
        };
        assert_eq!(is_taken("push"), degree >= Degree::Passed, "{text:.200}");
        assert_eq!(is_taken("publish"), degree == Degree::Readable, "{text:.200}");
        if text.len() <= 4096 {
            assert_eq!(is_taken("track"), degree == Degree::Readable, "{text:.200}");
        }
        let is_deep = text.contains(&"[".repeat(64));
        assert_eq!(is_taken("sign"), degree == Degree::Readable && !is_deep, "{text:.200}");
    }
}

/// The deepest state that may be published comes to its members, and a meta as deep costs nobody the list of all.
#[test]
fn what_is_as_deep_as_may_be_can_be_followed_and_listed() {
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
