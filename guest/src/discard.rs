//! Discards the effects and writes of a callback.

use crate::host::socket;
use crate::{Socket, Topic};

impl<R: 'static> Socket<R> {
    /// Discards all effects that the callback has asked for so far, and its writes to the store and to entries. After that,
    /// an effect or a write is a fault `failed`. The changes of the member's state and of the room, and the answer, still
    /// count.
    ///
    /// [`refuse`](crate::refuse) does the same, and discards the changes of the states too. So most callbacks don't need
    /// this function.
    ///
    /// ```
    /// use bennu_guest::prelude::*;
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Player {
    ///     mistakes: u32,
    /// }
    ///
    /// impl Channel for Player {
    ///     type Room = ();
    ///
    ///     fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
    ///         Ok(Player { mistakes: 0 })
    ///     }
    ///
    ///     fn handle_in(&mut self, socket: &mut Socket, _event: &str, payload: Payload) -> Handled {
    ///         for tile in payload.field::<Vec<u32>>("tiles")? {
    ///             if tile > 99 {
    ///                 // No tile is shown, but the mistake counts.
    ///                 socket.discard();
    ///                 self.mistakes += 1;
    ///                 return reply_error(json!({ "mistakes": self.mistakes }));
    ///             }
    ///             socket.broadcast("tile", json!({ "tile": tile }));
    ///         }
    ///         ok()
    ///     }
    /// }
    ///
    /// let mut ada = testing::join::<Player>("game:1", json!({})).unwrap();
    /// let out = ada.push("show", json!({ "tiles": [1, 100] }));
    /// assert_eq!(out.reply(), ("error", json!({ "mistakes": 1 })));
    /// assert_eq!(out.effects(), []);
    /// ```
    pub fn discard(&mut self) {
        socket::discard();
    }
}

impl<R: 'static> Topic<R> {
    /// Discards the effects and writes of the callback so far. See [`Socket::discard`](crate::Socket::discard).
    pub fn discard(&mut self) {
        socket::discard();
    }
}
