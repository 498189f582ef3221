//! Players that move at each tick, in two forms: as entries, and in the room.

use std::collections::BTreeMap;

use bennu_guest::prelude::*;

/// A player. Its encoding has about 60 bytes.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Player {
    x: f64,
    y: f64,
    dx: f64,
    dy: f64,
    hp: u16,
    moves: u32,
}

const PLAYERS: RoomMap<Player> = RoomMap::new("player/");

/// The number of ticks that were handled, in `players:*`.
const TICKS: RoomMap<u64> = RoomMap::new("ticks");

/// A member of `players:*`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Entered;

/// A member of `room:*`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Shared;

/// The room of `room:*`.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Room {
    players: BTreeMap<String, Player>,
    ticks: u64,
}

/// The players to start with.
#[derive(Deserialize)]
struct Wanted {
    players: u32,
    ms: u64,
}

impl Wanted {
    fn players(&self) -> impl Iterator<Item = (String, Player)> {
        (0..self.players).map(|number| {
            let at = f64::from(number);
            (format!("{number:04}"), Player { x: at, y: -at, dx: 0.5, dy: 0.25, hp: 1000, moves: 100_000 })
        })
    }
}

impl Player {
    /// Moves within a square, and turns back at its sides.
    fn step(&mut self, seconds: f64) {
        self.x += self.dx * seconds;
        self.y += self.dy * seconds;
        if self.x.abs() > 1000.0 {
            self.dx = -self.dx;
        }
        if self.y.abs() > 1000.0 {
            self.dy = -self.dy;
        }
        self.moves += 1;
    }
}

impl Channel for Entered {
    type Room = ();
    const ENTRIES: bool = true;

    fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
        Ok(Entered)
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        match event {
            "start" => {
                let wanted: Wanted = payload.parse()?;
                PLAYERS.clear(usize::MAX);
                PLAYERS.insert_many(wanted.players());
                socket.tick(Duration::from_millis(wanted.ms));
                ok()
            }
            "stop" => {
                socket.tick(Duration::ZERO);
                ok()
            }
            "where" => {
                let players = PLAYERS.iter().collect::<Result<Vec<_>, _>>()?;
                place(TICKS.get("")?.unwrap_or_default(), players.iter().map(|(_, player)| player))
            }
            _ => unknown_event(event),
        }
    }

    fn handle_tick(_topic: &mut Topic, tick: &Tick) -> Ticked {
        let seconds = tick.elapsed().as_secs_f64();
        PLAYERS.update_all(|_, player| player.step(seconds))?;
        TICKS.update("", |ticks| *ticks += 1)
    }
}

impl Channel for Shared {
    type Room = Room;

    fn join(_socket: &mut Socket<Room>, _params: Payload) -> Join<Self> {
        Ok(Shared)
    }

    fn handle_in(&mut self, socket: &mut Socket<Room>, event: &str, payload: Payload) -> Handled {
        match event {
            "start" => {
                let wanted: Wanted = payload.parse()?;
                socket.room_mut().players = wanted.players().collect();
                socket.tick(Duration::from_millis(wanted.ms));
                ok()
            }
            "stop" => {
                socket.tick(Duration::ZERO);
                ok()
            }
            "where" => place(socket.room().ticks, socket.room().players.values()),
            _ => unknown_event(event),
        }
    }

    fn handle_tick(topic: &mut Topic<Room>, tick: &Tick) -> Ticked {
        let seconds = tick.elapsed().as_secs_f64();
        let room = topic.room_mut();
        for player in room.players.values_mut() {
            player.step(seconds);
        }
        room.ticks += 1;
        Ok(())
    }
}

fn place<'p>(ticks: u64, players: impl Iterator<Item = &'p Player>) -> Handled {
    reply(json!({ "ticks": ticks, "sum": players.map(|player| player.x + player.y).sum::<f64>() }))
}
