//! The first byte of each kind of message, question and answer. A number is never given to another kind.

pub(super) const BROADCAST: u8 = 1;
pub(super) const DISCONNECT: u8 = 2;
pub(super) const MEMBER: u8 = 3;
pub(super) const SOCKET: u8 = 4;
pub(super) const PRESENCE: u8 = 5;
pub(super) const PRESENCE_END: u8 = 6;
pub(super) const CLOCKS: u8 = 7;
pub(super) const PRESENCE_WANTED: u8 = 8;
pub(super) const COUNTS: u8 = 9;
pub(super) const COUNTS_WANTED: u8 = 10;
pub(super) const WATCHED: u8 = 11;
pub(super) const MEMBER_EVENT: u8 = 12;
pub(super) const DROPPED: u8 = 13;
pub(super) const QUESTION: u8 = 14;
pub(super) const ANSWER: u8 = 15;
pub(super) const REGISTRY_CHANGED: u8 = 16;

pub(super) const ASK_DISCONNECT: u8 = 1;
pub(super) const ASK_MEMBERS: u8 = 2;
pub(super) const ASK_SEND: u8 = 3;
pub(super) const ASK_PUSH: u8 = 4;
pub(super) const ASK_KICK: u8 = 5;
pub(super) const ASK_INSPECT: u8 = 6;

pub(super) const COUNT: u8 = 1;
pub(super) const BUSY: u8 = 2;
pub(super) const MEMBERS: u8 = 3;
pub(super) const JSON: u8 = 4;
pub(super) const REFUSED: u8 = 5;
