//! Rooms of any size, for measurements and tests. Everybody may join.
//!
//! A topic `shelf:NAME` has books: entries whose values are of a given size.
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | `fill {"from": 0, "entries": 1000, "bytes": 88}` | adds books with the numbers from 0 on, each of 88 bytes; one message adds at most 4,096 books and 4 MiB | `ok {}` |
//! | `change {"key": 7}` | changes one book, and keeps its size | `ok {}` |
//! | `read {"key": 7}` | | `ok {"bytes": 88}`, or `ok {"bytes": null}` if there is no such book |
//! | `count` | counts all books | `ok {"entries": 1000}` |
//!
//! The key of a book has 12 bytes.
//!
//! A topic `vault:NAME` is the same with a durable room. It also has marks, which change the room, the entries and the
//! plugin's store together. A tick adds a mark too, but doesn't change the store.
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | `mark` | adds a mark | `ok {"marks": 3}`: the number of all marks so far |
//! | `audit` | | `ok {"marks": 3, "is_whole": true, "own": 3}`: the number in the room, whether the entries are those of the last 50 marks, and the number in the store |
//! | `start {"ms": 10}`, `stop` | sets the tick period, or ends the ticks | `ok {}` |
//!
//! A topic `notes:NAME` has notes: published entries, so that the members get them. A join may have a list of prefixes to
//! follow, as `follow`.
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | `put {"1": {"text": "hi"}, "2": null}` | sets notes; null removes one | `ok {}` |
//! | `fill {"from": 0, "entries": 1000, "bytes": 88}`, `change {"key": 7}` | as for books | `ok {}` |
//! | `noise {"bytes": 88}` | broadcasts `noise` with a text of this length | `ok {}` |
//! | `point {"key": "p", ..}` | broadcasts `point` with the same payload, as a droppable message with this key | `ok {}` |
//! | `follow {"prefix": "note/1"}`, `unfollow {"prefix": "note/1"}` | follows notes, or no longer | `ok {}` |
//!
//! A topic `players:NAME` or `room:NAME` has players that move at each tick. In `players:NAME`, each player is an entry. In
//! `room:NAME`, all players are in the room. Otherwise, the two are the same:
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | `start {"players": 100, "ms": 10}` | replaces the players, and sets the tick period | `ok {}` |
//! | `where` | | `ok {"ticks": 3, "sum": 1.5}`: the ticks that were handled, and the sum of all coordinates |
//! | `stop` | ends the ticks | `ok {}` |

use bennu_guest::prelude::*;

mod books;
mod notes;
mod players;
#[cfg(test)]
mod tests;
mod vault;

use notes::Notes;
use players::{Entered, Shared};
use vault::Vault;

/// A member of `shelf:*`.
#[derive(Serialize, Deserialize)]
struct Books;

impl Channel for Books {
    type Room = ();
    const ENTRIES: bool = true;

    fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
        Ok(Books)
    }

    fn handle_in(&mut self, _socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        books::event(event, payload)
    }
}

channels! {
    "shelf:*" => Books,
    "notes:*" => Notes,
    "players:*" => Entered,
    "room:*" => Shared,
    "vault:*" => Vault,
}
