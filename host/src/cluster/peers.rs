//! What a host sends to the others, and what it knows of them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bennu_cluster::{Epoch, Lane, NodePresence, NodeStatus, SendError};
use bytestring::ByteString;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::affected::AffectedTopics;
use super::codec::encode;
use super::counts::{PeerCounters, PeerCounts};
use super::link::ClusterLink;
use super::messages::{BroadcastMessage, MessageBody, NodeMessage, NodeQuestion};
use super::questions::{Answers, Given, Questions};
use super::remote_counts::RemoteCounts;
use super::split_topics::SplitTopics;
use crate::presence::{Delta, DeltaReceiver};
use crate::protocol::{Pattern, Payload, Topic};
use crate::pubsub::{Broadcast, MemberInfo, OtherNodes};
use crate::store::Store;

/// How long a question about the members of a topic waits for answers.
pub(super) const MEMBERS_WAIT: Duration = Duration::from_millis(250);

/// How long a question that changes something waits for answers.
pub(super) const ACT_WAIT: Duration = Duration::from_secs(1);

/// How often [`Peers::connected`] looks at the nodes.
const CONNECTED_POLL: Duration = Duration::from_millis(20);

/// In place of a number that isn't known.
const UNKNOWN: u64 = u64::MAX;

/// The other hosts of a cluster.
pub struct Peers {
    pub(super) link: Arc<dyn ClusterLink>,
    /// For the time of the last unique id.
    store: Store,
    pub(super) questions: Questions,
    remote_counts: Mutex<RemoteCounts>,
    /// The topics of which a balancer keeps all clients at one node.
    sticky: Arc<[Pattern]>,
    pub(super) split_topics: Mutex<SplitTopics>,
    /// The topics whose members have changed since they were last announced, and those that every node has to hear of.
    changed: Mutex<Changed>,
    /// The topics to which a message couldn't be sent since that was last announced.
    dropped: Mutex<AffectedTopics>,
    /// The patterns that the other nodes watch. `is_watched` is a hint that saves the lock: a member that joins at the same
    /// time as the first pattern comes may be before it or after it.
    watched: Mutex<HashMap<Epoch, Vec<Pattern>>>,
    is_watched: AtomicBool,
    /// The nodes for which this one is up: from now on, they hear what it sends.
    known_to: Mutex<HashSet<Epoch>>,
    pub(super) counters: PeerCounters,
    /// Notified when another node says that the records of plugins have changed.
    registry_changed: Notify,
    /// How far this machine's clock was ahead of the database's when they were compared last.
    clock_ahead_ms: AtomicI64,
    /// How many ids of transactions the database's server uses in a day, or [`UNKNOWN`].
    transaction_ids_per_day: AtomicU64,
}

/// What has to be announced about the numbers of members.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) topics: HashSet<Topic>,
    /// Whether all topics have to be announced, because a node may know none.
    pub(super) is_whole: bool,
}

impl Peers {
    /// The peers that a link reaches. A balancer keeps the clients of topics that match one of the `sticky` patterns at one node.
    #[must_use]
    pub fn new(link: Arc<dyn ClusterLink>, store: Store, sticky: Arc<[Pattern]>) -> Arc<Self> {
        Arc::new(Self {
            link,
            store,
            questions: Questions::default(),
            remote_counts: Mutex::default(),
            sticky,
            split_topics: Mutex::default(),
            changed: Mutex::default(),
            dropped: Mutex::new(AffectedTopics::none()),
            watched: Mutex::default(),
            is_watched: AtomicBool::new(false),
            known_to: Mutex::default(),
            counters: PeerCounters::default(),
            registry_changed: Notify::new(),
            clock_ahead_ms: AtomicI64::new(0),
            transaction_ids_per_day: AtomicU64::new(UNKNOWN),
        })
    }

    /// The way to the other nodes, for what an operator sees of it.
    #[must_use]
    pub fn link(&self) -> &dyn ClusterLink {
        &*self.link
    }

