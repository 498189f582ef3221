//! The members and their topics, with one clock.

mod effects;
mod fanout;
mod infos;
mod presences;
mod published;
mod published_entries;
mod queue;
mod role;
mod rooms;
mod seats;
mod sockets;
mod time;
mod turns;

use std::collections::{BTreeMap, HashMap, VecDeque};

use bennu_semantics::{AnswerRef, Ending, Fault, Pattern, Payload, PendingSeatChanges, Reply, RouteSpec, Topic};
use bytestring::ByteString;
pub use effects::Remainder;
pub use queue::TURNS_MAX;
use queue::{Job, TurnQueue, Waiter};
pub use role::{Frame, Received, Role};
use rooms::Room;
pub use sockets::{Client, Incoming};

use crate::online::{Online, Window};
use crate::{Callbacks, Grants, HostFacts, Sent, SocketFacts};

/// A host and its members.
pub struct World<C> {
    callbacks: C,
    host: HostFacts,
    /// The grants of the plugin, without the topics of its own routes.
    grants: Grants,
    roles: BTreeMap<u64, Role>,
    /// The last number of a member. A refused join uses a number, too.
    numbered: u64,
    clients: BTreeMap<u64, Client>,
    faults: Vec<Fault>,
    rooms: BTreeMap<Topic, Room>,
    /// The window of each topic's `presence_diff`s.
    windows: BTreeMap<Topic, Window>,
    /// The waiting jobs, each with its queue.
    waiting: VecDeque<(TurnQueue, Job)>,
    /// Jobs that follow from the current turn. They are queued behind the jobs that the turn itself asked for.
    after_turn: Vec<(TurnQueue, Job)>,
    /// The changes of each topic's seats that aren't yet passed to `handle_seat`.
    seat_changes: BTreeMap<Topic, PendingSeatChanges>,
    /// The queue that is being drained.
    current: Option<TurnQueue>,
    /// The connections that have ended while their members have not.
    closing: VecDeque<u64>,
    is_endless: bool,
    /// The topic messages that may be answered later, each with its sender, topic and event.
    waiters: HashMap<AnswerRef, (Waiter, Topic, ByteString)>,
    numbered_answers: u64,
    /// The answers to the API's messages that nobody has taken yet.
    api_answers: HashMap<AnswerRef, Result<Option<Reply>, Fault>>,
}

/// The reason why a join failed.
#[derive(Clone, Debug, PartialEq)]
pub enum NotJoined {
    /// The join was refused with this response.
    Refused(Payload),
    /// The join ended in a fault.
    Fault(Fault),
}

/// Settings and results.
impl<C: Callbacks> World<C> {
    /// A host without members.
    #[must_use]
    pub fn new(callbacks: C) -> Self {
        Self {
            callbacks,
            host: HostFacts::default(),
            grants: Grants::default(),
            roles: BTreeMap::new(),
            numbered: 0,
            clients: BTreeMap::new(),
            faults: Vec::new(),
            rooms: BTreeMap::new(),
            windows: BTreeMap::new(),
            waiting: VecDeque::new(),
            after_turn: Vec::new(),
            seat_changes: BTreeMap::new(),
            current: None,
            closing: VecDeque::new(),
            is_endless: false,
            waiters: HashMap::new(),
            numbered_answers: 0,
            api_answers: HashMap::new(),
        }
    }

    /// The code that runs the callbacks.
    pub fn callbacks(&mut self) -> &mut C {
        &mut self.callbacks
    }

    /// The values of the host.
    #[must_use]
    pub fn host(&self) -> &HostFacts {
        &self.host
    }

    /// The values of the host, to be changed.
    pub fn host_mut(&mut self) -> &mut HostFacts {
        &mut self.host
    }

    /// Allows the plugin to publish and send to the topics of a pattern, and to disconnect such socket ids.
    pub fn grant_publish(&mut self, pattern: Pattern) {
        self.grants.publish.push(pattern);
    }

    /// Allows the plugin to subscribe to the topics of a pattern, and to read about them.
    pub fn grant_read(&mut self, pattern: Pattern) {
        self.grants.read.push(pattern);
    }

    /// A member, also one that has ended. `None` if no member has this number.
    #[must_use]
    pub fn role(&self, id: u64) -> Option<&Role> {
        self.roles.get(&id)
    }

    /// A member, to take what its client received.
    pub fn role_mut(&mut self, id: u64) -> Option<&mut Role> {
        self.roles.get_mut(&id)
    }

    /// The faults so far.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Whether more than [`TURNS_MAX`] turns followed from one act. Then the waiting jobs were dropped.
    #[must_use]
    pub fn is_endless(&self) -> bool {
        self.is_endless
    }
}

