//! The handles by which threads send work to a reactor.
//!
//! A wake on a thread of the same group (the reactors of one host) is only added to a list of that thread, without a lock.
//! The thread's reactor takes this list twice in a turn. It queues its own connections for writing, and passes the other
//! wakes on to the inboxes of their reactors. A wake on any other thread goes to the inbox directly.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mio::Waker;
use tokio::sync::oneshot;

use super::arrival::Arrival;
use super::reactor_probe::Probe;
use super::shared_inbox::{Sent, SharedInbox, Work};
use crate::pubsub::{OutboxWaker, Pressure};

/// The handle of one reactor of a group.
pub(super) struct ReactorHandle {
    group: u64,
    index: usize,
    waker: Waker,
    inbox: SharedInbox<Inbox>,
    pressure: Arc<Pressure>,
}

/// The work that other threads have sent to a reactor.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) arrivals: Vec<Arrival>,
    /// The connections that were woken.
    pub(super) woken: Vec<usize>,
    /// Questions whether the reactor works. There is at most one of the self-test.
    pub(super) probes: Vec<Probe>,
    /// Whether the reactor must handle no messages from now on, or handle them again.
    pub(super) pauses: Option<bool>,
    /// Whether the reactor must end.
    pub(super) is_over: bool,
    /// The failure that a test wants in the reactor.
    #[cfg(test)]
    pub(super) fault: Option<Fault>,
}

impl Work for Inbox {
    fn is_empty(&self) -> bool {
        #[cfg(test)]
        if self.fault.is_some() {
            return false;
        }
        let has_none = self.arrivals.is_empty() && self.woken.is_empty() && self.probes.is_empty();
        has_none && self.pauses.is_none() && !self.is_over
    }
}

/// Failures of a reactor that tests can cause.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its own code panics once.
    Panic,
    /// Its own code panics in every turn.
    PanicAlways,
    /// The work of one of its connections panics, with a frame in the scratch buffers.
    PanicInConnection,
    /// The work of one of its connections panics after its end was counted.
    PanicAfterNote,
    /// The work of two of its connections panics, and then counting and closing each of them panics too.
    PanicInClosing,
    /// Waiting for events fails once.
    Poll,
    /// Waiting for events always fails.
    PollAlways,
}

/// The [pressure](Pressure) that a reactor has to lower after it has written to all connections. Dropping this lowers it, so
/// that happens even if the turn panics.
pub(super) struct Behind(Arc<Pressure>);

impl Drop for Behind {
    fn drop(&mut self) {
        self.0.lower();
    }
}

/// The wakes that were made on a reactor's thread, by the place of the woken reactor in the group.
#[derive(Default)]
struct LocalWakes {
    group: u64,
    woken: Vec<Vec<usize>>,
}

thread_local! {
    static HERE: RefCell<LocalWakes> = RefCell::default();
}

static GROUPS: AtomicU64 = AtomicU64::new(1);

/// Returns a new number for a group of reactors.
pub(super) fn next_group() -> u64 {
    // Relaxed, because only the uniqueness of the number matters.
    GROUPS.fetch_add(1, Ordering::Relaxed)
}

/// Makes this thread one of the group. Its wakes are kept on the thread until they are [taken](take_local_wakes).
pub(super) fn enter_reactor_thread(handles: &[Arc<ReactorHandle>]) {
    let group = handles.first().map_or(0, |handle| handle.group);
    HERE.with_borrow_mut(|here| *here = LocalWakes { group, woken: vec![Vec::new(); handles.len()] });
}

/// Makes this thread an ordinary one again: its wakes go directly to the inboxes of the reactors.
pub(super) fn leave_reactor_thread() {
    HERE.with_borrow_mut(|here| *here = LocalWakes::default());
}

/// Whether this thread has wakes for the reactor at this place that weren't taken yet.
pub(super) fn has_local_wakes(place: usize) -> bool {
    HERE.with_borrow(|here| here.woken.get(place).is_some_and(|woken| !woken.is_empty()))
}

/// Takes this thread's wakes for the reactor at this place, in exchange for an empty list.
pub(super) fn take_local_wakes(place: usize, empty: Vec<usize>) -> Vec<usize> {
    HERE.with_borrow_mut(|here| std::mem::replace(&mut here.woken[place], empty))
}

impl ReactorHandle {
    pub(super) fn new(group: u64, place: usize, waker: Waker, pressure: Arc<Pressure>) -> Arc<Self> {
        Arc::new(Self { group, index: place, waker, inbox: SharedInbox::new(), pressure })
    }

    /// Returns the pressure to lower, if the reactor is behind. The reactor calls this before it writes to all connections.
    pub(super) fn catch_up(&self) -> Option<Behind> {
        self.inbox.catch_up().then(|| Behind(Arc::clone(&self.pressure)))
    }

    /// Records that the reactor has ended. Its pressure is lowered, it gets no more connections, and arrivals in its inbox
    /// are closed.
    pub(super) fn retire(&self) {
        // Dropping connections does further work, so it comes after the lock is released.
        drop(self.inbox.retire(|| self.pressure.lower()));
    }

    /// Sends a connection to the reactor. Returns it if the reactor has ended.
    pub(super) fn send_arrival(&self, arrival: Arrival) -> Option<Arrival> {
        let mut arrival = Some(arrival);
        self.send(|inbox| inbox.arrivals.extend(arrival.take()));
        arrival
    }

    /// Asks whether the reactor takes the frame of an outbox. The answer is an error if the reactor has ended.
    pub(super) fn probe(&self) -> oneshot::Receiver<()> {
        let (probe, answered) = Probe::new();
        self.send(|inbox| inbox.probes.push(probe));
        answered
    }

