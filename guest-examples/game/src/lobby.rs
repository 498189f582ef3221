//! The lobby: which games there are, live.
//!
//! Games say themselves when something about them changes, and the lobby looks at its beat which of them somebody is still in.

use std::collections::BTreeMap;

use bennu_guest::prelude::*;

use crate::player::Players;

/// The topic.
pub(crate) const LOBBY: &str = "lobby";

/// So often it looks after its games.
const LOOK: Duration = Duration::from_secs(1);

/// So many games are listed.
const LISTED: usize = 100;

/// Somebody who looks at the list.
#[derive(Serialize, Deserialize)]
pub(crate) struct Visitor;

/// What is published: the games by their topics.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Lobby {
    games: BTreeMap<String, Game>,
}

#[derive(Serialize, Deserialize)]
struct Game {
    phase: String,
    players: Vec<String>,
    seats: u8,
    /// How many are in without a seat.
    #[serde(default)]
    watching: usize,
}

/// What a game says of itself. One without players isn't listed.
pub(crate) fn entry(topic: &str, phase: impl Serialize, players: &Players, seats: u8) -> Value {
    json!({ "topic": topic, "phase": json!(phase), "players": players.names(), "seats": seats })
}

impl Channel for Visitor {
    type Room = Lobby;

    fn join(socket: &mut Socket<Lobby>, _params: Payload) -> Join<Self> {
        socket.tick(LOOK);
        socket.publish_state(json!(socket.room()));
        if socket.room().games.is_empty() {
            // A lobby that nobody was in has ended, and the games have gone on.
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

/// Forgets games that nobody is in, counts who watches, and shows what there is.
fn publish(topic: &mut Topic<Lobby>) {
    topic.room_mut().games.retain(|name, game| {
        let members = topics::count(name) as usize;
        game.watching = members.saturating_sub(game.players.len());
        members > 0
    });
    topic.publish_state(json!(topic.room()));
}
