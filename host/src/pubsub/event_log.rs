//! The last events of the topics that programs outside observe: broadcasts, joins and leaves.
//!
//! All topics share one log, and an event has one number in it. So a reader of many topics has one position. Only events of
//! topics that match a watched pattern are kept. A pattern is watched from its first reader until a while after its last,
//! so that a reader whose connection was lost can go on. A reader has no queue: it reads the log at its own pace, and is
//! told if events that it hasn't read were dropped.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytestring::ByteString;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Broadcast, Epoch, Position};
use crate::counts::Limit;
use crate::protocol::{Pattern, Payload, Topic};

/// How long a pattern is watched after its last reader.
const WATCHED_AFTER: Duration = Duration::from_secs(60);

/// The most readers at a time.
pub const READERS_MAX: usize = 16;

/// The most patterns of one reader.
pub const PATTERNS_MAX: usize = 100;

/// The most patterns that are watched without a reader. The ones that were left first end first.
const UNREAD_PATTERNS_MAX: usize = 1_000;

/// The most events that are kept, and their bytes.
const EVENTS_MAX: usize = 10_000;
const BYTES_MAX: usize = 16 << 20;

/// The bytes that each event counts in addition to its names and payload.
const EVENT_BYTES: usize = 256;

/// The most events that a reader passes over while it holds the lock.
const PASSED_AT_ONCE: usize = 256;

/// An event of a topic.
#[derive(Debug)]
pub struct TopicEvent {
    /// Its number. Each event has the number after that of the event before.
    pub number: u64,
    /// Its topic.
    pub topic: Topic,
    /// What has happened.
    pub kind: TopicEventKind,
    /// Whether it has happened at another node.
    pub is_from_elsewhere: bool,
}

/// What has happened in a topic.
#[derive(Debug)]
pub enum TopicEventKind {
    /// A broadcast was made. Members may get something else, or nothing, if `handle_out` decides about it.
    Broadcast {
        /// The event.
        event: ByteString,
        /// The payload.
        payload: Payload,
    },
    /// A member has joined.
    Join(MemberInfo),
    /// A member has ended.
    Leave(MemberInfo),
}

/// A member, as programs outside see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// Its number.
    pub member: u64,
    /// Its user.
    pub user: Option<Box<str>>,
    /// The id of its socket.
    pub socket_id: Option<Box<str>>,
}

/// Returns what programs outside see of a member, from [`Subscriber::member`](super::Subscriber::member).
pub type DescribeMember = fn(&Arc<dyn Any + Send + Sync>) -> Option<MemberInfo>;

/// Why a reader wasn't made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyReaders;

/// The log.
pub struct EventLog {
    /// Whether a pattern is watched. It is a hint that saves the lock, so its accesses are relaxed: an event that is made
    /// at the same time as the first reader may be before it or after it.
    is_watching: AtomicBool,
    /// The lock comes after the lock of an audience.
    inner: Mutex<Inner>,
    /// The number of the last event, for readers that wait.
    last: watch::Sender<u64>,
    describe: OnceLock<DescribeMember>,
}

struct Inner {
    epoch: Epoch,
    watched: Vec<Watched>,
    /// The numbers of the kept events are consecutive, and the last one has the number `last`.
    stored: VecDeque<(Arc<TopicEvent>, usize)>,
    last: u64,
    bytes: usize,
    readers: usize,
    /// Whether the host is stopping.
    is_closed: bool,
}

/// A pattern whose events are kept.
struct Watched {
    pattern: Pattern,
    readers: usize,
    /// The number of the last event before it was watched.
    since: u64,
    /// When its last reader ended.
    left: Instant,
    /// Whether a program outside has read it. The host's own readers want only what happens at this node.
    is_from_outside: bool,
}

impl Default for EventLog {
    fn default() -> Self {
        let inner = Inner {
            epoch: Epoch::new(),
            watched: Vec::new(),
            stored: VecDeque::new(),
            last: 0,
            bytes: 0,
            readers: 0,
            is_closed: false,
        };
        let (is_watching, last) = (AtomicBool::new(false), watch::Sender::new(0));
        Self { is_watching, inner: Mutex::new(inner), last, describe: OnceLock::new() }
    }
}

impl EventLog {
    /// Sets how members are described. Later calls are ignored.
    pub fn set_describe(&self, describe: DescribeMember) {
        let _ = self.describe.set(describe);
    }

    /// Starts a reader of the topics that match one of these patterns. It begins after `since`, or with the next event.
    /// Returns whether the log has all events of these topics after `since`; true without a `since`.
    ///
    /// # Errors
    /// If there are too many readers.
    pub fn read(
        self: &Arc<Self>,
        patterns: Vec<Pattern>,
        since: Option<Position>,
    ) -> Result<(EventReader, bool), TooManyReaders> {
        let mut inner = self.lock();
        if inner.readers >= READERS_MAX {
            Limit::EventStreams.hit();
            return Err(TooManyReaders);
        }
        inner.readers += 1;
        Ok(self.read_in(inner, patterns, since, true))
    }

