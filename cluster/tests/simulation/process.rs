//! A process that runs a node: its cores, driven as the tasks of `Cluster` drive them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bennu_cluster::core::{Core, CoreOutput, ExpiredNode};
use bennu_cluster::lease::{Lease, Renewals};
use bennu_cluster::link::{Next, Outgoing};
use bennu_cluster::membership::Polls;
use bennu_cluster::wire::Seal;
use bennu_cluster::{BusError, BusEvent, Lane, Moment, NodeId, NodeRow, Renewal, Speaks, TableError};
use bytes::Bytes;

use crate::plan::{FLUSH_BYTES, LEASE, LIMITS, PAUSE, Plan};

pub(crate) const SPEAKS: Speaks = Speaks { from: 1, to: 1 };

/// The most events of the bus that wait for a process.
const INBOX: usize = 4_096;

/// What a process wants of the world.
pub(crate) enum Action {
    Renew { sent_at: Moment, limit: Duration },
    List { sent_at: Moment, limit: Duration },
    DeclareDead(ExpiredNode),
    Send(Lane, Bytes),
    Tell(CoreOutput),
}

/// A node that has its row.
pub(crate) struct Running {
    pub(crate) id: NodeId,
    pub(crate) core: Core,
    pub(crate) outgoing: Outgoing,
    pub(crate) lease: Arc<Lease>,
    renewals: Renewals,
    polls: Polls,
    is_renewing: bool,
    is_polling: bool,
    is_sending: bool,
    inbox: VecDeque<BusEvent>,
    /// Until when its host takes no events, so that the bus isn't read.
    pub(crate) busy_until: Moment,
}

impl Running {
    pub(crate) fn new(id: NodeId, plan: &Plan, sent_at: Moment) -> Self {
        let seal = Seal::new(plan.secret.as_ref());
        let lease = Arc::new(Lease::new(LEASE, sent_at));
        Self {
            id,
            core: Core::new(id, SPEAKS, seal.clone(), Arc::clone(&lease), LIMITS),
            outgoing: Outgoing::new(id, SPEAKS.to, seal, LIMITS, (FLUSH_BYTES, PAUSE)),
            lease,
            renewals: Renewals::new(LEASE, sent_at),
            polls: Polls::new(LEASE, Moment::START),
            is_renewing: false,
            is_polling: false,
            is_sending: false,
            inbox: VecDeque::new(),
            busy_until: Moment::START,
        }
    }

    /// Something comes from the bus. It is lost if too much waits.
    pub(crate) fn deliver(&mut self, event: BusEvent) {
        if self.inbox.len() < INBOX {
            self.inbox.push_back(event);
        }
    }

    pub(crate) fn renewed(&mut self, sent_at: Moment, answer: &Result<Renewal, TableError>, now: Moment) {
        self.is_renewing = false;
        match answer {
            Ok(Renewal::Good(_)) => {
                self.lease.renewed(sent_at);
                self.renewals.renewed(sent_at);
            }
            Ok(Renewal::Fenced) => self.lease.fence(),
            Err(_) => {
                self.lease.missed();
                self.renewals.missed(now);
            }
        }
    }

    pub(crate) fn polled(
        &mut self,
        sent_at: Moment,
        answer: Result<Vec<NodeRow>, TableError>,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        self.is_polling = false;
        match answer {
            Ok(rows) => {
                let expired = self.core.polled(rows, sent_at, now, &mut self.outgoing);
                actions.extend(expired.into_iter().map(Action::DeclareDead));
            }
            Err(_) => {
                self.core.poll_failed();
            }
        }
    }

    pub(crate) fn sent(&mut self, result: Result<(), BusError>, now: Moment) {
        self.is_sending = false;
        self.outgoing.done(result, now);
    }

    /// Does all that is due. Returns when something is due next.
    pub(crate) fn step(&mut self, now: Moment, actions: &mut Vec<Action>) -> Moment {
        while now >= self.busy_until
            && let Some(event) = self.inbox.pop_front()
        {
            self.core.hear(event, now, &mut self.outgoing);
            self.tell(actions);
        }
        self.core.tick(now, &mut self.outgoing);
        if now >= self.busy_until {
            self.tell(actions);
        }
        if self.core.takes_hint() {
            self.polls.hint();
        }
        let mut wake = self.core.next_tick(now);
        if !self.is_renewing && self.renewals.next() <= now {
            self.is_renewing = true;
            actions.push(Action::Renew { sent_at: now, limit: self.renewals.timeout() });
        } else if !self.is_renewing {
            wake = wake.min(self.renewals.next());
        }
        if !self.is_polling && self.polls.next() <= now {
            self.is_polling = true;
            self.polls.sent(now);
            actions.push(Action::List { sent_at: now, limit: self.polls.timeout() });
        } else if !self.is_polling {
            wake = wake.min(self.polls.next());
        }
        if !self.is_sending {
            match self.outgoing.next(now) {
                Next::Send(lane, flush) => {
                    self.is_sending = true;
                    actions.push(Action::Send(lane, flush));
                }
                Next::Wait(until) => wake = wake.min(until),
                Next::End => {}
            }
        }
        wake.max(now + Duration::from_micros(100))
    }

    fn tell(&mut self, actions: &mut Vec<Action>) {
        actions.extend(std::iter::from_fn(|| self.core.next_output()).map(Action::Tell));
    }
}
