//! The clock of one process.

use std::time::Duration;

use bennu_cluster::Moment;

use crate::random::Random;

/// A clock that began at another time than the world's, and runs up to a twentieth faster or slower.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    offset: u64,
    /// Of a million.
    rate: u64,
}

impl Clock {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self { offset: random.below(0..1_000_000_000_000), rate: random.below(950_000..1_050_000) }
    }

    /// What it shows when the world has this time.
    pub(crate) fn local(self, world: Moment) -> Moment {
        Moment::from_nanoseconds(self.offset + scaled(world.nanoseconds(), self.rate, MILLION))
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
}

const MILLION: u64 = 1_000_000;

fn scaled(value: u64, multiplier: u64, divisor: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(multiplier) / u128::from(divisor);
    u64::try_from(scaled).expect("a run is short")
}
