//! Seats and published states in the test kit: the order and the content of the calls and events.

#![allow(clippy::unwrap_used)]

use bennu_guest::prelude::*;
use bennu_guest::testing::{Actor, Effect, Member, Stage, join};

/// A member that takes the seats that the test names. The table records each change of its seats.
#[derive(Serialize, Deserialize)]
struct Guest;

#[derive(Default, Serialize, Deserialize)]
struct Table {
    told: Vec<String>,
    #[serde(default)]
    ended: Vec<String>,
}

impl Channel for Guest {
    type Room = Table;
    const LINGER: Option<Duration> = Some(Duration::from_secs(1));

    fn join(socket: &mut Socket<Table>, params: Payload) -> Join<Self> {
        if let Some(seat) = params.field::<Option<String>>("seat")? {
            socket.take_seat(&seat, Duration::from_secs(5));
        }
        if let Some(state) = params.field::<Option<Value>>("state")? {
            socket.publish_state(state);
        }
        Ok(Guest)
    }

    fn handle_in(&mut self, socket: &mut Socket<Table>, event: &str, payload: Payload) -> Handled {
        match event {
            "sit" => {
                socket.take_seat(&payload.field::<String>("seat")?, Duration::from_millis(payload.field("ms")?));
                socket.room_mut().told.push("asked".into());
            }
            "rise" => socket.leave_seat(),
            "publish" => socket.publish_state(payload.field::<Value>("state")?),
            "stop" => return stop("asked to"),
            _ => {
                socket.take_seat("ada", Duration::ZERO);
                socket.publish_state(json!({}));
                return fail("asked to");
            }
        }
        ok()
    }

    fn handle_message(topic: &mut Topic<Table>, event: &str, payload: Payload) -> Handled {
        match event {
            "publish" => topic.publish_state(payload.field::<Value>("state")?),
            _ => return reply(json!({ "told": topic.room().told, "ended": topic.room().ended })),
        }
        no_reply()
    }

    fn handle_seat(topic: &mut Topic<Table>, seat: &str, change: SeatChange) -> Seated {
        let told = match change {
            SeatChange::Taken => "taken",
            SeatChange::Dropped => "dropped",
            SeatChange::Returned => "returned",
            SeatChange::Gone => "gone",
        };
        if seat == "broken" {
            topic.room_mut().told.clear();
            return fail("its leg is off");
        }
        topic.room_mut().told.push(format!("{seat} {told}"));
        Ok(())
    }

    fn terminate(&mut self, socket: &mut Socket<Table>, ending: Ending) {
        // Records how many changes came before this callback.
        let told = socket.room().told.len();
        socket.room_mut().ended.push(format!("{} after {told}", ending.cause));
        socket.take_seat("another", Duration::from_secs(5));
    }
}

fn stage() -> Stage {
    Stage::new().channel::<Guest>("table:*").now(0)
}

fn sit(stage: &Stage, seat: &str) -> Actor {
    stage.join("table:1", json!({ "seat": seat })).unwrap()
}

fn look(stage: &Stage) -> Value {
    stage.send("table:1", "look", json!({})).unwrap().unwrap().json()
}

