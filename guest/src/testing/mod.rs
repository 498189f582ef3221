//! Tests of a channel, natively and without a server.
//!
//! A member of a test is held as the host holds one: its state goes through its encoding between two calls, an effect is
//! checked when it is asked for, nothing of a failed callback is done, and time passes only when it is told to.
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
//! Several members that meet are played on a [`Stage`], and what decides about who connects is asked by a [`Knock`].
//!
//! A fault is part of an [`Outcome`], whose other parts can't be asked for then. A panic of the channel goes through to
//! the test.

mod actor;
mod client;
mod convert;
mod effect;
mod fault;
mod knock;
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
pub use client::Client;
pub use effect::Effect;
pub use fault::Fault;
pub use knock::Knock;
pub use member::Member;
pub use outcome::Outcome;
pub use sent::Sent;
pub use setup::{NotJoined, Setup};
pub use stage::Stage;
pub use timers::Timer;
pub use tokens::token;
pub use versions::{upgrade, upgrade_room};

use crate::{Channel, IntoPayload};

/// A client joins a topic, on a socket of which nothing else is known: see [`Setup`] for one of which something is.
///
/// # Errors
///
/// The join is refused, or ends in a fault.
pub fn join<C: Channel>(topic: &str, params: impl IntoPayload) -> Result<Member<C>, NotJoined> {
    Setup::new().join(topic, params)
}
