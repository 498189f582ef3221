//! References that a channel can keep in its state.

use serde::{Deserialize, Serialize};

/// Identifies a client's message for a later reply: see [`Socket::reply_later`](crate::Socket::reply_later).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReplyRef(pub(crate) String);

/// Identifies a topic message for a later answer: see [`Topic::answer_ref`](crate::Topic::answer_ref).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AnswerRef(pub(crate) String);

/// Identifies a timer: see [`Socket::cancel`](crate::Socket::cancel).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TimerId(pub(crate) u64);
