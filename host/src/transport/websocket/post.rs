//! How a reactor is reached: from its own thread, from those of its siblings, and from any other.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::Waker;

use super::connection::Arrival;
use crate::pubsub::{Bell, Pressure};

/// Where one reactor of a group gets what others have for it.
pub(super) struct Post {
    group: u64,
    place: usize,
    waker: Waker,
    letters: Mutex<Letters>,
    /// Whether an outbox of its reactor has filled to a quarter. Who fills it waits while it is so.
    is_behind: AtomicBool,
    pressure: Arc<Pressure>,
}

/// What has come.
#[derive(Default)]
pub(super) struct Letters {
    pub(super) arrivals: Vec<Arrival>,
    /// The connections whose bell was rung.
    pub(super) rung: Vec<usize>,
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
struct Here {
    group: u64,
    rung: Vec<Vec<usize>>,
}

thread_local! {
    static HERE: RefCell<Here> = RefCell::default();
}

static GROUPS: AtomicU64 = AtomicU64::new(1);

/// A number for a group of reactors that no other has.
pub(super) fn next_group() -> u64 {
    GROUPS.fetch_add(1, Ordering::Relaxed)
}

/// From now on this thread is one of this group. What it rings there waits until it is [taken](rung_here).
pub(super) fn settle_here(posts: &[Arc<Post>]) {
    let group = posts.first().map_or(0, |post| post.group);
    HERE.with_borrow_mut(|here| *here = Here { group, rung: vec![Vec::new(); posts.len()] });
}

/// From now on this thread is one like any other: what it rings is left for the reactor that it is for.
pub(super) fn settle_nowhere() {
    HERE.with_borrow_mut(|here| *here = Here::default());
}

/// Whether this thread has rung at a place of its group since it was last taken.
pub(super) fn is_rung_here(place: usize) -> bool {
    HERE.with_borrow(|here| here.rung.get(place).is_some_and(|rung| !rung.is_empty()))
}

/// What this thread has rung at a place of its group, in exchange for an empty list.
pub(super) fn rung_here(place: usize, empty: Vec<usize>) -> Vec<usize> {
    HERE.with_borrow_mut(|here| std::mem::replace(&mut here.rung[place], empty))
}

impl Letters {
    /// A connection's bell is rung. Where the reactor is gone, so is the connection.
    fn ring(&mut self, number: usize) {
        if !self.is_gone {
            self.rung.push(number);
        }
    }
}

impl Post {
    pub(super) fn new(group: u64, place: usize, waker: Waker, pressure: Arc<Pressure>) -> Arc<Self> {
        Arc::new(Self { group, place, waker, letters: Mutex::default(), is_behind: AtomicBool::new(false), pressure })
    }

    /// Before the reactor writes all that it has: whether it is waited for, until what is given is dropped.
    pub(super) fn catch_up(&self) -> Option<Behind> {
        self.is_behind.swap(false, Ordering::AcqRel).then(|| Behind(Arc::clone(&self.pressure)))
    }

    /// There is no reactor any more: nobody is to wait for it, and no connection comes to it. Those that were on their way are
    /// closed.
    pub(super) fn give_up(&self) {
        if self.is_behind.swap(true, Ordering::AcqRel) {
            self.pressure.lower();
        }
        let mut letters = self.lock();
        letters.is_gone = true;
        let left = std::mem::take(&mut letters.arrivals);
        drop(letters);
        drop(left);
    }

    /// Leaves a connection. Gives it back where there is no reactor any more.
    pub(super) fn leave_arrival(&self, arrival: Arrival) -> Option<Arrival> {
        let mut refused = None;
        self.leave(|letters| match letters.is_gone {
            true => refused = Some(arrival),
            false => letters.arrivals.push(arrival),
        });
        refused
    }

    pub(super) fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    /// Leaves something, and wakes the reactor if it sleeps.
    pub(super) fn leave(&self, what: impl FnOnce(&mut Letters)) {
        let mut letters = self.lock();
        what(&mut letters);
        let was_asleep = std::mem::take(&mut letters.is_asleep);
        drop(letters);
        if was_asleep && let Err(error) = self.waker.wake() {
            tracing::error!("a thread that serves connections can't be woken: {error}");
        }
    }

