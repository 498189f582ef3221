//! The topic's shared state, for the time of one call.

use std::cell::OnceCell;

use serde::{Serialize, de::DeserializeOwned};

use crate::state;

/// A room, and whether it may have been changed.
#[derive(Debug)]
pub(crate) struct Shared<R> {
    /// Read when it is first looked at: it may be large, and many callbacks don't.
    value: OnceCell<R>,
    /// As the host keeps it; none where nobody has written it yet.
    kept: Option<Vec<u8>>,
    change: Change,
}

/// What a call has done to a room.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    None,
    /// It was lent out for change. A room is encoded only then: it may be large.
    Lent,
    /// It was taken away.
    Cleared,
}

impl<R> Shared<R> {
    /// A type without a size, such as `()`, holds nothing that could be shared: such a topic has no room.
    pub(crate) const IS_SHARED: bool = size_of::<R>() != 0;
}

impl<R: Default + Serialize + DeserializeOwned> Shared<R> {
    pub(crate) fn new(kept: Option<Vec<u8>>) -> Self {
        Self { value: OnceCell::new(), kept, change: Change::None }
    }

    /// # Panics
    ///
    /// Where what the host keeps is no such room: that is a fault of the plugin, which should have an upgrade.
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

    /// Takes it away: it is as if nobody had written it.
    pub(crate) fn clear(&mut self) {
        (self.value, self.change) = (R::default().into(), Change::Cleared);
    }

    /// The new bytes, or none where nothing changed.
    pub(crate) fn changed(&self) -> Result<Option<Vec<u8>>, String> {
        match self.change {
            Change::Lent if Self::IS_SHARED => state::changed(self.get(), self.kept.as_deref()),
            // Without bytes, by the contract.
            Change::Cleared if self.kept.is_some() => Ok(Some(Vec::new())),
            _ => Ok(None),
        }
    }
}
