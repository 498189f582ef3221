//! The channels of a host, for the rest of the host.

use std::any::Any;
use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytestring::ByteString;
use tokio::sync::oneshot;

use super::member::{
    Channel, Connection, Intercepts, MemberEvent, MemberSelector, members_of, push_to_all, send_to_all, send_to_number,
};
use super::room::{
    Delivered, DueJob, IdempotentRequest, InfoCause, InfoJob, InfoOutcome, RoomSize, Sender, TopicEvent, TopicMessage,
    Topics, Undelivered, largest_rooms, post_and_spawn, post_message, settle_stored_rooms,
};
use super::topic_info::route_of;
use super::topic_turn::keep_answer;
use super::turn::{MemberNumbers, Services, TurnGate};
use crate::clients::Clients;
use crate::contract::jobs::JobId;
use crate::contract::limits::NodeLimits;
use crate::contract::{Fault, Http, Person, Reply, system_now_ms};
use crate::entries::{EntriesNode, EntryUsage};
use crate::presence::{Pace, Presence};
use crate::protocol::{Payload, Ref, Topic};
use crate::pubsub::{MemberInfo, PubSub};
use crate::routes::RouteTable;
use crate::store::Store;

/// The name of a host that isn't in a cluster, in the lists of presences.
const ALONE: &str = "local";

/// The pause after the first failure to settle stored rooms. It doubles with each further failure, up to the maximum. Each
/// failure writes a line to the log, so a long pause also keeps the log short.
const SETTLING_PAUSE_FIRST: Duration = Duration::from_secs(1);
const SETTLING_PAUSE_MAX: Duration = Duration::from_secs(300);

/// How often [`Node::idle`] looks for broadcasts that wait.
const IDLE_LOOK: Duration = Duration::from_millis(1);

/// What tells a node from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeIdentity {
    /// The host isn't in a cluster.
    Alone,
    /// The host is a node of a cluster. Its members have numbers of blocks that it is given ([`Node::add_member_block`]).
    InCluster {
        /// Its name.
        name: String,
        /// The number of its start. A later start of any node has a greater one.
        epoch: u64,
    },
}

/// All channels and topics of a host, and the services that they use.
pub struct Node {
    /// The behaviour of each topic.
    pub routes: Arc<RouteTable>,
    /// The subscribers of each topic.
    pub pubsub: Arc<PubSub>,
    /// The members that are online.
    pub presence: Arc<Presence>,
    /// The data that outlives the host.
    pub store: Store,
    /// The clients, with the limits of users and addresses.
    pub clients: Arc<Clients>,
    topics: Arc<Topics>,
}

impl Node {
    /// A node without members.
    #[must_use]
    pub fn new(
        routes: Arc<RouteTable>,
        limits: NodeLimits,
        pace: Pace,
        store: Store,
        entries: Arc<EntriesNode>,
    ) -> Arc<Self> {
        Self::with_identity(routes, limits, pace, (store, entries), Http::none(), NodeIdentity::Alone)
    }

    /// A node without members whose plugins may ask for requests by HTTP, and that may be one of several.
    #[must_use]
    pub fn with_identity(
        routes: Arc<RouteTable>,
        limits: NodeLimits,
        pace: Pace,
        (store, entries): (Store, Arc<EntriesNode>),
        http: Arc<Http>,
        identity: NodeIdentity,
    ) -> Arc<Self> {
        let pubsub = Arc::new(PubSub::new());
        pubsub.set_interceptor(Arc::new(Intercepts::new(Arc::clone(&routes))));
        pubsub.events.set_describe(described);
        let (name, incarnation, member_numbers) = match identity {
            NodeIdentity::Alone => (ALONE.into(), system_now_ms(), MemberNumbers::alone()),
            NodeIdentity::InCluster { name, epoch } => (name, epoch, MemberNumbers::in_blocks()),
        };
        let presence = Arc::new(Presence::new(&pubsub, &name, incarnation, pace));
        let services = Services::new(
            Arc::clone(&routes),
            Arc::clone(&pubsub),
            Arc::clone(&presence),
            store.clone(),
            limits,
            entries,
            http,
        )
        .with_member_numbers(member_numbers);
        let clients = Arc::clone(&services.clients);
        Arc::new(Self { routes, pubsub, presence, store, clients, topics: Arc::new(Topics::new(services)) })
    }

    /// A channel that is about to join, by a message with these refs. Its events come after those of `after`, the last
    /// channel of the same socket and topic, if that one may have events.
    #[must_use]
    pub fn channel(
        &self,
        connection: Connection,
        topic: &str,
        refs: (&Ref, &Ref),
        after: Option<&Arc<Channel>>,
    ) -> Arc<Channel> {
        Channel::new(&self.topics, connection, topic, refs, after)
    }

