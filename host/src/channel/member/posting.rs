//! Events that are posted to a channel, and how its turns are run.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::channel::{Channel, EndedMember, MemberJob, MemberQueue, Phase, State};
use super::event::MemberEvent;
use crate::channel::turn::{Drain as TurnDrain, Job};
use crate::contract::{Ending, Fault};

/// The limit of waiting events from the client is reached. The caller gets the event back, and the socket's outbox is
/// nudged when there is room.
#[derive(Debug)]
pub struct Full(pub Box<MemberEvent>);

/// The work of draining a turn queue. Its owner must do it.
#[must_use = "a queue that isn't drained runs no further turn"]
pub struct Drain(QueueDrain);

enum QueueDrain {
    Own(TurnDrain<MemberJob>),
    Topic(TurnDrain<Box<dyn Job>>),
}

impl Drain {
    /// Drains in a task of its own.
    pub fn spawn(self) {
        match self.0 {
            QueueDrain::Own(drain) => drain.spawn(),
            QueueDrain::Topic(drain) => drain.spawn(),
        }
    }

    /// Drains in place for as long as nothing has to wait, and from then on in a task of its own. It must not be called
    /// within a turn: turns would nest.
    pub fn run_here(self) {
        match self.0 {
            QueueDrain::Own(drain) => drain.run_here(),
            QueueDrain::Topic(drain) => drain.run_here(),
        }
    }
}

impl Channel {
    /// Adds an event from the client.
    ///
    /// # Errors
    /// [`Full`] if the limit of events that wait is reached.
    pub fn post_from_client(self: &Arc<Self>, event: MemberEvent) -> Result<Option<Drain>, Full> {
        let (inbound, limits) = (&self.connection.inbound, &self.services().limits);
        if !self.mailbox.admit_from_client(limits, inbound, event.bytes()) {
            return Err(Full(Box::new(event)));
        }
        if matches!(event, MemberEvent::Leave { .. }) {
            self.is_leaving.store(true, Ordering::Release);
        }
        Ok(self.enqueue(event))
    }

