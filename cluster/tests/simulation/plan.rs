//! What a seed chooses before a run.

use std::time::Duration;

use bennu_cluster::{ClusterLimits, Secret};

use crate::random::Random;

pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// Until when things go wrong.
pub(crate) const CHAOS: Duration = Duration::from_secs(60);

/// When everybody sends once more, after the last fault was mended.
pub(crate) const CALM: Duration = Duration::from_secs(95);

/// When a run ends.
pub(crate) const END: Duration = Duration::from_secs(105);

/// The bytes of a flush under load.
pub(crate) const FLUSH_BYTES: usize = 400;

/// The least time between two flushes.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// Small enough to be reached.
pub(crate) const LIMITS: ClusterLimits = ClusterLimits {
    queue_bytes: 4_000,
    ring_bytes: 8_000,
    ring_age: Duration::from_secs(10),
    message_bytes: 600,
    events: 1_024,
};

/// The properties of the world of one run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    /// Flushes that one receiver loses, of a thousand.
    pub(crate) loss: u64,
    /// Flushes that one receiver hears twice, of a thousand.
    pub(crate) twice: u64,
    /// Flushes that the bus refuses, of a thousand.
    pub(crate) refused: u64,
    /// The longest delay of the bus, in milliseconds.
    pub(crate) bus_delay: u64,
    /// The longest delay of the table, in milliseconds.
    pub(crate) table_delay: u64,
    /// Whether the bus takes no flush of the dead.
    pub(crate) is_fenced: bool,
    /// Whether only its node hears a flush to one node.
    pub(crate) is_narrow: bool,
    /// The longest time between two messages of a node, in milliseconds.
    pub(crate) traffic: u64,
    /// The longest time between two faults, in milliseconds.
    pub(crate) faults: u64,
    pub(crate) secret: Option<Secret>,
}

impl Plan {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            nodes: random.one_of(&[2, 3, 3, 4, 5]),
            loss: random.one_of(&[0, 10, 200]),
            twice: random.one_of(&[0, 50]),
            refused: random.one_of(&[0, 0, 20]),
            bus_delay: random.one_of(&[3, 30, 300]),
            table_delay: random.one_of(&[3, 30, 300]),
            is_fenced: random.chance(500),
            is_narrow: random.chance(500),
            traffic: random.one_of(&[100, 500, 1_000]),
            faults: random.one_of(&[3_000, 10_000]),
            secret: random.chance(250).then(|| Secret::new(*b"secret")),
        }
    }
}
