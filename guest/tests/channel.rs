//! A channel in the test kit, one member at a time.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bennu_guest::log::Level;
use bennu_guest::prelude::*;
use bennu_guest::testing::{Effect, Member, NotJoined, Setup, join};

/// The table of a board game. Its members share the score.
#[derive(Serialize, Deserialize)]
struct Table {
    player: String,
    turns: u32,
    clock: Option<TimerId>,
}

#[derive(Default, Debug, PartialEq, Serialize, Deserialize)]
struct Score(BTreeMap<String, u32>);

impl Channel for Table {
    type Room = Score;

    fn join(socket: &mut Socket<Score>, params: Payload) -> Join<Self> {
        let player: String = params.field("player")?;
        if socket.room().0.contains_key(&player) {
            return refuse(json!({ "reason": "taken" }));
        }
        socket.room_mut().0.insert(player.clone(), 0);
        socket.respond(json!({ "players": socket.room().0.len() }));
        Ok(Table { player, turns: 0, clock: None })
    }

    fn handle_in(&mut self, socket: &mut Socket<Score>, event: &str, payload: Payload) -> Handled {
        match event {
            "score" => {
                self.turns += 1;
                let points: u32 = payload.field("points")?;
                *socket.room_mut().0.entry(self.player.clone()).or_default() += points;
                ok()
            }
            "look" => reply(&socket.room().0),
            "touch" => {
                socket.room_mut();
                no_reply()
            }
            "clock" => {
                self.clock = Some(socket.send_after(Duration::from_secs(2), "timer", json!({ "n": 2 })));
                socket.send_after(Duration::from_secs(1), "timer", json!({ "n": 1 }));
                socket.send_self("now", json!(null));
                no_reply()
            }
            "unclock" => {
                self.clock.take().into_iter().for_each(|timer| socket.cancel(timer));
                no_reply()
            }
            "token" => reply(json!({ "token": socket.connect_params().field::<String>("token")? })),
            "limit" => reply(config::<Limit>()?.limit),
            "flip" => reply(json!([random(), random()])),
            "explode" => fail("asked to"),
            "leave" => stop("asked to"),
            "list" => {
                socket.push("list", json!([]));
                ok()
            }
            _ => unknown_event(event),
        }
    }

    fn handle_info(&mut self, socket: &mut Socket<Score>, message: Message) -> Handled {
        log::info!("{} at {}", message.event, now_ms());
        match message.event.as_str() {
            "now" => no_reply(),
            "again" => {
                socket.send_self("again", json!({}));
                no_reply()
            }
            "reply" => ok(),
            _ => {
                socket.push("timer", message.payload);
                no_reply()
            }
        }
    }

    fn terminate(&mut self, socket: &mut Socket<Score>, ending: Ending) {
        socket.room_mut().0.remove(&self.player);
        socket.broadcast("left", json!({ "player": self.player, "cause": ending.cause, "detail": ending.detail }));
        if self.clock.is_some() {
            let timer = socket.send_after(Duration::from_secs(1), "timer", json!({}));
            socket.push("late", json!({ "timer": timer }));
        }
    }
}

#[derive(Deserialize)]
struct Limit {
    limit: u32,
}

fn alice() -> Member<Table> {
    Setup::new().now(0).join("table:1", json!({ "player": "alice" })).unwrap()
}

fn reason(out: &bennu_guest::testing::Outcome) -> Value {
    out.reply().json()["reason"].clone()
}

#[test]
fn a_join_is_answered_or_refused() {
    assert_eq!(alice().joined().reply(), ("ok", json!({ "players": 1 })));
    let refused =
        Setup::new().room(Score([("bob".into(), 3)].into())).join::<Table>("table:1", json!({ "player": "bob" }));
    assert_eq!(refused.unwrap_err().reply(), ("error", json!({ "reason": "taken" })));
    let refused = join::<Table>("table:1", json!({ "player": null })).unwrap_err();
    assert_eq!(refused.reply(), ("error", json!({ "reason": "player: invalid type: null, expected a string" })));
}

#[test]
fn the_room_is_shared_and_saved() {
    let mut alice = alice();
    assert_eq!(alice.push("score", json!({ "points": 2 })).reply(), ("ok", json!({})));
    assert_eq!(alice.push("touch", json!({})).answer(), &Answer::None);
    assert_eq!(alice.push("look", json!({})).reply(), ("ok", json!({ "alice": 2 })));
    assert_eq!(alice.room(), Score([("alice".into(), 2)].into()));
}

#[test]
fn a_refusal_discards_the_changes_of_the_callback() {
    let mut alice = alice();
    assert_eq!(reason(&alice.push("score", json!({}))), "points: missing, expected a whole number");
    assert_eq!(reason(&alice.push("dance", json!({}))), "unknown event \"dance\"");
    assert_eq!(alice.assigns().turns, 0);
    assert_eq!(alice.room(), Score([("alice".into(), 0)].into()));
}

