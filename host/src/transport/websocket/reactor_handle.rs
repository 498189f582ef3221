//! How a reactor is reached: from its own thread, from those of its siblings, and from any other.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::Waker;

use super::connection::Arrival;
use crate::pubsub::{OutboxWaker, Pressure};

/// Where one reactor of a group gets what others have for it.
pub(super) struct ReactorHandle {
    group: u64,
    index: usize,
    waker: Waker,
    inbox: Mutex<Inbox>,
    /// Whether an outbox of its reactor has filled to a quarter. Who fills it waits while it is so.
    is_behind: AtomicBool,
    pressure: Arc<Pressure>,
}

/// What has come.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) arrivals: Vec<Arrival>,
    /// The connections whose bell was rung.
    pub(super) woken: Vec<usize>,
    /// Whether the reactor is to end.
    pub(super) is_over: bool,
    /// Whether the reactor has ended, and nothing that is left is ever collected.
    is_gone: bool,
    /// What a test wants to happen in the reactor.
    #[cfg(test)]
    pub(super) fault: Option<Fault>,
    /// Whether it waits for the operating system, and wouldn't see a letter.
    is_asleep: bool,
}

/// What may go wrong in a reactor.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its own code panics once.
    Panic,
    /// Its code panics whenever it runs.
    PanicAlways,
    /// What one of its connections does panics, with a frame on the desk.
    PanicInConnection,
    /// What it waits with fails once.
    Poll,
    /// What it waits with is gone for good.
    PollAlways,
}

/// The [pressure](Pressure) of a reactor that is behind, until it has written all that it had. Dropping it says so, however that
/// comes about.
pub(super) struct Behind(Arc<Pressure>);

impl Drop for Behind {
    fn drop(&mut self) {
        self.0.lower();
    }
}

/// What the reactor on this thread has rung in its group, by place.
#[derive(Default)]
struct LocalWakes {
    group: u64,
    woken: Vec<Vec<usize>>,
}

thread_local! {
    static HERE: RefCell<LocalWakes> = RefCell::default();
}

static GROUPS: AtomicU64 = AtomicU64::new(1);

/// A number for a group of reactors that no other has.
pub(super) fn next_group() -> u64 {
    GROUPS.fetch_add(1, Ordering::Relaxed)
}

/// From now on this thread is one of this group. What it rings there waits until it is [taken](rung_here).
pub(super) fn enter_reactor_thread(handles: &[Arc<ReactorHandle>]) {
    let group = handles.first().map_or(0, |handle| handle.group);
    HERE.with_borrow_mut(|here| *here = LocalWakes { group, woken: vec![Vec::new(); handles.len()] });
}

/// From now on this thread is one like any other: what it rings is left for the reactor that it is for.
pub(super) fn leave_reactor_thread() {
    HERE.with_borrow_mut(|here| *here = LocalWakes::default());
}

/// Whether this thread has rung at a place of its group since it was last taken.
pub(super) fn has_local_wakes(place: usize) -> bool {
    HERE.with_borrow(|here| here.woken.get(place).is_some_and(|woken| !woken.is_empty()))
}

/// What this thread has rung at a place of its group, in exchange for an empty list.
pub(super) fn take_local_wakes(place: usize, empty: Vec<usize>) -> Vec<usize> {
    HERE.with_borrow_mut(|here| std::mem::replace(&mut here.woken[place], empty))
}

impl Inbox {
    /// A connection's bell is rung. Where the reactor is gone, so is the connection.
    fn wake(&mut self, number: usize) {
        if !self.is_gone {
            self.woken.push(number);
        }
    }
}

impl ReactorHandle {
    pub(super) fn new(group: u64, place: usize, waker: Waker, pressure: Arc<Pressure>) -> Arc<Self> {
        Arc::new(Self {
            group,
            index: place,
            waker,
            inbox: Mutex::default(),
            is_behind: AtomicBool::new(false),
            pressure,
        })
    }

    /// Before the reactor writes all that it has: whether it is waited for, until what is given is dropped.
    pub(super) fn catch_up(&self) -> Option<Behind> {
        self.is_behind.swap(false, Ordering::AcqRel).then(|| Behind(Arc::clone(&self.pressure)))
    }

    /// There is no reactor any more: nobody is to wait for it, and no connection comes to it. Those that were on their way are
    /// closed.
    pub(super) fn retire(&self) {
        if self.is_behind.swap(true, Ordering::AcqRel) {
            self.pressure.lower();
        }
        let mut inbox = self.lock();
        inbox.is_gone = true;
        let left = std::mem::take(&mut inbox.arrivals);
        drop(inbox);
        drop(left);
    }

    /// Leaves a connection. Gives it back where there is no reactor any more.
    pub(super) fn send_arrival(&self, arrival: Arrival) -> Option<Arrival> {
        let mut refused = None;
        self.send(|inbox| match inbox.is_gone {
            true => refused = Some(arrival),
            false => inbox.arrivals.push(arrival),
        });
        refused
    }

    pub(super) fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    /// Leaves something, and wakes the reactor if it sleeps.
    pub(super) fn send(&self, what: impl FnOnce(&mut Inbox)) {
        let mut inbox = self.lock();
        what(&mut inbox);
        let was_asleep = std::mem::take(&mut inbox.is_asleep);
        drop(inbox);
        if was_asleep && let Err(error) = self.waker.wake() {
            tracing::error!("a thread that serves connections can't be woken: {error}");
        }
    }

    /// Before the reactor sleeps: whether it may, for nothing has come.
    pub(super) fn may_sleep(&self) -> bool {
        let mut inbox = self.lock();
        let has_come = !inbox.arrivals.is_empty() || !inbox.woken.is_empty() || inbox.is_over;
        #[cfg(test)]
        let has_come = has_come || inbox.fault.is_some();
        // What tells of its being behind may have been taken just after it caught up.
        inbox.is_asleep = !has_come && !self.is_behind.load(Ordering::Acquire);
        inbox.is_asleep
    }

    /// What has come, in exchange for empty lists. That it is over is said again and again.
    pub(super) fn collect(&self, empty: &mut Inbox) {
        let mut inbox = self.lock();
        std::mem::swap(&mut *inbox, empty);
        inbox.is_over = empty.is_over;
        empty.is_asleep = false;
    }

    /// Nothing in here can panic half-way through a change, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
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
            self.send(|inbox| inbox.wake(number));
        }
    }

    fn request_flush(&self, number: usize) {
        self.send(|inbox| {
            // It was rung for before, but who did that may not have passed it on yet.
            inbox.wake(number);
            if !self.is_behind.swap(true, Ordering::AcqRel) {
                self.pressure.raise();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use mio::{Poll, Token};

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
    fn a_group_s_own_threads_collect_what_they_ring_and_others_leave_letters() {
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
    fn others_wait_for_who_is_behind_until_it_has_caught_up_or_is_gone() {
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
    fn who_sleeps_is_woken_once() {
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