    /// Starts a reader of the host itself, which isn't counted. It begins with the next event.
    #[must_use]
    pub fn read_for_host(self: &Arc<Self>, patterns: Vec<Pattern>) -> EventReader {
        self.read_in(self.lock(), patterns, None, false).0
    }

    fn read_in(
        self: &Arc<Self>,
        mut inner: MutexGuard<'_, Inner>,
        patterns: Vec<Pattern>,
        since: Option<Position>,
        is_counted: bool,
    ) -> (EventReader, bool) {
        inner.end_unread(Instant::now());
        let watched_since = patterns.iter().map(|pattern| inner.watch(pattern, is_counted)).max().unwrap_or(inner.last);
        self.is_watching.store(true, Ordering::Relaxed);
        let first = inner.first();
        let known = since.filter(|since| {
            let number = since.number;
            since.epoch == inner.epoch && (watched_since.max(first - 1)..=inner.last).contains(&number)
        });
        let at = known.map_or(inner.last, |known| known.number);
        let (log, last) = (Arc::clone(self), self.last.subscribe());
        let reader = EventReader { log, patterns: patterns.into(), epoch: inner.epoch, at, last, is_counted };
        (reader, since.is_none() || known.is_some())
    }

    /// Keeps a broadcast, if its topic is watched.
    #[inline]
    pub(super) fn broadcast(&self, broadcast: &Broadcast, is_from_elsewhere: bool) {
        if self.is_watching.load(Ordering::Relaxed) {
            let Broadcast { topic, event, payload, .. } = broadcast;
            let kind = || TopicEventKind::Broadcast { event: event.clone(), payload: payload.detached() };
            self.add(topic, is_from_elsewhere, kind);
        }
    }

    /// Keeps the join of a member, or its end, if its topic is watched.
    #[inline]
    pub(super) fn member(&self, topic: &Topic, member: &Arc<dyn Any + Send + Sync>, has_joined: bool) {
        if self.is_watching.load(Ordering::Relaxed)
            && let Some(info) = self.describe(member)
        {
            self.add(topic, false, || TopicEventKind::of_member(info, has_joined));
        }
    }

    /// Describes a member, as programs outside see it.
    pub(super) fn describe(&self, member: &Arc<dyn Any + Send + Sync>) -> Option<MemberInfo> {
        self.describe.get().and_then(|describe| describe(member))
    }

    /// Keeps the join of a member of another node, or its end, if its topic is watched.
    pub fn member_elsewhere(&self, topic: &Topic, info: MemberInfo, has_joined: bool) {
        if self.is_watching.load(Ordering::Relaxed) {
            self.add(topic, true, || TopicEventKind::of_member(info, has_joined));
        }
    }

    /// Tells all readers that they have missed events: those of another node that were lost.
    pub fn lose(&self) {
        let mut inner = self.lock();
        while !inner.stored.is_empty() {
            inner.drop_oldest();
        }
        // A number without an event. Whoever has read the last event hasn't read this one.
        inner.last += 1;
        let last = inner.last;
        drop(inner);
        self.last.send_replace(last);
    }

    /// The patterns that programs outside watch, each once.
    #[must_use]
    pub fn watched(&self) -> Vec<Pattern> {
        if !self.is_watching.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.lock()
            .watched
            .iter()
            .filter(|watched| watched.is_from_outside)
            .map(|watched| watched.pattern.clone())
            .collect()
    }

    #[cold]
    fn add(&self, topic: &Topic, is_from_elsewhere: bool, kind: impl FnOnce() -> TopicEventKind) {
        let mut inner = self.lock();
        if !inner.watched.iter().any(|watched| watched.pattern.matches(topic.as_str())) {
            return;
        }
        inner.last += 1;
        let number = inner.last;
        let kind = kind();
        let bytes = EVENT_BYTES + topic.as_str().len() + kind.bytes();
        inner.bytes += bytes;
        inner.stored.push_back((Arc::new(TopicEvent { number, topic: topic.clone(), kind, is_from_elsewhere }), bytes));
        while inner.stored.len() > EVENTS_MAX || inner.bytes > BYTES_MAX {
            Limit::EventsKept.hit();
            inner.drop_oldest();
        }
        drop(inner);
        self.last.send_replace(number);
    }

    /// Ends the patterns without a reader whose time is over.
    pub(super) fn sweep(&self) {
        if !self.is_watching.load(Ordering::Relaxed) {
            return;
        }
        let mut inner = self.lock();
        inner.end_unread(Instant::now());
        if inner.watched.is_empty() {
            // A position before now is of no use any more: the next reader's patterns begin to be watched.
            while !inner.stored.is_empty() {
                inner.drop_oldest();
            }
            self.is_watching.store(false, Ordering::Relaxed);
        }
    }

