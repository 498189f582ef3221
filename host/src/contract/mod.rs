//! The contract between the host and plugins, as Rust types: the calls that go into a plugin, and what comes out.
//!
//! A [`Behaviour`] is a function of the state that the host keeps: it gets a [`Call`] and returns an [`Outcome`] or a
//! [`Fault`]. Every effect that a call asks for goes into a [`Record`], which refuses an effect that can't be carried
//! out. The module `channel` commits the outcome.

mod behaviour;
mod connect;
mod fault_counts;
mod http;
mod member;
mod object_text;
mod outcome;
// A symbolic link to the SDK's own file, so that a client gets the same texts from the host as from a plugin. `cargo package` packs what
// the link names; a path out of the package would be missing there.
mod plain;
mod recent_faults;
mod surroundings;
mod trace;

pub use crate::entries::{EntryInput, TopicEntries};
pub use behaviour::{Behaviour, CallFuture, CallInput};
pub use bennu_semantics::{
    Answer, AnswerRef, CallLimits, Callback, Capability, DETAIL_BYTES_MAX, Decision, Departure, Effect, Ending, Fault,
    FaultKind, Fired, Follows, HttpFailure, HttpRequest, HttpResponse, HttpResult, HttpTable, MemberUsage, Message,
    Need, Part, Passing, PendingSeatChanges, Published, PublishedState, Reach, Recipient, Record, Reply, SeatChange,
    SeatRequest, SeatView, Seats, Source, Stop, Tick, TimerId, TopicCall, TopicCallback, TopicInfo, Upgrade,
    deliveries, http_payload, jobs, limit_key, limits, one_line,
};
pub use connect::{Admission, Gatekeeper, Headers, Identity, Request, Uri};
pub use fault_counts::{FAULT_LINES, FaultCounts, count_fault, fault_counts};
pub use http::{Asker, Http, HttpClient, HttpJournal, HttpLimits, UnderWay};
pub use member::{Call, Member, SocketFacts};
pub use object_text::ObjectText;
pub use outcome::Outcome;
pub use plain::plain;
pub use recent_faults::{RECENT_FAULTS_MAX, RecentFault, keep_fault, recent_faults};
pub use surroundings::{NoHost, NowMs, Person, Surroundings, TokenProblem, system_now_ms, system_random};
pub use trace::{TRACEPARENT, Trace};
