//! Rooms in the test kit: their lifetime, their ticks, and their states after a reload.

#![allow(clippy::unwrap_used)]

use bennu_guest::prelude::*;
use bennu_guest::testing::{Effect, Member, Stage, join, upgrade, upgrade_room};

/// A player in a world that moves at each tick.
#[derive(Serialize, Deserialize)]
struct Player {
    name: String,
}

#[derive(Default, Debug, PartialEq, Serialize, Deserialize)]
struct World {
    players: Vec<String>,
    moved_ms: u64,
    ticks: u32,
}

impl Channel for Player {
    type Room = World;
    const LINGER: Option<Duration> = Some(Duration::from_secs(1));
    const TICK_FAULTS: Option<u32> = Some(3);

    fn join(socket: &mut Socket<World>, params: Payload) -> Join<Self> {
        let name: String = params.field("name")?;
        socket.room_mut().players.push(name.clone());
        if let Some(ms) = params.field("tick")? {
            socket.tick(Duration::from_millis(ms));
        }
        Ok(Player { name })
    }

    fn handle_in(&mut self, socket: &mut Socket<World>, event: &str, payload: Payload) -> Handled {
        match event {
            "tick" => socket.tick(Duration::from_micros(payload.field("us")?)),
            "timer" => drop(socket.send_after(Duration::from_millis(payload.field("ms")?), "timer", json!({}))),
            "crash" => {
                socket.room_mut().players.clear();
                return fail("asked to");
            }
            "stop" => return stop("asked to"),
            _ => return reply(socket.room()),
        }
        ok()
    }

    fn handle_info(&mut self, socket: &mut Socket<World>, _message: Message) -> Handled {
        socket.broadcast("fired", json!({ "ticks": socket.room().ticks }));
        no_reply()
    }

    fn handle_message(topic: &mut Topic<World>, event: &str, _payload: Payload) -> Handled {
        match event {
            "rest" => topic.tick(Duration::ZERO),
            "break" => topic.room_mut().moved_ms = u64::MAX,
            "grow" => topic.room_mut().players.push("x".repeat(1 << 20)),
            _ => return reply(topic.room()),
        }
        no_reply()
    }

    fn handle_tick(topic: &mut Topic<World>, tick: &Tick) -> Ticked {
        let world = topic.room_mut();
        let Some(moved_ms) = world.moved_ms.checked_add(tick.elapsed().as_millis() as u64) else {
            return fail("the time is too large");
        };
        world.moved_ms = moved_ms;
        world.ticks += 1;
        topic.broadcast("moved", json!({ "number": tick.number, "missed": tick.missed, "at": now_ms() }));
        Ok(())
    }

    fn terminate(&mut self, socket: &mut Socket<World>, ending: Ending) {
        socket.room_mut().players.retain(|name| *name != self.name);
        socket.broadcast("gone", json!({ "name": self.name, "cause": ending.cause, "detail": ending.detail }));
    }
}

fn stage() -> Stage {
    Stage::new().channel::<Player>("world:*").now(0)
}

