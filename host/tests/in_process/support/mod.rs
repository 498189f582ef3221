//! A host without network and WebAssembly: sockets that exchange frames in memory, and behaviours that are closures.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use bennu::channel::{Node, NodeIdentity, NodeLimits};
use bennu::contract::{
    Answer, Behaviour, Call, CallFuture, CallInput, Decision, Ending, Fault, Http, Identity, Outcome, Passing, Reply,
    SocketFacts, TopicCall, Upgrade,
};
use bennu::entries::{EntriesNode, EntryInput};
use bennu::presence::Pace;
use bennu::protocol::{Incoming, Payload, Serializer};
use bennu::pubsub::{OutboxLimits, Taken};
use bennu::routes::{Probation, Route, RouteSpec, RouteTable, Routes, Takes};
use bennu::socket::{Endpoint, Socket, SocketLimits, Sockets};
use bennu::store::{Owner, QUOTA_BYTES, Store, StoreLimits};

/// Handles a call of a member.
pub(crate) type OnCall = Arc<dyn Fn(Call, Option<EntryInput>) -> CallFuture<'static, Outcome> + Send + Sync>;
/// Handles a call of a topic.
pub(crate) type OnTopicCall = Arc<dyn Fn(TopicCall, Option<EntryInput>) -> CallFuture<'static, Outcome> + Send + Sync>;
/// Decides about an intercepted event.
pub(crate) type OnPassing = Arc<dyn Fn(Passing) -> CallFuture<'static, Vec<Decision>> + Send + Sync>;
/// Upgrades a state of another version. `None` leaves the state as it is.
pub(crate) type OnUpgrade = Arc<dyn Fn(Upgrade) -> CallFuture<'static, Option<Bytes>> + Send + Sync>;

/// A behaviour that consists of closures.
pub(crate) struct Script {
    on_call: OnCall,
    on_topic_call: OnTopicCall,
    on_passing: OnPassing,
    on_upgrade: OnUpgrade,
}

impl Behaviour for Script {
    fn call<'a>(&'a self, call: &'a Call, input: CallInput<'a>) -> CallFuture<'a, Outcome> {
        (self.on_call)(call.clone(), input.entries.cloned())
    }

    fn call_topic<'a>(&'a self, call: &'a TopicCall, input: CallInput<'a>) -> CallFuture<'a, Outcome> {
        (self.on_topic_call)(call.clone(), input.entries.cloned())
    }

    fn filter<'a>(&'a self, passing: &'a Passing) -> CallFuture<'a, Vec<Decision>> {
        (self.on_passing)(passing.clone())
    }

    fn upgrade<'a>(&'a self, upgrade: &'a Upgrade) -> CallFuture<'a, Option<Bytes>> {
        (self.on_upgrade)(upgrade.clone())
    }
}

/// A host whose routes are scripts.
pub(crate) struct Stage {
    pub(crate) endpoint: Endpoint,
    pub(crate) routes: Arc<RouteTable>,
}

/// One scripted route.
pub(crate) struct Part {
    pub(crate) pattern: &'static str,
    pub(crate) plugin: &'static str,
    pub(crate) options: &'static [(&'static str, &'static str)],
    pub(crate) intercepts: &'static [&'static str],
    pub(crate) on_call: OnCall,
    pub(crate) on_topic_call: Option<OnTopicCall>,
    pub(crate) on_passing: OnPassing,
    pub(crate) on_upgrade: OnUpgrade,
    /// The state versions of the assigns and of the room.
    pub(crate) versions: (u32, u32),
    pub(crate) generation: u32,
    pub(crate) probation: Option<(Arc<Probation>, Option<Arc<Route>>)>,
    /// Whether the plugin imports the interface `entries`.
    pub(crate) uses_entries: bool,
    /// The plugin's quota in the store.
    pub(crate) quota_bytes: u64,
}

fn no_topic_call(_: TopicCall, _: Option<EntryInput>) -> CallFuture<'static, Outcome> {
    Box::pin(async { Err(Fault::failed("this script handles no topic calls")) })
}

