//! A topic's own side: its turn queue, its room, and what the room holds.
//!
//! Nothing here knows what a member is. A function after which members must end says so by its result.

mod answers;
mod catch_up;
mod durable;
mod idempotency;
mod idle;
mod in_flight;
mod info;
mod job;
mod largest;
mod lifecycle;
mod message;
mod parcel;
mod published_entries;
mod publishing;
mod publishing_entries;
mod request;
#[expect(clippy::module_inception, reason = "it is the room itself")]
mod room;
mod seating;
mod seats;
mod sender;
mod size;
mod sweep;
mod tick_timer;
mod ticks;
mod topics;

pub(super) use catch_up::catch_up_entries;
pub(super) use durable::{needs_persisting, persist, persist_room};
pub use idempotency::IdempotentRequest;
pub(super) use idempotency::StoredAnswer;
pub(super) use info::{AnswerJob, InfoCause, InfoJob};
pub use info::{DueJob, InfoOutcome};
pub(super) use job::{TopicEvent, TopicJob, post_and_spawn};
pub(super) use largest::largest_rooms;
pub(super) use lifecycle::{end, is_over, open, settle};
pub(super) use message::{MessageJob, TopicMessage, post as post_message};
pub use parcel::Takeover;
pub(super) use parcel::{adopt_room, pack_entries, pack_room};
pub(super) use publishing::{publish, show};
pub(super) use publishing_entries::{entries_to_show, follow_entries, open_published, publish_entries, show_entries};
pub(super) use request::send_topic_request;
pub(super) use seating::{change_ended_seat, rise, take_seat};
pub(super) use sender::Sender;
pub use sender::{Delivered, Undelivered};
pub use size::RoomSize;
pub(super) use sweep::settle_stored_rooms;
pub(super) use ticks::{set_tick, take_tick};
pub(super) use topics::{TopicTurns, Topics};
