//! Versions 2 and 3 of the counter, for tests that reload it. Their states have other fields.
//!
//! Version 2 also counts the additions, and upgrades states of versions 1 and 3. Version 3 has other field names. With
//! a feature, a build refuses to upgrade, panics in the upgrade, or never ends it. Both versions have the events `add`,
//! `get`, `mine` and `members`.

use std::hint::black_box;

use bennu_guest::prelude::*;

use crate::{Counter as Counter1, Room as Room1};

const VERSION: u32 = if cfg!(feature = "third") { 3 } else { 2 };

/// A member, with the sum and the number of its additions.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counter {
    #[cfg_attr(feature = "third", serde(rename = "amount"))]
    pub(crate) given: i64,
    pub(crate) times: u32,
}

/// The state that all members share.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Room {
    #[cfg_attr(feature = "third", serde(rename = "amount"))]
    pub(crate) total: i64,
    pub(crate) times: u32,
}

#[derive(Deserialize)]
struct Counter2 {
    given: i64,
    times: u32,
}

#[derive(Deserialize)]
struct Room2 {
    total: i64,
    times: u32,
}

/// Either state of version 3: they have the same fields.
#[derive(Deserialize)]
struct Either3 {
    amount: i64,
    times: u32,
}

impl Channel for Counter {
    type Room = Room;
    const DURABLE: bool = cfg!(feature = "durable");
    const ASSIGNS_VERSION: u32 = VERSION;
    const ROOM_VERSION: u32 = VERSION;

    fn join(socket: &mut Socket<Room>, params: Payload) -> Join<Self> {
        if let Some(ms) = params.field("tick")? {
            socket.tick(Duration::from_millis(ms));
        }
        Ok(Counter { given: 0, times: 0 })
    }

    fn handle_in(&mut self, socket: &mut Socket<Room>, event: &str, payload: Payload) -> Handled {
        match event {
            "add" => {
                let n: i64 = payload.field("n")?;
                (self.given, self.times) = (self.given.saturating_add(n), self.times + 1);
                let room = socket.room_mut();
                (room.total, room.times) = (room.total.saturating_add(n), room.times + 1);
                let sum = json!({ "sum": room.total });
                socket.broadcast("sum", &sum);
                reply(sum)
            }
            "get" => reply(socket.room()),
            "mine" => reply(self),
            "members" => reply(json!({ "members": topics::count(socket.topic()) })),
            _ => unknown_event(event),
        }
    }

    fn handle_tick(topic: &mut Topic<Room>, tick: &Tick) -> Ticked {
        let sum = topic.room().total;
        topic.broadcast("beat", json!({ "number": tick.number, "missed": tick.missed, "sum": sum }));
        Ok(())
    }

    fn upgrade(old: &Old) -> Upgraded<Self> {
        misbehave()?;
        let (given, times) = match old.version() {
            1 => (old.read::<Counter1>()?.added, 0),
            2 => old.read().map(|Counter2 { given, times }| (given, times))?,
            3 => old.read().map(|Either3 { amount, times }| (amount, times))?,
            other => return fail(format!("version {other} isn't known")),
        };
        upgraded(Counter { given, times })
    }

    fn upgrade_room(old: &Old) -> Upgraded<Room> {
        misbehave()?;
        let (total, times) = match old.version() {
            1 => (old.read::<Room1>()?.sum, 0),
            2 => old.read().map(|Room2 { total, times }| (total, times))?,
            3 => old.read().map(|Either3 { amount, times }| (amount, times))?,
            other => return fail(format!("version {other} isn't known")),
        };
        upgraded(Room { total, times })
    }
}

fn misbehave() -> Result<(), Error> {
    if cfg!(feature = "refuses") {
        return fail("this build refuses to upgrade");
    }
    if cfg!(feature = "traps") {
        panic!("this build panics in upgrade");
    }
    while cfg!(feature = "loops") {
        black_box(());
    }
    Ok(())
}
