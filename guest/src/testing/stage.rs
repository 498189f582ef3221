//! A stage: several members of several topics, with one clock.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bennu_semantics::{Pattern, Source};
use bennu_world::World;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::actor::{Actor, act};
use super::client::Client;
use super::native::NativeRoutes;
use super::setup::{self, text};
use super::{Delivery, Fault, NotJoined, Sent, Setup};
use crate::plugin::Route;
use crate::{Channel, IntoPayload, Reply, RoomMap, Tick, Value};

/// A host with channels and any number of members. Members receive each other's broadcasts.
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
/// A test never waits: all messages have arrived when a method returns, and time passes only by
/// [`advance`](Stage::advance). A fault ends its member, as on a host; [`faults`](Stage::faults) lists it.
#[derive(Clone)]
pub struct Stage {
    world: Rc<RefCell<World<NativeRoutes>>>,
}

impl Default for Stage {
    fn default() -> Self {
        Self { world: Rc::new(RefCell::new(World::new(NativeRoutes::default()))) }
    }
}

impl Stage {
    /// A stage without channels.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a channel for the topics of a pattern, as in `channels!`.
    ///
    /// # Panics
    ///
    /// If a host would refuse the channel.
    #[must_use]
    #[track_caller]
    pub fn channel<C: Channel>(self, pattern: &'static str) -> Self {
        self.world.borrow_mut().callbacks().add(Route::to::<C>(pattern));
        self
    }

    /// Reloads the plugin: another channel serves these topics from now on. A channel with another version upgrades
    /// each state before the next callback that gets it. Otherwise it must be able to read the states.
    ///
    /// # Panics
    ///
    /// If there is no channel for this pattern.
    #[track_caller]
    pub fn reload<C: Channel>(&self, pattern: &'static str) {
        let replaced = self.world.borrow_mut().callbacks().replace(Route::to::<C>(pattern));
        assert!(replaced, "the stage has no channel for {pattern:?}");
    }

    /// Allows the plugin to publish and send to the topics of a pattern, and to disconnect such socket ids.
    ///
    /// # Panics
    ///
    /// If it isn't a pattern.
    #[must_use]
    #[track_caller]
    pub fn publish(self, pattern: &str) -> Self {
        self.world.borrow_mut().grant_publish(parse(pattern));
        self
    }

    /// Allows the plugin to subscribe to the topics of a pattern, and to read about them.
    ///
    /// # Panics
    ///
    /// If it isn't a pattern.
    #[must_use]
    #[track_caller]
    pub fn read(self, pattern: &str) -> Self {
        self.world.borrow_mut().grant_read(parse(pattern));
        self
    }

    /// Sets the plugin's configuration.
    #[must_use]
    pub fn config(self, config: impl Serialize) -> Self {
        self.world.borrow_mut().host_mut().configuration = text(&config);
        self
    }

    /// Sets the answer to each request by HTTP with this method and URL: a status and a JSON body. Any other request fails with
    /// `unreachable`.
    #[must_use]
    pub fn http(self, method: &str, url: &str, status: u16, body: impl Serialize) -> Self {
        self.world.borrow_mut().host_mut().http.set(method, url, Ok(setup::response(status, &body)));
        self
    }

    /// Each request by HTTP with this method and URL fails, for example with the kind `timeout`.
    #[must_use]
    pub fn http_failure(self, method: &str, url: &str, kind: &str) -> Self {
        self.world.borrow_mut().host_mut().http.set(method, url, Err(setup::failure(kind)));
        self
    }

    /// Sets the clock: milliseconds since 1970.
    #[must_use]
    pub fn now(self, milliseconds: u64) -> Self {
        self.world.borrow_mut().host_mut().now = milliseconds;
        self
    }

    /// A client connects with default values, and joins a topic.
    ///
    /// # Errors
    ///
    /// If the join is refused or ends in a fault.
    pub fn join(&self, topic: &str, params: impl IntoPayload) -> Result<Actor, NotJoined> {
        self.join_as(Setup::new(), topic, params)
    }

    /// A client connects and joins a topic, with the user, socket id, claims, parameters and headers of a [`Setup`].
    ///
    /// # Errors
    ///
    /// If the join is refused or ends in a fault.
    pub fn join_as(&self, who: Setup, topic: &str, params: impl IntoPayload) -> Result<Actor, NotJoined> {
        let params = params.into_payload().into();
        let member = act(&self.world, |world| world.join(who.socket, topic, params))?;
        Ok(Actor::new(Rc::clone(&self.world), member))
    }

    /// A client connects, for a test at the level of frames. It can join several topics.
    pub fn connect(&self, who: Setup) -> Client {
        Client::connect(&self.world, who)
    }