    /// Before the reactor sleeps: whether it may, for nothing has come.
    pub(super) fn may_sleep(&self) -> bool {
        let mut letters = self.lock();
        let has_come = !letters.arrivals.is_empty() || !letters.rung.is_empty() || letters.is_over;
        #[cfg(test)]
        let has_come = has_come || letters.fault.is_some();
        // What tells of its being behind may have been taken just after it caught up.
        letters.is_asleep = !has_come && !self.is_behind.load(Ordering::Acquire);
        letters.is_asleep
    }

    /// What has come, in exchange for empty lists. That it is over is said again and again.
    pub(super) fn collect(&self, empty: &mut Letters) {
        let mut letters = self.lock();
        std::mem::swap(&mut *letters, empty);
        letters.is_over = empty.is_over;
        empty.is_asleep = false;
    }

    /// Nothing in here can panic half-way through a change, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bell for Post {
    fn ring(&self, number: usize) {
        let is_here = HERE.with_borrow_mut(|here| {
            let is_here = here.group == self.group;
            if is_here {
                here.rung[self.place].push(number);
            }
            is_here
        });
        if !is_here {
            self.leave(|letters| letters.ring(number));
        }
    }

    fn hurry(&self, number: usize) {
        self.leave(|letters| {
            // It was rung for before, but who did that may not have passed it on yet.
            letters.ring(number);
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

    fn posts(group: u64) -> (Vec<Poll>, [Arc<Post>; 2]) {
        let polls = Vec::from([(); 2].map(|()| Poll::new().expect("a poll")));
        let pressure = Arc::new(Pressure::default());
        let post = |place: usize| {
            let waker = Waker::new(polls[place].registry(), Token(0)).expect("a waker");
            Post::new(group, place, waker, Arc::clone(&pressure))
        };
        let posts = [0, 1].map(post);
        (polls, posts)
    }

    #[test]
    fn a_group_s_own_threads_collect_what_they_ring_and_others_leave_letters() {
        let (_polls, posts) = posts(next_group());
        settle_here(&posts);
        posts[1].ring(5);
        posts[0].ring(6);
        assert!(posts[1].may_sleep() && is_rung_here(1));
        assert_eq!((rung_here(1, Vec::new()), rung_here(0, vec![])), (vec![5], vec![6]));
        let (_others_polls, others) = self::posts(next_group());
        settle_here(&others);
        posts[1].ring(9);
        assert!(!posts[1].may_sleep() && posts[0].may_sleep() && !is_rung_here(1));
        let mut letters = Letters::default();
        posts[1].collect(&mut letters);
        assert_eq!(letters.rung, [9]);
    }

    #[test]
    fn others_wait_for_who_is_behind_until_it_has_caught_up_or_is_gone() {
        let (_polls, posts) = posts(next_group());
        let is_eased = || posts[0].pressure.eased().now_or_never().is_some();
        posts[0].hurry(1);
        posts[0].hurry(2);
        assert!(!posts[0].may_sleep() && posts[1].may_sleep() && !is_eased());
        let behind = posts[0].catch_up();
        assert!(behind.is_some() && posts[0].catch_up().is_none() && !is_eased());
        drop(behind);
        assert!(is_eased());
        posts[0].hurry(1);
        posts.iter().for_each(|post| post.give_up());
        posts[1].hurry(1);
        assert!(is_eased());
    }

    #[test]
    fn who_sleeps_is_woken_once() {
        let (mut polls, posts) = posts(next_group());
        let mut events = mio::Events::with_capacity(8);
        let mut wakes = |poll: &mut Poll| {
            poll.poll(&mut events, Some(std::time::Duration::ZERO)).expect("a look");
            events.iter().count()
        };
        posts[0].leave(|letters| letters.rung.push(1));
        assert_eq!((wakes(&mut polls[0]), posts[0].may_sleep()), (0, false));
        posts[0].collect(&mut Letters::default());
        assert!(posts[0].may_sleep());
        posts[0].leave(|letters| letters.is_over = true);
        assert_eq!((wakes(&mut polls[0]), posts[0].may_sleep()), (1, false));
    }
}
