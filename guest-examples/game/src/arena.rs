//! The game `arena`: up to eight players catch lights in one world, in real time. Clients send directions, and each
//! tick moves the world.

use bennu_guest::prelude::*;

use crate::arena::world::World;
use crate::player::{Players, Who};
use crate::{GRACE, because, check_topic, lobby};

mod world;

const SEATS: u8 = 8;

/// Twenty ticks a second.
const TICK_PERIOD: Duration = Duration::from_millis(50);

/// The duration of a round, and of the countdown before it.
const ROUND: Duration = Duration::from_secs(if cfg!(feature = "second") { 3 } else { 90 });
const READY: Duration = Duration::from_secs(3);

/// The state of one member. The room records which members play.
#[derive(Serialize, Deserialize)]
pub(crate) struct Arena {
    who: Who,
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Field {
    players: Players,
    world: World,
    phase: Phase,
    /// The remaining time of the phase, in milliseconds.
    left: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    /// Fewer than two players. They may run, but nothing counts.
    #[default]
    Waiting,
    Ready,
    Playing,
    Over,
}

impl Channel for Arena {
    type Room = Field;

    fn join(socket: &mut Socket<Field>, params: Payload) -> Join<Self> {
        check_topic(socket.topic())?;
        let who = Who::read(&params)?;
        let seat = sit(socket, &who);
        socket.respond(json!({ "seat": seat }));
        Ok(Arena { who })
    }

    fn handle_in(&mut self, socket: &mut Socket<Field>, event: &str, payload: Payload) -> Handled {
        if event == "sit" {
            return match sit(socket, &self.who) {
                Some(seat) => reply(json!({ "seat": seat })),
                None => because("no seat is free"),
            };
        }
        let seat = socket.room().players.seat(&self.who)?;
        match event {
            "go" => {
                let way = [payload.field("x")?, payload.field("y")?];
                socket.room_mut().world.turn(seat, way);
                no_reply()
            }
            "again" if socket.room().phase == Phase::Over => {
                socket.room_mut().players.ask_again(seat);
                ok()
            }
            "again" => because("the round isn't over"),
            _ => unknown_event(event),
        }
    }

    fn handle_message(topic: &mut Topic<Field>, event: &str, _payload: Payload) -> Handled {
        match event {
            "announce" => topic.send(lobby::LOBBY, "game", topic.room().entry(topic.name())),
            _ => return unknown_event(event),
        }
        no_reply()
    }

    fn handle_tick(topic: &mut Topic<Field>, tick: &Tick) -> Ticked {
        let before = topic.room().phase;
        topic.room_mut().pass(tick.elapsed());
        topic.publish_state(topic.room().shown());
        if topic.room().phase != before {
            topic.send(lobby::LOBBY, "game", topic.room().entry(topic.name()));
        }
        Ok(())
    }

    fn handle_seat(topic: &mut Topic<Field>, key: &str, change: SeatChange) -> Seated {
        let field = topic.room_mut();
        if let Some(seat) = field.players.change(key, change) {
            match change {
                SeatChange::Taken | SeatChange::Returned => {}
                // A player that has dropped stops running.
                SeatChange::Dropped => field.world.turn(seat, [0.0; 2]),
                SeatChange::Gone => {
                    field.players.remove(seat);
                    field.world.remove(seat);
                }
            }
        }
        if topic.room().players.count() == 0 {
            // Without players, no ticks are needed.
            topic.clear_room();
            topic.tick(Duration::ZERO);
        }
        topic.publish_state(topic.room().shown());
        topic.send(lobby::LOBBY, "game", topic.room().entry(topic.name()));
        Ok(())
    }
}

/// Gives the member its own seat, or a free one. `handle_seat` is told next, and publishes the new state.
fn sit(socket: &mut Socket<Field>, who: &Who) -> Option<u8> {
    let field = socket.room_mut();
    let seat = field.players.sit(who, SEATS)?;
    field.world.enter(seat);
    socket.take_seat(&who.key, GRACE);
    socket.tick(TICK_PERIOD);
    Some(seat)
}

impl Field {
    /// Lets time pass.
    fn pass(&mut self, elapsed: Duration) {
        self.left = self.left.saturating_sub(elapsed.as_millis() as u64);
        let enough = self.players.count() > 1;
        match self.phase {
            Phase::Waiting if enough => self.begin(Phase::Ready, READY),
            Phase::Waiting => {}
            _ if !enough => self.begin(Phase::Waiting, Duration::ZERO),
            Phase::Ready if self.left == 0 => self.begin(Phase::Playing, ROUND),
            Phase::Playing if self.left == 0 => self.begin(Phase::Over, Duration::ZERO),
            Phase::Over if self.players.all_ask_again() => self.begin(Phase::Ready, READY),
            Phase::Ready | Phase::Playing | Phase::Over => {}
        }
        if matches!(self.phase, Phase::Waiting | Phase::Playing) {
            for seat in self.world.step(elapsed.as_secs_f32(), random) {
                if self.phase == Phase::Playing {
                    self.players.score(seat);
                }
            }
        }
    }

    fn begin(&mut self, phase: Phase, lasts: Duration) {
        if phase == Phase::Ready {
            self.players.begin();
            self.players.clear_scores();
            self.world.restart();
        }
        (self.phase, self.left) = (phase, lasts.as_millis() as u64);
    }

    /// Returns the state that is published.
    fn shown(&self) -> Value {
        let players = self.players.iter().map(|(seat, player)| {
            let mut shown = player.shown();
            if let Some([x, y]) = self.world.place(seat) {
                (shown["x"], shown["y"]) = (json!(x), json!(y));
            }
            (seat.to_string(), shown)
        });
        json!({
            "phase": self.phase,
            "left": self.left.div_ceil(1000),
            "players": Value::Object(players.collect()),
            "lights": self.world.lights(),
        })
    }

    fn entry(&self, topic: &str) -> Value {
        lobby::entry(topic, self.phase, &self.players, SEATS)
    }
}
