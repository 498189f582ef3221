//! What a callback may ask for, and what follows from it: the rules that a host and the test kits share.
//!
//! Nothing in here reads, writes or waits: there is no I/O, no task and no clock. A time is a parameter. Each rule stands here
//! once, and so does each fault's text, so that a test which passes in a kit says what a host does.
//!
//! - A callback gets a [`Callback`] or a [`TopicCallback`], and gives an [`Answer`] or a [`Fault`].
//! - What it asks for goes into a [`Record`], which holds it to the [`limits`], and to what its plugin may [`Reach`].
//! - A commit then applies each [`Effect`]: [`Seats`] and [`Published`] states change here too.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod answer;
mod call;
mod effect;
mod fault;
mod json;
pub mod limits;
mod manifest;
mod name;
mod payload;
mod published;
mod reach;
mod record;
pub mod scan;
mod seat_changes;
mod seat_request;
mod seats;
mod state_update;

pub use answer::{Answer, Decision, Reply, Stop};
pub use call::{
    Callback, Ending, MemberUsage, Message, Part, Passing, Recipient, SeatChange, Source, Tick, TopicCall,
    TopicCallback, Upgrade,
};
pub use effect::{Effect, Need, PublishedState, TimerId};
pub use fault::{DETAIL_BYTES_MAX, Fault, FaultKind, one_line};
pub use json::{read_object, read_value};
pub use limits::{CallLimits, limit_key};
pub use manifest::{ManifestError, OnFault, RoomKind, RouteSpec, Turns};
pub use name::{NAME_BYTES_MAX, Pattern, PatternError, REF_BYTES_MAX, Topic};
pub use payload::{Payload, PayloadError};
pub use published::Published;
pub use reach::Reach;
pub use record::{Capability, Record};
pub use seat_changes::PendingSeatChanges;
pub use seat_request::SeatRequest;
pub use seats::{Departure, Seats};
pub use state_update::StateUpdate;