    /// How many channels there are, including those that are joining or ending.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        self.topics.services.channel_count()
    }

    /// How many callbacks have failed since the start.
    #[must_use]
    pub fn fault_count(&self) -> u64 {
        self.topics.services.fault_count()
    }

    /// How many ticks of topics there were since the start, and how many of them were left out because the topic or the
    /// host was busy.
    #[must_use]
    pub fn tick_counts(&self) -> (u64, u64) {
        self.topics.services.tick_counts()
    }

    /// The requests by HTTP that plugins may ask for.
    #[must_use]
    pub fn http(&self) -> &Http {
        &self.topics.services.http
    }

    /// The memory of all entries.
    #[must_use]
    pub fn entry_usage(&self) -> EntryUsage {
        self.topics.services.entries.usage()
    }

    /// The open rooms with the most bytes, at most `most`, from the largest on.
    pub async fn largest_rooms(&self, most: usize) -> Vec<RoomSize> {
        largest_rooms(&self.topics, most).await
    }

    /// The members of a topic, up to `most`.
    #[must_use]
    pub fn people(&self, topic: &str, most: usize) -> Vec<Person> {
        members_of(&self.pubsub, topic).take(most).map(|channel| channel.person()).collect()
    }

    /// The numbers of the members of a topic whose sockets have this id.
    #[must_use]
    pub fn members_of_socket(&self, topic: &str, socket_id: &str) -> HashSet<u64> {
        let is_of_socket = |person: &Person| person.socket_id.as_deref() == Some(socket_id);
        let people = members_of(&self.pubsub, topic).map(|channel| channel.person());
        people.filter(is_of_socket).map(|person| person.member).collect()
    }

    /// The members of the topics that `is_affected` names, to be told to join again one by one.
    #[must_use]
    pub fn members_to_rejoin(&self, is_affected: impl Fn(&str) -> bool) -> Vec<Weak<Channel>> {
        let topics = self.pubsub.topics().into_iter().filter(|(topic, _)| is_affected(topic.as_str()));
        let members = topics.flat_map(|(topic, _)| members_of(&self.pubsub, topic.as_str()));
        members.map(|channel| Arc::downgrade(&channel)).collect()
    }

    /// Adds a block of numbers for members, which no other node has. Blocks of a later call are later blocks.
    pub fn add_member_block(&self, block: u64) {
        self.topics.services.member_numbers.add_block(block);
    }

    /// Waits until a further block of numbers is wanted.
    pub async fn wants_member_block(&self) {
        self.topics.services.member_numbers.wants_block().await;
    }

    /// Waits until there is no channel. In a host that is stopping, this is after the last `terminate`.
    pub async fn emptied(&self) {
        self.topics.services.emptied().await;
    }

    /// Sends an event to a topic's `handle_message`, whether the topic has members or not, and waits for the answer.
    ///
    /// # Errors
    /// If no plugin handles it, a limit is reached, or the callback fails.
    pub async fn send(&self, topic: &str, event: ByteString, payload: Payload) -> Delivered {
        let (sender, delivered) = oneshot::channel();
        post_message(&self.topics, TopicMessage { topic: Topic::new(topic), event, payload, sender: AtOnce(sender) });
        delivered.await.unwrap_or_else(|_| Err(self.unanswered()))
    }

    /// Why the turn of a message was lost: another process has taken over, or the turn has panicked. The turn logs the panic.
    fn unanswered(&self) -> Undelivered {
        if self.gate().has_ended() {
            Undelivered::Busy
        } else {
            Undelivered::Fault(Fault::failed("a fault of the host"))
        }
    }

    /// The same for a request that takes effect once: if it is sent again, it gets the same answer. An answer that comes after the
    /// callback isn't stored: see [`Self::keep_answer`].
    pub async fn send_once(
        &self,
        topic: &str,
        event: ByteString,
        payload: Payload,
        request: Arc<IdempotentRequest>,
        late: LateAnswer,
    ) -> Delivered {
        let (sender, delivered) = oneshot::channel();
        let topic = Topic::new(topic);
        match late {
            LateAnswer::Ignored => {
                let sender = Once { sender: AtOnce(sender), request };
                post_message(&self.topics, TopicMessage { topic, event, payload, sender });
            }
            LateAnswer::Awaited => {
                let sender = Once { sender, request };
                post_message(&self.topics, TopicMessage { topic, event, payload, sender });
            }
        }
        delivered.await.unwrap_or_else(|_| Err(self.unanswered()))
    }

    /// Stores the answer to a request that came after the callback of its message.
    pub async fn keep_answer(&self, topic: &str, request: &IdempotentRequest, reply: &Reply) {
        keep_answer(&self.topics.services, topic, request, reply).await;
    }

    /// Sends an event to the `handle_info` of the selected members of a topic, with the source `member`. Returns their number,
    /// or none if a mailbox is full. Then nothing is sent.
    #[must_use]
    pub fn send_members(
        &self,
        topic: &str,
        selector: &MemberSelector,
        event: &ByteString,
        payload: &Payload,
    ) -> Option<usize> {
        let Some(audience) = self.pubsub.audience(topic) else { return Some(0) };
        let members = selector.find(&audience);
        send_to_all(&members, event, payload).then_some(members.len())
    }

    /// Sends an event of another node to the `handle_info` of a member, if it is here. `from` is the topic of the sender.
    pub fn send_member(&self, from: &Topic, (topic, member): (&Topic, u64), event: ByteString, payload: Payload) {
        if let Some(audience) = self.pubsub.audience(topic.as_str()) {
            send_to_number(&audience, member, from, event, payload);
        }
    }

    /// Pushes an event to the clients of the selected members of a topic. Returns the number of members, or none if the topic's
    /// queue of frames is full. Then nothing is pushed.
    #[must_use]
    pub fn push_members(
        &self,
        topic: &str,
        selector: &MemberSelector,
        event: &str,
        payload: &Payload,
    ) -> Option<usize> {
        let Some(audience) = self.pubsub.audience(topic) else { return Some(0) };
        let members = selector.find(&audience);
        push_to_all(&audience, &members, event, payload).then_some(members.len())
    }

    /// Ends the selected members of a topic, or of all topics, for this reason. Each member ends after the events that wait in
    /// its queue. Its client gets `phx_close`. Returns the number of members.
    pub async fn kick(&self, topic: Option<&str>, selector: &MemberSelector, reason: &str) -> usize {
        let Some(topic) = topic else {
            let mut members = 0;
            for (topic, _) in self.pubsub.topics() {
                members += self.kick_from(topic.as_str(), selector, reason);
                // There may be many topics, and other tasks are more urgent.
                tokio::task::yield_now().await;
            }
            return members;
        };
        self.kick_from(topic, selector, reason)
    }

    fn kick_from(&self, topic: &str, selector: &MemberSelector, reason: &str) -> usize {
        let Some(audience) = self.pubsub.audience(topic) else { return 0 };
        let members = selector.find(&audience);
        members.iter().for_each(|member| member.kick(reason));
        members.len()
    }

    /// The same, but `handle_message` may answer later, within `wait` after the message was sent. Returns none if no answer came
    /// in time.
    pub async fn send_and_wait(
        &self,
        topic: &str,
        event: ByteString,
        payload: Payload,
        wait: Duration,
    ) -> Option<Delivered> {
        let (sender, delivered) = oneshot::channel();
        post_message(&self.topics, TopicMessage { topic: Topic::new(topic), event, payload, sender });
        let delivered = tokio::time::timeout(wait, delivered).await.ok()?;
        Some(delivered.unwrap_or_else(|_| Err(self.unanswered())))
    }

    /// Whether the plugin of a job serves its topic, and takes such messages.
    #[must_use]
    pub fn serves(&self, id: &JobId) -> bool {
        route_of(&self.topics.services, id).is_some()
    }

    /// Gives a job that is due to its topic. The topic's turns get jobs in the order of these calls. The future waits for the
    /// result.
    pub fn run_job(&self, due: DueJob) -> impl Future<Output = InfoOutcome> + Send + use<> {
        let topic = due.id.topic.clone();
        let is_served = self.serves(&due.id);
        // A topic that nobody serves needs no turn.
        let telling = is_served.then(|| self.tell(&topic, InfoCause::Job(due)));
        async move {
            match telling {
                Some(telling) => telling.await,
                None => InfoOutcome::Unserved,
            }
        }
    }

    /// Tells a topic that a generation of its plugin began to serve.
    pub fn tell_start(&self, topic: &Topic) -> impl Future<Output = InfoOutcome> + Send + use<> {
        self.tell(topic, InfoCause::Start)
    }

    fn tell(&self, topic: &Topic, told: InfoCause) -> impl Future<Output = InfoOutcome> + Send + use<> {
        let (result, telling) = oneshot::channel();
        post_and_spawn(&self.topics.of(topic), TopicEvent::Info(Box::new(InfoJob { told, result })));
        // The result is lost only if the turn panics. The turn logs the panic.
        async move { telling.await.unwrap_or(InfoOutcome::Failed) }
    }

    /// Ends the members whose plugin no longer serves their topic. If a probation has ended with a rollback, rolls states
    /// back, so that clients see it at once. If it has ended otherwise, drops the states from before.
    pub async fn sweep(&self) {
        for topic in self.topics.all() {
            if topic.is_room_to_settle() {
                post_and_spawn(&topic, TopicEvent::Review);
            }
        }
        for (topic, _) in self.pubsub.topics() {
            for channel in members_of(&self.pubsub, topic.as_str()) {
                if !channel.is_routed() {
                    channel.post_ending(MemberEvent::Unrouted);
                } else if channel.must_roll_back() {
                    channel.post_ending(MemberEvent::RolledBack);
                }
            }
            // There may be many topics, and other tasks are more urgent.
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn gate(&self) -> &TurnGate {
        &self.topics.services.gate
    }

    pub(super) fn topics(&self) -> &Arc<Topics> {
        &self.topics
    }

    /// Waits until no turn runs or waits, and no broadcast waits for a decision about it. Then all replies and broadcasts
    /// that were made are in the outboxes. Without an end of new messages, this may take for ever.
    pub async fn idle(&self) {
        let gate = &self.topics.services.gate;
        loop {
            gate.idle().await;
            if self.pubsub.is_idle() && gate.is_idle() {
                return;
            }
            tokio::time::sleep(IDLE_LOOK).await;
        }
    }

    /// Ends all ticks, and stores the last commits of the durable rooms that had ticks. Each room is stored in a turn
    /// of its topic, so that no older commit is stored after it.
    pub async fn store_rooms(&self) {
        let mut under_way = Vec::new();
        for topic in self.topics.all() {
            let (persisted, persisting) = oneshot::channel();
            post_and_spawn(&topic, TopicEvent::Persist(persisted));
            under_way.push(persisting);
        }
        for persisting in under_way {
            // An error means that the turn panicked. The turn logs the panic.
            let _ = persisting.await;
        }
    }

    /// Applies the probations that have ended to the durable rooms in the store, with or without members. Returns whether
    /// all of them were applied.
    pub async fn settle_stored_rooms(&self) -> bool {
        settle_stored_rooms(&self.topics).await
    }

    /// Settles the stored rooms now, after each change of the route table's owners, and again after a failure. Returns when
    /// there is no route table any more.
    pub async fn keep_stored_rooms_settled(&self) {
        let mut owners = self.routes.watch_owners();
        let mut pause = SETTLING_PAUSE_FIRST;
        loop {
            let is_complete = self.settle_stored_rooms().await;
            if is_complete {
                pause = SETTLING_PAUSE_FIRST;
            }
            tokio::select! {
                changed = owners.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause), if !is_complete => pause = (pause * 2).min(SETTLING_PAUSE_MAX),
            }
        }
    }
}

