//! What stands for something later: both can be kept in the state.

use serde::{Deserialize, Serialize};

/// Stands for a client's message that is to be answered later.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReplyRef(pub(crate) String);

/// Stands for a timer that may be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TimerId(pub(crate) u64);
