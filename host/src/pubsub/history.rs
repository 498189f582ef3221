//! The last broadcasts of a topic, kept for clients that join again.
//!
//! An audience has a history if its route asks for one, from the first join on. Its broadcasts are then numbered, under
//! the audience's lock. So the numbers have the order in which the members and the observers get the broadcasts. An
//! audience lives as long as its history, also without members, so a broadcast has its number in any case.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::num::NonZeroU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bennu_semantics::HistorySpec;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::{Broadcast, Encoded, Except, Histories};
use crate::counts::Limit;
use crate::parcel::{BroadcastRecord, HistoryRecord, PayloadRecord};
use crate::protocol::{Payload, Topic, event};

/// The bytes that each kept broadcast counts in addition to its event, payload and frames.
const MESSAGE_BYTES: usize = 384;
const _: () = assert!(size_of::<StoredBroadcast>() <= MESSAGE_BYTES, "the limits count less than is used");

/// The bytes that each history counts in addition, with its audience.
const HISTORY_BYTES: usize = 1024;

/// How long the client of a member that has ended is known. The member's last broadcasts leave out that client, too.
const CLIENT_REMEMBERED: Duration = Duration::from_secs(60);

/// The most members that have ended and whose clients are known.
const CLIENTS_REMEMBERED_MAX: usize = 4096;

/// The identity of a history, or of the log of events: a random number that it gets when it begins. A client with another
/// one has missed an unknown number of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u64);

impl Epoch {
    /// The identity of no history.
    pub const UNKNOWN: Self = Self(0);

    pub(super) fn new() -> Self {
        // Without the system's randomness, the keys of a hasher are the next best.
        let random = getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(()));
        Self(random.max(1))
    }

    /// Reads the text that [`Display`](fmt::Display) writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_epoch = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_epoch.then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A place in a topic's history: after the broadcast with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The history.
    pub epoch: Epoch,
    /// The number of the last broadcast before this place. 0 is the begin of the history.
    pub number: u64,
}

/// Identifies a client across its memberships: a hash of the text that the client has chosen. Broadcasts that leave out
/// one of its members leave out the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey(u64);

/// The secret of this process, or of the one that it has replaced.
static SECRET: OnceLock<[u8; 32]> = OnceLock::new();

impl ClientKey {
    /// Returns the key of a client that has chosen this text. It depends on a secret, so nobody can search for texts with the
    /// same key.
    #[must_use]
    pub fn of(client: &str) -> Self {
        let hash = Sha256::new().chain_update(Self::secret()).chain_update(client).finalize();
        Self(u64::from_be_bytes(hash.first_chunk().copied().unwrap_or_default()))
    }

    /// Returns the secret, for a successor. Its keys must be the same.
    #[must_use]
    pub fn secret() -> [u8; 32] {
        *SECRET.get_or_init(|| {
            let mut secret = [0; 32];
            if getrandom::fill(&mut secret).is_err() {
                // Without the system's randomness, the keys of a hasher are the next best.
                secret[..8].copy_from_slice(&RandomState::new().hash_one(()).to_be_bytes());
            }
            secret
        })
    }

    /// Sets the secret of the process that this one replaces. It has no effect once a key was made.
    pub fn set_secret(secret: [u8; 32]) {
        let _ = SECRET.set(secret);
    }
}

/// A kept broadcast.
struct StoredBroadcast {
    /// The broadcast, with the frames that were made for members.
    encoded: Encoded<'static>,
    at: Instant,
    /// The bytes that are counted for it.
    bytes: usize,
    /// The clients that don't get it.
    except: Box<[ClientKey]>,
}

/// The history of one topic.
pub(super) struct History {
    topic: Topic,
    epoch: Epoch,
    spec: HistorySpec,
    /// The kept broadcasts. Their numbers are consecutive, and the last one has the number `last`.
    stored: VecDeque<StoredBroadcast>,
    last: u64,
    bytes: usize,
    /// When the last broadcast was made, or the last member has ended.
    used: Instant,
    /// The clients of members that asked for recovery.
    clients: HashMap<u64, ClientKey>,
    /// The members among them that have ended, and when.
    ended: VecDeque<(Instant, u64)>,
    /// Whether the route asks for no history at present. Then broadcasts get no numbers. The history stays, so that no
    /// number is used twice.
    is_paused: bool,
    /// The counts and limits of all histories.
    all: Arc<Histories>,
}

/// Whether a broadcast may be kept. Droppable messages and changes of presences are replaced by later ones.
pub(super) fn is_kept(broadcast: &Broadcast) -> bool {
    broadcast.droppable.is_none() && &*broadcast.event != event::PRESENCE_DIFF
}

impl History {
    pub(super) fn new(topic: &Topic, spec: HistorySpec, all: &Arc<Histories>) -> Self {
        all.count_history(true);
        all.add_bytes(HISTORY_BYTES);
        Self {
            topic: topic.clone(),
            epoch: Epoch::new(),
            spec,
            stored: VecDeque::new(),
            last: 0,
            bytes: HISTORY_BYTES,
            used: Instant::now(),
            clients: HashMap::new(),
            ended: VecDeque::new(),
            is_paused: false,
            all: Arc::clone(all),
        }
    }

