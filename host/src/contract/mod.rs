//! What goes into a plugin and what comes out: the words that everything between the socket and wasm is said in.
//!
//! A [`Behaviour`] is a function of the state that the host keeps: it gets a [`Call`] and gives an [`Outcome`] or a
//! [`Fault`]. What a call asks for goes into a [`Record`], which refuses what can't be done; `channel` does the rest.

mod behaviour;
mod call;
mod connect;
mod effect;
mod fault;
mod limits;
mod outcome;
// The words are the SDK's own, so that a client reads the same from the host and from a plugin.
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
pub use effect::{Effect, PublishedState, TimerId};
pub use fault::{DETAIL_BYTES_MAX, Fault, FaultKind, one_line};
pub use limits::{CallLimits, limit_key};
pub use outcome::{Answer, Decision, Outcome, Reply, Stop};
pub use plain::plain;
pub use record::{Capability, Record};
pub use surroundings::{NoHost, Person, Surroundings, TokenProblem, system_now_ms};
