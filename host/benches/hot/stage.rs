//! A host without network that serves the plugin `echo`, and its clients. Each hot path can be run separately and
//! repeatedly.

#![allow(dead_code, reason = "the benchmark and the test of costs each use a part")]

#[path = "instant.rs"]
mod instant;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use anyhow::Context as _;
use bennu::channel::{Node, NodeLimits};
use bennu::contract::{
    Behaviour, Call, CallInput, Callback, Http, Identity, Member, NoHost, Outcome, Passing, Recipient, SocketFacts,
};
use bennu::plugin::{Cache, Digest, Engine, Loader, Origin, PluginLimits, PoolLimits};
use bennu::presence::Pace;
use bennu::protocol::{Frame, Incoming, Message, Outbound, Payload, Ref, Serializer, Topic};
use bennu::pubsub::{Broadcast, Droppable, Except, OutboxLimits};
use bennu::routes::{Placement, RouteTable, Routes};
use bennu::socket::{Endpoint, Socket, SocketLimits, Sockets};
use bennu::store::{Owner, QUOTA_BYTES, Store, StoreLimits};
use bytes::Bytes;
use tokio::runtime::{Builder, EnterGuard, Runtime};

/// The payload of a client's messages: 63 bytes.
pub(crate) const PAYLOAD: &str = r#"{"body":"0123456789012345678901234567890123456789012345678901"}"#;

/// The number of members of a topic whose fanout is measured.
pub(crate) const MEMBERS: usize = 1000;

/// The topic of most clients.
pub(crate) const TOPIC: &str = "echo:lobby";

/// A topic in which each shout passes through `handle_out`.
pub(crate) const PASSED: &str = "passed:lobby";

/// A topic whose messages are droppable.
pub(crate) const MOVED: &str = "echo:cursors";

/// A topic whose handler takes almost no time.
pub(crate) const INSTANT: &str = "instant:lobby";

/// The same, in a topic with a room: its members share the topic's queue.
pub(crate) const ROOM: &str = "room:lobby";

/// The same, in a topic with a room, of which each turn sets an entry.
pub(crate) const SHELF: &str = "shelf:lobby";

/// The same, with an entry that is published.
pub(crate) const BOARD: &str = "board:lobby";

/// The encoded assigns of a member of `echo`.
const ASSIGNS: &[u8] = b"\x81\xa5count\x00";

/// The host.
pub(crate) struct Stage {
    runtime: Runtime,
    endpoint: Endpoint,
    /// The plugin's component, for calls without the host.
    pub(crate) component: Bytes,
    behaviour: Arc<dyn Behaviour>,
}