    /// Why clients shouldn't connect to this node, if they shouldn't: the others may soon count it as dead.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let lease = self.link.lease();
        if lease.is_good {
            return None;
        }
        let why = lease.failure.map(|why| format!(": {why}")).unwrap_or_default();
        Some(format!("this node is suspended, because it can't renew its lease{why}"))
    }

    /// Notes how far this machine's clock is ahead of the database's, in milliseconds; negative if it is behind.
    pub fn set_clock_ahead_ms(&self, ahead: i64) {
        // It publishes no other data.
        self.clock_ahead_ms.store(ahead, Ordering::Relaxed);
    }

    /// What was noted last; 0 before that.
    #[must_use]
    pub fn clock_ahead_ms(&self) -> i64 {
        self.clock_ahead_ms.load(Ordering::Relaxed)
    }

    /// Notes how many ids of transactions the database's server uses in a day.
    pub fn set_transaction_ids_per_day(&self, ids: u64) {
        // It publishes no other data.
        self.transaction_ids_per_day.store(ids.min(UNKNOWN - 1), Ordering::Relaxed);
    }

    /// What was noted last. None before that.
    #[must_use]
    pub fn transaction_ids_per_day(&self) -> Option<u64> {
        Some(self.transaction_ids_per_day.load(Ordering::Relaxed)).filter(|ids| *ids != UNKNOWN)
    }

    /// Counts since the start.
    #[must_use]
    pub fn counts(&self) -> PeerCounts {
        self.counters.read()
    }

    /// The number of a topic's members at the other nodes. It may be a second old.
    #[must_use]
    pub fn count(&self, topic: &str) -> usize {
        lock(&self.remote_counts).count(topic)
    }

    /// How many topics have members at the other nodes.
    #[must_use]
    pub fn topics_elsewhere(&self) -> usize {
        lock(&self.remote_counts).topics()
    }

    /// Adds the topics and members of the other nodes to those of this one. Both lists are in order, and begin with `prefix`.
    #[must_use]
    pub fn topics_under(
        &self,
        here: Vec<(Topic, usize)>,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<(Topic, usize)> {
        let elsewhere = lock(&self.remote_counts).under(prefix, after, limit);
        let mut all = std::collections::BTreeMap::new();
        for (topic, members) in here.into_iter().chain(elsewhere) {
            *all.entry(topic).or_insert(0) += members;
        }
        all.into_iter().take(limit).collect()
    }

    /// Waits until all living nodes hear this one and are heard by it, so that no broadcast of a first client is missed, and for at
    /// most `most`. Returns the names of the nodes for which that isn't so.
    pub async fn connected(&self, most: Duration) -> Vec<String> {
        let until = Instant::now() + most;
        loop {
            let missing = self.unconnected();
            if missing.as_ref().is_some_and(Vec::is_empty) || Instant::now() >= until {
                return missing.unwrap_or_default();
            }
            tokio::time::sleep(CONNECTED_POLL).await;
        }
    }

    /// The living nodes that this one doesn't hear, or that don't hear this one. None while the table hasn't been read.
    fn unconnected(&self) -> Option<Vec<String>> {
        let (me, nodes, known_to) = (self.link.me(), self.link.nodes(), lock(&self.known_to));
        nodes.iter().find(|node| node.row.id.epoch == me)?;
        let others = nodes.iter().filter(|node| node.row.id.epoch != me && node.presence != NodePresence::Dead);
        let is_connected =
            |node: &&NodeStatus| node.presence == NodePresence::Up && known_to.contains(&node.row.id.epoch);
        Some(others.filter(|node| !is_connected(node)).map(|node| node.row.name.clone()).collect())
    }

    /// A node hears this one from now on.
    pub(super) fn set_known_to(&self, node: Epoch, is_known: bool) {
        let mut known_to = lock(&self.known_to);
        if is_known {
            known_to.insert(node)
        } else {
            known_to.remove(&node)
        };
    }

    /// Announces to the other nodes that the records of plugins have changed. One that doesn't hear it reads them within two seconds.
    pub fn announce_registry_change(&self) {
        let _ = self.send(Lane::All, MessageBody::RegistryChanged);
    }

    /// Counts that the records of plugins couldn't be read or written.
    pub fn count_registry_failure(&self) {
        self.counters.registry_failures.add(1);
    }

    /// Counts records and reports of plugins that this node can't read.
    pub fn count_unreadable_rows(&self, rows: usize) {
        self.counters.rows_unreadable.add(rows as u64);
    }

    /// Waits until another node says that the records of plugins have changed. One waiter is told.
    pub async fn registry_changed(&self) {
        self.registry_changed.notified().await;
    }

    pub(super) fn note_registry_changed(&self) {
        self.registry_changed.notify_one();
    }

    /// Asks all other nodes that are alive, and waits for their answers, at most for `wait`. A node that hasn't been heard lately
    /// counts as asked, but isn't waited for.
    pub async fn ask(&self, question: NodeQuestion, wait: Duration) -> Answers {
        let (me, nodes) = (self.link.me(), self.link.nodes());
        let others = nodes.iter().filter(|node| node.row.id.epoch != me && node.presence != NodePresence::Dead);
        let asked = others.clone().count();
        if asked == 0 {
            return Answers::default();
        }
        self.counters.questions_asked.add(1);
        let heard = others.filter(|node| node.presence == NodePresence::Up).map(|node| node.row.id.epoch);
        let heard: Vec<Epoch> = heard.collect();
        let given = self.ask_heard(heard, question, wait).await;
        self.counters.answers_missing.add((asked - given.len()) as u64);
        Answers { asked, given }
    }

    async fn ask_heard(&self, nodes: Vec<Epoch>, question: NodeQuestion, wait: Duration) -> Given {
        let Some(waiting) = self.questions.enter(nodes) else {
            self.counters.questions_refused.add(1);
            return Vec::new();
        };
        match self.send(Lane::All, MessageBody::Question(waiting.number, question)) {
            Ok(()) => waiting.answers(wait).await,
            Err(_) => Vec::new(),
        }
    }

    /// Sends a message. One that can't be sent is counted.
    pub(super) fn send(&self, lane: Lane, body: MessageBody) -> Result<(), SendError> {
        let message = encode(&NodeMessage { id_time: self.store.last_id_time(), body });
        let sent = self.link.send(lane, message);
        if let Err(SendError::Full | SendError::TooLarge) = sent {
            self.counters.messages_dropped.add(1);
        }
        sent
    }

    /// Sends a message to all other nodes. If that isn't possible, they are told later that they lack a message to this topic.
    fn send_to_topic(&self, topic: &Topic, body: MessageBody) -> bool {
        let sent = self.send(Lane::All, body);
        if let Err(SendError::Full | SendError::TooLarge) = sent {
            lock(&self.dropped).add(topic.as_str());
        }
        sent.is_ok()
    }

    /// Announces to the other nodes that they lack messages, if they do. If that can't be sent either, it is tried again.
    pub(super) fn announce_dropped(&self) {
        let mut dropped = lock(&self.dropped);
        if !dropped.is_empty() && self.send(Lane::All, MessageBody::Dropped(dropped.hashes())).is_ok() {
            *dropped = AffectedTopics::none();
        }
    }

    /// The numbers of members at the other nodes.
    pub(super) fn remote_counts(&self) -> MutexGuard<'_, RemoteCounts> {
        lock(&self.remote_counts)
    }

    /// Those of some topics that are sticky.
    pub(super) fn sticky<'a>(&self, topics: impl Iterator<Item = &'a Topic>) -> Vec<Topic> {
        let is_sticky = |topic: &&Topic| self.sticky.iter().any(|pattern| pattern.matches(topic.as_str()));
        if self.sticky.is_empty() { Vec::new() } else { topics.filter(is_sticky).cloned().collect() }
    }

    /// What has to be announced about the numbers of members.
    pub(super) fn changed(&self) -> MutexGuard<'_, Changed> {
        lock(&self.changed)
    }

    /// Sets which patterns a node watches.
    pub(super) fn set_watched(&self, by: Epoch, patterns: Vec<Pattern>) {
        let mut watched = lock(&self.watched);
        if patterns.is_empty() {
            watched.remove(&by);
        } else {
            watched.insert(by, patterns);
        }
        self.is_watched.store(!watched.is_empty(), Ordering::Relaxed);
    }

    /// The nodes that watch a topic.
    fn watchers(&self, topic: &Topic) -> Vec<Epoch> {
        if !self.is_watched.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let watched = lock(&self.watched);
        let by = |patterns: &Vec<Pattern>| patterns.iter().any(|pattern| pattern.matches(topic.as_str()));
        watched.iter().filter(|(_, patterns)| by(patterns)).map(|(node, _)| *node).collect()
    }
}

