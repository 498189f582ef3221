//! The topic's shared state during one call.

use std::cell::OnceCell;

use serde::{Serialize, de::DeserializeOwned};

use crate::state;

/// A room, with what the call has done to it.
#[derive(Debug)]
pub(crate) struct Shared<R> {
    /// Decoded at the first access, because the room may be large, and many callbacks don't use it.
    value: OnceCell<R>,
    /// The bytes from the host; none if no callback has written the room.
    kept: Option<Vec<u8>>,
    change: Change,
}

/// What a call has done to a room.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    None,
    /// `get_mut` was called. Only then is the room encoded again, because it may be large.
    Lent,
    /// The room was deleted.
    Cleared,
}

impl<R> Shared<R> {
    /// Whether the topic has a room. A type without a size, such as `()`, holds no data, so such a topic has none.
    pub(crate) const IS_SHARED: bool = size_of::<R>() != 0;
}

impl<R: Default + Serialize + DeserializeOwned> Shared<R> {
    pub(crate) fn new(kept: Option<Vec<u8>>) -> Self {
        Self { value: OnceCell::new(), kept, change: Change::None }
    }

    /// # Panics
    ///
    /// If the bytes from the host aren't an `R`. That is a fault of the plugin, which needs an `upgrade_room`.
    pub(crate) fn get(&self) -> &R {
        self.value.get_or_init(|| match &self.kept {
            Some(bytes) if Self::IS_SHARED && !bytes.is_empty() => {
                state::decode(bytes).unwrap_or_else(|why| panic!("{why}"))
            }
            _ => R::default(),
        })
    }

    /// # Panics
    ///
    /// As for [`get`](Self::get).
    pub(crate) fn get_mut(&mut self) -> &mut R {
        self.change = Change::Lent;
        self.get();
        self.value.get_mut().expect("it was read just now")
    }

    /// Deletes the room: the next callback gets the default.
    pub(crate) fn clear(&mut self) {
        (self.value, self.change) = (R::default().into(), Change::Cleared);
    }

    /// Returns the new bytes, or none if the room didn't change.
    pub(crate) fn changed(&self) -> Result<Option<Vec<u8>>, String> {
        match self.change {
            Change::Lent if Self::IS_SHARED => state::changed(self.get(), self.kept.as_deref()),
            // In the contract, an empty list deletes the room.
            Change::Cleared if self.kept.is_some() => Ok(Some(Vec::new())),
            _ => Ok(None),
        }
    }
}