#[test]
fn time_passes_only_when_the_test_says_so() {
    let mut alice = alice();
    let out = alice.push("clock", json!({}));
    assert_eq!(out.sent_to_self(), [("now", json!(null))]);
    assert_eq!(out.timers().len(), 2);
    let lines: Vec<_> = alice.advance(Duration::from_secs(5)).iter().flat_map(|out| out.log().to_vec()).collect();
    let line = |text: &str| (Level::Info, text.to_owned());
    assert_eq!(lines, [line("now at 0"), line("timer at 1000"), line("timer at 2000")]);

    assert!(matches!(alice.push("clock", json!({})).effects(), [Effect::SendAfter { .. }, _, Effect::SendSelf { .. }]));
    assert!(alice.push("unclock", json!({})).fault().is_none());
    assert_eq!(alice.timers().iter().map(|timer| timer.due).collect::<Vec<_>>(), [6000]);
}

#[test]
fn a_fault_rolls_back_its_callback_and_ends_the_member() {
    let mut alice = alice();
    let out = alice.push("explode", json!({}));
    assert_eq!(out.fault().unwrap().to_string(), "failed: asked to");
    let left = json!({ "player": "alice", "cause": "fault", "detail": "failed" });
    assert_eq!(out.ended().unwrap().broadcasts(), [("left", left)]);
    assert!(alice.has_ended());

    let out = self::alice().push("list", json!({}));
    let fault = out.fault().unwrap();
    assert_eq!(fault.kind, "trap");
    assert!(fault.detail.ends_with("event `list`: the payload of a push or broadcast must be a JSON object or binary"));
}

#[test]
fn terminate_gets_the_cause_of_each_end() {
    let left = |cause: &str, detail: &str| json!({ "player": "alice", "cause": cause, "detail": detail });
    assert_eq!(alice().leave().broadcasts(), [("left", left("left", ""))]);
    assert_eq!(alice().close().broadcasts(), [("left", left("closed", ""))]);
    assert_eq!(alice().shutdown().broadcasts(), [("left", left("shutdown", ""))]);
    let out = alice().push("leave", json!({}));
    assert_eq!(out.ended().unwrap().broadcasts(), [("left", left("stopped", "asked to"))]);
}

#[test]
fn the_numbers_of_timers_begin_again_in_terminate() {
    let mut alice = alice();
    assert!(alice.push("clock", json!({})).fault().is_none());
    let pending: Vec<_> = alice.timers().into_iter().map(|timer| timer.id).collect();
    let left = alice.leave();
    let number: TimerId = left.pushes()[0].payload.field("timer").unwrap();
    assert_eq!(number, pending[0], "the first number is used again");
}

#[test]
fn a_reply_from_handle_info_is_a_fault() {
    let out = alice().info("reply", json!({}));
    assert!(out.fault().unwrap().detail.starts_with("handle_info answered \"reply\" with a reply"));
}

#[test]
fn the_setup_gives_the_values_that_the_channel_reads() {
    let setup = Setup::new().connect_params(json!({ "token": "t" })).config(json!({ "limit": 3 }));
    let mut alice: Member<Table> = setup.join("table:1", json!({ "player": "alice" })).unwrap();
    assert_eq!(alice.push("token", json!({})).reply(), ("ok", json!({ "token": "t" })));
    assert_eq!(alice.push("limit", json!({})).reply(), ("ok", json!(3)));
    let flips = alice.push("flip", json!({})).reply().json();
    assert_ne!(flips[0], flips[1]);

    let mut alice = self::alice();
    assert_eq!(reason(&alice.push("token", json!({}))), "token: missing, expected a string");
    let out = alice.push("limit", json!({}));
    assert_eq!(out.fault().unwrap().detail, "the plugin's configuration: missing field `limit`");
}

/// The next build of the table, with a new field that has a default.
#[derive(Serialize, Deserialize)]
struct NewTable {
    player: String,
    #[serde(default)]
    coins: u32,
}

impl Channel for NewTable {
    type Room = ();

    fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
        fail("nobody joins in this test")
    }
}

/// A build that can't read the state of the build before it.
#[derive(Serialize, Deserialize)]
struct Stranger {
    seat: u32,
}

impl Channel for Stranger {
    type Room = ();

    fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
        fail("nobody joins in this test")
    }
}

#[test]
fn a_new_build_reads_the_old_state_or_the_error_says_why_not() {
    let mut alice = alice().reload::<NewTable>();
    assert_eq!(reason(&alice.push("score", json!({}))), "unknown event \"score\"");
    assert_eq!((alice.assigns().player.as_str(), alice.assigns().coins), ("alice", 0));

    let out = alice.reload::<Stranger>().push("score", json!({}));
    let detail = &out.fault().unwrap().detail;
    assert!(detail.ends_with("::Stranger: missing field `seat`"), "{detail}");
    assert!(detail.starts_with("the state can't be read as a "), "{detail}");
}

#[test]
fn a_failed_join_differs_from_a_refused_one() {
    let failed = join::<Stranger>("table:1", json!({})).unwrap_err();
    assert!(matches!(&failed, NotJoined::Fault(fault) if fault.detail == "nobody joins in this test"));
}
