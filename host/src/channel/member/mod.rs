//! Members: one socket's membership in one topic, from its join to its end.

mod addressed;
mod answer;
mod callback;
mod channel;
mod commit;
mod effects;
mod ending;
mod event;
mod frames;
mod guarded;
mod http;
mod intercept;
mod job;
mod join;
mod mailbox;
mod members;
mod parcel;
mod posting;
mod recovery;
mod seat;
mod timers;
mod topic_subscription;
mod turn;

pub use addressed::MemberSelector;
pub(super) use addressed::{push_to_all, send_to_all, send_to_number};
pub use channel::{Channel, Connection};
pub(super) use effects::{EffectScope, carry_out, has_room_for};
pub use event::MemberEvent;
pub(super) use intercept::Intercepts;
pub use mailbox::Inbound;
pub(super) use members::{after_turn, members_of, open_room, settle_room};
pub(super) use parcel::{adopted_member, facts_of, pack_member, pack_socket};
pub use posting::{Drain, Full};
pub(super) use turn::take;
