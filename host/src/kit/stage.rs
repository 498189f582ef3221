//! A host in process: its plugins, its clock, and the actions of operators and other systems.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::channel::{Delivered, Node, NodeIdentity};
use crate::contract::{Http, HttpResult, Identity, NowMs, system_now_ms};
use crate::deliveries::Courier;
use crate::entries::EntriesNode;
use crate::jobs::{Dispatcher, tell_starts};
use crate::plugin::{Digest, Loaded, Loader, build_of};
use crate::protocol::{Payload, Topic};
use crate::pubsub::{Broadcast, Except};
use crate::routes::{RouteTable, Routes};
use crate::server::{Config, HostSurroundings, loader, tokens};
use crate::socket::Endpoint;
use crate::store::{Draft, Store};
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use super::actor::Actor;
use super::client::{Client, Connection};
use super::http::TableClient;

/// Instances of all plugins on a stage. A process may have many stages, and each stage reserves address space for its
/// instances.
const INSTANCES: u32 = 64;

/// The setup of a stage.
#[derive(Debug, Default)]
pub struct StageSetup {
    plugins: Vec<PathBuf>,
    config: Config,
    now_ms: Option<u64>,
}

/// A host without a wire, for one thread.
pub struct Stage {
    inside: Rc<Inside>,
}

pub(crate) struct Inside {
    /// Runs everything except loading. Its clock is paused.
    runtime: Runtime,
    /// Loads plugins, so that no time passes on the stage meanwhile.
    loading: Runtime,
    loader: Loader,
    config: Config,
    http: Arc<TableClient>,
    endpoint: Endpoint,
    plugins: RefCell<Vec<Loaded>>,
    /// The last generation of each plugin, by name.
    generations: RefCell<HashMap<String, u32>>,
    /// All connections.
    connections: RefCell<Vec<Rc<RefCell<Connection>>>>,
}

/// The identity and parameters of a client that joins.
#[derive(Clone, Debug, Default)]
pub struct Join {
    /// The identity of the socket.
    pub identity: Identity,
    /// The parameters of the connection, a JSON object; `null` for none.
    pub params: Value,
}

impl StageSetup {
    /// Adds the plugin in this file, `NAME.wasm`.
    #[must_use]
    pub fn plugin(mut self, file: impl Into<PathBuf>) -> Self {
        self.plugins.push(file.into());
        self
    }

    /// Sets the host's configuration: its limits, and the configuration and permissions of plugins.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets the first time of the clock, in milliseconds since 1970. The default is the time of the machine.
    #[must_use]
    pub fn now(mut self, milliseconds: u64) -> Self {
        self.now_ms = Some(milliseconds);
        self
    }

    /// Loads the plugins.
    ///
    /// # Errors
    /// If a plugin can't be loaded. The text is the host's.
    pub fn load(self) -> Result<Stage> {
        let Self { plugins, config, now_ms } = self;
        let began_ms = now_ms.unwrap_or_else(system_now_ms);
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build()?;
        let loading = Builder::new_current_thread().enable_all().build()?;
        let routes = Arc::new(RouteTable::default());
        let store = Store::in_memory(config.limits.store())?;
        let entries = EntriesNode::with_cache(config.limits.entries(), config.limits.entries_cache());
        let client = Arc::new(TableClient::new(config.limits.outbound()));
        let http = Http::new(Arc::clone(&client) as _, config.http_access(false)?, config.limits.http());
        let (limits, pace) = (config.limits.node(), config.limits.pace());
        let node =
            Node::with_identity(routes, limits, pace, (store.clone(), entries), Arc::clone(&http), NodeIdentity::Alone);
        let clock: NowMs = Arc::new(clock(&runtime, began_ms));
        // Schedules, cron lines and starts, by the clock of the stage.
        runtime.spawn(Dispatcher::new(Arc::clone(&node), Arc::clone(&clock), config.cron_lines()?).run());
        runtime.spawn(tell_starts(Arc::clone(&node)));
        runtime.spawn(Courier::new(store.clone(), Arc::clone(&http), Arc::clone(&clock), Arc::default()).run());
        let surroundings = HostSurroundings::new(&node).with_tokens(tokens(&config)?).with_clock({
            let clock = Arc::clone(&clock);
            move || clock()
        });
        let loader = loader(&config, Arc::new(surroundings), store, http, INSTANCES)?;
        let (sockets, limits, outbox_limits) = (Arc::default(), config.limits.socket(), config.limits.outbox());
        let endpoint = Endpoint { node, sockets, limits, outbox_limits };
        let inside = Inside {
            runtime,
            loading,
            loader,
            config,
            http: client,
            endpoint,
            plugins: RefCell::default(),
            generations: RefCell::default(),
            connections: RefCell::default(),
        };
        let stage = Stage { inside: Rc::new(inside) };
        for file in plugins {
            stage.reload(&file)?;
        }
        Ok(stage)
    }
}

