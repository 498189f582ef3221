//! A thread that serves connections: it waits for all of its streams at once, reads, has the sockets decide, and writes.
//!
//! A turn has two halves. First what has come is handled; then connections whose outbox has something are written to, each in
//! one go, in the order in which they first had. What comes for one that still waits for its write goes out with it. A turn
//! doesn't write to all where they are many: what is said meanwhile is heard in between, so that nobody waits for a
//! whole round to be heard and for another to be answered, and what is heard goes out with the round that is under way. But
//! where an outbox fills faster than its turn comes, all are written to before anything more is heard, here or by those who share
//! that [pressure](crate::pubsub::Pressure).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::connection::{Arrival, Connection, Next, Scratch};
use super::reactor_handle::{
    Inbox, ReactorHandle, enter_reactor_thread, has_local_wakes, leave_reactor_thread, take_local_wakes,
};
use crate::pubsub::{HELD_BACK_MAX, OutboxWaker};
use crate::socket::Reason;
use crate::timing::AwakeClock;

/// Streams that are looked at in a turn.
const EVENTS_A_TURN: usize = 256;

/// Connections that are written to in a turn, unless an outbox fills.
const WRITES_A_TURN: usize = 128;

/// How often a thread that is held back looks whether it still is.
const LOOK: Duration = Duration::from_millis(1);

/// The longest that it sleeps while it has connections. By so much at most a gap is taken for a sleep that was meant, so it is only
/// a part of the shortest time that a connection may be silent.
const SLEEP_MAX: Duration = Duration::from_secs(1);
const SLEEPS_A_SILENCE: u32 = 8;
const SLEEP_MIN: Duration = Duration::from_millis(10);

/// Turns in a row that may panic, or wait in vain, before the thread ends.
const FAILURES_MAX: u32 = 12;

/// How long to wait after the first of those that wait in vain; after each further one it is twice as long, up to a bound.
const FAILURE_PAUSE: Duration = Duration::from_millis(1);
const FAILURE_PAUSE_MAX: Duration = Duration::from_millis(100);

/// Alarms of connections that are gone, or have another alarm, beside those that count, and a few.
const STALE_ALARMS: usize = 64;

/// What the operating system calls the post's waker.
pub(super) const WAKE: Token = Token(usize::MAX);

/// The state of the thread.
pub(super) struct Reactor {
    poll: Poll,
    /// The posts of its group, of which one is its own.
    handles: Arc<[Arc<ReactorHandle>]>,
    place: usize,
    waker: Arc<dyn OutboxWaker>,
    /// Boxed, so that room for more of them is cheap.
    connections: Slab<Box<Connection>>,
    scratch: Scratch,
    inbox: Inbox,
    /// An empty list with room, to be exchanged for a full one.
    spare: Vec<usize>,
    /// The connections that have something to be handled.
    ready: VecDeque<usize>,
    /// The connections that have something to be written.
    due: VecDeque<usize>,
    /// When which connection is looked after. Those that are out of date don't count.
    alarms: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Since when it hears nothing, under pressure.
    held_back: Option<Instant>,
    /// What the desk's time is read from. It stands still while this thread does.
    clock: AwakeClock,
    sleep_max: Duration,
    /// Turns in a row that went wrong.
    failures: u32,
    #[cfg(test)]
    fault: Option<super::reactor_handle::Fault>,
}

impl Reactor {
    pub(super) fn new(poll: Poll, handles: Arc<[Arc<ReactorHandle>]>, place: usize) -> Self {
        Self {
            poll,
            waker: Arc::clone(&handles[place]) as _,
            handles,
            place,
            connections: Slab::new(),
            scratch: Scratch::new(),
            inbox: Inbox::default(),
            spare: Vec::new(),
            ready: VecDeque::new(),
            due: VecDeque::new(),
            alarms: BinaryHeap::new(),
            held_back: None,
            clock: AwakeClock::new(Instant::now()),
            sleep_max: SLEEP_MAX,
            failures: 0,
            #[cfg(test)]
            fault: None,
        }
    }