/// Returns what the table was told, without the first `after` changes.
fn told(stage: &Stage, after: usize) -> Value {
    look(stage)["told"].as_array().unwrap()[after..].into()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn a_seat_is_kept_for_its_grace_period_and_then_gone() {
    let stage = stage();
    sit(&stage, "ada").close();
    assert_eq!(look(&stage), json!({ "told": ["ada taken", "ada dropped"], "ended": ["closed after 1"] }));
    stage.advance(ms(4999));
    let mut ada = sit(&stage, "ada");
    stage.advance(ms(60_000));
    assert_eq!(told(&stage, 0), json!(["ada taken", "ada dropped", "ada returned"]));
    ada.push("crash", json!({}));
    ada.assert_error();
    stage.advance(ms(4999));
    assert_eq!(told(&stage, 3), json!(["ada dropped"]));
    stage.advance(ms(1));
    assert_eq!(told(&stage, 3), json!(["ada dropped", "ada gone"]));
    // The room is kept while the seat is kept, and then for `LINGER`.
    stage.advance(ms(999));
    assert_eq!(told(&stage, 5), json!([]));
    stage.advance(ms(1));
    assert_eq!(told(&stage, 0), json!([]));
}

#[test]
fn the_seat_of_a_member_that_leaves_or_is_stopped_is_gone() {
    let stage = stage();
    let mut watcher = stage.join("table:1", json!({})).unwrap();
    sit(&stage, "ada").leave();
    assert_eq!(look(&stage), json!({ "told": ["ada taken", "ada gone"], "ended": ["left after 1"] }));
    sit(&stage, "bob").push("stop", json!({}));
    assert_eq!(told(&stage, 2), json!(["bob taken", "bob gone"]));
    let mut carol = sit(&stage, "carol");
    carol.push("rise", json!({}));
    carol.push("rise", json!({}));
    carol.close();
    assert_eq!(told(&stage, 4), json!(["carol taken", "carol gone"]));
    watcher.push("rise", json!({}));
    watcher.close();
    assert_eq!(told(&stage, 6), json!([]), "a member without a seat makes no change");
}

#[test]
fn a_client_that_joins_again_drops_and_returns() {
    let stage = stage();
    let mut ada = sit(&stage, "ada");
    ada.rejoin(json!({ "seat": "ada" })).unwrap();
    assert_eq!(told(&stage, 0), json!(["ada taken", "ada dropped", "ada returned"]));
}

#[test]
fn several_members_may_share_a_seat() {
    let stage = stage();
    let (window, other) = (sit(&stage, "ada"), sit(&stage, "ada"));
    window.close();
    let mut third = sit(&stage, "ada");
    other.close();
    assert_eq!(told(&stage, 0), json!(["ada taken"]));
    third.leave();
    assert_eq!(told(&stage, 0), json!(["ada taken", "ada gone"]));
}

#[test]
fn a_member_has_one_seat_and_changes_are_reported_after_its_callback() {
    let stage = stage();
    let mut ada = sit(&stage, "a");
    let mut sit = |seat: &str, ms: u32| ada.push("sit", json!({ "seat": seat, "ms": ms }));
    sit("b", 1000);
    assert_eq!(told(&stage, 0), json!(["a taken", "asked", "a gone", "b taken"]));
    // Taking the same seat again isn't a change, but sets the grace period.
    sit("b", 2000);
    ada.close();
    stage.advance(ms(1999));
    assert_eq!(told(&stage, 4), json!(["asked", "b dropped"]));
    stage.advance(ms(1));
    assert_eq!(told(&stage, 6), json!(["b gone"]));
}

#[test]
fn without_a_grace_period_a_dropped_seat_is_gone() {
    let stage = stage();
    let mut ada = stage.join("table:1", json!({})).unwrap();
    ada.push("sit", json!({ "seat": "ada", "ms": 0 }));
    ada.close();
    assert_eq!(told(&stage, 0), json!(["asked", "ada taken", "ada gone"]));
}

#[test]
fn a_fault_discards_the_change_and_keeps_the_seat() {
    let stage = stage();
    let ada = sit(&stage, "ada");
    let mut broken = sit(&stage, "broken");
    assert_eq!(stage.faults()[0].to_string(), "failed: handle_seat of \"broken\": its leg is off");
    assert!(broken.is_in() && told(&stage, 0) == json!(["ada taken"]));
    broken.leave();
    assert_eq!(stage.faults().len(), 2);
    ada.close();
    assert_eq!(told(&stage, 0), json!(["ada taken", "ada dropped"]));
}

#[test]
fn the_test_makes_the_seat_changes_of_a_single_member() {
    let mut ada: Member<Guest> = join("table:1", json!({ "seat": "ada" })).unwrap();
    assert_eq!(ada.joined().effects(), [Effect::TakeSeat { name: "ada".into(), grace_ms: 5000 }]);
    ada.seat("ada", SeatChange::Taken).answer();
    assert_eq!(ada.room().told, ["ada taken"]);
    assert_eq!(ada.push("rise", json!({})).effects(), [Effect::LeaveSeat]);
    let out = ada.push("publish", json!({ "state": { "a": 1 } }));
    assert_eq!(out.published_states(), [json!({ "a": 1 })]);
    assert_eq!(ada.seat("broken", SeatChange::Gone).fault().unwrap().kind, "failed");
}

#[test]
fn invalid_seats_and_states_are_refused_at_the_place_of_the_call() {
    let fault = |event: &str, payload: Value| {
        let mut ada: Member<Guest> = join("table:1", json!({})).unwrap();
        ada.push(event, payload).fault().map(ToString::to_string)
    };
    let refused = |event: &str, payload: Value, why: &str| {
        let fault = fault(event, payload).unwrap();
        let has_place = fault.starts_with("trap: panicked at ") && fault.contains("tests/seats.rs:");
        assert!(has_place && fault.ends_with(why), "{fault}");
    };
    let a_day = 24 * 60 * 60 * 1000;
    assert_eq!(fault("sit", json!({ "seat": "a".repeat(255), "ms": a_day })), None);
    for ms in [a_day + 1, u64::MAX] {
        refused("sit", json!({ "seat": "a", "ms": ms }), ": a seat is kept for at most a day");
    }
    refused("sit", json!({ "seat": "a".repeat(256), "ms": 1 }), ": a seat's name has at most 255 bytes, not 256");
    refused("publish", json!({ "state": [] }), ": a published state is a JSON object, and not an array");

    let no_room = "failed: the call used a tick, a seat or a published state, but its route has no room; set the route's option \
                   `room` (`type Room` in Rust)";
    for what in ["seat", "state"] {
        let refused = join::<Roomless>("any", json!({ "what": what })).unwrap_err();
        assert_eq!(refused.fault().unwrap().to_string(), no_room);
    }
    // A member without a seat may give it up in a topic without a room too.
    assert_eq!(join::<Roomless>("any", json!({ "what": "rise" })).unwrap().joined().effects(), [Effect::LeaveSeat]);
}

#[derive(Serialize, Deserialize)]
struct Roomless;

impl Channel for Roomless {
    type Room = ();

    fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
        match params.field::<String>("what")?.as_str() {
            "seat" => socket.take_seat("a", Duration::ZERO),
            "state" => socket.publish_state(json!({})),
            _ => socket.leave_seat(),
        }
        Ok(Roomless)
    }
}