impl Stage {
    /// A stage with one plugin.
    ///
    /// # Errors
    /// See [`StageSetup::load`].
    pub fn load(file: impl Into<PathBuf>) -> Result<Self> {
        StageSetup::default().plugin(file).load()
    }

    /// Replaces the plugin of that name by another build. Members continue with the new build.
    ///
    /// # Errors
    /// If the build can't be loaded. The text is the host's, and the previous build continues.
    pub fn reload(&self, file: &Path) -> Result<()> {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        self.reload_as(&name, file)
    }

    /// The same, for a build whose file has another name.
    ///
    /// # Errors
    /// See [`reload`](Self::reload).
    pub fn reload_as(&self, name: &str, file: &Path) -> Result<()> {
        let inside = &*self.inside;
        let loaded = inside.load(name, file).with_context(|| format!("{} can't be served", file.display()))?;
        inside.publish(loaded)
    }

    /// Sets the answer to each request by HTTP with this method and URL. A request without an answer fails with `unreachable`. The
    /// plugin needs the grants of the configuration, as on a host. Nothing is sent.
    pub fn http(&self, method: &str, url: &str, result: HttpResult) {
        self.inside.http.set(method, url, result);
    }

    /// The generation of a plugin: 1 for the first build, and one more for each [reload](Self::reload). The log and
    /// faults name it.
    #[must_use]
    pub fn generation(&self, plugin: &str) -> Option<u32> {
        let plugins = self.inside.plugins.borrow();
        plugins.iter().find(|loaded| loaded.name() == plugin).map(Loaded::generation)
    }

    /// Connects a client and joins a topic.
    ///
    /// # Errors
    /// The response of a join that is refused.
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn join(&self, topic: &str, payload: Value) -> Result<Actor, Value> {
        self.join_as(&Join::default(), topic, &payload)
    }

    /// Connects a client with this identity and joins a topic.
    ///
    /// # Errors
    /// The response of a join that is refused.
    pub fn join_as(&self, who: &Join, topic: &str, payload: &Value) -> Result<Actor, Value> {
        Actor::join(self.connect(who), topic, payload)
    }

    pub(crate) fn connect(&self, who: &Join) -> Client {
        Client::connect(&self.inside, who)
    }

    /// Advances the clock. Timers fire in their order.
    pub fn pass(&self, time: Duration) {
        self.inside.wait(time);
    }

    /// Broadcasts to a topic, as the HTTP API does.
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn broadcast(&self, topic: &str, event: &str, payload: Value) {
        let (topic, event, payload) = (Topic::new(topic), event.into(), json_payload(&payload));
        let _inside = self.inside.runtime.enter();
        self.inside.endpoint.node.pubsub.broadcast(Broadcast {
            topic,
            event,
            payload,
            except: Except::Nobody,
            droppable: None,
            number: None,
        });
    }

    /// Sends a topic message, for `handle_message`, and waits for the answer: its status and payload.
    ///
    /// # Errors
    /// If no plugin handles the message, or the callback fails.
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn send(&self, topic: &str, event: &str, payload: Value) -> Delivered {
        let node = &self.inside.endpoint.node;
        self.inside.runtime.block_on(node.send(topic, event.into(), json_payload(&payload)))
    }

    /// Closes every socket with this id, and returns the number of sockets.
    #[must_use]
    pub fn disconnect(&self, id: &str) -> usize {
        let closed = self.inside.endpoint.node.pubsub.disconnect(id);
        self.inside.settle();
        closed
    }

    /// Stores bytes under a key of a plugin, as an earlier callback would. A plugin in Rust encodes its values as
    /// MessagePack.
    ///
    /// # Errors
    /// If there is no such plugin, or the bytes can't be stored.
    pub fn store(&self, plugin: &str, key: &[u8], value: &[u8]) -> Result<()> {
        let mut draft = self.draft(plugin)?;
        draft.put(key, value.to_vec().into())?;
        let store = &self.inside.endpoint.node.store;
        self.inside.runtime.block_on(store.commit(draft)).map_err(|refusal| anyhow!("{refusal}"))?;
        Ok(())
    }

