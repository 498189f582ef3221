//! Whether the clock of this machine agrees with the database's.
//!
//! Leases use no clock that can be set, so a wrong one takes nothing over. But plugins read the time, ids begin with it, and rows expire
//! by it. So a difference is said.

use std::sync::Arc;
use std::time::Duration;

use bennu_cluster::NodeTable;
use tokio::time::{MissedTickBehavior, interval};

use crate::cluster::Peers;
use crate::contract::system_now_ms;

/// How often the clocks are compared.
const COMPARE_EVERY: Duration = Duration::from_secs(60);

/// The smallest difference that is said, in milliseconds. Ids of nodes that are further ahead aren't followed.
const SAID_MS: u64 = 5_000;

/// Compares the clocks, for as long as the host runs.
pub(super) async fn compare_clocks(table: Arc<dyn NodeTable>, peers: Arc<Peers>) {
    let mut minutes = interval(COMPARE_EVERY);
    minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_off = false;
    loop {
        minutes.tick().await;
        let asked_at = system_now_ms();
        // If the table doesn't answer, the lease says so.
        let Ok(theirs) = table.time_ms().await else { continue };
        let ahead = ahead_ms(asked_at, system_now_ms(), theirs);
        peers.set_clock_ahead_ms(ahead);
        let off = difference(ahead);
        match &off {
            Some(off) if !was_off => tracing::warn!("clock_off: {off}"),
            None if was_off => tracing::info!("the clock of this machine agrees with the database's again"),
            _ => {}
        }
        was_off = off.is_some();
    }
}

/// How far this machine's clock is at least ahead of another one, in milliseconds; negative if it is behind. The other one was read at
/// any time between two readings of this one.
fn ahead_ms(asked_at: u64, answered_at: u64, theirs: u64) -> i64 {
    let most = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    if theirs < asked_at { most(asked_at - theirs) } else { -most(theirs.saturating_sub(answered_at)) }
}

/// A sentence about a difference, if it is large enough.
fn difference(ahead: i64) -> Option<String> {
    let seconds = Duration::from_millis(ahead.unsigned_abs()).as_secs_f64();
    let which = if ahead > 0 { "ahead of" } else { "behind" };
    (ahead.unsigned_abs() >= SAID_MS).then(|| {
        format!(
            "the clock of this machine is {seconds:.1} s {which} the database's; set both by NTP: plugins read this clock, and the times of \
             ids and of keys that expire come from it"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_within_the_round_trip_is_no_difference() {
        for (theirs, ahead) in [(1_000, 0), (1_200, 0), (1_400, 0), (999, 1), (1_401, -1), (0, 1_000), (9_000, -7_600)]
        {
            assert_eq!(ahead_ms(1_000, 1_400, theirs), ahead, "{theirs}");
        }
        assert_eq!(ahead_ms(u64::MAX, u64::MAX, 0), i64::MAX);
    }

    #[test]
    fn a_large_difference_is_said_with_its_direction() {
        assert_eq!((difference(4_999), difference(-4_999), difference(0)), (None, None, None));
        assert!(difference(5_000).is_some_and(|said| said.contains("5.0 s ahead of the database's")));
        assert!(difference(-3_600_000).is_some_and(|said| said.contains("3600.0 s behind the database's")));
        assert!(difference(i64::MIN).is_some());
    }
}
