//! The players of a game: people with a seat, identified by their keys.

use std::collections::BTreeMap;

use bennu_guest::prelude::*;

use crate::because;

/// The longest name, in characters.
const LONGEST_NAME: usize = 24;

/// A person in a game, with or without a seat.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Who {
    pub(crate) name: String,
    /// A secret of the person's browser window. Seats are named after it, and nobody else gets it.
    pub(crate) key: String,
}

impl Who {
    /// Reads the parameters of a join.
    pub(crate) fn read(params: &Payload) -> Result<Self, Error> {
        let (name, key): (String, String) = (params.field("name")?, params.field("key")?);
        let name = name.trim().to_owned();
        if !(1..=LONGEST_NAME).contains(&name.chars().count()) {
            return because("a name has 1 to 24 characters");
        }
        if !(16..=64).contains(&key.len()) {
            return because("a key has 16 to 64 bytes");
        }
        Ok(Self { name, key })
    }
}

/// A person with a seat.
#[derive(Serialize, Deserialize)]
pub(crate) struct Player {
    who: Who,
    /// Whether the person is connected.
    pub(crate) here: bool,
    /// Whether the person has asked to play again.
    pub(crate) again: bool,
    pub(crate) score: u32,
}

impl Player {
    /// Returns the data that everybody may see.
    pub(crate) fn shown(&self) -> Value {
        json!({ "name": self.who.name, "here": self.here, "again": self.again, "score": self.score })
    }
}

/// The players of a game, by their seats.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Players(BTreeMap<u8, Player>);

impl Players {
    /// Gives a person their own seat, or the first free one of `seats`.
    pub(crate) fn sit(&mut self, who: &Who, seats: u8) -> Option<u8> {
        let seat = self.seat_of(&who.key).or_else(|| (0..seats).find(|seat| !self.0.contains_key(seat)))?;
        let player = Player { who: who.clone(), here: true, again: false, score: 0 };
        let player = self.0.entry(seat).or_insert(player);
        // A person may come back with another name.
        player.who.name.clone_from(&who.name);
        Some(seat)
    }

    /// Returns the seat of a player. A person without a seat is refused.
    pub(crate) fn seat(&self, who: &Who) -> Result<u8, Error> {
        self.seat_of(&who.key).map_or_else(|| because("you are watching"), Ok)
    }

    /// Records a change of the seat with that key, and returns the seat. It doesn't remove a player that is gone.
    pub(crate) fn change(&mut self, key: &str, change: SeatChange) -> Option<u8> {
        let seat = self.seat_of(key)?;
        let player = self.0.get_mut(&seat)?;
        player.here = matches!(change, SeatChange::Taken | SeatChange::Returned);
        Some(seat)
    }

    pub(crate) fn remove(&mut self, seat: u8) {
        self.0.remove(&seat);
    }

    /// Records that a player has asked to play again.
    pub(crate) fn ask_again(&mut self, seat: u8) {
        if let Some(player) = self.0.get_mut(&seat) {
            player.again = true;
        }
    }

    /// Whether all connected players have asked to play again. A player that has dropped isn't waited for.
    pub(crate) fn all_ask_again(&self) -> bool {
        self.0.values().any(|player| player.again) && self.0.values().all(|player| player.again || !player.here)
    }

    /// Clears the requests to play again.
    pub(crate) fn begin(&mut self) {
        self.0.values_mut().for_each(|player| player.again = false);
    }

    pub(crate) fn score(&mut self, seat: u8) {
        if let Some(player) = self.0.get_mut(&seat) {
            player.score += 1;
        }
    }

    pub(crate) fn clear_scores(&mut self) {
        self.0.values_mut().for_each(|player| player.score = 0);
    }

    pub(crate) fn count(&self) -> u8 {
        self.0.len() as u8
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, &Player)> {
        self.0.iter().map(|(&seat, player)| (seat, player))
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.values().map(|player| player.who.name.as_str()).collect()
    }

    fn seat_of(&self, key: &str) -> Option<u8> {
        self.iter().find(|(_, player)| player.who.key == key).map(|(seat, _)| seat)
    }
}
