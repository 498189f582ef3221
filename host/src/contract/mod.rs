//! The contract between the host and plugins, as Rust types: the calls that go into a plugin, and what comes out.
//!
//! A [`Behaviour`] is a function of the state that the host keeps: it gets a [`Call`] and returns an [`Outcome`] or a
//! [`Fault`]. Every effect that a call asks for goes into a [`Record`], which refuses an effect that can't be carried
//! out. The module `channel` commits the outcome.

mod behaviour;
mod call;
mod connect;
mod effect;
mod fault;
mod limits;
mod outcome;
// The SDK's own file, so that a client gets the same texts from the host as from a plugin.
#[path = "../../../guest/src/plain.rs"]
mod plain;
mod record;
mod surroundings;

pub use behaviour::{Behaviour, CallFuture};
pub use call::{
    Call, Callback, Ending, Member, MemberUsage, Message, Part, Passing, Recipient, SeatChange, SocketFacts, Source,
    Tick, TopicCall, TopicCallback, Upgrade,
};
pub use connect::{Admission, Gatekeeper, Headers, Identity, Request, Uri};
pub use effect::{Effect, Need, PublishedState, TimerId};
pub use fault::{DETAIL_BYTES_MAX, Fault, FaultKind, one_line};
pub use limits::{CallLimits, limit_key};
pub use outcome::{Answer, Decision, Outcome, Reply, Stop};
pub use plain::plain;
pub use record::{Capability, Record};
pub use surroundings::{NoHost, Person, Surroundings, TokenProblem, system_now_ms, system_random};
