//! A thread that serves many connections: it waits for events of all streams, reads, passes messages to sockets, and writes.
//!
//! A turn has two halves. In the first half, the reactor handles messages of clients. In the second half, it writes to the
//! connections whose outbox has frames, in the order in which they were woken. The frames in an outbox (up to 256 KiB) are
//! written together, including those that were pushed after the wake.
//!
//! If many connections have frames, a turn writes only to some of them, and then messages are handled again. So a client
//! does not wait until all of them are written to before its message is handled, and its answer is written in the round in
//! progress. But if an outbox fills to a quarter before its connection's turn, the reactor writes to all of these
//! connections before it handles more messages. This is [`Pressure`](crate::pubsub::Pressure), and all reactors and tasks
//! that share it wait too.

#[cfg(test)]
mod faults;

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

use super::arrival::Arrival;
use super::connection::{Connection, Next};
use super::reactor_handle::{
    Inbox, ReactorHandle, enter_reactor_thread, has_local_wakes, leave_reactor_thread, take_local_wakes,
};
use super::reactor_probe::{PROBE, Probe};
use super::scratch::Scratch;
use crate::pubsub::{HELD_BACK_MAX, OutboxWaker};
use crate::socket::Reason;
use crate::timing::AwakeClock;

/// The most events that a turn processes.
const EVENTS_A_TURN: usize = 256;

/// The most connections that a turn writes to, unless there is pressure.
const WRITES_A_TURN: usize = 128;

/// How often a reactor under pressure checks whether the pressure has ended.
const LOOK: Duration = Duration::from_millis(1);

/// The longest sleep of a reactor that has connections. If the thread is suspended during a sleep, the clock can't tell this
/// time from the intended sleep. So a sleep is at most an eighth of the shortest idle timeout of its connections.
const SLEEP_MAX: Duration = Duration::from_secs(1);
const SLEEPS_A_SILENCE: u32 = 8;
const SLEEP_MIN: Duration = Duration::from_millis(10);

/// The most turns in a row that panic or can't wait for events. After one more, the thread ends.
const FAILURES_MAX: u32 = 12;

/// The pause after the first failure to wait for events. It doubles with each further failure, up to the maximum.
const FAILURE_PAUSE: Duration = Duration::from_millis(1);
const FAILURE_PAUSE_MAX: Duration = Duration::from_millis(100);

/// The heap may have this many alarms and two for each connection. If there are more, outdated alarms are removed.
const STALE_ALARMS: usize = 64;

/// The token of the events of the reactor's waker.
pub(super) const WAKE: Token = Token(usize::MAX);