    /// The bytes that a plugin has stored under a key.
    ///
    /// # Errors
    /// If there is no such plugin, or the key isn't valid.
    pub fn stored(&self, plugin: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut draft = self.draft(plugin)?;
        Ok(self.inside.runtime.block_on(draft.get(key))?.map(Vec::from))
    }

    fn draft(&self, plugin: &str) -> Result<Draft> {
        let is_there = self.inside.plugins.borrow().iter().any(|loaded| loaded.name() == plugin);
        ensure!(is_there, "the stage has no plugin `{plugin}`");
        let owner = self.inside.config.settings()?.origin(plugin, 0)?.owner;
        Ok(self.inside.endpoint.node.store.begin(&owner))
    }

    /// The presences of a topic: `{"KEY": {"metas": [..]}, ..}`.
    #[must_use]
    pub fn presences(&self, topic: &str) -> Value {
        match self.inside.endpoint.node.presence.state(&Topic::new(topic)) {
            Payload::Json(text) => serde_json::from_str(&text).unwrap_or_else(|_| (&*text).into()),
            Payload::Binary(_) => Value::Null,
        }
    }

    /// The number of callbacks that have failed.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.inside.endpoint.node.fault_count()
    }
}

impl Inside {
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Runs code within the runtime, with the clock of the stage.
    pub(crate) fn enter<T>(&self, act: impl FnOnce() -> T) -> T {
        self.runtime.block_on(async { act() })
    }

    /// Adds a connection to the list of those that take their messages.
    pub(crate) fn admit(&self, connection: &Rc<RefCell<Connection>>) {
        self.connections.borrow_mut().push(Rc::clone(connection));
    }

    /// Waits until all tasks are idle and every client has taken its messages. The clock advances by a millisecond: a paused
    /// clock advances only when every task waits for it, so a sleep that ends proves that all tasks are idle.
    pub(crate) fn settle(&self) {
        self.wait(Duration::from_millis(1));
    }

    fn wait(&self, time: Duration) {
        self.runtime.block_on(async move { tokio::time::sleep(time).await });
        while self.take() {
            self.runtime.block_on(async move { tokio::time::sleep(Duration::from_millis(1)).await });
        }
    }

    /// Lets every client take its messages. Returns whether more messages may follow.
    fn take(&self) -> bool {
        self.enter(|| {
            let connections = self.connections.borrow();
            let took = connections.iter().filter(|connection| connection.borrow_mut().take()).count();
            took > 0
        })
    }

    fn load(&self, name: &str, file: &Path) -> Result<Loaded> {
        let content = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let bytes = build_of(file, content);
        let before = self.generations.borrow().get(name).copied().unwrap_or_default();
        let origin = self.config.settings()?.origin(name, before.saturating_add(1))?;
        let digest = Digest::of(&bytes);
        let loaded = self.loading.block_on(self.loader.load(bytes.into(), digest, Arc::new(origin)))?;
        self.generations.borrow_mut().insert(name.to_owned(), before.saturating_add(1));
        Ok(loaded)
    }

    fn publish(&self, loaded: Loaded) -> Result<()> {
        let mut plugins = self.plugins.borrow_mut();
        if loaded.gatekeeper().is_some() {
            bail!(
                "`{}` is a gatekeeper; a stage needs none, because the test sets each client's identity",
                loaded.name()
            );
        }
        let others = plugins.iter().filter(|other| other.name() != loaded.name());
        let routes = Routes::new(others.chain([&loaded]).flat_map(|loaded| loaded.table(None)))?;
        self.endpoint.node.routes.publish(routes);
        plugins.retain(|other| other.name() != loaded.name());
        plugins.push(loaded);
        Ok(())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // Members need the runtime when they end.
        self.enter(|| self.connections.borrow().iter().for_each(|connection| connection.borrow_mut().close()));
    }
}

/// The time that plugins see: it starts at `began_ms` and advances with the stage's clock.
fn clock(runtime: &Runtime, began_ms: u64) -> impl Fn() -> u64 + Send + Sync + 'static {
    let began = runtime.block_on(async { Instant::now() });
    move || {
        let elapsed = Instant::now().saturating_duration_since(began);
        began_ms.saturating_add(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}

pub(crate) fn json_payload(value: &Value) -> Payload {
    Payload::Json(value.to_string().into())
}
