//! How many ids of transactions the database's server uses.
//!
//! All databases of a PostgreSQL server share them, and the server has to freeze old rows after some hundred millions. What a cluster uses
//! is small without load. With the bus on PostgreSQL, it grows with the load.

use std::sync::Arc;
use std::time::Duration;

use bennu_cluster::{Moment, NodeTable};
use tokio::time::{MissedTickBehavior, interval};

use crate::cluster::Peers;

/// The time between two readings.
const READ_EVERY: Duration = Duration::from_secs(60);

const DAY_MS: u128 = 24 * 60 * 60 * 1_000;

/// The next id of a server, and when it was asked for.
type Reading = (Moment, u64);

/// Notes the ids that the server used between the last two readings, scaled to a day, for as long as the host runs.
pub(super) async fn count_transaction_ids(table: Arc<dyn NodeTable>, peers: Arc<Peers>) {
    let mut readings = interval(READ_EVERY);
    readings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Option<Reading> = None;
    loop {
        readings.tick().await;
        let asked_at = Moment::now();
        let next = match table.transaction_id().await {
            Ok(Some(id)) => (asked_at, id),
            // This table has no ids. The task is one whose end would end the host.
            Ok(None) => return std::future::pending().await,
            // The next reading is compared with the last one.
            Err(_) => continue,
        };
        if let Some(ids) = last.replace(next).and_then(|before| per_day(before, next)) {
            peers.set_transaction_ids_per_day(ids);
        }
    }
}

/// The ids that were taken between two readings, for a day. None if the server has gone back, as after a failover to a copy that was
/// behind.
fn per_day((before_at, before): Reading, (after_at, after): Reading) -> Option<u64> {
    let taken = u128::from(after.checked_sub(before)?);
    let milliseconds = after_at.since(before_at).as_millis();
    (milliseconds > 0).then(|| u64::try_from(taken * DAY_MS / milliseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, id: u64) -> Reading {
        (Moment::from_nanoseconds(seconds * 1_000_000_000), id)
    }

    #[test]
    fn what_was_taken_is_scaled_to_a_day() {
        // A node without load: a flush each second, and a renewal each two seconds.
        assert_eq!(per_day(at(100, 5_000), at(160, 5_090)), Some(129_600));
        assert_eq!(per_day(at(100, 5_000), at(160, 5_000)), Some(0));
        // The server didn't answer for a while.
        assert_eq!(per_day(at(100, 5_000), at(700, 5_900)), Some(129_600));
        assert_eq!(per_day(at(0, 0), at(1, u64::MAX)), Some(u64::MAX));
    }

    #[test]
    fn a_server_that_went_back_and_two_readings_of_one_moment_say_nothing() {
        assert_eq!(per_day(at(100, 5_000), at(160, 4_999)), None);
        assert_eq!(per_day(at(100, 5_000), at(100, 5_001)), None);
    }
}
