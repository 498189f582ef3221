//! The game `four`: four in a row. The plugin checks each move, whatever a client sends.

use bennu_guest::prelude::*;

use crate::four::board::{Board, Cell, Dropped, RUN};
use crate::player::{Players, Who};
use crate::{GRACE, because, check_topic, lobby};

mod board;

const SEATS: u8 = 2;

/// The state of one member. The room records which members play.
#[derive(Serialize, Deserialize)]
pub(crate) struct Four {
    who: Who,
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Table {
    players: Players,
    board: Board,
    /// The seat that moves next.
    turn: u8,
    /// The number of matches that have begun. The first move alternates between the seats.
    matches: u32,
    last: Option<usize>,
    end: Option<End>,
}

/// The end of a match.
#[derive(Serialize, Deserialize)]
struct End {
    /// The winner's seat; none after a draw.
    winner: Option<u8>,
    /// `row`, `draw`, `resigned` or `left`.
    why: String,
    #[serde(default)]
    row: Vec<Cell>,
}

impl Channel for Four {
    type Room = Table;

    fn join(socket: &mut Socket<Table>, params: Payload) -> Join<Self> {
        check_topic(socket.topic())?;
        let who = Who::read(&params)?;
        let seat = sit(socket, &who);
        socket.respond(json!({ "seat": seat }));
        Ok(Four { who })
    }

    fn handle_in(&mut self, socket: &mut Socket<Table>, event: &str, payload: Payload) -> Handled {
        if event == "sit" {
            return match sit(socket, &self.who) {
                Some(seat) => reply(json!({ "seat": seat })),
                None => because("no seat is free"),
            };
        }
        let seat = socket.room().players.seat(&self.who)?;
        let table = socket.room_mut();
        match event {
            "drop" => table.drop(seat, payload.field("column")?)?,
            "resign" => table.resign(seat, "resigned")?,
            "again" => table.ask_again(seat)?,
            _ => return unknown_event(event),
        }
        tell(socket);
        ok()
    }

    fn handle_message(topic: &mut Topic<Table>, event: &str, _payload: Payload) -> Handled {
        match event {
            "announce" => topic.send(lobby::LOBBY, "game", topic.room().entry(topic.name())),
            _ => return unknown_event(event),
        }
        no_reply()
    }

    fn handle_seat(topic: &mut Topic<Table>, key: &str, change: SeatChange) -> Seated {
        let table = topic.room_mut();
        if let Some(seat) = table.players.change(key, change)
            && change == SeatChange::Gone
        {
            // If no match is being played, there is no winner.
            let _ = table.resign(seat, "left");
            table.players.remove(seat);
        }
        topic.publish_state(topic.room().shown());
        topic.send(lobby::LOBBY, "game", topic.room().entry(topic.name()));
        Ok(())
    }
}

/// Gives the member its own seat, or a free one. `handle_seat` is told next, and publishes the new state.
fn sit(socket: &mut Socket<Table>, who: &Who) -> Option<u8> {
    let seat = socket.room_mut().sit(who)?;
    socket.take_seat(&who.key, GRACE);
    Some(seat)
}

fn tell(socket: &mut Socket<Table>) {
    socket.publish_state(socket.room().shown());
    let entry = socket.room().entry(socket.topic());
    socket.send(lobby::LOBBY, "game", entry);
}

impl Table {
    fn phase(&self) -> &'static str {
        match self.end {
            Some(_) => "over",
            None if self.players.count() == SEATS => "playing",
            None => "waiting",
        }
    }

    /// Gives somebody a seat. A match begins as soon as both seats are taken.
    fn sit(&mut self, who: &Who) -> Option<u8> {
        let before = self.players.count();
        let seat = self.players.sit(who, SEATS)?;
        if self.players.count() > before && self.players.count() == SEATS {
            self.begin();
        }
        Some(seat)
    }

    fn begin(&mut self) {
        self.players.begin();
        self.turn = u8::from(self.matches % 2 == 1);
        self.matches += 1;
        (self.board, self.last, self.end) = (Board::default(), None, None);
    }

    fn drop(&mut self, seat: u8, column: usize) -> Result<(), Error> {
        self.check_playing()?;
        if seat != self.turn {
            return because("it isn't your turn");
        }
        let (winner, why, row) = match self.board.drop(column, seat) {
            Err(reason) => return because(reason),
            Ok(Dropped::Next) => (None, "", Vec::new()),
            Ok(Dropped::Won(row)) => (Some(seat), "row", row),
            Ok(Dropped::Full) => (None, "draw", Vec::new()),
        };
        self.turn = 1 - seat;
        self.last = Some(column);
        if !why.is_empty() {
            self.end(winner, why, row);
        }
        Ok(())
    }

    /// Ends the match. The other seat wins.
    fn resign(&mut self, seat: u8, why: &str) -> Result<(), Error> {
        self.check_playing()?;
        self.end(Some(1 - seat), why, Vec::new());
        Ok(())
    }

    fn ask_again(&mut self, seat: u8) -> Result<(), Error> {
        if self.end.is_none() || self.players.count() < SEATS {
            return because("there is no match to play again");
        }
        self.players.ask_again(seat);
        // Both players must ask, also a player that has dropped.
        if self.players.iter().all(|(_, player)| player.again) {
            self.begin();
        }
        Ok(())
    }

    fn end(&mut self, winner: Option<u8>, why: &str, row: Vec<Cell>) {
        if let Some(winner) = winner {
            self.players.score(winner);
        }
        self.end = Some(End { winner, why: why.into(), row });
    }

    fn check_playing(&self) -> Result<(), Error> {
        if self.phase() == "playing" { Ok(()) } else { because("no match is being played") }
    }

    /// Returns the state that is published.
    fn shown(&self) -> Value {
        let players = self.players.iter().map(|(seat, player)| (seat.to_string(), player.shown()));
        json!({
            "phase": self.phase(),
            "run": RUN,
            "players": Value::Object(players.collect()),
            "columns": self.board.shown(),
            "turn": self.turn,
            "last": self.last,
            "end": self.end,
        })
    }

    fn entry(&self, topic: &str) -> Value {
        lobby::entry(topic, self.phase(), &self.players, SEATS)
    }
}
