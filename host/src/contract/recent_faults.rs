//! The last faults, for operators. The log has all of them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::system_now_ms;
use crate::counts::Limit;

/// The most faults that are kept. Equal ones count as one. Each has at most about 9 KiB of text.
pub const RECENT_FAULTS_MAX: usize = 100;

/// A fault, or several equal ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecentFault {
    /// The plugin.
    pub plugin: String,
    /// The generation of the plugin.
    pub generation: u32,
    /// The callback.
    pub callback: String,
    /// The event that it handled.
    pub event: Option<String>,
    /// The seat whose change it handled.
    pub seat: Option<String>,
    /// The kind of the fault.
    pub kind: &'static str,
    /// The cause, with the guest's own functions.
    pub message: String,
    /// The topic of the last one; empty if it was in a gatekeeper.
    pub topic: String,
    /// The user of the last one, if it was a member's.
    pub user: Option<String>,
    /// The id of the socket of the last one.
    pub socket: Option<String>,
    /// The member of the last one.
    pub member: Option<u64>,
    /// The address of the client of the last one.
    pub peer: Option<String>,
    /// The generation that answered the call instead.
    pub answered_by: Option<u32>,
    /// How many there were.
    pub count: u64,
    /// When the first one was, in milliseconds since 1970.
    pub first_ms: u64,
    /// When the last one was.
    pub last_ms: u64,
}

/// The faults, the last one at the end. Faults are rare, because each costs an instance. So a lock is enough, and it is held only
/// to change or copy the list.
static FAULTS: Mutex<VecDeque<RecentFault>> = Mutex::new(VecDeque::new());

/// Keeps a fault. If there are too many, the one that is longest ago is dropped.
pub fn keep_fault(fault: RecentFault) {
    keep(&mut faults(), fault, system_now_ms());
}

/// Returns the last faults, the last one first.
#[must_use]
pub fn recent_faults() -> Vec<RecentFault> {
    faults().iter().rev().cloned().collect()
}

fn keep(faults: &mut VecDeque<RecentFault>, mut fault: RecentFault, now_ms: u64) {
    let known = faults.iter().rposition(|known| known.is_equal(&fault)).and_then(|at| faults.remove(at));
    fault.count = known.as_ref().map_or(0, |known| known.count) + 1;
    fault.first_ms = known.map_or(now_ms, |known| known.first_ms);
    fault.last_ms = now_ms;
    if faults.len() >= RECENT_FAULTS_MAX {
        Limit::RecentFaults.hit();
        faults.pop_front();
    }
    faults.push_back(fault);
}

impl RecentFault {
    /// Whether another fault is the same mistake: only who caused it may differ.
    fn is_equal(&self, other: &Self) -> bool {
        let place = |fault: &Self| (fault.generation, fault.kind, fault.answered_by);
        place(self) == place(other)
            && self.plugin == other.plugin
            && self.callback == other.callback
            && self.event == other.event
            && self.seat == other.seat
            && self.message == other.message
    }
}

/// No panic can leave the data half changed, so a poisoned lock is used like any other.
fn faults() -> MutexGuard<'static, VecDeque<RecentFault>> {
    FAULTS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(message: &str, topic: &str) -> RecentFault {
        let (message, topic) = (message.to_owned(), topic.to_owned());
        RecentFault { plugin: "chat".into(), message, topic, ..RecentFault::default() }
    }

    #[test]
    fn equal_faults_count_as_one_with_its_last_cause() {
        let mut faults = VecDeque::new();
        keep(&mut faults, fault("a", "room:1"), 1);
        keep(&mut faults, fault("b", "room:1"), 2);
        keep(&mut faults, fault("a", "room:2"), 3);
        let shown: Vec<_> = faults.iter().map(|fault| (&*fault.message, &*fault.topic, fault.count)).collect();
        assert_eq!(shown, [("b", "room:1", 1), ("a", "room:2", 2)]);
        assert_eq!((faults[1].first_ms, faults[1].last_ms), (1, 3));
    }

    #[test]
    fn the_oldest_ones_are_dropped() {
        let mut faults = VecDeque::new();
        let hits = Limit::RecentFaults.hits();
        (0..=RECENT_FAULTS_MAX as u64).for_each(|at| keep(&mut faults, fault(&at.to_string(), ""), at));
        assert_eq!((faults.len(), &*faults[0].message), (RECENT_FAULTS_MAX, "1"));
        assert!(Limit::RecentFaults.hits() > hits);
    }
}
