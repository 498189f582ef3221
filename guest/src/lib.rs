//! The SDK for channels of a Bennu server in Rust.
//!
//! A channel is a struct that implements [`Channel`]. The struct is the state of one member (Phoenix's assigns), and
//! `join` is its constructor. The macro [`channels!`] says which topics a channel serves:
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
//! The crate of a plugin is a `cdylib` that depends on `bennu-guest` and on `serde` (for the derives). It needs no
//! build script and no WIT file.
//!
//! # State
//!
//! The plugin itself keeps no state between two calls. Any instance serves any member, and the host may drop an
//! instance at any time. The host keeps:
//!
//! - the struct, while the member is joined: at most 16 KiB (`assigns_bytes`)
//! - the topic's [room](Channel::Room), while the topic has members and for some time after that, or permanently: at
//!   most 1 MiB (`room_bytes`)
//! - the topic's entries, in a [`RoomMap`], as long as the room: at most 1 GiB (`entries_bytes_per_topic`)
//! - the data in the [`store`], permanently
//!
//! All of it is encoded as MessagePack with named fields. So a new field with `#[serde(default)]` reads the state that
//! an earlier build wrote, and a reload in production loses nothing. For larger changes there are state versions, and
//! [`Channel::upgrade`].
//!
//! # Errors and faults
//!
//! - A client's mistake is an answer: [`refuse`] a join or a message, or use `?` on the result of [`Payload::field`]. Then
//!   nothing else of the callback happens. [`reply_error`] keeps its effects and changes.
//! - A failure of the plugin is a fault: [`fail`], a panic, or a call that the host refuses, for example because of a
//!   limit. Then nothing of the callback happens, and the member ends with `phx_error`, so that its client joins again.
//!   A fault has a kind. This reference names it as the log does: `trap`, `deadline`, `memory`, `oversize`, `overflow`,
//!   `store` or `failed`.
//!
//! Names such as `assigns_bytes` are keys of `[limits]` in the host's configuration. The values in this reference are
//! the defaults.

// `channels!` refers to this crate as `bennu_guest`, also in this crate's own documentation examples.
extern crate self as bennu_guest;

#[doc(hidden)]
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, unsafe_code, clippy::undocumented_unsafe_blocks, clippy::unwrap_used)]
pub mod bindings;

mod addressed;
mod callbacks;
mod channel;
mod check;
mod delivery;
mod discard;
mod droppable;
mod entries;
mod error;
mod field;
#[doc(hidden)]
pub mod gatekeeper;
mod host;
mod key_range;
mod member;
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

/// The guides. `cargo test --doc` runs their examples together with the examples of this crate.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../README.md")]
    mod readme {}
    #[doc = include_str!("../../docs/history.md")]
    mod history {}
    #[doc = include_str!("../../docs/http.md")]
    mod http {}
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
    #[doc = include_str!("../../docs/time.md")]
    mod time {}
}

pub mod http;
pub mod log;
#[doc(hidden)]
pub mod plugin;
pub mod schedule;
pub mod store;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod token;
pub mod topics;

pub use channel::{Channel, OnFault, Recipient, Turns};
pub use entries::{Entries, NewEntry, OldEntry, RoomMap, UpgradedEntry};
pub use error::{Error, Join, PayloadError, fail, refuse};
pub use gatekeeper::{Connect, Gatekeeper, Identity, Refused, Request};
pub use host::{config, now_ms, random, unique_id};
pub use output::{Binary, IntoPayload};
pub use presence::{Presences, presence};
pub use refs::{AnswerRef, ReplyRef, TimerId};
pub use reply::{
    Decided, Handled, Seated, Ticked, Told, no_reply, ok, reply, reply_error, reply_status, stop, stop_with_reply,
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

/// The items that most channels need. Start a channel with `use bennu_guest::prelude::*;`.
pub mod prelude {
    pub use std::time::Duration;

    pub use serde::{Deserialize, Serialize};

    #[cfg(not(target_family = "wasm"))]
    pub use crate::testing;
    pub use crate::{
        Answer, AnswerRef, Binary, Channel, Connect, Decided, Decision, Ending, Error, Gatekeeper, Handled, Identity,
        IntoPayload, Join, Message, Old, OldEntry, OnFault, Payload, Presences, Recipient, Refused, Reply, ReplyRef,
        Request, RoomMap, SeatChange, Seated, Socket, Tick, Ticked, TimerId, Told, Topic, Turns, Upgraded,
        UpgradedEntry, Value, as_it_is, channels, config, fail, gatekeeper, http, json, log, no_reply, now_ms, ok,
        random, refuse, reply, reply_error, reply_status, schedule, stop, stop_with_reply, store, token, topics,
        unique_id, unknown_event, upgraded,
    };
}
