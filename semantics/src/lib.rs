//! The effects of callbacks: limits, checks and results. A host and the test kits share these rules.
//!
//! The crate has no I/O, no task and no clock; the time is a parameter. Each rule and each fault's text is here once,
//! so that a test kit gives the same result as a host.
//!
//! - The input of a callback is a [`Callback`] or a [`TopicCallback`]; its output is an [`Answer`] or a [`Fault`].
//! - A callback asks for an [`Effect`]. [`Reach`] checks the grants of the plugin, and the [`Record`] checks the
//!   [`limits`].
//! - The [`entries`] of a topic are an ordered map. A call reads its own writes.
//! - [`jobs`] are what is done later, [`deliveries`] are requests that are sent until a server accepts them, and [`lifetime`] is the time to live of stored values.
//! - [`Seats`] and [`Published`] states compute the result of their effects, and a [`PresenceWindow`] decides when a
//!   presence diff is sent.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod answer;
mod answer_ref;
mod call;
pub mod deliveries;
mod effect;
mod effect_values;
pub mod entries;
mod fault;
mod follows;
mod http;
pub mod jobs;
mod json;
pub mod lifetime;
pub mod limits;
mod manifest;
mod name;
mod payload;
mod presence_window;
mod published;
mod published_state;
mod reach;
mod record;
mod rule;
pub mod scan;
mod seat_changes;
mod seat_request;
mod seats;
mod state_update;
mod usage;

pub use answer::{Answer, Decision, Reply, Stop};
pub use answer_ref::AnswerRef;
pub use call::{
    Callback, Ending, EntryUpgrade, Fired, Message, Part, Passing, Recipient, SeatChange, Source, Tick, TopicCall,
    TopicCallback, TopicInfo, Upgrade,
};
pub use effect::{Effect, GRACE_MS_MAX, TimerId};
pub use effect_values::check_schedule;
pub use fault::{DETAIL_BYTES_MAX, Fault, FaultKind, one_line};
pub use follows::Follows;
pub use http::{HttpFailure, HttpRequest, HttpResponse, HttpResult, HttpTable, http_payload};
pub use json::{read_object, read_value};
pub use limits::{CallLimits, limit_key};
pub use manifest::{HistorySpec, ManifestError, OnFault, RoomKind, RouteSpec, Turns};
pub use name::{NAME_BYTES_MAX, Pattern, PatternError, REF_BYTES_MAX, Topic};
pub use payload::{Payload, PayloadError};
pub use presence_window::{MergeableDiff, Offer, PresenceWindow};
pub use published::{Published, merge};
pub use published_state::PublishedState;
pub use reach::{Grant, Reach};
pub use record::{Capability, Record};
pub use rule::Need;
pub use seat_changes::PendingSeatChanges;
pub use seat_request::SeatRequest;
pub use seats::{Departure, SeatView, Seats};
pub use state_update::StateUpdate;
pub use usage::MemberUsage;
