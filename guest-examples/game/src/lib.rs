//! A lobby and two games: four in a row, turn by turn, and lights that up to eight catch in one world, in real time.
//!
//! | topic | what it is | who may join |
//! | --- | --- | --- |
//! | `lobby` | the list of games, as a published state | everybody, with `{}` |
//! | `four:ID`, `arena:ID` | one game | everybody, with `{"name": "Ada", "key": "a secret"}` |
//!
//! The first to join a game take its seats, and whoever comes later watches. A seat belongs to its key: who drops has twenty
//! seconds to come back to it, with everything. The join's reply says which it is: `ok {"seat": 0}`, or `null` to who watches.
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | `sit` | takes a seat that has become free | `ok {"seat": 1}` |
//! | `again` | wants to play again: a game begins when all want to | `ok {}` |
//! | `drop {"column": 3}` in `four` | a disc into a column, from 0 | `ok {}` |
//! | `resign` in `four` | the other one has won | `ok {}` |
//! | `go {"x": 0.6, "y": -0.8}` in `arena` | runs there from now on; `0, 0` stops | none |
//!
//! What isn't allowed is answered with `error {"reason": ".."}`. All that happens is in the topic's published state
//! (`room_state`, `room_diff`): see `Lobby`, `Table::shown` and `Field::shown`.

use bennu_guest::prelude::*;

mod arena;
mod four;
mod lobby;
mod player;
#[cfg(test)]
mod tests;

/// For so long a seat is kept for who has dropped.
const GRACE: Duration = Duration::from_secs(20);

/// The mistake of who asks, with its reason.
fn because<T>(reason: &str) -> Result<T, Error> {
    refuse(json!({ "reason": reason }))
}

/// Refuses a topic that no game can be in: its ID is short and plain, since everybody sees it in the lobby.
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