/// A member, as programs outside see it.
fn described(member: &Arc<dyn Any + Send + Sync>) -> Option<MemberInfo> {
    let Person { member, user, socket_id } = member.downcast_ref::<Channel>()?.person();
    Some(MemberInfo { member, user, socket_id })
}

/// The sender is outside the channels, and waits also for a later answer.
impl Sender for oneshot::Sender<Delivered> {
    fn answer(self, _: &Topic, _: ByteString, delivered: Delivered) {
        // The sender may have stopped waiting.
        drop(self.send(delivered));
    }

    fn is_waiting(&self) -> bool {
        !self.is_closed()
    }
}

/// What becomes of an answer that comes after the callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LateAnswer {
    /// The request ends without an answer.
    Ignored,
    /// The request waits for it, until its future is dropped.
    Awaited,
}

/// A sender of a request that takes effect once.
struct Once<S> {
    sender: S,
    request: Arc<IdempotentRequest>,
}

impl<S: Sender> Sender for Once<S> {
    fn answer(self, topic: &Topic, event: ByteString, delivered: Delivered) {
        self.sender.answer(topic, event, delivered);
    }

    fn is_waiting(&self) -> bool {
        self.sender.is_waiting()
    }

    fn request(&self) -> Option<Arc<IdempotentRequest>> {
        Some(Arc::clone(&self.request))
    }
}

/// A sender that waits only for the end of the callback.
struct AtOnce(oneshot::Sender<Delivered>);

impl Sender for AtOnce {
    fn answer(self, topic: &Topic, event: ByteString, delivered: Delivered) {
        self.0.answer(topic, event, delivered);
    }

    fn is_waiting(&self) -> bool {
        false
    }
}