    /// Whether its client has asked to leave. The leave may still wait for its turn.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Acquire)
    }

    /// Adds an event from elsewhere: of a timer, of the member itself, or an intercepted one. Past the limit the member
    /// ends.
    pub(in crate::channel::member) fn post(self: &Arc<Self>, event: MemberEvent) {
        if self.mailbox.admit_from_elsewhere(&self.services().limits, event.bytes()) {
            self.enqueue_and_spawn(event);
        } else {
            self.post_ending(MemberEvent::Fault { fault: Fault::flooded(), intercepted: None });
        }
    }

    /// Adds an event that ends it, if none waits yet: a fault outside its turns, a rollback, or the loss of its route.
    /// No limit applies, because two such events wait at most.
    pub(in crate::channel) fn post_ending(self: &Arc<Self>, event: MemberEvent) {
        // Faults have a flag of their own, because a member may stay after a fault.
        let is_one_waiting =
            if matches!(event, MemberEvent::Fault { .. }) { &self.is_fault_queued } else { &self.is_ending_queued };
        // The swap ensures that only one of concurrent callers posts.
        if !is_one_waiting.swap(true, Ordering::AcqRel) {
            self.enqueue_and_spawn(event);
        }
    }

    /// Ends it so that its client joins again, because messages of another node to its topic were lost.
    pub fn rejoin(self: &Arc<Self>) {
        self.post_ending(MemberEvent::MissedMessages);
    }

    /// Ends it for an operator, after the events that wait. No limit applies, because one such event waits at most.
    pub(in crate::channel) fn kick(self: &Arc<Self>, reason: &str) {
        // Another flag than that of other endings: after those, its client would join again by itself.
        if !self.is_kick_queued.swap(true, Ordering::AcqRel) {
            self.enqueue_and_spawn(MemberEvent::Kicked(reason.into()));
        }
    }

    /// The turn of the fault begins. The flag is cleared before the turn reads the member's state, so that a later fault
    /// is posted.
    pub(in crate::channel::member) fn fault_handled(&self) {
        self.is_fault_queued.store(false, Ordering::Release);
    }

    /// Its socket has ended, and so it ends after the events that wait. No limit applies, because a socket ends once.
    pub fn end(self: &Arc<Self>, ending: Ending) {
        if !self.abandon_join() {
            self.enqueue_and_spawn(MemberEvent::Gone(ending));
        }
    }

    /// Ends it at once, because the same client joins the topic again. A running call commits nothing. Its `terminate`
    /// runs only in a topic with a room, because otherwise the room would keep a member that is gone. Returns whether it
    /// was alive. If so, the client must get its `phx_close`.
    pub fn replace(self: &Arc<Self>) -> bool {
        let mut state = self.lock();
        let was_alive = matches!(state.phase, Phase::Joining | Phase::Joined);
        let was_in_room = state.phase == Phase::Joined && self.topic_turns().is_some_and(|topic| topic.is_room_open());
        if was_alive {
            let ended = self.leave_state(&mut state, Phase::Replaced);
            state.replaced = was_in_room.then(|| Box::new(ended));
        }
        drop(state);
        if was_in_room {
            self.enqueue_and_spawn(MemberEvent::Replaced);
        }
        was_alive
    }

    /// Its remains, if it was replaced in a topic with a room.
    pub(in crate::channel::member) fn take_replaced(&self) -> Option<EndedMember> {
        self.lock().replaced.take().map(|ended| *ended)
    }

    /// If it is still joining, ends it: a join whose socket has ended commits nothing. Returns whether it was joining.
    fn abandon_join(&self) -> bool {
        let mut state = self.lock();
        let is_joining = state.phase == Phase::Joining;
        if is_joining {
            self.leave_state(&mut state, Phase::Replaced);
        }
        is_joining
    }

    /// Posts a job. Every event of a member goes through here. Returns the drain of the queue if nobody drains it.
    fn enqueue(self: &Arc<Self>, event: MemberEvent) -> Option<Drain> {
        let job = MemberJob { channel: Arc::clone(self), event: Some(event) };
        match &self.queue {
            MemberQueue::Own(queue) => queue.post(job).map(|drain| Drain(QueueDrain::Own(drain))),
            MemberQueue::Topic(topic) => topic.post(Box::new(job)).map(|drain| Drain(QueueDrain::Topic(drain))),
        }
    }

    /// For callers that may be within a turn: the queue is drained in a task.
    fn enqueue_and_spawn(self: &Arc<Self>, event: MemberEvent) {
        if let Some(drain) = self.enqueue(event) {
            drain.spawn();
        }
    }

    /// Whether the limits allow this number of further events from elsewhere, with these bytes. The bytes of the timers
    /// count too.
    pub(in crate::channel::member) fn has_room(&self, events: usize, bytes: usize) -> bool {
        self.mailbox.has_room(&self.services().limits, events, bytes)
    }

    /// An event has left the queue.
    pub(in crate::channel::member) fn count_down(&self, event: &MemberEvent) {
        match event {
            MemberEvent::Join { .. } | MemberEvent::In { .. } | MemberEvent::Leave { .. } => {
                if self.mailbox.handled(&self.connection.inbound, event.bytes()) {
                    self.connection.outbox.nudge();
                }
            }
            MemberEvent::Info(_) | MemberEvent::Timer(_) => self.mailbox.handled_from_elsewhere(event.bytes()),
            MemberEvent::Fault { .. }
            | MemberEvent::Closed(_)
            | MemberEvent::Kicked(_)
            | MemberEvent::Gone(_)
            | MemberEvent::Replaced
            | MemberEvent::RolledBack
            | MemberEvent::Unrouted
            | MemberEvent::MissedMessages => {}
        }
    }

    /// Posts a rollback if the build that has just written the state was rolled back during the call. A sweep at that time
    /// didn't find this state.
    pub(in crate::channel::member) fn roll_back_late(self: &Arc<Self>, state: &State) {
        if state.assigns.must_roll_back() {
            self.post_ending(MemberEvent::RolledBack);
        }
    }
}