    pub(super) fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    /// Adds work to the inbox, and wakes the reactor if it sleeps. If the reactor has ended, its connections are gone too, and
    /// the work is dropped.
    pub(super) fn send(&self, what: impl FnOnce(&mut Inbox)) {
        let sent = self.inbox.send(what);
        self.wake_after(sent);
    }

    fn wake_after(&self, sent: Sent) {
        if sent == Sent::ToSleeping
            && let Err(error) = self.waker.wake()
        {
            tracing::error!("a thread that serves connections can't be woken: {error}");
        }
    }

    /// Whether the reactor may sleep, because its inbox is empty. The reactor calls this before it sleeps, and then later
    /// work wakes it.
    pub(super) fn may_sleep(&self) -> bool {
        self.inbox.may_sleep()
    }

    /// Takes the content of the inbox, in exchange for empty lists. `is_over` stays set in the inbox.
    pub(super) fn collect(&self, empty: &mut Inbox) {
        self.inbox.collect(|inbox| {
            std::mem::swap(inbox, empty);
            inbox.is_over = empty.is_over;
        });
    }
}

impl OutboxWaker for ReactorHandle {
    fn wake(&self, number: usize) {
        let is_here = HERE.with_borrow_mut(|here| {
            let is_here = here.group == self.group;
            if is_here {
                here.woken[self.index].push(number);
            }
            is_here
        });
        if !is_here {
            self.send(|inbox| inbox.woken.push(number));
        }
    }

    fn request_flush(&self, number: usize) {
        // The connection was already woken by an earlier push. But that wake may still be in the list of another thread.
        let sent = self.inbox.request_flush(|inbox| inbox.woken.push(number), || self.pressure.raise());
        self.wake_after(sent);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use mio::{Poll, Token};

    use super::super::reactor_probe::PROBE;
    use super::*;

    fn handles(group: u64) -> (Vec<Poll>, [Arc<ReactorHandle>; 2]) {
        let polls = Vec::from([(); 2].map(|()| Poll::new().expect("a poll")));
        let pressure = Arc::new(Pressure::default());
        let handle = |place: usize| {
            let waker = Waker::new(polls[place].registry(), Token(0)).expect("a waker");
            ReactorHandle::new(group, place, waker, Arc::clone(&pressure))
        };
        let handles = [0, 1].map(handle);
        (polls, handles)
    }

    #[test]
    fn a_groups_own_threads_collect_wakes_and_others_send_them() {
        let (_polls, handles) = handles(next_group());
        enter_reactor_thread(&handles);
        handles[1].wake(5);
        handles[0].wake(6);
        assert!(handles[1].may_sleep() && has_local_wakes(1));
        assert_eq!((take_local_wakes(1, Vec::new()), take_local_wakes(0, vec![])), (vec![5], vec![6]));
        let (_others_polls, others) = self::handles(next_group());
        enter_reactor_thread(&others);
        handles[1].wake(9);
        assert!(!handles[1].may_sleep() && handles[0].may_sleep() && !has_local_wakes(1));
        let mut inbox = Inbox::default();
        handles[1].collect(&mut inbox);
        assert_eq!(inbox.woken, [9]);
    }

    #[test]
    fn there_is_pressure_until_a_reactor_has_caught_up_or_is_gone() {
        let (_polls, handles) = handles(next_group());
        let is_eased = || handles[0].pressure.eased().now_or_never().is_some();
        handles[0].request_flush(1);
        handles[0].request_flush(2);
        assert!(!handles[0].may_sleep() && handles[1].may_sleep() && !is_eased());
        let behind = handles[0].catch_up();
        assert!(behind.is_some() && handles[0].catch_up().is_none() && !is_eased());
        drop(behind);
        assert!(is_eased());
        handles[0].request_flush(1);
        handles.iter().for_each(|handle| handle.retire());
        handles[1].request_flush(1);
        assert!(is_eased());
    }

    #[test]
    fn a_probe_is_answered_when_the_reactor_takes_its_frame() {
        let (_polls, handles) = handles(next_group());
        assert!(handles[0].may_sleep());
        let mut stuck = handles[0].probe();
        assert!(!handles[0].may_sleep());
        assert_eq!(stuck.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        let mut inbox = Inbox::default();
        handles[0].collect(&mut inbox);
        let probe = inbox.probes.pop().expect("the probe");
        let waker: Arc<dyn OutboxWaker> = Arc::clone(&handles[0]) as _;
        probe.admit(&waker);
        handles[0].collect(&mut inbox);
        assert_eq!((stuck.try_recv(), &*inbox.woken), (Err(oneshot::error::TryRecvError::Empty), &[PROBE][..]));
        probe.take();
        assert_eq!(stuck.try_recv(), Ok(()));
        let mut left = handles[0].probe();
        handles[0].retire();
        let mut late = handles[0].probe();
        assert!(
            [left.try_recv(), late.try_recv()]
                .iter()
                .all(|answer| *answer == Err(oneshot::error::TryRecvError::Closed))
        );
    }

    #[test]
    fn a_sleeping_reactor_is_woken_once() {
        let (mut polls, handles) = handles(next_group());
        let mut events = mio::Events::with_capacity(8);
        let mut wakes = |poll: &mut Poll| {
            poll.poll(&mut events, Some(std::time::Duration::ZERO)).expect("a look");
            events.iter().count()
        };
        handles[0].send(|inbox| inbox.woken.push(1));
        assert_eq!((wakes(&mut polls[0]), handles[0].may_sleep()), (0, false));
        handles[0].collect(&mut Inbox::default());
        assert!(handles[0].may_sleep());
        handles[0].send(|inbox| inbox.is_over = true);
        assert_eq!((wakes(&mut polls[0]), handles[0].may_sleep()), (1, false));
    }
}
