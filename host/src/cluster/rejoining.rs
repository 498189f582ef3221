//! Clients that have to join their topics again, because messages of another node were lost.
//!
//! All of them at once would be a burst of joins. So they are told over some seconds, and at most so many in a second.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::affected::AffectedTopics;
use super::peers::Peers;
use crate::channel::{Channel, Node};

/// The time over which the members are told, if they aren't too many.
const SPREAD: Duration = Duration::from_secs(5);

/// The most members that are told in a second.
const MEMBERS_PER_SECOND: usize = 500;

/// The time between two groups of members.
const STEP: Duration = Duration::from_millis(100);

/// What happens to members of topics of which messages were lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLoss {
    /// Their clients are told to join again.
    #[default]
    Rejoin,
    /// Nothing, as with Phoenix.
    Ignore,
}

/// The topics whose members have to join again. Losses during the time over which members are told are put together.
#[derive(Debug)]
pub struct Rejoining {
    on_loss: OnLoss,
    affected: Mutex<AffectedTopics>,
    is_affected: Notify,
}

impl Rejoining {
    /// No topic is affected yet.
    #[must_use]
    pub fn new(on_loss: OnLoss) -> Arc<Self> {
        Arc::new(Self { on_loss, affected: Mutex::new(AffectedTopics::none()), is_affected: Notify::new() })
    }

    /// Adds topics.
    pub fn add(&self, affected: AffectedTopics) {
        if self.on_loss == OnLoss::Ignore {
            return;
        }
        self.affected.lock().unwrap_or_else(PoisonError::into_inner).merge(affected);
        self.is_affected.notify_one();
    }

    fn take(&self) -> AffectedTopics {
        let mut affected = self.affected.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *affected, AffectedTopics::none())
    }

    /// Tells the members of affected topics, for as long as the host runs.
    pub async fn run(self: Arc<Self>, node: Arc<Node>, peers: Arc<Peers>) {
        loop {
            self.is_affected.notified().await;
            let affected = self.take();
            let members = node.members_to_rejoin(|topic| affected.has(topic));
            if !members.is_empty() {
                tracing::warn!(members = members.len(), "members are told to join again, because messages were lost");
                tell(&members, &peers).await;
            }
        }
    }
}

/// Tells members, a group in each step.
async fn tell(members: &[Weak<Channel>], peers: &Peers) {
    let start = Instant::now();
    for (step, group) in (0..).zip(members.chunks(group_size(members.len()))) {
        sleep_until(start + STEP * step).await;
        // A member that has ended meanwhile needs nothing.
        for member in group.iter().filter_map(Weak::upgrade) {
            member.rejoin();
            peers.counters.members_rejoined.add(1);
        }
    }
}

/// How many members are told in one step.
fn group_size(members: usize) -> usize {
    let per_second = MEMBERS_PER_SECOND / (Duration::from_secs(1).as_millis() / STEP.as_millis()) as usize;
    let steps = (SPREAD.as_millis() / STEP.as_millis()) as usize;
    members.div_ceil(steps).clamp(1, per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_take_five_seconds_and_no_more_than_five_hundred_members_a_second() {
        let steps = |members: usize| members.div_ceil(group_size(members));
        assert_eq!([1, 10, 50, 51, 2_500].map(group_size), [1, 1, 1, 2, 50]);
        assert_eq!([50, 2_500].map(steps), [50, 50]);
        assert_eq!((group_size(100_000), steps(100_000)), (50, 2_000), "200 seconds");
    }
}
