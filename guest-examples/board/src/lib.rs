//! Whiteboards: each topic `board:ID` is one. Its strokes are published entries of a durable room, so a board can be large:
//! a client that draws costs one entry, and gets a patch of that entry to the others.
//!
//! The first client that joins a board owns it. A client joins with these parameters:
//!
//! - `name`: the user's name, with 1 to 24 characters.
//! - `key`: a secret that the client makes once and keeps, with 16 to 64 letters and digits. It identifies the user.
//! - `token`: from a link (see `links`). The owner needs none.
//!
//! A spectator needs only a token. The reply to the join is `{"id", "user", "role", "owner", "undo"}`: the id of this member,
//! the id of the user, `"draw"` or `"look"`, whether the user owns the board, and the number of strokes that it can undo.
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | `draw {"stroke", "piece", "color", "width", "line"}` | draws a piece of a stroke: see below | `ok {"id"}` |
//! | `undo` | removes the last stroke of the user that is still there | `ok {"undo": 3}`: the number that it can still undo |
//! | `cursor {"x", "y"}` | shows the user's cursor to the others; null hides it | none |
//! | `links` | makes two tokens, which are valid for 30 days | `ok {"draw", "look"}` |
//! | `clear` | removes all strokes that are there now, 250 at a time; only for the owner | `ok {}` |
//!
//! | the client gets | when |
//! | --- | --- |
//! | `room_state`, `room_diff` | the strokes: `{"stroke/ID": {"c": color, "w": width, "p": {"0": line, "1": line}}}` |
//! | `cursor {"id", "x", "y"}` | another member's cursor moves or is hidden. A slow client gets only the last position |
//! | `cleared {"name"}` | the owner clears the board |
//! | `presence_state`, `presence_diff` | the members by their ids, each with `name`, `user` and `role` |
//!
//! A message that isn't allowed gets the reply `error {"reason"}`. If the board is full, the reply also has `"full": true`.
//! A board has at most 12,000 strokes, or the number in its configuration, such as `config = { strokes = 500 }`, and at most
//! 2,000,000 bytes.
//!
//! A stroke is sent while it is drawn. The client makes a name of its own for each stroke, and numbers its pieces from 0. A
//! client that gets no answer may send a piece again: a piece that is already there stays as it is. A stroke is one entry,
//! and its pieces are fields of an object. So the patch of a new piece contains only that piece. `stroke.rs` has the encoding of
//! a `line`, and the limits.
//!
//! Everybody may begin a board. All boards together are limited by the plugin's quota, `store_bytes_per_plugin`.
//!
//! Other programs draw with a message to the topic: `add {"strokes": [{"color", "width", "line"}]}`, up to 250 strokes.

use bennu_guest::prelude::*;

mod access;
mod board;
mod stroke;
#[cfg(test)]
mod tests;

use access::{Access, Role};
use board::{BOARD, OWN};
use stroke::{Drawn, Piece, Position};

/// One member of a board.
#[derive(Serialize, Deserialize)]
struct Painter {
    /// The id of this member. A user with two windows is two members.
    id: String,
    #[serde(flatten)]
    access: Access,
}

impl Channel for Painter {
    type Room = ();
    const ENTRIES: bool = true;
    const DURABLE: bool = true;
    const PUBLISHES: &'static [&'static str] = &["stroke/"];

    fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
        let access = Access::of(socket.topic(), &params)?;
        let board = BOARD.get("")?.unwrap_or_default();
        if board.is_clearing {
            // The host may have stopped between two steps.
            let topic = socket.topic().to_owned();
            socket.send(&topic, "clear", json!({}));
        }
        let id = unique_id();
        let Access { user, name, role } = &access;
        let undo = OWN.get(user)?.unwrap_or_default().count(&board);
        let is_owner = *role == Role::Draw && board.is_owned_by(user);
        socket.respond(json!({ "id": id, "user": user, "role": role, "owner": is_owner, "undo": undo }));
        socket.push_presence();
        socket.track(&id, json!({ "name": name, "user": user, "role": role }));
        Ok(Painter { id, access })
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        let Access { user, role, .. } = &self.access;
        if *role == Role::Look {
            return because("spectators can't draw");
        }
        match event {
            "draw" => reply(json!({ "id": board::draw(user, payload.parse::<Piece>()?)? })),
            "undo" => reply(json!({ "undo": board::undo(user)? })),
            "cursor" => {
                let Position { x, y } = payload.parse::<Position>()?.checked()?;
                let cursor = json!({ "id": self.id, "x": x, "y": y });
                socket.broadcast_from_droppable(&self.id, "cursor", cursor);
                no_reply()
            }
            "links" => reply(access::links(socket.topic())),
            "clear" => self.clear(socket),
            _ => unknown_event(event),
        }
    }

    fn handle_message(topic: &mut Topic, event: &str, payload: Payload) -> Handled {
        match event {
            "add" => reply(json!({ "strokes": board::add(payload.field::<Vec<Drawn>>("strokes")?)? })),
            "clear" => {
                if board::clear_some()? {
                    let name = topic.name().to_owned();
                    topic.send(&name, "clear", json!({}));
                }
                no_reply()
            }
            _ => unknown_event(event),
        }
    }
}

impl Painter {
    /// Begins to clear the board. The rest follows in messages to the topic, so that other callbacks run in between.
    fn clear(&self, socket: &mut Socket) -> Handled {
        board::begin_to_clear(&self.access.user)?;
        socket.broadcast("cleared", json!({ "name": self.access.name }));
        if board::clear_some()? {
            let topic = socket.topic().to_owned();
            socket.send(&topic, "clear", json!({}));
        }
        ok()
    }
}

/// Refuses a join or a message, with a reason.
fn because<T>(reason: &str) -> Result<T, Error> {
    refuse(json!({ "reason": reason }))
}

channels! { "board:*" => Painter }