impl Stage {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let file = guests().join("echo.wasm");
        let component: Bytes = std::fs::read(&file)
            .with_context(|| format!("reading {}; build it with `cargo xtask guests`", file.display()))?
            .into();
        let routes = Arc::new(RouteTable::default());
        let store = Store::in_memory(StoreLimits::default())?;
        let node =
            Node::new(Arc::clone(&routes), NodeLimits::default(), Pace::default(), store.clone(), Arc::default());
        let loader = Loader {
            engine: Engine::new(&bennu::contract::CallLimits::default(), 4)?,
            cache: Some(Cache::open(&guests().join("compiled"))?),
            call_limits: Arc::default(),
            pool_limits: PoolLimits { instances: 4, calls_per_instance: u32::MAX },
            surroundings: Arc::new(NoHost),
            store,
            http: Http::none(),
            repeats_calls: false,
            placement: Placement::Alone,
        };
        let origin = Arc::new(Origin {
            name: "echo".into(),
            generation: 1,
            configuration: "{}".into(),
            publish: [].into(),
            read: [].into(),
            owner: Owner::new("echo", QUOTA_BYTES)?,
            limits: PluginLimits::default(),
            usage: Arc::default(),
        });
        let loaded = runtime.block_on(loader.load(component.clone(), Digest::of(&component), origin))?;
        let room = &[("room".into(), "memory".into())];
        let published = &[room[0].clone(), ("publishes".into(), "key".into())];
        let instant = [
            instant::route("instant:*", &[], false)?,
            instant::route("room:*", room, false)?,
            instant::route("shelf:*", room, true)?,
            instant::route("board:*", published, true)?,
        ];
        let table = Routes::new(loaded.table(None).chain(instant)).map_err(|conflict| anyhow::anyhow!("{conflict}"))?;
        let behaviour =
            table.find(TOPIC).map(|route| Arc::clone(&route.behaviour)).context("the plugin serves no topic")?;
        routes.publish(table);
        let (limits, outbox_limits) = (SocketLimits::default(), OutboxLimits::default());
        let endpoint = Endpoint { node, sockets: Arc::new(Sockets::default()), limits, outbox_limits };
        Ok(Self { runtime, endpoint, component, behaviour })
    }

    /// Enters the runtime. While the guard lives, tasks can be spawned.
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Connects a client and joins a topic.
    pub(crate) fn join(&self, topic: &str) -> Client<'_> {
        self.join_as(topic, |socket| socket)
    }

    /// The same, with a client that takes compressed frames.
    pub(crate) fn join_deflating(&self, topic: &str) -> Client<'_> {
        self.join_as(topic, Socket::with_deflate)
    }

    fn join_as(&self, topic: &str, prepared: impl FnOnce(Socket) -> Socket) -> Client<'_> {
        let facts = SocketFacts {
            client: None,
            identity: Identity::default(),
            transport: "memory",
            connect_params: "{}".into(),
            x_headers: [].into(),
            trace: None,
        };
        let socket = prepared(self.endpoint.connect(facts, Serializer::V2));
        let mut client = Client { stage: self, socket, frames: VecDeque::new() };
        client.send(&text(&format!(r#"["1","1","{topic}","phx_join",{{}}]"#)));
        client.receive();
        client
    }

    /// Returns a call of `handle_in`, as a turn makes it.
    pub(crate) fn question(event: &'static str) -> Call {
        let socket = SocketFacts {
            client: None,
            identity: Identity::default(),
            transport: "memory",
            connect_params: "{}".into(),
            x_headers: [].into(),
            trace: None,
        };
        let (topic, join_ref) = (Topic::new(TOPIC), Ref::from_text("1"));
        let callback = Callback::In {
            event: event.into(),
            payload: Payload::Json(PAYLOAD.into()),
            reply_ref: Some("\"2\"".into()),
        };
        Call {
            member: Arc::new(Member { id: 1, topic, join_ref, socket: Arc::new(socket) }),
            assigns: Bytes::from_static(ASSIGNS),
            room: None,
            usage: None,
            callback,
        }
    }

    /// Runs a call, from the decoded message to the outcome.
    pub(crate) fn call(&self, call: &Call) -> Outcome {
        let input = CallInput { entries: None, http: None };
        now(self.behaviour.call(call, input)).expect("the call succeeds")
    }

    /// Runs `handle_out` for an intercepted event. Returns the number of decisions.
    pub(crate) fn filter(&self, passing: &Passing) -> usize {
        now(self.behaviour.filter(passing)).expect("the call succeeds").len()
    }

    /// Returns an intercepted event for `members` recipients.
    pub(crate) fn passing(members: usize) -> Passing {
        let recipient = |id| Recipient { id, assigns: Bytes::from_static(ASSIGNS) };
        Passing {
            topic: Topic::new(PASSED),
            event: "shout".into(),
            payload: Payload::Json(PAYLOAD.into()),
            recipients: (0..members as u64).map(recipient).collect(),
        }
    }

    /// Broadcasts a shout to all members of a topic.
    pub(crate) fn shout(&self, topic: &str) {
        self.shout_as(Topic::new(topic), None);
    }

    /// The same, with a droppable shout.
    pub(crate) fn shout_droppable(&self, topic: &str, key: &str) {
        let topic = Topic::new(topic);
        let droppable = Some(Droppable::of(&topic, "shout", key));
        self.shout_as(topic, droppable);
    }

    /// Broadcasts a shout that is worth compressing.
    pub(crate) fn shout_long(&self, topic: &str) {
        self.broadcast(
            Topic::new(topic),
            Payload::Json(format!("{{\"body\":\"{}\"}}", "0123".repeat(500)).into()),
            None,
        );
    }

    fn shout_as(&self, topic: Topic, droppable: Option<Droppable>) {
        self.broadcast(topic, Payload::Json(PAYLOAD.into()), droppable);
    }

    fn broadcast(&self, topic: Topic, payload: Payload, droppable: Option<Droppable>) {
        let except = Except::Nobody;
        self.endpoint.node.pubsub.broadcast(Broadcast {
            topic,
            event: "shout".into(),
            payload,
            except,
            droppable,
            number: None,
        });
    }
}

/// A client without network.
pub(crate) struct Client<'a> {
    stage: &'a Stage,
    socket: Socket,
    frames: VecDeque<Frame>,
}

impl Client<'_> {
    pub(crate) fn send(&mut self, frame: &Incoming) {
        self.socket.receive(frame).expect("a message");
    }

    /// Waits for frames and returns their number.
    pub(crate) fn receive(&mut self) -> usize {
        loop {
            let context = Context::from_waker(Waker::noop());
            if self.socket.outbox().poll_take(&context, &mut self.frames).is_ready() {
                let came = self.frames.len();
                self.frames.clear();
                return came;
            }
            // Once in some hundred calls, a guest runs into the next epoch and yields. Then a task runs the rest of the
            // turn.
            self.stage.runtime.block_on(tokio::task::yield_now());
        }
    }
}

/// Sends a message, and waits for its reply.
pub(crate) fn turn(client: &mut Client<'_>, frame: &Incoming) {
    client.send(frame);
    client.receive();
}

/// Returns a frame of a client that has joined `topic`.
pub(crate) fn frame(topic: &str, event: &str) -> Incoming {
    text(&format!(r#"["1","2","{topic}","{event}",{PAYLOAD}]"#))
}

pub(crate) fn decode(frame: &Incoming) -> Message {
    Serializer::V2.decode(frame).expect("a message")
}

pub(crate) fn encode(message: Outbound<'_>) -> Frame {
    Serializer::V2.encode(message).expect("a frame")
}

fn text(text: &str) -> Incoming {
    Incoming::Text(text.into())
}

/// Runs a future on this thread by polling it in a loop. The future may yield only when an epoch ends.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

fn guests() -> PathBuf {
    let built = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/guests");
    std::env::var_os("BENNU_GUESTS").map_or_else(built, PathBuf::from)
}
