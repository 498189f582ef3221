//! What goes wrong in a round of a chaos run.

use bennu_test_tiers::Noise;

use super::stage::NAMES;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// A node is killed, and started again at once.
    Kill(usize),
    /// A node is killed, and not started again before the others count it as dead.
    Lose(usize),
    /// All nodes are killed at once.
    KillAll,
    /// A node stands still for a moment.
    Pause(usize),
    /// A node stands still until the others count it as dead.
    Freeze(usize),
    /// A node loses its network for a moment.
    Hiccup(usize),
    /// A node loses its network until the others count it as dead.
    CutOff(usize),
    /// All connections of a node to the database and the bus break.
    Break(usize),
    /// A node is stopped in order.
    Stop(usize),
    /// The database is killed, and starts again.
    Crash,
    /// The database stands still for a moment.
    Stall,
    /// The database is stopped until all nodes are suspended, and starts again.
    Outage,
    /// The server of the bus is killed, and starts again.
    BusCrash,
    /// The server of the bus stands still for a moment.
    BusStall,
    /// A node loses its way to the bus alone, for a moment.
    BusCutOff(usize),
}

impl Trouble {
    /// Chooses one. Those of a bus with a server of its own are among them if there is one.
    pub(crate) fn choose(noise: &mut Noise, has_bus: bool) -> Self {
        let node = noise.below(NAMES.len());
        match noise.below(if has_bus { 15 } else { 12 }) {
            0 => Self::Kill(node),
            1 => Self::Lose(node),
            2 => Self::KillAll,
            3 => Self::Pause(node),
            4 => Self::Freeze(node),
            5 => Self::Hiccup(node),
            6 => Self::CutOff(node),
            7 => Self::Break(node),
            8 => Self::Stop(node),
            9 => Self::Crash,
            10 => Self::Stall,
            11 => Self::Outage,
            12 => Self::BusCrash,
            13 => Self::BusStall,
            _ => Self::BusCutOff(node),
        }
    }
}
