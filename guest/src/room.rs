//! The topic's shared state, for the time of one call.

use serde::{Serialize, de::DeserializeOwned};

use crate::state;

/// A room, and whether it may have been changed.
#[derive(Debug)]
pub(crate) struct Shared<R> {
    value: R,
    /// As the host keeps it; none where nobody has written it yet.
    kept: Option<Vec<u8>>,
    /// Whether it was lent out for change. A room is encoded only then: it may be large.
    lent: bool,
}

impl<R> Shared<R> {
    pub(crate) fn get(&self) -> &R {
        &self.value
    }

    pub(crate) fn get_mut(&mut self) -> &mut R {
        self.lent = true;
        &mut self.value
    }
}

impl<R> Shared<R> {
    /// A type without a size, such as `()`, holds nothing that could be shared: such a topic has no room.
    pub(crate) const IS_SHARED: bool = size_of::<R>() != 0;
}

impl<R: Default + Serialize + DeserializeOwned> Shared<R> {
    pub(crate) fn read(kept: Option<Vec<u8>>) -> Result<Self, String> {
        let value = match &kept {
            Some(bytes) if Self::IS_SHARED => state::decode(bytes)?,
            _ => R::default(),
        };
        Ok(Self { value, kept, lent: false })
    }

    /// The new bytes, or none where nothing changed.
    pub(crate) fn changed(&self) -> Result<Option<Vec<u8>>, String> {
        if Self::IS_SHARED && self.lent { state::changed(&self.value, self.kept.as_deref()) } else { Ok(None) }
    }
}