impl Part {
    /// A route of the plugin `script` that handles the calls of members.
    pub(crate) fn new<F>(pattern: &'static str, on_call: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Outcome, Fault>> + Send + 'static,
    {
        let all_pass = |passing: Passing| -> CallFuture<'static, Vec<Decision>> {
            Box::pin(async move { Ok(vec![Decision::Pass; passing.recipients.len()]) })
        };
        Self {
            pattern,
            plugin: "script",
            options: &[],
            intercepts: &[],
            on_call: Arc::new(move |call, _| Box::pin(on_call(call))),
            on_topic_call: None,
            on_passing: Arc::new(all_pass),
            on_upgrade: Arc::new(|_| Box::pin(async { Ok(None) })),
            versions: (0, 0),
            generation: 1,
            probation: None,
            uses_entries: false,
            quota_bytes: QUOTA_BYTES,
        }
    }

    /// A route with memory rooms whose calls use the entries of their topic.
    pub(crate) fn with_entries<F>(
        pattern: &'static str,
        on_call: impl Fn(Call, Option<EntryInput>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Outcome, Fault>> + Send + 'static,
    {
        Self {
            options: &[("room", "memory")],
            on_call: Arc::new(move |call, entries| Box::pin(on_call(call, entries))),
            uses_entries: true,
            ..Self::new(pattern, |_| std::future::ready(Ok(nothing())))
        }
    }

    pub(crate) fn route(self) -> Arc<Route> {
        let options: Vec<_> = self.options.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        let intercepts = self.intercepts.iter().map(|&event| event.into()).collect();
        let spec = RouteSpec::read(self.pattern, intercepts, self.versions, &options).expect("a valid route");
        let takes_any = self.on_topic_call.is_some();
        let takes = Takes {
            messages: takes_any,
            infos: takes_any,
            ticks: takes_any,
            seats: takes_any,
            entries: self.uses_entries,
            http: false,
        };
        let on_topic_call = self.on_topic_call.unwrap_or_else(|| Arc::new(no_topic_call));
        let Self { on_call, on_passing, on_upgrade, generation, probation, .. } = self;
        let behaviour = Arc::new(Script { on_call, on_topic_call, on_passing, on_upgrade });
        let owner = Owner::new(self.plugin, self.quota_bytes).expect("a name");
        let plugin = self.plugin.into();
        Arc::new(Route { spec, plugin, generation, takes, owner, behaviour, probation })
    }
}

impl Stage {
    pub(crate) fn new(parts: impl IntoIterator<Item = Part>) -> Self {
        Self::with_limits(parts, NodeLimits::default())
    }

    pub(crate) fn with_limits(parts: impl IntoIterator<Item = Part>, limits: NodeLimits) -> Self {
        Self::over(Store::in_memory(StoreLimits::default()).expect("a store in memory"), parts, limits)
    }

    /// Another host with the same store, as after a restart.
    pub(crate) fn again(&self, parts: impl IntoIterator<Item = Part>) -> Self {
        Self::over(self.endpoint.node.store.clone(), parts, NodeLimits::default())
    }

    /// A host with given limits of entries.
    pub(crate) fn with_entries(parts: impl IntoIterator<Item = Part>, entries: &Arc<EntriesNode>) -> Self {
        let store = Store::in_memory(StoreLimits::default()).expect("a store in memory");
        Self::made_of(store, parts, NodeLimits::default(), Arc::clone(entries))
    }

    /// A host with a given store, which outlives the host.
    pub(crate) fn over(store: Store, parts: impl IntoIterator<Item = Part>, limits: NodeLimits) -> Self {
        Self::made_of(store, parts, limits, Arc::default())
    }

    /// A host with a given store and given limits of entries.
    pub(crate) fn made_of(
        store: Store,
        parts: impl IntoIterator<Item = Part>,
        limits: NodeLimits,
        entries: Arc<EntriesNode>,
    ) -> Self {
        Self::with_identity(store, parts, limits, entries, NodeIdentity::Alone)
    }

    /// A host that is a node of a cluster.
    pub(crate) fn in_cluster(parts: impl IntoIterator<Item = Part>, name: &str, epoch: u64) -> Self {
        let store = Store::in_memory(StoreLimits::default()).expect("a store in memory");
        let identity = NodeIdentity::InCluster { name: name.into(), epoch };
        Self::with_identity(store, parts, NodeLimits::default(), Arc::default(), identity)
    }

    fn with_identity(
        store: Store,
        parts: impl IntoIterator<Item = Part>,
        limits: NodeLimits,
        entries: Arc<EntriesNode>,
        identity: NodeIdentity,
    ) -> Self {
        let routes = Arc::new(RouteTable::default());
        let (table, pace) = (Arc::clone(&routes), Pace::default());
        let node = Node::with_identity(table, limits, pace, (store, entries), Http::none(), identity);
        let endpoint = Endpoint {
            node,
            sockets: Arc::new(Sockets::default()),
            limits: SocketLimits::default(),
            outbox_limits: OutboxLimits::default(),
        };
        let stage = Self { endpoint, routes };
        stage.publish(parts);
        stage
    }

    pub(crate) fn publish(&self, parts: impl IntoIterator<Item = Part>) {
        self.routes.publish(Routes::new(parts.into_iter().map(Part::route)).expect("routes without conflict"));
    }

    /// The lines of an export of its store.
    pub(crate) async fn exported(&self) -> String {
        let mut out = Vec::new();
        self.endpoint.node.store.export(None, &mut out).await.expect("the store can be read");
        String::from_utf8(out).expect("lines of JSON")
    }

    pub(crate) fn connect(&self) -> Client {
        self.connect_as(Identity::default())
    }

    pub(crate) fn connect_as(&self, identity: Identity) -> Client {
        let facts = SocketFacts {
            identity,
            transport: "memory",
            connect_params: "{}".into(),
            x_headers: [].into(),
            trace: None,
            client: None,
        };
        Client { socket: self.endpoint.connect(facts, Serializer::V2), seen: VecDeque::new() }
    }
}

/// A client without network.
pub(crate) struct Client {
    pub(crate) socket: Socket,
    seen: VecDeque<String>,
}

impl Client {
    /// Sends a text frame.
    pub(crate) fn send(&mut self, text: &str) {
        self.socket.receive(&Incoming::Text(text.into())).expect("a message");
    }

    /// Returns all frames that have arrived, without waiting.
    pub(crate) fn now(&mut self) -> Vec<String> {
        self.take();
        self.seen.drain(..).collect()
    }

    /// Waits for the next frame. Paused time advances while no task can run. So timers fire, and a test fails after 60
    /// seconds of paused time instead of hanging.
    pub(crate) async fn next(&mut self) -> String {
        let arrival = async {
            loop {
                self.take();
                if let Some(frame) = self.seen.pop_front() {
                    return frame;
                }
                tokio::task::yield_now().await;
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), arrival).await.expect("a frame")
    }

    /// Joins `topic` with the join ref `"1"` and takes the reply.
    pub(crate) async fn join(&mut self, topic: &str) {
        self.send(&format!(r#"["1","1","{topic}","phx_join",{{}}]"#));
        let reply = format!(r#"["1","1","{topic}","phx_reply",{{"response":{{}},"status":"ok"}}]"#);
        assert_eq!(self.next().await, reply);
    }

    /// Ends the connection, as if the client had disconnected.
    pub(crate) fn close(self) {
        drop(self.socket.close(Ending::Closed));
    }

    fn take(&mut self) {
        let outbox = Arc::clone(self.socket.outbox());
        let mut frames = VecDeque::new();
        loop {
            let taken = outbox.poll_take(&Context::from_waker(Waker::noop()), &mut frames);
            for frame in frames.drain(..) {
                match frame.as_text() {
                    Some(text) => self.seen.push_back(text.to_owned()),
                    None => self.seen.push_back(format!("{:?}", frame.message())),
                }
            }
            match taken {
                Poll::Ready(Taken::Nudge) => self.socket.resume(),
                Poll::Ready(Taken::Frames) => {}
                Poll::Ready(Taken::Close(code)) => return self.seen.push_back(format!("closed {}", code.code())),
                Poll::Pending => return,
            }
        }
    }
}

/// Notes that calls write and tests read.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub(crate) fn add(&self, note: impl Into<String>) {
        self.0.lock().expect("no thread panics while it holds this lock").push(note.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().expect("no thread panics while it holds this lock").clone()
    }
}

/// A join that admits the client.
pub(crate) fn admitted() -> Outcome {
    Outcome { assigns: Some("fresh".into()), answer: Answer::Admit(Payload::EMPTY), ..nothing() }
}

/// No answer, no effects.
pub(crate) fn nothing() -> Outcome {
    Outcome { assigns: None, room: None, entries: None, draft: None, effects: vec![], answer: Answer::None }
}

/// A reply with the status `ok` and this JSON.
pub(crate) fn replied(json: &str) -> Outcome {
    let reply = Reply { status: "ok".into(), payload: Payload::Json(json.into()) };
    Outcome { answer: Answer::Reply(reply), ..nothing() }
}
