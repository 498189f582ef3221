//! The entries of a board, and the changes to them.

use bennu_guest::prelude::*;

use crate::because;
use crate::stroke::{Drawn, Piece, Stroke};

/// The strokes. Their names are ids of the host, so they are in the order in which they were begun.
pub(crate) const STROKES: RoomMap<Stroke> = RoomMap::published("stroke/");
/// The data about the board itself: one entry, with the empty name.
pub(crate) const BOARD: RoomMap<Board> = RoomMap::new("board");
/// The last strokes of each user.
pub(crate) const OWN: RoomMap<Own> = RoomMap::new("own/");

/// The largest size of all strokes. It is smaller than the host's limit `published_bytes` (2 MiB), so a full board is an answer
/// and not a fault.
const MOST_BYTES: u64 = 2_000_000;
const MOST_STROKES: u64 = 12_000;
/// The number of strokes that a user can undo.
const UNDONE_AT_MOST: usize = 100;
/// The number of strokes that one callback clears, and the most that one adds. More would take too long on a busy host.
const STEP: usize = 250;

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Board {
    /// The user's id.
    pub(crate) owner: String,
    strokes: u64,
    bytes: u64,
    /// All strokes with smaller ids are removed, or are about to be.
    cleared: String,
    pub(crate) is_clearing: bool,
}

/// The last strokes of a user, the newest last.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Own(Vec<OwnStroke>);

#[derive(Serialize, Deserialize)]
struct OwnStroke {
    id: String,
    /// The name that the client gave it.
    name: String,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default = "most_strokes")]
    strokes: u64,
}

const fn most_strokes() -> u64 {
    MOST_STROKES
}

impl Board {
    pub(crate) fn is_owned_by(&self, user: &str) -> bool {
        self.owner == user
    }

    fn shrink(&mut self, stroke: &Stroke) {
        self.strokes = self.strokes.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(stroke.bytes());
    }
}

impl Own {
    /// The number of strokes that the user can undo.
    pub(crate) fn count(&self, board: &Board) -> usize {
        self.0.iter().filter(|own| own.id > board.cleared).count()
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|own| own.name == name).map(|own| own.id.as_str())
    }

    fn push(&mut self, id: String, name: String) {
        self.0.push(OwnStroke { id, name });
        let surplus = self.0.len().saturating_sub(UNDONE_AT_MOST);
        self.0.drain(..surplus);
    }
}

/// Counts the growth of the board, and returns the number of its strokes. A full board doesn't grow. An error is an answer of
/// this callback, and doesn't undo its writes. So nothing may be written before.
fn grow(strokes: u64, bytes: u64) -> Result<u64, Error> {
    let Config { strokes: most } = config()?;
    let mut board = BOARD.get("")?.unwrap_or_default();
    (board.strokes, board.bytes) = (board.strokes + strokes, board.bytes + bytes);
    if (strokes > 0 && board.strokes > most) || board.bytes > MOST_BYTES {
        return refuse(json!({ "reason": "the board is full", "full": true }));
    }
    BOARD.insert("", &board);
    Ok(board.strokes)
}

/// Draws a piece of a user's stroke. Returns the stroke's id.
pub(crate) fn draw(user: &str, piece: Piece) -> Result<String, Error> {
    piece.check()?;
    let mut own = OWN.get(user)?.unwrap_or_default();
    if let Some(id) = own.find(&piece.stroke) {
        let id = id.to_owned();
        let Some(mut stroke) = STROKES.get(&id)? else { return because("this stroke was removed") };
        let before = stroke.bytes();
        if stroke.add(&piece)? {
            grow(0, stroke.bytes() - before)?;
            STROKES.insert(&id, &stroke);
        }
        return Ok(id);
    }
    if piece.piece > 0 {
        return because("this stroke was removed");
    }
    let stroke = Stroke::begin(piece.color, piece.width, piece.line)?;
    grow(1, stroke.bytes())?;
    let id = unique_id();
    STROKES.insert(&id, &stroke);
    own.push(id.clone(), piece.stroke);
    OWN.insert(user, &own);
    Ok(id)
}

/// Adds whole strokes of another program. Returns the number of strokes on the board.
pub(crate) fn add(drawn: Vec<Drawn>) -> Result<u64, Error> {
    if drawn.len() > STEP {
        return because("a message adds at most 250 strokes");
    }
    let strokes = drawn.into_iter().map(Stroke::try_from).collect::<Result<Vec<_>, _>>()?;
    let count = grow(strokes.len() as u64, strokes.iter().map(Stroke::bytes).sum())?;
    STROKES.insert_many(strokes.into_iter().map(|stroke| (unique_id(), stroke)));
    Ok(count)
}

/// Removes the user's last stroke. Returns the number of strokes that the user can still undo.
pub(crate) fn undo(user: &str) -> Result<usize, Error> {
    let mut board = BOARD.get("")?.unwrap_or_default();
    let mut own = OWN.get(user)?.unwrap_or_default();
    let Some(last) = own.0.pop().filter(|last| last.id > board.cleared) else {
        return because("there is nothing to undo");
    };
    if let Some(stroke) = STROKES.get(&last.id)? {
        STROKES.remove(&last.id);
        board.shrink(&stroke);
        BOARD.insert("", &board);
    }
    OWN.insert(user, &own);
    Ok(own.count(&board))
}

/// Marks all strokes that are there now as cleared.
pub(crate) fn begin_to_clear(user: &str) -> Result<(), Error> {
    BOARD.update("", |board| {
        if !board.is_owned_by(user) {
            return because("only the owner can clear the board");
        }
        board.cleared = unique_id();
        board.is_clearing = true;
        Ok(())
    })?
}

/// Removes some of the cleared strokes. Returns whether there may be more.
pub(crate) fn clear_some() -> Result<bool, Error> {
    let mut board = BOARD.get("")?.unwrap_or_default();
    if !board.is_clearing {
        return Ok(false);
    }
    let some = STROKES.range(..board.cleared.as_str()).limit(STEP).collect::<Result<Vec<_>, _>>()?;
    for (id, stroke) in &some {
        STROKES.remove(id);
        board.shrink(stroke);
    }
    board.is_clearing = some.len() == STEP;
    BOARD.insert("", &board);
    Ok(board.is_clearing)
}