impl OtherNodes for Peers {
    fn broadcast(&self, broadcast: &Broadcast) {
        let body = MessageBody::Broadcast(BroadcastMessage::of(broadcast));
        self.counters.broadcasts_sent.add(u64::from(self.send_to_topic(&broadcast.topic, body)));
    }

    fn disconnect(&self, id: &str) {
        let _ = self.send(Lane::All, MessageBody::Disconnect(id.to_owned().into()));
    }

    fn send_member(&self, from: &Topic, (topic, member): (&Topic, u64), event: &str, payload: &Payload) {
        let (from, event) = (from.clone(), event.to_owned().into());
        let body = MessageBody::Member { from, topic: topic.clone(), member, event, payload: payload.clone() };
        self.send_to_topic(topic, body);
    }

    fn push_to_socket(&self, topic: &Topic, socket_id: &str, event: &str, payload: &Payload) {
        let (socket_id, event): (ByteString, ByteString) = (socket_id.to_owned().into(), event.to_owned().into());
        self.send_to_topic(
            topic,
            MessageBody::Socket { topic: topic.clone(), socket_id, event, payload: payload.clone() },
        );
    }

    fn member(&self, topic: &Topic, has_joined: bool, describe: &dyn Fn() -> Option<MemberInfo>) {
        lock(&self.changed).topics.insert(topic.clone());
        let watchers = self.watchers(topic);
        if watchers.is_empty() {
            return;
        }
        let Some(info) = describe() else { return };
        for node in watchers {
            let (topic, info) = (topic.clone(), info.clone());
            // A node that is dead needs nothing.
            let _ = self.send(Lane::Node(node), MessageBody::MemberEvent { topic, info, has_joined });
        }
    }
}

impl DeltaReceiver for Peers {
    fn receive(&self, delta: &Delta) {
        // If it can't be sent, the others find by their clocks that they lack it.
        let _ = self.send(Lane::All, MessageBody::Presence(delta.clone()));
    }
}

/// No panic can leave the data half changed, so a poisoned lock is used like any other.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
