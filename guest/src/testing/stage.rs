//! A stage: several members of several topics, under one clock.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::actor::Actor;
use super::client::Client;
use super::setup::text;
use super::world::World;
use super::{Fault, NotJoined, Sent, Setup};
use crate::plugin::Route;
use crate::{Channel, IntoPayload, Reply, Tick, Value};

/// A host with channels, on which members meet: what one broadcasts, the others get.
///
/// ```
/// use bennu_guest::prelude::*;
///
/// #[derive(Serialize, Deserialize)]
/// struct Chat {
///     user: String,
/// }
///
/// impl Channel for Chat {
///     type Room = ();
///
///     fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
///         let user: String = params.field("user")?;
///         socket.push_presence();
///         socket.track(&user, json!({ "online_at": now_ms() }));
///         Ok(Chat { user })
///     }
///
///     fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
///         match event {
///             "new_msg" => {
///                 let body: String = payload.field("body")?;
///                 socket.broadcast("new_msg", json!({ "user": self.user, "body": body }));
///                 ok()
///             }
///             _ => unknown_event(event),
///         }
///     }
/// }
///
/// let stage = testing::Stage::new().channel::<Chat>("room:*");
/// let mut alice = stage.join("room:lobby", json!({ "user": "alice" })).unwrap();
/// let mut bob = stage.join("room:lobby", json!({ "user": "bob" })).unwrap();
/// alice.assert_broadcast("presence_diff", json!({ "joins": { "bob": { "metas": [{}] } } }));
///
/// let hi = alice.push("new_msg", json!({ "body": "hi" }));
/// alice.assert_reply(&hi, "ok", json!({}));
/// bob.assert_broadcast("new_msg", json!({ "user": "alice", "body": "hi" }));
/// bob.refute_broadcast("new_msg");
///
/// alice.close();
/// assert_eq!(stage.presences("room:lobby").as_object().unwrap().len(), 1);
/// ```
///
/// Nothing waits and nothing sleeps: what came is there, and time passes when the test says so
/// ([`advance`](Stage::advance)). A fault ends its member, as on a host, and can be seen by [`faults`](Stage::faults).
#[derive(Clone, Default)]
pub struct Stage {
    world: Rc<RefCell<World>>,
}

impl Stage {
    /// A stage without channels.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a channel for these topics, as `channels!` has it.
    #[must_use]
    pub fn channel<C: Channel>(self, pattern: &'static str) -> Self {
        self.world.borrow_mut().add_route(Route::to::<C>(pattern));
        self
    }

    /// The plugin is reloaded: another channel serves these topics from now on. With another version it upgrades each state
    /// before the next callback that is given it, and else it must be able to read it.
    ///
    /// # Panics
    ///
    /// There is no channel for this pattern.
    #[track_caller]
    pub fn reload<C: Channel>(&self, pattern: &'static str) {
        let replaced = self.world.borrow_mut().replace_route(Route::to::<C>(pattern));
        assert!(replaced, "the stage has no channel for {pattern:?}");
    }

    /// Grants the topics of a pattern to be published and sent to, and sockets' ids to be disconnected.
    #[must_use]
    pub fn publish(self, pattern: &str) -> Self {
        self.world.borrow_mut().reach.publish.push(pattern.into());
        self
    }

    /// Grants the topics of a pattern to be subscribed to and read about.
    #[must_use]
    pub fn read(self, pattern: &str) -> Self {
        self.world.borrow_mut().reach.read.push(pattern.into());
        self
    }

    /// Sets the plugin's configuration.
    #[must_use]
    pub fn config(self, config: impl Serialize) -> Self {
        self.world.borrow_mut().facts.configuration = text(&config);
        self
    }

    /// Sets the clock: milliseconds since 1970.
    #[must_use]
    pub fn now(self, milliseconds: u64) -> Self {
        self.world.borrow_mut().facts.now = milliseconds;
        self
    }

    /// A client of whom nothing is known connects and joins a topic.
    ///
    /// # Errors
    ///
    /// The join is refused, or ends in a fault.
    pub fn join(&self, topic: &str, params: impl IntoPayload) -> Result<Actor, NotJoined> {
        self.join_as(Setup::new(), topic, params)
    }

    /// A client connects and joins a topic: its user, socket id, claims, parameters and headers are those of a [`Setup`].
    ///
    /// # Errors
    ///
    /// The join is refused, or ends in a fault.
    pub fn join_as(&self, who: Setup, topic: &str, params: impl IntoPayload) -> Result<Actor, NotJoined> {
        let member = self.world.borrow_mut().join(who.facts, topic, params.into_payload())?;
        Ok(Actor::new(Rc::clone(&self.world), member))
    }

    /// A client connects, for a test at the level of frames: it may join several topics.
    pub fn connect(&self, who: Setup) -> Client {
        Client::connect(&self.world, who)
    }

    /// Somebody elsewhere broadcasts to a topic, as the host's HTTP API does.
    pub fn broadcast(&self, topic: &str, event: &str, payload: impl IntoPayload) {
        let sent = Sent::new(event, &payload.into_payload());
        self.world.borrow_mut().broadcast_from_elsewhere(topic, &sent);
    }

    /// Somebody elsewhere sends to a topic's `handle_message`.
    ///
    /// # Errors
    ///
    /// The callback ends in a fault, or no channel serves the topic.
    pub fn send(&self, topic: &str, event: &str, payload: impl IntoPayload) -> Result<Option<Reply>, Fault> {
        let mut world = self.world.borrow_mut();
        let answer = world.send(topic, Sent::new(event, &payload.into_payload()));
        world.end_turn();
        world.settle();
        answer
    }

    /// A topic beats as the test has it, such as with some left out. Beats that a channel asked for come by themselves, when
    /// time [passes](Stage::advance).
    ///
    /// # Errors
    ///
    /// The callback ends in a fault, or no channel serves the topic.
    pub fn tick(&self, topic: &str, tick: Tick) -> Result<(), Fault> {
        let mut world = self.world.borrow_mut();
        let ticked = world.tick(topic, tick);
        world.end_turn();
        world.settle();
        ticked
    }

    /// Stores a value under a key, as a callback has done earlier.
    ///
    /// # Panics
    ///
    /// It can't be stored.
    #[track_caller]
    pub fn store(&self, key: impl AsRef<[u8]>, value: impl Serialize) {
        self.world.borrow_mut().facts.stored.put(key.as_ref(), &value);
    }

    /// What is stored under a key.
    ///
    /// # Panics
    ///
    /// It isn't a `T`.
    #[must_use]
    #[track_caller]
    pub fn stored<T: DeserializeOwned>(&self, key: impl AsRef<[u8]>) -> Option<T> {
        self.world.borrow().facts.stored.get(key.as_ref())
    }

    /// Closes every socket with this id. Gives how many there were.
    pub fn disconnect(&self, socket_id: &str) -> usize {
        let mut world = self.world.borrow_mut();
        let closed = world.disconnect(socket_id);
        world.settle();
        closed
    }

    /// Time passes: timers ring, topics beat, seats are gone to which nobody has come back, and rooms end that nobody is in any more,
    /// in their order.
    pub fn advance(&self, time: Duration) {
        self.world.borrow_mut().advance(time);
    }

    /// Who is online in a topic, as `presence_state` says it.
    #[must_use]
    pub fn presences(&self, topic: &str) -> Value {
        self.world.borrow().facts.online.state(topic)
    }

    /// The faults that there were.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.world.borrow().faults.clone()
    }
}
