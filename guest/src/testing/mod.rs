//! Tests of a channel, natively and without a server.
//!
//! The test kit handles a member as a host does: its state is encoded and decoded between two calls, each effect is
//! checked when the callback asks for it, and a failed callback has no effects. The limits and the fault texts are the
//! host's own. Time passes only when the test advances the clock.
//!
//! ```
//! use bennu_guest::prelude::*;
//!
//! /// Answers a question after a second's thought.
//! #[derive(Serialize, Deserialize)]
//! struct Oracle;
//!
//! impl Channel for Oracle {
//!     type Room = ();
//!
//!     fn join(socket: &mut Socket, _params: Payload) -> Join<Self> {
//!         socket.broadcast_from("seeker", json!({ "id": socket.socket_id() }));
//!         Ok(Oracle)
//!     }
//!
//!     fn handle_in(&mut self, socket: &mut Socket, _event: &str, _payload: Payload) -> Handled {
//!         socket.send_after(Duration::from_secs(1), "answer", json!({ "to": socket.reply_ref() }));
//!         no_reply()
//!     }
//!
//!     fn handle_info(&mut self, socket: &mut Socket, message: Message) -> Handled {
//!         let to: ReplyRef = message.payload.field("to")?;
//!         socket.reply_later(&to, Reply::ok(json!({ "answer": 42 })));
//!         no_reply()
//!     }
//! }
//!
//! let mut alice = testing::Setup::new().socket_id("user_socket:1").join::<Oracle>("oracle", json!({})).unwrap();
//! assert_eq!(alice.joined().broadcasts_from(), [("seeker", json!({ "id": "user_socket:1" }))]);
//!
//! let out = alice.push("ask", json!({}));
//! assert_eq!(out.answer(), &Answer::None);
//! assert!(alice.advance(Duration::from_millis(999)).is_empty());
//! let late = alice.advance(Duration::from_millis(1));
//! assert_eq!(late[0].late_replies(), [("ok", json!({ "answer": 42 }))]);
//! ```
//!
//! A [`Stage`] has several members of several topics. A [`ConnectRequest`] tests a gatekeeper.
//!
//! If a callback ends in a fault, most methods of its [`Outcome`] panic with the fault's text. A panic of the channel
//! continues to the test.

mod actor;
mod client;
mod connect_request;
mod convert;
mod delivery;
mod fault;
mod member;
mod native;
mod outcome;
pub(crate) mod recorder;
mod sent;
mod setup;
mod stage;
mod timers;
mod tokens;
mod turn;
mod versions;

pub use actor::{Actor, Pushed};
#[doc(inline)]
pub use bennu_semantics::Effect;
pub use client::Client;
pub use connect_request::ConnectRequest;
pub use delivery::Delivery;
pub use fault::Fault;
pub use member::Member;
pub use outcome::Outcome;
pub use sent::Sent;
pub use setup::{NotJoined, Setup};
pub use stage::Stage;
pub use timers::Timer;
pub use tokens::token;
pub use versions::{upgrade, upgrade_entry, upgrade_room};

use crate::{Channel, IntoPayload};

/// A client joins a topic, on a socket with default values. [`Setup`] sets other values.
///
/// # Errors
///
/// If the join is refused or ends in a fault.
pub fn join<C: Channel>(topic: &str, params: impl IntoPayload) -> Result<Member<C>, NotJoined> {
    Setup::new().join(topic, params)
}
