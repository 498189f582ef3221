//! The callbacks of a plugin, for counts.

use crate::contract::{Callback, TopicCallback};

macro_rules! kinds {
    ($($name:ident = $label:literal,)*) => {
        /// A callback, or another function that the host calls.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum CallKind {
            #[default]
            $($name,)*
        }

        impl CallKind {
            /// All kinds, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns its name, as in the log of a fault.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

kinds! {
    Join = "join",
    HandleIn = "handle_in",
    HandleInfo = "handle_info",
    HandleOut = "handle_out",
    Terminate = "terminate",
    HandleMessage = "handle_message",
    HandleTopicInfo = "handle_topic_info",
    HandleTick = "handle_tick",
    HandleSeat = "handle_seat",
    Upgrade = "upgrade",
    UpgradeEntry = "upgrade_entry",
    Connect = "connect",
}

impl CallKind {
    /// The number of kinds.
    pub const COUNT: usize = Self::ALL.len();

    pub(super) fn of(callback: &Callback) -> Self {
        match callback {
            Callback::Join(_) => Self::Join,
            Callback::In { .. } => Self::HandleIn,
            Callback::Info(_) => Self::HandleInfo,
            Callback::Terminate(_) => Self::Terminate,
        }
    }

    pub(super) fn of_topic(callback: &TopicCallback) -> Self {
        match callback {
            TopicCallback::Message { .. } => Self::HandleMessage,
            TopicCallback::Info(_) => Self::HandleTopicInfo,
            TopicCallback::Tick(_) => Self::HandleTick,
            TopicCallback::Seat { .. } => Self::HandleSeat,
        }
    }
}