#[test]
fn a_state_is_sent_whole_and_then_as_changes() {
    let stage = stage();
    let mut ada = stage.join("table:1", json!({})).unwrap();
    assert_eq!(ada.room_state(), None);
    ada.push("publish", json!({ "state": { "a": 1, "long": "unchanged", "none": null } }));
    ada.assert_broadcast("room_state", json!({ "n": 1, "state": { "a": 1, "long": "unchanged", "none": null } }));
    assert_eq!(ada.room_state(), Some(json!({ "a": 1, "long": "unchanged" })), "a null field is absent");

    // A new member gets the whole state, and then the same changes as the others, even if its own join makes them.
    let join = json!({ "state": { "a": 2, "long": "unchanged" } });
    let mut bob = stage.join("table:1", join).unwrap();
    bob.assert_broadcast("room_state", json!({ "n": 1, "state": { "a": 1 } }));
    for actor in [&mut ada, &mut bob] {
        actor.assert_broadcast("room_diff", json!({ "n": 2, "patch": { "a": 2 } }));
        actor.refute_push("room_state");
        actor.refute_broadcast("room_state");
        assert_eq!(actor.room_state(), Some(json!({ "a": 2, "long": "unchanged" })));
    }

    // An unchanged state isn't sent or counted.
    let publish = |state: Value| assert_eq!(stage.send("table:1", "publish", json!({ "state": state })), Ok(None));
    publish(json!({ "long": "unchanged", "a": 2, "b": null }));
    ada.refute_broadcast("room_diff");
    // The whole state is sent if the patch isn't shorter.
    publish(json!({ "b": 3 }));
    ada.assert_broadcast("room_state", json!({ "n": 3, "state": { "b": 3 } }));
    assert_eq!(bob.room_state(), Some(json!({ "b": 3 })));
}

#[test]
fn a_published_state_ends_with_its_room() {
    let stage = stage();
    stage.join("table:1", json!({ "state": { "a": 1 } })).unwrap().close();
    stage.advance(ms(1000));
    let mut bob = stage.join("table:1", json!({ "state": { "b": 1 } })).unwrap();
    bob.assert_broadcast("room_state", json!({ "n": 1, "state": { "b": 1 } }));
    bob.refute_broadcast("room_state");
}

#[test]
fn a_fault_publishes_no_state_and_takes_no_seat() {
    let stage = stage();
    let mut ada = stage.join("table:1", json!({})).unwrap();
    ada.push("crash", json!({}));
    ada.assert_error();
    assert_eq!((ada.room_state(), told(&stage, 0)), (None, json!([])));
    assert_eq!(stage.faults().len(), 1);
}

/// After any sequence of published states, the clients have the last state.
#[test]
fn clients_have_the_last_published_state() {
    let pad = "x".repeat(200);
    let states = [
        json!({}),
        json!({ "a": 1 }),
        json!({ "a": 1, "b": { "c": [1, { "d": null }], "d": "x" } }),
        json!({ "a": null, "b": { "c": [1, {}], "d": null } }),
        json!({ "a": { "e": null }, "b": { "d": { "f": {} } } }),
        json!({ "b": { "d": { "f": [] } } }),
        json!({ "b": 7, "a": { "e": { "f": null, "g": false } } }),
    ];
    let stage = stage();
    let ada = stage.join("table:1", json!({})).unwrap();
    for before in &states {
        for after in &states {
            for state in [before, after] {
                let mut padded = state.clone();
                padded["pad"] = json!(pad);
                let late = stage.join("table:1", json!({})).unwrap();
                stage.send("table:1", "publish", json!({ "state": padded })).unwrap();
                let wanted = Some(stripped(&padded));
                assert_eq!((ada.room_state(), late.room_state()), (wanted.clone(), wanted), "{before} to {after}");
                late.close();
            }
        }
    }
}

/// Returns a state without its null fields, which count as absent.
fn stripped(state: &Value) -> Value {
    let Value::Object(members) = state else { return state.clone() };
    let present = members.iter().filter(|(_, value)| !value.is_null());
    present.map(|(key, value)| (key.clone(), stripped(value))).collect::<serde_json::Map<_, _>>().into()
}
