//! The resources of a member at the host, and their limits.

use bytestring::ByteString;

use crate::limits::keys;
use crate::{CallLimits, Fault, Follows, TimerId, Topic, limit_key};

/// The resources of a member at the host. The limits of its calls count them.
#[derive(Clone, Debug, Default)]
pub struct MemberUsage {
    /// Its pending timers.
    pub timers: Vec<TimerId>,
    /// The number that its next timer gets. The timers of a member are numbered in the order in which its calls ask for
    /// them, so the record and the commit give a timer the same number.
    pub next_timer: TimerId,
    /// The keys of its presences.
    pub presences: Vec<ByteString>,
    /// The further topics to which it is subscribed.
    pub topics: Vec<Topic>,
    /// The prefixes of published entries that it follows. None if it follows all of them.
    pub follows: Option<Box<Follows>>,
}

impl MemberUsage {
    /// Adds a timer. Returns its number.
    pub(crate) fn start_timer(&mut self, limits: &CallLimits) -> Result<TimerId, Fault> {
        if self.timers.len() >= limits.timers {
            let (most, key) = (limits.timers, limit_key(keys::TIMERS_PER_MEMBER, limits.timers));
            return Err(Fault::oversize(format!("a member has at most {most} pending timers{key}")));
        }
        let timer = self.next_timer;
        self.timers.push(timer);
        self.next_timer += 1;
        Ok(timer)
    }

    pub(crate) fn cancel_timer(&mut self, timer: TimerId) {
        self.timers.retain(|&pending| pending != timer);
    }

    /// Adds a subscription to a topic to which the member isn't subscribed.
    pub(crate) fn subscribe(&mut self, topic: &Topic, limits: &CallLimits) -> Result<(), Fault> {
        if self.topics.len() >= limits.subscriptions {
            let most = limits.subscriptions;
            let key = limit_key(keys::SUBSCRIPTIONS_PER_MEMBER, most);
            return Err(Fault::oversize(format!("a member subscribes to at most {most} further topics{key}")));
        }
        self.topics.push(topic.clone());
        Ok(())
    }

    pub(crate) fn unsubscribe(&mut self, topic: &Topic) {
        self.topics.retain(|other| other != topic);
    }

    /// Adds a presence.
    pub(crate) fn track(&mut self, key: &ByteString, limits: &CallLimits) -> Result<(), Fault> {
        if self.presences.contains(key) {
            return Err(Fault::failed(format!("the member is tracked under `{key}` already; update its meta instead")));
        }
        if self.presences.len() >= limits.presences {
            let most = limits.presences;
            let key = limit_key(keys::PRESENCES_PER_MEMBER, most);
            return Err(Fault::oversize(format!("a member has at most {most} presences{key}")));
        }
        self.presences.push(key.clone());
        Ok(())
    }

    /// Checks that the member has a presence with this key.
    pub(crate) fn check_tracked(&self, key: &ByteString) -> Result<(), Fault> {
        if self.presences.contains(key) {
            return Ok(());
        }
        Err(Fault::failed(format!("the member isn't tracked under `{key}`; track it first")))
    }

    pub(crate) fn untrack(&mut self, key: &ByteString) {
        self.presences.retain(|other| other != key);
    }
}
