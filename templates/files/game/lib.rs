use std::collections::BTreeMap;

use bennu_guest::prelude::*;

#[cfg(test)]
mod tests;

const SIZE: u64 = 5;

/// A member's own state.
#[derive(Serialize, Deserialize)]
struct Player {
    user: String,
}

/// The state that all members of a topic share.
#[derive(Serialize, Deserialize)]
struct Game {
    target: Field,
    scores: BTreeMap<String, u32>,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct Field {
    x: u64,
    y: u64,
}

impl Default for Game {
    fn default() -> Self {
        Game { target: Field { x: 2, y: 2 }, scores: BTreeMap::new() }
    }
}

impl Channel for Player {
    type Room = Game;

    fn join(socket: &mut Socket<Game>, params: Payload) -> Join<Self> {
        let user: String = params.field("user")?;
        // A player who loses the connection has ten seconds to come back. Until then the seat and the score stay.
        socket.take_seat(&user, Duration::from_secs(10));
        socket.tick(Duration::from_millis(1_500));
        Ok(Player { user })
    }

    fn handle_in(&mut self, socket: &mut Socket<Game>, event: &str, payload: Payload) -> Handled {
        if event != "hit" {
            return unknown_event(event);
        }
        let game = socket.room_mut();
        if payload.parse::<Field>().ok().as_ref() != Some(&game.target) {
            return reply_error(json!({ "reason": "missed" }));
        }
        *game.scores.entry(self.user.clone()).or_default() += 1;
        move_target(game);
        let state = json!(game);
        socket.publish_state(state);
        ok()
    }

    fn handle_tick(topic: &mut Topic<Game>, _tick: &Tick) -> Ticked {
        move_target(topic.room_mut());
        let state = json!(topic.room());
        topic.publish_state(state);
        Ok(())
    }

    fn handle_seat(topic: &mut Topic<Game>, user: &str, change: SeatChange) -> Seated {
        match change {
            SeatChange::Taken => topic.room_mut().scores.insert(user.to_owned(), 0),
            SeatChange::Gone => topic.room_mut().scores.remove(user),
            SeatChange::Dropped | SeatChange::Returned => None,
        };
        let state = json!(topic.room());
        topic.publish_state(state);
        Ok(())
    }
}

fn move_target(game: &mut Game) {
    game.target = Field { x: random() % SIZE, y: random() % SIZE };
}

channels! { "game:*" => Player }
