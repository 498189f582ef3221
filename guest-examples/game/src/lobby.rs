//! The lobby: the list of games, as a published state.
//!
//! Each game sends its changes to the lobby. At each tick, the lobby removes the games that have no members.

use std::collections::BTreeMap;

use bennu_guest::prelude::*;

use crate::player::Players;

/// The lobby's topic.
pub(crate) const LOBBY: &str = "lobby";

/// The tick period of the lobby.
const LOOK: Duration = Duration::from_secs(1);

/// The largest number of listed games.
const LISTED: usize = 100;

/// A member of the lobby. It has no state of its own.
#[derive(Serialize, Deserialize)]
pub(crate) struct Visitor;

/// The state that is published: the games by their topics.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Lobby {
    games: BTreeMap<String, Game>,
}

#[derive(Serialize, Deserialize)]
struct Game {
    phase: String,
    players: Vec<String>,
    seats: u8,
    /// The number of members without a seat.
    #[serde(default)]
    watching: usize,
}

/// Returns the entry that a game sends to the lobby. A game without players isn't listed.
pub(crate) fn entry(topic: &str, phase: impl Serialize, players: &Players, seats: u8) -> Value {
    json!({ "topic": topic, "phase": json!(phase), "players": players.names(), "seats": seats })
}

impl Channel for Visitor {
    type Room = Lobby;

    fn join(socket: &mut Socket<Lobby>, _params: Payload) -> Join<Self> {
        socket.tick(LOOK);
        socket.publish_state(json!(socket.room()));
        if socket.room().games.is_empty() {
            // The lobby's room ends when the last visitor leaves, and the games continue. So a new lobby asks all games
            // for their entries.
            for game in ["four:", "arena:"].iter().flat_map(|prefix| topics::under(prefix, None, LISTED as u32)) {
                socket.send(&game.name, "announce", json!({}));
            }
        }
        Ok(Visitor)
    }

    fn handle_message(topic: &mut Topic<Lobby>, event: &str, payload: Payload) -> Handled {
        if event != "game" {
            return unknown_event(event);
        }
        let (name, game): (String, Game) = (payload.field("topic")?, payload.parse()?);
        let games = &mut topic.room_mut().games;
        if game.players.is_empty() {
            games.remove(&name);
        } else if games.len() < LISTED || games.contains_key(&name) {
            games.insert(name, game);
        }
        publish(topic);
        no_reply()
    }

    fn handle_tick(topic: &mut Topic<Lobby>, _tick: &Tick) -> Ticked {
        publish(topic);
        Ok(())
    }
}

/// Removes games without members, counts those who watch, and publishes the list.
fn publish(topic: &mut Topic<Lobby>) {
    topic.room_mut().games.retain(|name, game| {
        let members = topics::count(name) as usize;
        game.watching = members.saturating_sub(game.players.len());
        members > 0
    });
    topic.publish_state(json!(topic.room()));
}
