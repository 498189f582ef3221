//! The messages between predecessor and successor, and between a command and the running host.

use serde::{Deserialize, Serialize};

/// The version of the messages. Both sides need the same one.
pub const PROTOCOL: u32 = 1;

/// The most bytes of a message.
pub const MESSAGE_BYTES_MAX: usize = 256 << 10;

/// A message to the running host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Request {
    /// A successor wants to take over.
    Hello {
        /// Its [`PROTOCOL`].
        protocol: u32,
        /// The version of parcels that it reads.
        parcels: u8,
        /// Its own version, for the log.
        version: String,
    },
    /// The successor has compiled all plugins. From now on, the predecessor may stop.
    Prepared,
    /// The successor serves. The predecessor has to give way.
    Serving,
    /// The successor ends, for this reason.
    GivesUp {
        /// Why.
        why: String,
    },
    /// Not from a successor, but from a command: the host has to start its successor.
    Upgrade {
        /// The executable. Without one, the file is used from which the host itself was started.
        executable: Option<String>,
    },
}

/// A message of the running host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Answer {
    /// The successor may prepare. One byte follows, with the listening sockets.
    Welcome {
        /// What the sockets are for, in their order: `clients`, `api`.
        listeners: Vec<String>,
        /// Whether they come from a service manager. If not, the successor uses those that its configuration names.
        #[serde(default)]
        are_managed: bool,
        /// The names of the plugins that serve. The successor has to serve them too.
        plugins: Vec<String>,
    },
    /// There is no hand-over, for this reason.
    Refused {
        /// Why.
        why: String,
    },
    /// The state follows, as records. The store isn't opened by the predecessor any more.
    State {
        /// When the predecessor has ended its turns, in milliseconds since 1970.
        ended_ms: u64,
        /// How long the predecessor will take to close its connections, in milliseconds, counted from `serving`.
        closing_ms: u64,
    },
    /// The predecessor serves on, for this reason. The successor has to end.
    Aborted {
        /// Why.
        why: String,
    },
    /// To a command: what happens.
    Progress {
        /// A text for people.
        text: String,
    },
    /// To a command: the successor serves.
    Done {
        /// Its process.
        pid: u32,
    },
}
