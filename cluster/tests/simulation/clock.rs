//! The clock of one process.

use std::time::Duration;

use bennu_cluster::Moment;

use crate::random::Random;

/// A clock that began at another time than the world's, and runs up to a twentieth faster or slower. Nobody can set it back. It can jump
/// ahead, and it stands still while its machine is paused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    offset: u64,
    /// Of a million.
    rate: u64,
    /// The time of the world since which it stands still.
    paused: Option<Moment>,
}

/// All pauses of a run together are shorter, in nanoseconds. So the offset stays positive.
const PAUSES_MAX: u64 = 1_000_000_000_000;

impl Clock {
    pub(crate) fn new(random: &mut Random) -> Self {
        let offset = PAUSES_MAX + random.below(0..1_000_000_000_000);
        Self { offset, rate: random.below(950_000..1_050_000), paused: None }
    }

    /// What it shows when the world has this time.
    pub(crate) fn local(self, world: Moment) -> Moment {
        let shown = self.paused.map_or(world, |paused| paused.min(world));
        Moment::from_nanoseconds(self.offset + scaled(shown.nanoseconds(), self.rate, MILLION))
    }

    /// What time the world has when this shows that, or a bit later.
    pub(crate) fn world(self, local: Moment) -> Moment {
        let since = local.nanoseconds().saturating_sub(self.offset);
        Moment::from_nanoseconds(scaled(since, MILLION, self.rate) + 2)
    }

    /// How long it takes in the world until this has gone on so far.
    pub(crate) fn length(self, local: Duration) -> Duration {
        let nanoseconds = u64::try_from(local.as_nanos()).expect("a run is short");
        Duration::from_nanos(scaled(nanoseconds, MILLION, self.rate))
    }

    /// It shows so much more from now on.
    pub(crate) fn jump(&mut self, ahead: Duration) {
        self.offset += u64::try_from(ahead.as_nanos()).expect("a run is short");
    }

    /// It stands still, from this time of the world on.
    pub(crate) fn pause(&mut self, now: Moment) {
        self.paused.get_or_insert(now);
    }

    /// It goes on, if it stood still. Returns whether it did.
    pub(crate) fn go_on(&mut self, now: Moment) -> bool {
        let Some(paused) = self.paused.take() else { return false };
        let [paused, now] = [paused, now].map(|world| scaled(world.nanoseconds(), self.rate, MILLION));
        self.offset -= now - paused;
        true
    }

    pub(crate) fn is_paused(self) -> bool {
        self.paused.is_some()
    }
}

const MILLION: u64 = 1_000_000;

fn scaled(value: u64, multiplier: u64, divisor: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(multiplier) / u128::from(divisor);
    u64::try_from(scaled).expect("a run is short")
}