/// The state of the thread.
pub(super) struct Reactor {
    poll: Poll,
    /// The handles of all reactors of its group. Its own is the one at `place`.
    handles: Arc<[Arc<ReactorHandle>]>,
    place: usize,
    waker: Arc<dyn OutboxWaker>,
    /// By number, which is also the token of the connection's events. Boxed, so that the slab can grow at little cost.
    connections: Slab<Box<Connection>>,
    scratch: Scratch,
    /// An empty inbox, to be exchanged for the full one of the handle.
    inbox: Inbox,
    /// An empty list with capacity, to be exchanged for a full one.
    spare: Vec<usize>,
    /// The connections that have bytes to read or to handle.
    ready: VecDeque<usize>,
    /// The connections that are first in the next turn, because their compressed messages had to wait.
    postponed: Vec<usize>,
    /// The connections that have frames to write.
    due: VecDeque<usize>,
    /// The outboxes of the self-test.
    probes: Vec<Probe>,
    /// The time at which each connection's deadline is checked next. An entry is outdated if its connection has another
    /// alarm.
    alarms: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Since when it has handled no messages, because of pressure.
    held_back: Option<Instant>,
    /// The clock for the time in `scratch`. It stops while this thread is suspended.
    clock: AwakeClock,
    sleep_max: Duration,
    /// The number of failed turns in a row.
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
            postponed: Vec::new(),
            due: VecDeque::new(),
            probes: Vec::new(),
            alarms: BinaryHeap::new(),
            held_back: None,
            clock: AwakeClock::new(Instant::now()),
            sleep_max: SLEEP_MAX,
            failures: 0,
            #[cfg(test)]
            fault: None,
        }
    }

    /// Serves connections until it is told to end, or too many turns have failed. Its connections end with it.
    pub(super) fn run(mut self) {
        enter_reactor_thread(&self.handles);
        let mut events = Events::with_capacity(EVENTS_A_TURN);
        while self.failures <= FAILURES_MAX {
            // Panics in a connection's work are caught separately, in `with`. This catches those in the reactor's own code.
            match catch_unwind(AssertUnwindSafe(|| self.turn(&mut events))) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return,
                Err(_) => self.recover(),
            }
        }
        tracing::error!(
            "a thread that serves connections ends after repeated failures, and its connections are closed"
        );
    }

    fn turn(&mut self, events: &mut Events) -> ControlFlow<()> {
        let timeout = self.timeout();
        let has_failed = self.wait(events, timeout);
        self.scratch.now = self.clock.look(Instant::now(), timeout.unwrap_or(Duration::MAX));
        self.collect()?;
        events.iter().filter(|event| event.token() != WAKE).for_each(|event| self.on_event(event));
        self.handle();
        self.gather();
        if let Some(behind) = self.handles[self.place].catch_up() {
            // The numbers of the outboxes that other threads have filled are in the inbox. Taking it locks it. So the thread
            // that raised the pressure, under the same lock, is done with that before `behind` is dropped and lowers it.
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

    /// Waits for events. Returns whether that failed. In this case there are no events, and the turn continues without them.
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> bool {
        let Err(error) = self.poll(events, timeout) else { return false };
        events.clear();
        if error.kind() == ErrorKind::Interrupted {
            return false;
        }
        if self.failures == 0 {
            tracing::warn!("a thread that serves connections can't wait for events, and tries again: {error}");
        }
        thread::sleep(FAILURE_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures)).min(FAILURE_PAUSE_MAX));
        self.failures += 1;
        true
    }

    #[cfg(not(test))]
    fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.poll.poll(events, timeout)
    }

    /// Recovers from a panic in the reactor's own code. The queues may be incomplete. So every connection is read and
    /// written again.
    fn recover(&mut self) {
        tracing::error!("a fault of the host: a thread that serves connections panicked, and continues");
        self.failures += 1;
        self.scratch.clear();
        self.ready.clear();
        self.postponed.clear();
        self.due.clear();
        self.due.push_back(PROBE);
        for (number, connection) in &mut self.connections {
            connection.is_readable = true;
            connection.is_ready = true;
            self.ready.push_back(number);
            self.due.push_back(number);
        }
    }

    /// Takes the content of its inbox: arrivals, wakes, and perhaps the order to end.
    fn collect(&mut self) -> ControlFlow<()> {
        let mut inbox = std::mem::take(&mut self.inbox);
        self.handles[self.place].collect(&mut inbox);
        #[cfg(test)]
        self.inject_fault(inbox.fault.take());
        for probe in inbox.probes.drain(..) {
            probe.admit(&self.waker);
            self.probes.push(probe);
        }
        inbox.arrivals.drain(..).for_each(|arrival| self.admit(arrival));
        self.due.extend(inbox.woken.drain(..));
        if let Some(is_paused) = inbox.pauses.take() {
            self.pause(is_paused);
        }
        let is_over = inbox.is_over;
        self.inbox = inbox;
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Handles no messages of clients from now on, or handles them again. Then every connection is called, because events
    /// that came meanwhile aren't repeated.
    fn pause(&mut self, is_paused: bool) {
        self.scratch.is_paused = is_paused;
        if is_paused {
            return;
        }
        for (number, connection) in &mut self.connections {
            if !std::mem::replace(&mut connection.is_ready, true) {
                self.ready.push_back(number);
            }
        }
    }

    /// Returns how long it may wait for events; none means without a limit.
    fn timeout(&self) -> Option<Duration> {
        let handle = &self.handles[self.place];
        let has_ready = !self.ready.is_empty() || !self.postponed.is_empty();
        let is_held_back = has_ready && handle.pressure().is_high();
        let is_busy = !self.due.is_empty() || (has_ready && !is_held_back);
        if is_busy || !handle.may_sleep() {
            return Some(Duration::ZERO);
        }
        if is_held_back {
            return Some(LOOK);
        }
        self.alarms.peek().map(|Reverse((at, _))| at.saturating_duration_since(self.scratch.now).min(self.sleep_max))
    }

    /// Does the first half of a turn: calls each ready connection once. It ends early under pressure. A connection that has
    /// more to do is called again in the next turn.
    fn handle(&mut self) {
        if self.is_held_back() {
            return;
        }
        self.scratch.inflation.begin_turn();
        while let Some(number) = self.postponed.pop() {
            self.ready.push_front(number);
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

    /// Whether it must not handle messages because of pressure. After [`HELD_BACK_MAX`] it handles messages in one turn
    /// anyway. With several reactors, one may be behind at any time, and otherwise no message would ever be handled.
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

    /// Does the second half of a turn: writes to the due connections, to at most `most` of them.
    fn write(&mut self, most: usize) {
        for _ in 0..self.due.len().min(most) {
            let Some(number) = self.due.pop_front() else { return };
            self.with(number, Connection::flush);
        }
    }

    /// Takes the wakes that were made on this thread. Its own connections become due, and the others are passed on.
    fn gather(&mut self) {
        if has_local_wakes(self.place) {
            let mut woken = take_local_wakes(self.place, std::mem::take(&mut self.spare));
            self.due.extend(woken.drain(..));
            self.spare = woken;
        }
        self.wake_siblings();
    }

    /// Passes on the wakes of other reactors' connections that were made on this thread.
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
        // If there are bytes in the stream, an event follows. The bytes that were already received cause no event.
        connection.is_ready = connection.has_received();
        if connection.is_ready {
            self.ready.push_back(number);
        }
        entry.insert(Box::new(connection));
        self.push_alarm(alarm, number);
    }

    /// Adds an alarm. Outdated alarms stay in the heap, because finding them is slow, until they are about as many as the
    /// connections. Then they are removed all at once. So their number is bounded, and the cost of removing each is small.
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

    /// Calls a connection, and then queues or drops it as it says. A panic ends this connection only.
    fn with(&mut self, number: usize, work: impl FnOnce(&mut Connection, &mut Scratch) -> Next) {
        let Some(connection) = self.connections.get_mut(number) else { return self.without_connection(number) };
        let next = catch_unwind(AssertUnwindSafe(|| work(connection, &mut self.scratch))).unwrap_or_else(|_| {
            tracing::error!("a fault of the host: serving a connection caused a panic");
            // The frames in the scratch buffers may be this connection's, and must not be written to another one.
            self.scratch.clear();
            // Caught separately, so that the connection is dropped even if this panics too.
            if catch_unwind(AssertUnwindSafe(|| connection.note(Reason::HostPanicked))).is_err() {
                tracing::error!("a fault of the host: counting a closed connection caused a panic");
            }
            Next::Drop
        });
        match next {
            Next::Drop => return end(self.connections.remove(number)),
            Next::GoOn if !std::mem::replace(&mut connection.is_ready, true) => self.ready.push_back(number),
            Next::Postponed if !std::mem::replace(&mut connection.is_ready, true) => self.postponed.push(number),
            Next::GoOn | Next::Postponed | Next::Wait => {}
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

    /// A number that no connection has is that of the probes, or of a connection that has ended.
    #[cold]
    fn without_connection(&mut self, number: usize) {
        if number == PROBE {
            self.probes.drain(..).for_each(Probe::take);
        }
    }

    /// Sets a connection's alarm to its deadline.
    fn arm(&mut self, number: usize) {
        if let Some(connection) = self.connections.get_mut(number) {
            let at = connection.deadline();
            connection.alarm = at;
            self.push_alarm(at, number);
        }
    }

    /// Checks the deadlines of the connections whose alarm has come. A deadline may have moved since its alarm was set.
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

/// Drops a connection. This ends its channels, which runs code of the rest of the host. A panic there must not reach the
/// other connections.
fn end(connection: Box<Connection>) {
    if catch_unwind(AssertUnwindSafe(|| drop(connection))).is_err() {
        tracing::error!("a fault of the host: closing a connection caused a panic");
    }
}

impl Drop for Reactor {
    /// Drops the connections. Effects of that, such as broadcasts when their members leave, still reach the connections of
    /// other reactors: the wakes for them are passed on here.
    fn drop(&mut self) {
        self.connections.drain().for_each(end);
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
    fn the_number_of_outdated_alarms_is_bounded() -> io::Result<()> {
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