fn room(stage: &Stage) -> Value {
    stage.send("world:1", "look", json!({})).unwrap().unwrap().json()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn a_room_remains_for_linger_after_its_last_member() {
    let stage = stage();
    let alice = stage.join("world:1", json!({ "name": "alice" })).unwrap();
    let mut bob = stage.join("world:1", json!({ "name": "bob", "tick": 500 })).unwrap();
    assert_eq!(room(&stage)["players"], json!(["alice", "bob"]));
    alice.close();
    stage.advance(ms(5000));
    bob.leave();
    stage.advance(ms(999));
    let look = room(&stage);
    assert_eq!((&look["players"], &look["ticks"]), (&json!([]), &json!(11)), "the ticks continue during LINGER");
    // Looking at the room doesn't keep it.
    stage.advance(ms(1));
    assert_eq!(room(&stage)["ticks"], 0);
    // A member that joins keeps it.
    let carol = stage.join("world:1", json!({ "name": "carol", "tick": 500 })).unwrap();
    stage.advance(ms(1000));
    carol.close();
    stage.advance(ms(900));
    let dora = stage.join("world:1", json!({ "name": "dora" })).unwrap();
    stage.advance(ms(5100));
    assert_eq!((dora.is_in(), &room(&stage)["ticks"]), (true, &json!(14)));
}

#[test]
fn a_refused_join_leaves_no_room() {
    let stage = stage();
    assert!(stage.join("world:1", json!({})).is_err());
    assert_eq!(room(&stage)["players"], json!([]));
}

#[test]
fn a_client_that_joins_again_replaces_its_old_member() {
    let stage = stage();
    let mut alice = stage.join("world:1", json!({ "name": "alice" })).unwrap();
    let mut bob = stage.join("world:1", json!({ "name": "bob" })).unwrap();
    let mut again = alice.rejoin(json!({ "name": "alice" })).unwrap();
    alice.assert_close();
    bob.assert_broadcast("gone", json!({ "name": "alice", "cause": "replaced", "detail": "" }));
    assert!(!alice.is_in() && again.is_in());
    let look = again.push("look", json!({}));
    again.assert_reply(&look, "ok", json!({ "players": ["bob", "alice"] }));
}

#[test]
fn ticks_are_steady_until_the_period_changes() {
    let stage = stage();
    let mut alice = stage.join("world:1", json!({ "name": "alice", "tick": 100 })).unwrap();
    alice.push("timer", json!({ "ms": 100 }));
    stage.advance(ms(250));
    // A timer that fires at the same time as the tick comes first.
    alice.assert_broadcast("fired", json!({ "ticks": 0 }));
    alice.assert_broadcast("moved", json!({ "number": 1, "missed": 0, "at": 100 }));
    alice.assert_broadcast("moved", json!({ "number": 2, "missed": 0, "at": 200 }));
    // Another member that asks for the same period changes nothing.
    stage.join("world:1", json!({ "name": "bob", "tick": 100 })).unwrap();
    stage.advance(ms(50));
    alice.assert_broadcast("moved", json!({ "number": 3, "at": 300 }));
    alice.push("tick", json!({ "us": 30_000 }));
    stage.advance(ms(30));
    alice.assert_broadcast("moved", json!({ "number": 1, "at": 330 }));
    assert_eq!(room(&stage)["moved_ms"], 330);
    assert_eq!(stage.send("world:1", "rest", json!({})), Ok(None));
    stage.advance(ms(10_000));
    alice.refute_broadcast("moved");
    alice.push("tick", json!({ "us": 10_999 }));
    stage.advance(ms(10));
    alice.assert_broadcast("moved", json!({ "number": 1 }));
    alice.push("tick", json!({ "us": 0 }));
    stage.advance(ms(1000));
    alice.refute_broadcast("moved");
}

#[test]
fn a_tick_period_below_the_minimum_or_without_a_room_is_a_fault() {
    for us in [1, 999, 9_999] {
        let stage = stage();
        let mut alice = stage.join("world:1", json!({ "name": "alice" })).unwrap();
        alice.push("tick", json!({ "us": us }));
        alice.assert_error();
        assert_eq!(
            stage.faults()[0].to_string(),
            "oversize: a topic's tick period is at least 10 ms (`limits.timer_shortest_ms = 10`)"
        );
    }
    let roomless = join::<Roomless>("any", json!({})).unwrap_err();
    let detail = &roomless.fault().unwrap().detail;
    assert_eq!(
        detail,
        "the call used a tick, a seat or a published state, but its route has no room; set the route's option `room` (`type Room` in Rust)"
    );
}

#[derive(Serialize, Deserialize)]
struct Roomless;

impl Channel for Roomless {
    type Room = ();

    fn join(socket: &mut Socket, _params: Payload) -> Join<Self> {
        socket.tick(Duration::from_secs(1));
        Ok(Roomless)
    }
}

#[test]
fn a_faulty_tick_has_no_effect_and_too_many_in_a_row_end_the_topic() {
    let stage = stage();
    let mut alice = stage.join("world:1", json!({ "name": "alice", "tick": 100 })).unwrap();
    let mut bob = stage.join("world:1", json!({ "name": "bob" })).unwrap();
    let mut carol = stage.join("world:2", json!({ "name": "carol" })).unwrap();
    let tick = |missed| stage.tick("world:1", Tick { number: 7, missed, period_ms: 100 });
    assert_eq!(tick(2), Ok(()));
    alice.assert_broadcast("moved", json!({ "number": 7, "missed": 2 }));
    assert_eq!(room(&stage)["moved_ms"], 300);
    assert_eq!(stage.send("world:1", "break", json!({})), Ok(None));
    assert_eq!(tick(0).unwrap_err().to_string(), "failed: handle_tick: the time is too large");
    stage.advance(ms(100));
    assert!(alice.is_in() && bob.is_in(), "two faults are fewer than three");
    stage.advance(ms(100));
    alice.assert_error();
    bob.assert_error();
    bob.assert_broadcast("gone", json!({ "name": "alice", "cause": "fault", "detail": "failed" }));
    let look = carol.push("look", json!({}));
    carol.assert_reply(&look, "ok", json!({ "players": ["carol"] }));
    // The room and its ticks are gone.
    assert_eq!(room(&stage)["moved_ms"], 0);
    stage.advance(ms(1000));
    assert_eq!(stage.faults().len(), 3);
}

#[test]
fn a_fault_rolls_back_the_room_and_an_oversized_room_is_a_fault() {
    let stage = stage();
    let mut alice = stage.join("world:1", json!({ "name": "alice" })).unwrap();
    let mut bob = stage.join("world:1", json!({ "name": "bob" })).unwrap();
    alice.push("crash", json!({}));
    alice.assert_error();
    assert_eq!(room(&stage)["players"], json!(["bob"]));
    assert_eq!(stage.send("world:1", "grow", json!({})).unwrap_err().kind, "oversize");
    bob.push("stop", json!({}));
    bob.assert_close();
    assert_eq!(room(&stage)["players"], json!([]));
}

/// For a single member, the test makes the ticks.
#[test]
fn the_test_makes_the_ticks_of_a_single_member() {
    let mut alice: Member<Player> = join("world:1", json!({ "name": "alice", "tick": 100 })).unwrap();
    assert_eq!(alice.joined().effects(), [Effect::Tick { milliseconds: 100 }]);
    let out = alice.tick(Tick { number: 1, missed: 0, period_ms: 100 });
    assert_eq!(out.broadcasts()[0].event, "moved");
    assert_eq!((alice.room().moved_ms, alice.assigns().name.as_str()), (100, "alice"));
    assert_eq!(alice.push("tick", json!({ "us": 1 })).fault().unwrap().kind, "oversize");
}

/// A counter that outlives its members.
#[derive(Serialize, Deserialize)]
struct Visits;

impl Channel for Visits {
    type Room = u32;
    const DURABLE: bool = true;
    const LINGER: Option<Duration> = Some(Duration::ZERO);

    fn join(socket: &mut Socket<u32>, _params: Payload) -> Join<Self> {
        *socket.room_mut() += 1;
        socket.tick(Duration::from_secs(1));
        socket.respond(json!({ "visits": socket.room() }));
        Ok(Visits)
    }
}

#[test]
fn a_durable_room_is_loaded_again() {
    let stage = Stage::new().channel::<Visits>("kept");
    for visits in 1..=3 {
        let alice = stage.join("kept", json!({})).unwrap();
        assert_eq!(alice.response().field::<u32>("visits"), Ok(visits));
        alice.close();
        stage.advance(Duration::from_secs(60));
    }
}

#[test]
fn an_unhandled_tick_is_logged_once() {
    let mut alice: Member<Visits> = join("kept", json!({})).unwrap();
    let mut lines = |number, missed| alice.tick(Tick { number, missed, period_ms: 1000 }).log().len();
    assert_eq!([lines(2, 1), lines(3, 0), lines(5, 1)], [1, 0, 0]);
}

/// The next build of the player: the name has two parts, and the world counts in seconds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct NewPlayer {
    first: String,
    last: String,
}

