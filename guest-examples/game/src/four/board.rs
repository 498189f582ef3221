//! The board: seven columns of six rows, into which two players drop discs. It only has the rules.

use bennu_guest::prelude::*;

/// The number of discs in a row that wins. You can change it during a match: the board stays, and the new rule applies
/// from the next disc on.
pub(crate) const RUN: usize = if cfg!(feature = "second") { 3 } else { 4 };

const COLUMNS: usize = 7;
const ROWS: usize = 6;

/// A column and a row, counted from the bottom left.
pub(crate) type Cell = [usize; 2];

/// The result of a dropped disc.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// The match continues with the other player.
    Next,
    /// The player has won with this row.
    Won(Vec<Cell>),
    /// The board is full.
    Full,
}

/// The discs of each column from the bottom. Each disc is the number of its player.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Board([Vec<u8>; COLUMNS]);

impl Board {
    /// Drops a disc of a player.
    ///
    /// # Errors
    ///
    /// The reason why this column isn't possible.
    pub(crate) fn drop(&mut self, column: usize, side: u8) -> Result<Dropped, &'static str> {
        let discs = self.0.get_mut(column).ok_or("there is no such column")?;
        if discs.len() == ROWS {
            return Err("that column is full");
        }
        discs.push(side);
        let cell = [column, discs.len() - 1];
        Ok(match self.row_through(cell) {
            Some(row) => Dropped::Won(row),
            None if self.0.iter().all(|discs| discs.len() == ROWS) => Dropped::Full,
            None => Dropped::Next,
        })
    }

    /// Returns each column as a text of player numbers. So the change for a move is short.
    pub(crate) fn shown(&self) -> Value {
        let text = |discs: &Vec<u8>| discs.iter().map(u8::to_string).collect::<String>();
        let columns = self.0.iter().enumerate().map(|(column, discs)| (column.to_string(), text(discs).into()));
        Value::Object(columns.collect())
    }

    /// Returns the row that a disc is part of, if it is long enough to win.
    fn row_through(&self, cell: Cell) -> Option<Vec<Cell>> {
        [(1, 0), (0, 1), (1, 1), (1, -1)].into_iter().find_map(|(across, up)| {
            let mut row = self.same_from(cell, -across, -up);
            row.reverse();
            row.push(cell);
            row.extend(self.same_from(cell, across, up));
            (row.len() >= RUN).then_some(row)
        })
    }

    /// Returns the cells next to one, in one direction, that have discs of the same player.
    fn same_from(&self, cell: Cell, across: isize, up: isize) -> Vec<Cell> {
        let next = |[column, row]: &Cell| Some([column.checked_add_signed(across)?, row.checked_add_signed(up)?]);
        let is_same = |other: &Cell| self.side(*other).is_some() && self.side(*other) == self.side(cell);
        std::iter::successors(next(&cell), next).take_while(is_same).collect()
    }

    fn side(&self, [column, row]: Cell) -> Option<u8> {
        self.0.get(column)?.get(row).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Drops discs in turn, and returns the result of the last one.
    fn play(columns: &[usize]) -> Dropped {
        let mut board = Board::default();
        let mut turns = columns.iter().enumerate();
        let mut last = Dropped::Next;
        for (turn, &column) in &mut turns {
            assert_eq!(last, Dropped::Next, "the match ended before turn {turn}");
            last = board.drop(column, (turn % 2) as u8).unwrap();
        }
        last
    }

    #[test]
    fn four_in_any_direction_win() {
        assert_eq!(play(&[0, 0, 1, 1, 2, 2, 3]), Dropped::Won(vec![[0, 0], [1, 0], [2, 0], [3, 0]]));
        assert_eq!(play(&[6, 0, 6, 0, 6, 0, 6]), Dropped::Won(vec![[6, 0], [6, 1], [6, 2], [6, 3]]));
        let rising = play(&[0, 1, 1, 2, 2, 3, 2, 3, 3, 6, 3]);
        assert_eq!(rising, Dropped::Won(vec![[0, 0], [1, 1], [2, 2], [3, 3]]));
        let falling = play(&[6, 5, 5, 4, 4, 3, 4, 3, 3, 0, 3]);
        assert_eq!(falling, Dropped::Won(vec![[3, 3], [4, 2], [5, 1], [6, 0]]));
    }

    #[test]
    fn a_row_may_be_longer_than_needed() {
        let won = play(&[0, 0, 1, 1, 2, 2, 4, 4, 5, 5, 3]);
        assert_eq!(won, Dropped::Won((0..6).map(|column| [column, 0]).collect()));
    }

    #[test]
    fn three_in_a_row_and_a_gap_do_not_win() {
        assert_eq!(play(&[0, 0, 1, 1, 2, 2, 4]), Dropped::Next);
        assert_eq!(play(&[0, 1, 0, 1, 0, 0]), Dropped::Next);
    }

    #[test]
    fn a_disc_needs_a_column_with_space() {
        let mut board = Board::default();
        for turn in 0..6 {
            board.drop(3, turn % 2).unwrap();
        }
        assert_eq!(board.drop(3, 0), Err("that column is full"));
        assert_eq!(board.drop(7, 0), Err("there is no such column"));
        assert_eq!(board.shown()["3"], "010101");
    }

    #[test]
    fn a_full_board_is_a_draw() {
        let pairs: Vec<usize> = [0, 2, 4, 1, 3, 5].iter().flat_map(|&column| [column; 6]).collect();
        let mut board = Board::default();
        // Neighboring columns have the colors in opposite order, so no row is long enough to win.
        let sides = |column: usize, row: usize| ((row / 2 + column) % 2) as u8;
        let mut dropped = Dropped::Next;
        for (at, column) in pairs.iter().copied().chain([6; 6]).enumerate() {
            assert_eq!(dropped, Dropped::Next, "disc {at}");
            dropped = board.drop(column, sides(column, at % 6)).unwrap();
        }
        assert_eq!(dropped, Dropped::Full);
    }
}