    /// Broadcasts to a topic, as the host's HTTP API does.
    pub fn broadcast(&self, topic: &str, event: &str, payload: impl IntoPayload) {
        let sent = Sent::new(event, &payload.into_payload());
        act(&self.world, |world| world.broadcast_from_elsewhere(topic, &sent.into()));
    }

    /// Sends to a topic's `handle_message`, as the host's HTTP API does.
    ///
    /// # Errors
    ///
    /// If the callback ends in a fault, or no channel serves the topic.
    pub fn send(&self, topic: &str, event: &str, payload: impl IntoPayload) -> Result<Option<Reply>, Fault> {
        let sent = Sent::new(event, &payload.into_payload());
        Ok(act(&self.world, |world| world.send(topic, sent.into()))?.map(Into::into))
    }

    /// Takes the answers to [`send`](Self::send) that came after it, in the order of the messages.
    pub fn late_answers(&self) -> Vec<Reply> {
        let answers = self.world.borrow_mut().take_late_answers();
        answers.into_iter().map(Into::into).collect()
    }

    /// Calls a topic's `handle_tick` with a tick of the test's choice. Ticks that a channel asked for run by themselves
    /// when the clock [advances](Stage::advance).
    ///
    /// # Errors
    ///
    /// If the callback ends in a fault, or no channel serves the topic.
    pub fn tick(&self, topic: &str, tick: Tick) -> Result<(), Fault> {
        Ok(act(&self.world, |world| world.tick(topic, tick.into()))?)
    }

    /// Stores a value under a key, as if a callback had stored it.
    ///
    /// # Panics
    ///
    /// If it can't be stored.
    #[track_caller]
    pub fn store(&self, key: impl AsRef<[u8]>, value: impl Serialize) {
        setup::store(self.world.borrow_mut().host_mut(), key.as_ref(), &value);
    }

    /// The stored value of a key.
    ///
    /// # Panics
    ///
    /// If it isn't a `T`.
    #[must_use]
    #[track_caller]
    pub fn stored<T: DeserializeOwned>(&self, key: impl AsRef<[u8]>) -> Option<T> {
        setup::stored(self.world.borrow().host(), key.as_ref())
    }

    /// The entries of a topic in a map, each with its name.
    ///
    /// # Panics
    ///
    /// If the topic has no open room with entries, or an entry can't be read.
    #[must_use]
    #[track_caller]
    pub fn entries<T: DeserializeOwned>(&self, topic: &str, map: &RoomMap<T>) -> Vec<(String, T)> {
        setup::entries(self.world.borrow().entries(topic), map)
    }

    /// Closes every socket with this id. Returns their number.
    pub fn disconnect(&self, socket_id: &str) -> usize {
        act(&self.world, |world| world.disconnect_from_elsewhere(socket_id))
    }

    /// Tells a topic that a time of a cron line has come, or that a generation began to serve: `source` is `cron` or `start`.
    /// Schedules fire by [`advance`](Self::advance).
    ///
    /// # Errors
    ///
    /// If the callback ends in a fault, or no channel serves the topic.
    ///
    /// # Panics
    ///
    /// If `source` is another text.
    #[track_caller]
    pub fn tell(&self, topic: &str, source: &str, event: &str, payload: impl IntoPayload) -> Result<(), Fault> {
        let source = match source {
            "cron" => Source::Cron,
            "start" => Source::Start,
            other => panic!("a test tells a topic `cron` or `start`, and not {other:?}"),
        };
        let sent = Sent::new(event, &payload.into_payload());
        Ok(act(&self.world, |world| world.tell(topic, source, sent.into()))?)
    }

    /// The schedules of a topic, each with its key and when it is due, in milliseconds since 1970.
    #[must_use]
    pub fn schedules(&self, topic: &str) -> Vec<(String, u64)> {
        let world = self.world.borrow();
        let of_topic = world.schedules().filter(|(of, ..)| of.as_str() == topic);
        of_topic.map(|(_, key, due_ms, ..)| (key.to_owned(), due_ms)).collect()
    }

    /// The deliveries that callbacks have asked for, in their order. [`advance`](Self::advance) sends them to the servers of
    /// [`http`](Self::http).
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.world.borrow().host().stored.deliveries().iter().map(Delivery::from).collect()
    }

    /// Advances the clock: timers and schedules fire, deliveries are sent, topics tick, grace periods and empty rooms end, in their order.
    pub fn advance(&self, time: Duration) {
        act(&self.world, |world| world.advance(time));
    }

    /// The presences of a topic, as in `presence_state`.
    #[must_use]
    pub fn presences(&self, topic: &str) -> Value {
        self.world.borrow().online().state(topic)
    }

    /// All faults so far.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.world.borrow().faults().iter().cloned().map(Fault::from).collect()
    }
}

#[track_caller]
fn parse(pattern: &str) -> Pattern {
    Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern:?} is no pattern: {error}"))
}