#[derive(Default, Debug, PartialEq, Serialize, Deserialize)]
struct NewWorld {
    seconds: f64,
}

impl Channel for NewPlayer {
    type Room = NewWorld;
    const ASSIGNS_VERSION: u32 = 2;
    const ROOM_VERSION: u32 = 2;
    const INTERCEPTS: &'static [&'static str] = &["news"];

    fn join(_socket: &mut Socket<NewWorld>, _params: Payload) -> Join<Self> {
        fail("nobody joins in this test")
    }

    fn handle_in(&mut self, socket: &mut Socket<NewWorld>, _event: &str, _payload: Payload) -> Handled {
        reply(json!({ "last": self.last, "seconds": socket.room().seconds }))
    }

    fn handle_out(&self, _recipient: &Recipient, _event: &str, _payload: &Payload) -> Decided {
        Ok(Decision::replace(json!({ "to": self.first })))
    }

    fn upgrade(old: &Old) -> Upgraded<Self> {
        match old.version() {
            0 => {
                let Player { name } = old.read()?;
                upgraded(NewPlayer { first: name, last: format!("of {}", old.topic()) })
            }
            1 => as_it_is(),
            2.. => fail("it is from the future"),
        }
    }

    fn upgrade_room(old: &Old) -> Upgraded<NewWorld> {
        if old.version() == 9 {
            store::get_bytes("asked for");
        }
        let World { moved_ms, .. } = old.read()?;
        upgraded(NewWorld { seconds: moved_ms as f64 / 1000.0 })
    }
}