    /// The history as a record, and its broadcasts.
    pub(super) fn pack(&self) -> (HistoryRecord, Vec<BroadcastRecord>) {
        let now = Instant::now();
        let clients = self.clients.iter().map(|(member, client)| (*member, client.0)).collect();
        let record = HistoryRecord {
            epoch: self.epoch.0,
            last: self.last,
            count: self.spec.count,
            age_ms: milliseconds(self.spec.age),
            clients,
        };
        let broadcasts = self.stored.iter().map(|stored| {
            let Broadcast { event, payload, .. } = stored.encoded.broadcast();
            BroadcastRecord {
                ago_ms: milliseconds(now.duration_since(stored.at)),
                event: event.clone(),
                payload: match payload {
                    Payload::Json(text) => PayloadRecord::Json(text.clone()),
                    Payload::Binary(bytes) => PayloadRecord::Binary(bytes.clone()),
                },
                except: stored.except.iter().map(|client| client.0).collect(),
            }
        });
        (record, broadcasts.collect())
    }

    /// The history of another host. Its members have ended.
    pub(super) fn adopted(
        topic: &Topic,
        record: HistoryRecord,
        broadcasts: Vec<BroadcastRecord>,
        all: &Arc<Histories>,
    ) -> Self {
        let HistoryRecord { epoch, last, count, age_ms, clients } = record;
        let now = Instant::now();
        let mut history = Self::new(topic, HistorySpec { count, age: Duration::from_millis(age_ms) }, all);
        (history.epoch, history.last) = (Epoch(epoch), last);
        history.ended = clients.iter().map(|(member, _)| (now, *member)).collect();
        history.clients = clients.into_iter().map(|(member, client)| (member, ClientKey(client))).collect();
        let first = last.saturating_sub(broadcasts.len() as u64);
        for (number, BroadcastRecord { ago_ms, event, payload, except }) in (first + 1..).zip(broadcasts) {
            let payload = match payload {
                PayloadRecord::Json(text) => Payload::Json(text),
                PayloadRecord::Binary(bytes) => Payload::Binary(bytes),
            };
            let broadcast = Broadcast {
                topic: topic.clone(),
                event: event.to_string().into(),
                payload: payload.detached(),
                except: Except::Nobody,
                droppable: None,
                number: NonZeroU64::new(number),
            };
            let at = now.checked_sub(Duration::from_millis(ago_ms)).unwrap_or(now);
            history.keep(broadcast, at, except.into_iter().map(ClientKey).collect());
        }
        history.trim(now);
        history
    }

    pub(super) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// From now on, all positions of before are unknown.
    pub(super) fn begin_epoch(&mut self) {
        self.epoch = Epoch::new();
    }

    /// The place after the last broadcast.
    pub(super) fn position(&self) -> Position {
        Position { epoch: self.epoch, number: self.last }
    }

    /// Applies the route's option, which a new build may have changed. Without a history, the broadcasts of the topic
    /// can't be recovered, so the epoch ends. Returns whether a new epoch begins.
    pub(super) fn set_spec(&mut self, spec: Option<HistorySpec>) -> bool {
        let Some(spec) = spec else {
            self.is_paused = true;
            while !self.stored.is_empty() {
                self.drop_oldest();
            }
            return false;
        };
        if self.spec != spec {
            self.spec = spec;
            self.trim(Instant::now());
        }
        let begins = std::mem::take(&mut self.is_paused);
        if begins {
            self.begin_epoch();
        }
        begins
    }

    /// Gives a broadcast its number, and keeps it.
    pub(super) fn add(&mut self, broadcast: &mut Broadcast) {
        let now = Instant::now();
        self.last += 1;
        self.used = now;
        broadcast.number = NonZeroU64::new(self.last);
        let except = self.left_out(&broadcast.except);
        let mut stored = broadcast.clone();
        // The members that it leaves out will have other numbers when they join again.
        stored.except = Except::Nobody;
        stored.payload = broadcast.payload.detached();
        self.keep(stored, now, except);
        self.trim(now);
    }

    fn keep(&mut self, broadcast: Broadcast, at: Instant, except: Box<[ClientKey]>) {
        let bytes = MESSAGE_BYTES + broadcast.event.len() + broadcast.payload.len() + size_of_val(&*except);
        self.stored.push_back(StoredBroadcast { encoded: Encoded::of(broadcast), at, bytes, except });
        self.add_bytes(bytes);
        self.all.count_stored(1, 0);
    }

    fn left_out(&self, except: &Except) -> Box<[ClientKey]> {
        match except {
            Except::Nobody => Box::default(),
            Except::Member(member) => self.clients.get(member).copied().into_iter().collect(),
            Except::Socket { members, .. } => {
                members.iter().filter_map(|member| self.clients.get(member)).copied().collect()
            }
        }
    }

