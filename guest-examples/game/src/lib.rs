//! A lobby and two games: four in a row, and an arena where up to eight players catch lights in real time.
//!
//! | topic | contents | join parameters |
//! | --- | --- | --- |
//! | `lobby` | the list of games, as a published state | `{}` |
//! | `four:ID`, `arena:ID` | one game | `{"name": "Ada", "key": "a secret"}` |
//!
//! Everybody may join. The first members of a game take its seats, and later members watch. A seat belongs to its key:
//! a player that drops has twenty seconds to come back to the same seat. The reply to the join has the seat:
//! `ok {"seat": 0}`, or `null` for a member that watches.
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | `sit` | takes a free seat | `ok {"seat": 1}` |
//! | `again` | asks to play again; a game begins when all players have asked | `ok {}` |
//! | `drop {"column": 3}` in `four` | drops a disc into a column, counted from 0 | `ok {}` |
//! | `resign` in `four` | gives up: the other player wins | `ok {}` |
//! | `go {"x": 0.6, "y": -0.8}` in `arena` | runs in this direction from now on; `0, 0` stops | none |
//!
//! A message that isn't allowed gets the reply `error {"reason": ".."}`. All changes are in the topic's published state
//! (`room_state`, `room_diff`): see `Lobby`, `Table::shown` and `Field::shown`.

use bennu_guest::prelude::*;

mod arena;
mod four;
mod lobby;
mod player;
#[cfg(test)]
mod tests;

/// The grace period of a seat whose player has dropped.
const GRACE: Duration = Duration::from_secs(20);

/// Refuses a join or a message, with a reason.
fn because<T>(reason: &str) -> Result<T, Error> {
    refuse(json!({ "reason": reason }))
}

/// Refuses a topic whose ID isn't short and plain, because everybody sees the ID in the lobby.
fn check_topic(topic: &str) -> Result<(), Error> {
    let id = topic.split_once(':').map_or("", |(_, id)| id);
    let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if id.is_empty() || id.len() > 24 || !is_plain {
        return because("a game's name has 1 to 24 letters, digits and hyphens");
    }
    Ok(())
}

channels! {
    "lobby" => lobby::Visitor,
    "four:*" => four::Four,
    "arena:*" => arena::Arena,
}