#[test]
fn states_of_another_version_are_upgraded_before_a_callback_gets_them() {
    let stage = stage();
    let mut alice = stage.join("world:1", json!({ "name": "alice", "tick": 500 })).unwrap();
    let mut bob = stage.join("world:1", json!({ "name": "bob" })).unwrap();
    stage.advance(ms(1500));
    stage.reload::<NewPlayer>("world:*");
    stage.broadcast("world:1", "news", json!({}));
    bob.assert_push("news", json!({ "to": "bob" }));
    let look = alice.push("look", json!({}));
    alice.assert_reply(&look, "ok", json!({ "last": "of world:1", "seconds": 1.5 }));
    assert_eq!(alice.assigns::<NewPlayer>().first, "alice");
    assert_eq!(bob.assigns::<Player>().name, "bob", "no callback that commits has run for it");
    // Back to the first build: it has no `upgrade`, so it gets the state unchanged, and can't read it.
    stage.reload::<Player>("world:*");
    alice.push("look", json!({}));
    alice.assert_error();
    assert!(stage.faults()[0].detail.contains("can't be read as a "), "{:?}", stage.faults());
}

#[test]
fn an_upgrade_can_be_tested_alone() {
    let alice = NewPlayer { first: "alice".into(), last: "of topic".into() };
    assert_eq!(upgrade::<NewPlayer>(0, Player { name: "alice".into() }), Ok(alice));
    let same = || NewPlayer { first: "a".into(), last: "b".into() };
    assert_eq!(upgrade::<NewPlayer>(1, same()), Ok(same()));
    let text = |fault: testing::Fault| fault.to_string();
    let refused = upgrade::<NewPlayer>(3, json!({})).map_err(text);
    assert_eq!(refused.unwrap_err(), "failed: the plugin refused the upgrade: it is from the future");
    let unread = upgrade::<NewPlayer>(0, json!({ "nom": "alice" })).map_err(text).unwrap_err();
    assert!(
        unread.starts_with("failed: the plugin refused the upgrade: version 0: the state can't be read as a "),
        "{unread}"
    );
    let large = upgrade::<NewPlayer>(0, json!({ "name": "x".repeat(17 << 10) })).map_err(text).unwrap_err();
    assert!(large.starts_with("oversize: assigns of "), "{large}");
    let old = World { moved_ms: 2500, ..World::default() };
    assert_eq!(upgrade_room::<NewPlayer>(0, &old), Ok(NewWorld { seconds: 2.5 }));
    let asking = upgrade_room::<NewPlayer>(9, &old).map_err(text).unwrap_err();
    assert_eq!(asking, "failed: this callback has no access to the store");
}

#[test]
fn without_an_upgrade_a_state_is_passed_on_unchanged() {
    let mut alice: Member<Visits> = testing::Setup::new().room(7).join("kept", json!({})).unwrap();
    assert_eq!(alice.room(), 8);
    let mut newer = alice.reload::<Renumbered>();
    assert_eq!(newer.push("look", json!({})).reply(), ("ok", json!(8)));
    alice = newer.reload();
    assert_eq!(alice.room(), 8);
}

#[derive(Serialize, Deserialize)]
struct Renumbered;

impl Channel for Renumbered {
    type Room = u64;
    const ROOM_VERSION: u32 = 5;

    fn join(_socket: &mut Socket<u64>, _params: Payload) -> Join<Self> {
        fail("nobody joins in this test")
    }

    fn handle_in(&mut self, socket: &mut Socket<u64>, _event: &str, _payload: Payload) -> Handled {
        reply(socket.room())
    }
}

/// A topic whose room can be deleted.
#[derive(Serialize, Deserialize)]
struct Board;

impl Channel for Board {
    type Room = Vec<String>;

    fn join(_socket: &mut Socket<Vec<String>>, _params: Payload) -> Join<Self> {
        Ok(Board)
    }

    fn handle_in(&mut self, socket: &mut Socket<Vec<String>>, event: &str, _payload: Payload) -> Handled {
        match event {
            "write" => socket.room_mut().push("line".into()),
            "clear" => socket.clear_room(),
            "clear_and_write" => {
                socket.clear_room();
                socket.room_mut().push("first".into());
            }
            _ => {}
        }
        reply(json!({ "lines": socket.room() }))
    }
}

#[test]
fn a_deleted_room_counts_as_unwritten() {
    let stage = testing::Stage::new().channel::<Board>("board:*");
    let mut alice = stage.join("board:1", json!({})).unwrap();
    for (event, lines) in [
        ("write", json!(["line"])),
        ("clear", json!([])),
        ("look", json!([])),
        ("write", json!(["line"])),
        ("clear_and_write", json!(["first"])),
        ("look", json!(["first"])),
    ] {
        let asked = alice.push(event, json!({}));
        alice.assert_reply(&asked, "ok", json!({ "lines": lines }));
    }
}