    /// The frames of a broadcast with this number, if it is kept. Call [`recount`](Self::recount) after their use.
    pub(super) fn frames(&mut self, number: NonZeroU64) -> Option<&mut Encoded<'static>> {
        let index = self.index(number.get())?;
        self.stored.get_mut(index).map(|stored| &mut stored.encoded)
    }

    /// Counts the frames of the broadcasts from this number on, which were made since they were last counted.
    pub(super) fn recount(&mut self, from: NonZeroU64) {
        let Some(first) = self.index(from.get()) else { return };
        let mut more = 0;
        for stored in self.stored.range_mut(first..) {
            let fixed = MESSAGE_BYTES + stored.encoded.payload_bytes() + size_of_val(&*stored.except);
            let bytes = fixed + stored.encoded.frame_bytes();
            more += bytes - stored.bytes;
            stored.bytes = bytes;
        }
        self.add_bytes(more);
        self.trim(Instant::now());
    }

    fn index(&self, number: u64) -> Option<usize> {
        let first = self.last + 1 - self.stored.len() as u64;
        usize::try_from(number.checked_sub(first)?).ok().filter(|index| *index < self.stored.len())
    }

    /// The broadcasts after a position that are for this client, in order. None if some of them aren't known.
    pub(super) fn missed(&mut self, since: Position, client: ClientKey) -> Option<Missed<'_>> {
        self.trim(Instant::now());
        if since.epoch != self.epoch || since.number > self.last {
            return None;
        }
        let missed = usize::try_from(self.last - since.number).ok().filter(|missed| *missed <= self.stored.len())?;
        let first = self.stored.len() - missed;
        let stored = self.stored.range_mut(first..);
        let is_for = move |stored: &&mut StoredBroadcast| !stored.except.contains(&client);
        Some(Box::new(stored.filter(is_for).map(|stored| &mut stored.encoded)))
    }

    /// A member of this client has joined.
    pub(super) fn join(&mut self, member: u64, client: ClientKey) {
        self.clients.insert(member, client);
    }

    /// A member has ended.
    pub(super) fn leave(&mut self, member: u64) {
        self.used = Instant::now();
        if self.clients.contains_key(&member) {
            self.ended.push_back((self.used, member));
            self.forget_clients(self.used);
        }
    }

    fn forget_clients(&mut self, now: Instant) {
        while let Some((ended, member)) = self.ended.front()
            && (now.duration_since(*ended) > CLIENT_REMEMBERED || self.ended.len() > CLIENTS_REMEMBERED_MAX)
        {
            self.clients.remove(member);
            self.ended.pop_front();
        }
    }

    /// Drops what is too old or too much.
    pub(super) fn trim(&mut self, now: Instant) {
        let (count, topic_bytes) = (self.spec.count as usize, self.all.limits().topic_bytes);
        while let Some(oldest) = self.stored.front()
            && (self.stored.len() > count
                || self.bytes > topic_bytes
                || self.all.is_over()
                || now.duration_since(oldest.at) > self.spec.age)
        {
            let reached = if self.stored.len() > count {
                Some(Limit::HistoryCount)
            } else if self.bytes > topic_bytes {
                Some(Limit::HistoryBytesPerTopic)
            } else {
                self.all.is_over().then_some(Limit::HistoryBytes)
            };
            reached.into_iter().for_each(Limit::hit);
            self.drop_oldest();
        }
        self.forget_clients(now);
    }

    /// Drops the broadcasts that were made at `limit` or before.
    pub(super) fn drop_until(&mut self, limit: Instant) {
        while self.stored.front().is_some_and(|oldest| oldest.at <= limit) {
            Limit::HistoryBytes.hit();
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.stored.pop_front() {
            self.bytes -= oldest.bytes;
            self.all.remove_bytes(oldest.bytes);
            self.all.count_stored(0, 1);
        }
        if self.stored.is_empty() {
            self.stored = VecDeque::new();
        }
    }

    fn add_bytes(&mut self, more: usize) {
        self.bytes += more;
        self.all.add_bytes(more);
    }

    /// Calls `each` with the time and the bytes of each kept broadcast.
    pub(super) fn ages(&self, mut each: impl FnMut(Instant, usize)) {
        self.stored.iter().for_each(|stored| each(stored.at, stored.bytes));
    }

    /// Calls `each` with the time and the bytes of the history itself.
    pub(super) fn age(&self, each: impl FnOnce(Instant, usize)) {
        each(self.used, HISTORY_BYTES);
    }

    /// Whether nobody can need it any more, if its topic has no member: every position in it is too old, or it was last
    /// used at `limit` or before.
    pub(super) fn is_unused(&self, now: Instant, limit: Option<Instant>) -> bool {
        now.duration_since(self.used) > self.spec.age || limit.is_some_and(|limit| self.used <= limit)
    }

    /// Whether the histories of the host have so little space left that the one of a topic without members must end.
    pub(super) fn is_in_the_way(&self) -> bool {
        self.all.is_tight()
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The broadcasts that a client has missed.
pub(super) type Missed<'a> = Box<dyn Iterator<Item = &'a mut Encoded<'static>> + 'a>;

impl Drop for History {
    fn drop(&mut self) {
        self.all.remove_bytes(self.bytes);
        self.all.count_stored(0, self.stored.len());
        self.all.count_history(false);
    }
}
