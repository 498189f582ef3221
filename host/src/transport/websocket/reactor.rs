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
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::connection::{Arrival, Connection, Desk, Next};
use super::post::{Letters, Post, is_rung_here, rung_here, settle_here};
use crate::pubsub::{Bell, HELD_BACK_MAX};

/// Streams that are looked at in a turn.
const EVENTS_A_TURN: usize = 256;

/// Connections that are written to in a turn, unless an outbox fills.
const WRITES_A_TURN: usize = 128;

/// How often a thread that is held back looks whether it still is.
const LOOK: Duration = Duration::from_millis(1);

/// What the operating system calls the post's waker.
pub(super) const POST: Token = Token(usize::MAX);

/// The state of the thread.
pub(super) struct Reactor {
    poll: Poll,
    /// The posts of its group, of which one is its own.
    posts: Arc<[Arc<Post>]>,
    place: usize,
    bell: Arc<dyn Bell>,
    /// Boxed, so that room for more of them is cheap.
    connections: Slab<Box<Connection>>,
    desk: Desk,
    letters: Letters,
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
}

impl Reactor {
    pub(super) fn new(poll: Poll, posts: Arc<[Arc<Post>]>, place: usize) -> Self {
        Self {
            poll,
            bell: Arc::clone(&posts[place]) as _,
            posts,
            place,
            connections: Slab::new(),
            desk: Desk::new(),
            letters: Letters::default(),
            spare: Vec::new(),
            ready: VecDeque::new(),
            due: VecDeque::new(),
            alarms: BinaryHeap::new(),
            held_back: None,
        }
    }

    /// Works until its group is over. Its connections end with it.
    pub(super) fn run(mut self) {
        settle_here(&self.posts);
        let mut events = Events::with_capacity(EVENTS_A_TURN);
        loop {
            let patience = self.patience();
            if let Err(error) = self.poll.poll(&mut events, patience)
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!("a thread that serves connections can't go on: {error}");
                return;
            }
            self.desk.now = Instant::now();
            if self.collect().is_break() {
                return;
            }
            events.iter().filter(|event| event.token() != POST).for_each(|event| self.on_event(event));
            self.handle();
            self.gather();
            if self.posts[self.place].catch_up() {
                // Of what others have filled, a letter tells.
                let over = self.collect();
                self.write(usize::MAX);
                self.posts[self.place].pressure().lower();
                if over.is_break() {
                    return;
                }
            } else {
                self.write(WRITES_A_TURN);
            }
            self.gather();
            self.on_alarms();
        }
    }

    /// Takes what others have left for it, perhaps that it is over.
    fn collect(&mut self) -> ControlFlow<()> {
        let mut letters = std::mem::take(&mut self.letters);
        self.posts[self.place].collect(&mut letters);
        letters.arrivals.drain(..).for_each(|arrival| self.admit(arrival));
        self.due.extend(letters.rung.drain(..));
        let is_over = letters.is_over;
        self.letters = letters;
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// How long it may wait for something to happen; none is for ever.
    fn patience(&self) -> Option<Duration> {
        let post = &self.posts[self.place];
        let is_held_back = !self.ready.is_empty() && post.pressure().is_high();
        let is_busy = !self.due.is_empty() || (!self.ready.is_empty() && !is_held_back);
        if is_busy || !post.may_sleep() {
            return Some(Duration::ZERO);
        }
        if is_held_back {
            return Some(LOOK);
        }
        self.alarms.peek().map(|Reverse((at, _))| at.saturating_duration_since(self.desk.now))
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
            if self.posts[self.place].pressure().is_high() {
                return;
            }
        }
    }

    fn is_held_back(&mut self) -> bool {
        if self.posts[self.place].pressure().is_high() {
            let since = *self.held_back.get_or_insert(self.desk.now);
            if self.desk.now - since < HELD_BACK_MAX {
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
        if is_rung_here(self.place) {
            let mut rung = rung_here(self.place, std::mem::take(&mut self.spare));
            self.due.extend(rung.drain(..));
            self.spare = rung;
        }
        self.ring_siblings();
    }

    /// Passes on what this thread has rung at others of the group.
    fn ring_siblings(&mut self) {
        for (place, post) in self.posts.iter().enumerate().filter(|(place, _)| *place != self.place) {
            if is_rung_here(place) {
                let mut rung = rung_here(place, std::mem::take(&mut self.spare));
                post.leave(|letters| letters.rung.append(&mut rung));
                self.spare = rung;
            }
        }
    }

    fn admit(&mut self, arrival: Arrival) {
        let entry = self.connections.vacant_entry();
        let number = entry.key();
        let mut connection = Connection::new(arrival, self.desk.now);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(connection.stream(), Token(number), interest) {
            return tracing::warn!("a connection can't be served: {error}");
        }
        connection.outbox().hang(&self.bell, number);
        self.alarms.push(Reverse((connection.alarm, number)));
        // Of what is to be read there will be an event.
        connection.is_ready = connection.has_received();
        if connection.is_ready {
            self.ready.push_back(number);
        }
        entry.insert(Box::new(connection));
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
    fn with(&mut self, number: usize, work: impl FnOnce(&mut Connection, &mut Desk) -> Next) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        let next = catch_unwind(AssertUnwindSafe(|| work(connection, &mut self.desk))).unwrap_or_else(|_| {
            tracing::error!("a fault of the host: what a client sent caused a panic");
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
            connection.alarm = connection.deadline();
            self.alarms.push(Reverse((connection.alarm, number)));
        }
    }

    fn on_alarms(&mut self) {
        while let Some(&Reverse((at, number))) = self.alarms.peek()
            && at <= self.desk.now
        {
            self.alarms.pop();
            if self.connections.get(number).is_some_and(|connection| connection.alarm == at) {
                self.with(number, |connection, desk| connection.on_alarm(desk.now));
                self.arm(number);
            }
        }
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.posts[self.place].give_up();
    }
}