    /// Works until its group is over, or it can't go on. Its connections end with it.
    pub(super) fn run(mut self) {
        enter_reactor_thread(&self.handles);
        let mut events = Events::with_capacity(EVENTS_A_TURN);
        while self.failures <= FAILURES_MAX {
            // What a connection does is guarded by itself; this is for all the rest, which is this thread's own.
            match catch_unwind(AssertUnwindSafe(|| self.turn(&mut events))) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return,
                Err(_) => self.recover(),
            }
        }
        tracing::error!("a thread that serves connections can't go on, and its connections are closed");
    }

    fn turn(&mut self, events: &mut Events) -> ControlFlow<()> {
        let patience = self.patience();
        let has_failed = self.wait(events, patience);
        self.scratch.now = self.clock.look(Instant::now(), patience.unwrap_or(Duration::MAX));
        self.collect()?;
        events.iter().filter(|event| event.token() != WAKE).for_each(|event| self.on_event(event));
        self.handle();
        self.gather();
        if let Some(behind) = self.handles[self.place].catch_up() {
            // Of what others have filled, a letter tells.
            let over = self.collect();
            self.write(usize::MAX);
            drop(behind);
            over?;
        } else {
            self.write(WRITES_A_TURN);
        }
        self.gather();
        self.on_alarms();
        if !has_failed {
            self.failures = 0;
        }
        ControlFlow::Continue(())
    }

    /// Waits until something happens. Whether that failed: then there are no events, and the rest of the turn goes on without.
    fn wait(&mut self, events: &mut Events, patience: Option<Duration>) -> bool {
        let Err(error) = self.poll(events, patience) else { return false };
        events.clear();
        if error.kind() == ErrorKind::Interrupted {
            return false;
        }
        if self.failures == 0 {
            tracing::warn!("a thread that serves connections can't wait for them, and tries again: {error}");
        }
        thread::sleep(FAILURE_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures)).min(FAILURE_PAUSE_MAX));
        self.failures += 1;
        true
    }

    #[cfg(not(test))]
    fn poll(&mut self, events: &mut Events, patience: Option<Duration>) -> io::Result<()> {
        self.poll.poll(events, patience)
    }

    #[cfg(test)]
    fn poll(&mut self, events: &mut Events, patience: Option<Duration>) -> io::Result<()> {
        use super::reactor_handle::Fault;
        match self.fault {
            Some(Fault::Poll) => self.fault = None,
            Some(Fault::PollAlways) => {}
            _ => return self.poll.poll(events, patience),
        }
        Err(io::Error::other("a test wants it"))
    }

    /// After a panic of this thread's own: what the turn was about to do may be half done, so each connection is looked after.
    fn recover(&mut self) {
        tracing::error!("a fault of the host: a thread that serves connections panicked, and goes on");
        self.failures += 1;
        self.scratch.clear();
        self.ready.clear();
        self.due.clear();
        for (number, connection) in &mut self.connections {
            connection.is_readable = true;
            connection.is_ready = true;
            self.ready.push_back(number);
            self.due.push_back(number);
        }
    }

    /// Takes what others have left for it, perhaps that it is over.
    fn collect(&mut self) -> ControlFlow<()> {
        let mut inbox = std::mem::take(&mut self.inbox);
        self.handles[self.place].collect(&mut inbox);
        #[cfg(test)]
        self.inject_fault(inbox.fault.take());
        inbox.arrivals.drain(..).for_each(|arrival| self.admit(arrival));
        self.due.extend(inbox.woken.drain(..));
        let is_over = inbox.is_over;
        self.inbox = inbox;
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// How long it may wait for something to happen; none is for ever.
    fn patience(&self) -> Option<Duration> {
        let handle = &self.handles[self.place];
        let is_held_back = !self.ready.is_empty() && handle.pressure().is_high();
        let is_busy = !self.due.is_empty() || (!self.ready.is_empty() && !is_held_back);
        if is_busy || !handle.may_sleep() {
            return Some(Duration::ZERO);
        }
        if is_held_back {
            return Some(LOOK);
        }
        self.alarms.peek().map(|Reverse((at, _))| at.saturating_duration_since(self.scratch.now).min(self.sleep_max))
    }

    /// The first half of a turn, which ends early under pressure. Those that have more than makes a turn come again in the next.
    fn handle(&mut self) {
        if self.is_held_back() {
            return;
        }
        for _ in 0..self.ready.len() {
            let Some(number) = self.ready.pop_front() else { return };
            if let Some(connection) = self.connections.get_mut(number) {
                connection.is_ready = false;
                self.with(number, Connection::go_on);
            }
            if self.handles[self.place].pressure().is_high() {
                return;
            }
        }
    }

    /// Does what a test wants.
    #[cfg(test)]
    fn inject_fault(&mut self, fault: Option<super::reactor_handle::Fault>) {
        use super::reactor_handle::Fault;
        self.fault = fault.or(self.fault);
        if self.fault == Some(Fault::Panic) {
            self.fault = None;
            panic!("a test wants it");
        }
        if self.fault == Some(Fault::PanicInConnection) {
            self.fault = None;
            let first = self.connections.iter().next().map(|(number, _)| number);
            self.with(first.unwrap_or_default(), |_, scratch| {
                scratch.put(crate::protocol::Frame::text("for one client alone"));
                panic!("a test wants it");
            });
        }
        assert_ne!(self.fault, Some(Fault::PanicAlways), "a test wants it");
    }

    fn is_held_back(&mut self) -> bool {
        if self.handles[self.place].pressure().is_high() {
            let since = *self.held_back.get_or_insert(self.scratch.now);
            if self.scratch.now - since < HELD_BACK_MAX {
                return true;
            }
        }
        self.held_back = None;
        false
    }

    /// The second half, for so many at most.
    fn write(&mut self, most: usize) {
        for _ in 0..self.due.len().min(most) {
            let Some(number) = self.due.pop_front() else { return };
            self.with(number, Connection::flush);
        }
    }

    /// Takes what this thread has rung: its own is due, and its siblings' is passed on.
    fn gather(&mut self) {
        if has_local_wakes(self.place) {
            let mut woken = take_local_wakes(self.place, std::mem::take(&mut self.spare));
            self.due.extend(woken.drain(..));
            self.spare = woken;
        }
        self.wake_siblings();
    }

    /// Passes on what this thread has rung at others of the group.
    fn wake_siblings(&mut self) {
        for (place, handle) in self.handles.iter().enumerate().filter(|(place, _)| *place != self.place) {
            if has_local_wakes(place) {
                let mut woken = take_local_wakes(place, std::mem::take(&mut self.spare));
                handle.send(|inbox| inbox.woken.append(&mut woken));
                self.spare = woken;
            }
        }
    }

    fn admit(&mut self, arrival: Arrival) {
        let entry = self.connections.vacant_entry();
        let number = entry.key();
        let mut connection = Connection::new(arrival, self.scratch.now);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(connection.stream(), Token(number), interest) {
            return tracing::warn!("a connection can't be served: {error}");
        }
        connection.outbox().set_waker(&self.waker, number);
        let alarm = connection.alarm;
        self.sleep_max = self.sleep_max.min((connection.idle() / SLEEPS_A_SILENCE).max(SLEEP_MIN));
        // Of what is to be read there will be an event.
        connection.is_ready = connection.has_received();
        if connection.is_ready {
            self.ready.push_back(number);
        }
        entry.insert(Box::new(connection));
        self.push_alarm(alarm, number);
    }

    /// Those that no longer count are left in the heap, where they are hard to find, until they are as many as the others: so they
    /// don't pile up where many connections come and go, and to throw them out costs little for each.
    fn push_alarm(&mut self, at: Instant, number: usize) {
        if self.alarms.len() > 2 * self.connections.len() + STALE_ALARMS {
            let Self { alarms, connections, .. } = self;
            alarms.retain(|Reverse((at, number))| connections.get(*number).is_some_and(|it| it.alarm == *at));
        }
        self.alarms.push(Reverse((at, number)));
    }

    fn on_event(&mut self, event: &Event) {
        let Token(number) = event.token();
        let Some(connection) = self.connections.get_mut(number) else { return };
        if event.is_readable() || event.is_error() {
            connection.is_readable = true;
            connection.is_read_closed |= event.is_read_closed() || event.is_error();
            if !std::mem::replace(&mut connection.is_ready, true) {
                self.ready.push_back(number);
            }
        }
        if event.is_writable() && connection.is_stuck() {
            self.due.push_back(number);
        }
    }

    /// Has a connection do something, and draws the consequence. A panic ends that connection and no other.
    fn with(&mut self, number: usize, work: impl FnOnce(&mut Connection, &mut Scratch) -> Next) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        let next = catch_unwind(AssertUnwindSafe(|| work(connection, &mut self.scratch))).unwrap_or_else(|_| {
            tracing::error!("a fault of the host: what a client sent caused a panic");
            // They may be this one's, and must not be written to another.
            self.scratch.clear();
            connection.note(Reason::HostPanicked);
            Next::Drop
        });
        match next {
            Next::Drop => return drop(self.connections.remove(number)),
            Next::GoOn if !std::mem::replace(&mut connection.is_ready, true) => self.ready.push_back(number),
            Next::GoOn | Next::Wait => {}
        }
        if connection.is_at_ease() {
            return;
        }
        if connection.wants_flush() {
            self.due.push_back(number);
        }
        if connection.deadline() < connection.alarm {
            self.arm(number);
        }
    }

    fn arm(&mut self, number: usize) {
        if let Some(connection) = self.connections.get_mut(number) {
            let at = connection.deadline();
            connection.alarm = at;
            self.push_alarm(at, number);
        }
    }

    fn on_alarms(&mut self) {
        while let Some(&Reverse((at, number))) = self.alarms.peek()
            && at <= self.scratch.now
        {
            self.alarms.pop();
            if self.connections.get(number).is_some_and(|connection| connection.alarm == at) {
                self.with(number, Connection::on_alarm);
                self.arm(number);
            }
        }
    }
}

impl Drop for Reactor {
    /// What its connections leave behind, such as their members' leaves, still reaches those of its siblings.
    fn drop(&mut self) {
        for connection in self.connections.drain() {
            let ended = catch_unwind(AssertUnwindSafe(|| drop(connection)));
            if ended.is_err() {
                tracing::error!("a fault of the host: the end of a connection caused a panic");
            }
        }
        self.wake_siblings();
        leave_reactor_thread();
        self.handles[self.place].retire();
    }
}

#[cfg(test)]
mod tests {
    use mio::Waker;

    use super::super::reactor_handle::next_group;
    use super::*;

    #[test]
    fn alarms_of_connections_that_are_gone_do_not_pile_up() -> io::Result<()> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let handles: Arc<[Arc<ReactorHandle>]> = Arc::new([ReactorHandle::new(next_group(), 0, waker, Arc::default())]);
        let mut reactor = Reactor::new(poll, handles, 0);
        for number in 0..10_000 {
            reactor.push_alarm(Instant::now() + Duration::from_secs(60), number);
            assert!(reactor.alarms.len() <= STALE_ALARMS + 1, "{}", reactor.alarms.len());
        }
        Ok(())
    }
}
