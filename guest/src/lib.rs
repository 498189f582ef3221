//! Write the channels of a Bennu server in Rust.
//!
//! A channel is a struct and what it answers. The struct is one member's state (Phoenix's assigns), `join` its
//! constructor, and `channels!` says which topics it serves:
//!
//! ```
//! use bennu_guest::prelude::*;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Chat {
//!     user: String,
//! }
//!
//! impl Channel for Chat {
//!     type Room = ();
//!
//!     fn join(_socket: &mut Socket, params: Payload) -> Join<Self> {
//!         let user: String = params.field("user")?;
//!         Ok(Chat { user })
//!     }
//!
//!     fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
//!         match event {
//!             "new_msg" => {
//!                 let body: String = payload.field("body")?;
//!                 socket.broadcast("new_msg", json!({ "user": self.user, "body": body }));
//!                 ok()
//!             }
//!             _ => unknown_event(event),
//!         }
//!     }
//! }
//!
//! channels! { "room:*" => Chat }
//!
//! // Its test runs natively, without a server:
//! let mut alice = testing::join::<Chat>("room:lobby", json!({ "user": "alice" })).unwrap();
//! let out = alice.push("new_msg", json!({ "body": "hi" }));
//! assert_eq!(out.broadcasts(), [("new_msg", json!({ "user": "alice", "body": "hi" }))]);
//!
//! // `?` on a bad payload is an error reply, not a crash:
//! let out = alice.push("new_msg", json!({}));
//! assert_eq!(out.reply(), ("error", json!({ "reason": "body: missing, expected a string" })));
//! ```
//!
//! The crate of a plugin is a `cdylib` that depends on `bennu-guest` and on `serde` (for the derives), and needs neither
//! a build script nor a WIT file.
//!
//! # What stays between two calls
//!
//! Nothing in the plugin: any instance serves any member, and an instance may go at any time. The host keeps
//!
//! - the struct, for as long as the member is in
//! - the topic's [room](Channel::Room), for as long as somebody is in the topic and a while longer, or for good
//! - what is in the [`store`], for good
//!
//! All of it is encoded as MessagePack with named fields, so a field that is added with `#[serde(default)]` reads the state
//! that an earlier build wrote, and a reload in production has nothing to migrate. For greater changes there are versions,
//! and [`Channel::upgrade`].
//!
//! # When something goes wrong
//!
//! - The client's mistake is an answer: [`refuse`] a join, [`reply_error`] to a message, or `?` on what
//!   [`Payload::field`] gives.
//! - The plugin's failure ([`fail`], a panic) is a fault: nothing of the callback is done, and the member ends with
//!   `phx_error`, so that its client joins again.

// `channels!` names the crate by `bennu_guest`, in the documentation's examples too.
extern crate self as bennu_guest;

#[doc(hidden)]
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, unsafe_code, clippy::undocumented_unsafe_blocks, clippy::unwrap_used)]
pub mod bindings;

mod callbacks;
mod channel;
mod error;
mod field;
#[doc(hidden)]
pub mod gatekeeper;
mod host;
mod output;
mod panics;
mod payload;
mod plain;
mod presence;
mod refs;
mod reply;
mod room;
mod route;
mod socket;
mod state;
mod tick;
mod topic;
mod upgrade;

/// The guides, whose examples are run with this crate's own.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../README.md")]
    mod readme {}
    #[doc = include_str!("../../docs/phoenix.md")]
    mod phoenix {}
    #[doc = include_str!("../../docs/plugins.md")]
    mod plugins {}
    #[doc = include_str!("../../docs/presence.md")]
    mod presence {}
    #[doc = include_str!("../../docs/reload.md")]
    mod reload {}
    #[doc = include_str!("../../docs/rooms.md")]
    mod rooms {}
    #[doc = include_str!("../../docs/storage.md")]
    mod storage {}
    #[doc = include_str!("../../docs/testing.md")]
    mod testing {}
}

pub mod log;
#[doc(hidden)]
pub mod plugin;
pub mod store;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod token;
pub mod topics;

pub use channel::{Channel, OnFault, Recipient, Turns};
pub use error::{Error, Join, PayloadError, fail, refuse};
pub use gatekeeper::{Connect, Gatekeeper, Identity, Refused, Request};
pub use host::{config, now_ms, random, unique_id};
pub use output::{Binary, IntoPayload};
pub use presence::{Presences, presence};
pub use refs::{ReplyRef, TimerId};
pub use reply::{
    Decided, Handled, Seated, Ticked, no_reply, ok, reply, reply_error, reply_status, stop, stop_with_reply,
    unknown_event,
};
pub use serde_json::{Value, json};
pub use socket::Socket;
pub use topic::Topic;
pub use upgrade::{Old, Upgrade, Upgraded, as_it_is, upgraded};

#[doc(inline)]
pub use bindings::bennu::channel::types::{Answer, Ending, Message, Payload, Reply, Stop};
#[doc(inline)]
pub use bindings::exports::bennu::channel::handle_out::Decision;
#[doc(inline)]
pub use bindings::exports::bennu::channel::handle_seat::Change as SeatChange;
#[doc(inline)]
pub use bindings::exports::bennu::channel::handle_tick::Tick;

/// All that a channel is usually written with.
pub mod prelude {
    pub use std::time::Duration;

    pub use serde::{Deserialize, Serialize};

    #[cfg(not(target_family = "wasm"))]
    pub use crate::testing;
    pub use crate::{
        Answer, Binary, Channel, Connect, Decided, Decision, Ending, Error, Gatekeeper, Handled, Identity, IntoPayload,
        Join, Message, Old, OnFault, Payload, Presences, Recipient, Refused, Reply, ReplyRef, Request, SeatChange,
        Seated, Socket, Tick, Ticked, TimerId, Topic, Turns, Upgraded, Value, as_it_is, channels, config, fail,
        gatekeeper, json, log, no_reply, now_ms, ok, random, refuse, reply, reply_error, reply_status, stop,
        stop_with_reply, store, token, topics, unique_id, unknown_event, upgraded,
    };
}