    /// Ends all readers, when the host stops.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        let last = inner.last;
        drop(inner);
        self.last.send_replace(last);
    }

    /// No panic can leave the data half changed, so a poisoned lock is used like any other.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The number of the first kept event, or of the next event.
    fn first(&self) -> u64 {
        self.last + 1 - self.stored.len() as u64
    }

    fn drop_oldest(&mut self) {
        if let Some((_, bytes)) = self.stored.pop_front() {
            self.bytes -= bytes;
        }
    }

    /// Adds a reader of a pattern. Returns the number of the last event before the pattern was watched.
    fn watch(&mut self, pattern: &Pattern, is_from_outside: bool) -> u64 {
        if let Some(watched) = self.watched.iter_mut().find(|watched| watched.pattern == *pattern) {
            watched.readers += 1;
            watched.is_from_outside |= is_from_outside;
            return watched.since;
        }
        let (since, left) = (self.last, Instant::now());
        self.watched.push(Watched { pattern: pattern.clone(), readers: 1, since, left, is_from_outside });
        since
    }

    fn end_unread(&mut self, now: Instant) {
        self.watched.retain(|watched| watched.readers > 0 || now.duration_since(watched.left) < WATCHED_AFTER);
        let unread = self.watched.iter().filter(|watched| watched.readers == 0).count();
        for _ in UNREAD_PATTERNS_MAX..unread {
            Limit::EventTopics.hit();
            let unread = self.watched.iter().enumerate().filter(|(_, watched)| watched.readers == 0);
            if let Some((oldest, _)) = unread.min_by_key(|(_, watched)| watched.left) {
                self.watched.swap_remove(oldest);
            }
        }
    }
}

impl TopicEventKind {
    fn of_member(info: MemberInfo, has_joined: bool) -> Self {
        if has_joined { Self::Join(info) } else { Self::Leave(info) }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Broadcast { event, payload } => event.len() + payload.len(),
            Self::Join(member) | Self::Leave(member) => {
                [&member.user, &member.socket_id].into_iter().flatten().map(|text| text.len()).sum()
            }
        }
    }
}

/// A reader of the log.
pub struct EventReader {
    log: Arc<EventLog>,
    patterns: Arc<[Pattern]>,
    epoch: Epoch,
    /// The number of the last event that it has passed.
    at: u64,
    last: watch::Receiver<u64>,
    /// Whether it counts among the readers.
    is_counted: bool,
}

/// What a reader gets.
#[derive(Debug)]
pub enum ReadEvent {
    /// The next event.
    Event(Arc<TopicEvent>),
    /// Events were dropped before it read them.
    Missed,
}

impl EventReader {
    /// Its position: after the last event that it has passed.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, number: self.at }
    }

    /// Waits for the next event of its topics. None if the host is stopping.
    pub async fn next(&mut self) -> Option<ReadEvent> {
        loop {
            // Before the log is read, so that an event that comes then wakes the reader.
            self.last.borrow_and_update();
            match self.poll() {
                Polled::Read(event) => return Some(event),
                Polled::Closed => return None,
                Polled::More => tokio::task::yield_now().await,
                Polled::Nothing => self.last.changed().await.ok()?,
            }
        }
    }

    /// Whether it has read all events that have happened.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        let inner = self.log.lock();
        inner.is_closed || self.at >= inner.last
    }

    fn poll(&mut self) -> Polled {
        let inner = self.log.lock();
        if inner.is_closed {
            return Polled::Closed;
        }
        let first = inner.first();
        if self.at + 1 < first {
            self.at = first - 1;
            return Polled::Read(ReadEvent::Missed);
        }
        let passed = usize::try_from(self.at + 1 - first).unwrap_or(usize::MAX);
        for (event, _) in inner.stored.iter().skip(passed).take(PASSED_AT_ONCE) {
            self.at = event.number;
            if self.patterns.iter().any(|pattern| pattern.matches(event.topic.as_str())) {
                return Polled::Read(ReadEvent::Event(Arc::clone(event)));
            }
        }
        if self.at < inner.last { Polled::More } else { Polled::Nothing }
    }
}

enum Polled {
    Read(ReadEvent),
    Closed,
    More,
    Nothing,
}

impl Drop for EventReader {
    fn drop(&mut self) {
        let mut inner = self.log.lock();
        inner.readers -= usize::from(self.is_counted);
        let now = Instant::now();
        for watched in &mut inner.watched {
            let mine = self.patterns.iter().filter(|pattern| **pattern == watched.pattern).count();
            if mine > 0 {
                watched.readers -= mine;
                watched.left = now;
            }
        }
    }
}

#[cfg(test)]
mod tests;