/// Events from outside.
impl<C: Callbacks> World<C> {
    /// A client connects and joins a topic. If the join fails, the client is disconnected.
    ///
    /// # Errors
    /// If the join is refused or ends in a fault.
    pub fn join(&mut self, who: SocketFacts, topic: &str, params: Payload) -> Result<u64, NotJoined> {
        let client = self.connect(who, false);
        let joined = self.join_on(client, &Topic::new(topic), params);
        if joined.is_err() {
            self.hang_up(client);
        }
        self.settle();
        joined
    }

    /// A member's client joins its topic again.
    ///
    /// # Errors
    /// If the join is refused or ends in a fault.
    pub fn rejoin(&mut self, id: u64, params: Payload) -> Result<u64, NotJoined> {
        let (client, topic) = (self.roles[&id].client, self.roles[&id].topic.clone());
        self.replace(id);
        let joined = self.join_on(client, &topic, params);
        self.give(id, Received::Close);
        self.settle();
        joined
    }

    fn join_on(&mut self, client: u64, topic: &Topic, params: Payload) -> Result<u64, NotJoined> {
        let join_ref = self.draw_ref(client);
        let who = SocketFacts { join_ref, ..self.clients[&client].facts.clone() };
        let joined = self.admit(who, topic, params, (client, None));
        self.rest(topic);
        joined
    }

    /// Ends a member whose client joins the topic again. Its `terminate` runs in a topic with a room only.
    fn replace(&mut self, id: u64) {
        let Some(role) = self.roles.get_mut(&id).filter(|role| role.is_in) else { return };
        role.is_replaced = true;
        let topic = role.topic.clone();
        if self.spec(&topic).is_some_and(RouteSpec::has_room) {
            self.end(id, Ending::Replaced, None);
        } else {
            self.exit(id);
        }
    }

    /// The client of a member sends an event. Returns the JSON text of its ref.
    pub fn push(&mut self, id: u64, event: &str, payload: Payload) -> String {
        let (client, is_in, is_replaced) = {
            let role = &self.roles[&id];
            (role.client, role.is_in, role.is_replaced)
        };
        let reference = self.draw_ref(client);
        if is_in {
            self.handle_in(id, event, payload, reference.clone());
        } else if !is_replaced {
            let reply = Reply { status: "error".into(), payload: Payload::reason("unmatched topic") };
            self.give(id, Received::Unmatched(reference.clone(), reply));
        }
        reference
    }

    /// A member's client leaves. Returns the JSON text of its message's ref.
    pub fn leave(&mut self, id: u64) -> String {
        let client = self.roles[&id].client;
        let reference = self.draw_ref(client);
        self.leave_by(id, reference.clone());
        reference
    }

    /// A member's client leaves, with a message of this ref. The reply is `ok` if it has left before, too.
    fn leave_by(&mut self, id: u64, reference: String) {
        let role = &self.roles[&id];
        let left = Received::Reply(reference, Reply { status: "ok".into(), payload: Payload::EMPTY });
        if role.is_in {
            self.current = self.queue_of(id);
            self.end(id, Ending::Left, Some(left));
            self.end_turn();
            self.settle();
        } else if !role.is_replaced {
            self.give(id, left);
        }
    }

    /// A member's connection ends.
    pub fn close(&mut self, id: u64) {
        let client = self.roles[&id].client;
        self.close_client(client);
    }

    /// A connection ends.
    pub fn close_client(&mut self, client: u64) {
        self.hang_up(client);
        self.settle();
    }

    /// The API broadcasts to a topic.
    pub fn broadcast_from_elsewhere(&mut self, topic: &str, sent: &Sent) {
        self.broadcast(topic, sent, None);
        self.end_turn();
        self.settle();
    }

    /// The API closes every socket with this id. Returns their number.
    pub fn disconnect_from_elsewhere(&mut self, socket_id: &str) -> usize {
        let closed = self.disconnect(socket_id);
        self.settle();
        closed
    }

    fn spec(&self, topic: &Topic) -> Option<&RouteSpec> {
        RouteSpec::find(self.callbacks.routes(), topic.as_str())
    }

    fn served(&self, topic: &Topic) -> Result<RouteSpec, Fault> {
        let unserved = || Fault::failed(format!("no channel of this plugin serves {:?}", topic.as_str()));
        self.spec(topic).cloned().ok_or_else(unserved)
    }

    /// The members of a topic.
    fn members(&self, topic: &Topic) -> impl Iterator<Item = u64> {
        self.roles.iter().filter(move |(_, role)| role.is_in && role.topic == *topic).map(|(id, _)| *id)
    }

    /// Whether a topic has this member.
    fn has_member(&self, topic: &Topic, id: u64) -> bool {
        self.roles.get(&id).is_some_and(|role| role.is_in && role.topic == *topic)
    }

    /// Limits the plugin to the topics of its routes and its grants.
    fn limit_reach(&mut self) {
        let own = self.callbacks.routes().iter().map(|spec| spec.pattern.clone()).collect();
        self.host.grants = Some(Grants { own, ..self.grants.clone() });
    }

    /// The presences of all topics.
    #[must_use]
    pub fn online(&self) -> &Online {
        &self.host.online
    }
}
