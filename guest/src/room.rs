//! The topic's shared state during one call.

use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use crate::state;

thread_local! {
    /// The room that was read last, for the next call of this instance. The calls of a busy topic usually have the same
    /// instance, and many of them read a room that no call has changed.
    static LAST: RefCell<Option<Read>> = const { RefCell::new(None) };
}

/// A room that a call has read and not changed, with the bytes that it was decoded from.
///
/// Only equal bytes give it to the next call, so it can't be out of date. A room that was changed isn't kept: fields that
/// aren't encoded could then have other values than those of a decoded room.
struct Read {
    bytes: Vec<u8>,
    value: Box<dyn Any>,
}

/// The most bytes of a room that is kept. A decoded room is often several times larger, and each instance can have one.
const KEPT_MAX: usize = 256 << 10;

/// A room, with what the call has done to it.
pub(crate) struct Shared<R: 'static> {
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

impl<R: 'static> Shared<R> {
    /// Whether the topic has a room. A type without a size, such as `()`, holds no data, so such a topic has none.
    pub(crate) const IS_SHARED: bool = size_of::<R>() != 0;
}

impl<R: Default + Serialize + DeserializeOwned + 'static> Shared<R> {
    pub(crate) fn new(kept: Option<Vec<u8>>) -> Self {
        Self { value: OnceCell::new(), kept, change: Change::None }
    }

    /// # Panics
    ///
    /// If the bytes from the host aren't an `R`. That is a fault of the plugin, which needs an `upgrade_room`.
    pub(crate) fn get(&self) -> &R {
        self.value.get_or_init(|| match &self.kept {
            Some(bytes) if Self::IS_SHARED && !bytes.is_empty() => {
                take_last(bytes).unwrap_or_else(|| state::decode(bytes).unwrap_or_else(|why| panic!("{why}")))
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

impl<R: 'static> Drop for Shared<R> {
    fn drop(&mut self) {
        let Some(bytes) = self.kept.take().filter(|bytes| bytes.len() <= KEPT_MAX) else { return };
        if self.change == Change::None
            && let Some(value) = self.value.take()
            // Natively, a callback that panics unwinds. On wasm, its instance ends.
            && !std::thread::panicking()
        {
            LAST.set(Some(Read { bytes, value: Box::new(value) }));
        }
    }
}

impl<R: fmt::Debug> fmt::Debug for Shared<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Shared")
            .field("value", &self.value)
            .field("change", &self.change)
            .finish_non_exhaustive()
    }
}

/// Takes the room that was read last, if it was decoded from these bytes.
fn take_last<R: 'static>(bytes: &[u8]) -> Option<R> {
    let last = LAST.take().filter(|last| last.bytes == bytes)?;
    last.value.downcast().ok().map(|value| *value)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde::{Deserialize, Deserializer};

    use super::*;

    thread_local! {
        static DECODED: Cell<usize> = const { Cell::new(0) };
    }

    /// A room that counts how often it is decoded.
    #[derive(Debug, Default, PartialEq, Serialize)]
    struct Counted(u32);

    impl<'de> Deserialize<'de> for Counted {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            DECODED.set(DECODED.get() + 1);
            u32::deserialize(deserializer).map(Self)
        }
    }

    fn bytes(number: u32) -> Option<Vec<u8>> {
        state::encode(&number).ok()
    }

    fn read<R: Default + Serialize + DeserializeOwned + 'static>(room: Option<Vec<u8>>, is_equal: impl Fn(&R) -> bool) {
        let shared = Shared::<R>::new(room);
        assert!(is_equal(shared.get()));
        assert_eq!(shared.changed(), Ok(None));
    }

    #[test]
    fn a_room_that_is_only_read_is_decoded_once() {
        for _ in 0..3 {
            read(bytes(1), |room: &Counted| room.0 == 1);
        }
        assert_eq!(DECODED.get(), 1);
        read(bytes(2), |room: &Counted| room.0 == 2);
        read(bytes(1), |room: &Counted| room.0 == 1);
        assert_eq!(DECODED.get(), 3);
        // The same bytes are another value in another type.
        read(bytes(1), |room: &u32| *room == 1);
        read(bytes(1), |room: &Counted| room.0 == 1);
        assert_eq!(DECODED.get(), 4);
    }

    #[test]
    fn a_changed_room_is_not_kept() {
        read(bytes(1), |room: &Counted| room.0 == 1);
        let mut shared = Shared::<Counted>::new(bytes(1));
        shared.get_mut().0 = 2;
        assert_eq!((shared.changed(), DECODED.get()), (Ok(bytes(2)), 1));
        drop(shared);
        // The call may fail later, so the next one can have either room.
        read(bytes(1), |room: &Counted| room.0 == 1);
        assert_eq!(DECODED.get(), 2);
        let mut shared = Shared::<Counted>::new(bytes(1));
        shared.clear();
        drop(shared);
        read(bytes(1), |room: &Counted| room.0 == 1);
        assert_eq!(DECODED.get(), 2);
    }

    #[test]
    fn a_large_room_is_not_kept() {
        for _ in 0..2 {
            read(state::encode(&(Counted(1), "a".repeat(KEPT_MAX))).ok(), |room: &(Counted, String)| room.0.0 == 1);
        }
        assert_eq!(DECODED.get(), 2);
    }
}
