//! A host in process: its plugins, its clock, and what comes from elsewhere.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use super::actor::Actor;
use super::client::{Client, Connection};
use crate::channel::{Delivered, Node};
use crate::contract::{Identity, system_now_ms};
use crate::plugin::{Digest, Loaded, Loader};
use crate::protocol::{Payload, Topic};
use crate::pubsub::{Broadcast, Except};
use crate::routes::{RouteTable, Routes};
use crate::server::{Config, HostSurroundings, loader, tokens};
use crate::socket::Endpoint;
use crate::store::{Draft, Store};

/// Instances of all plugins on a stage. A process may have many stages, and each reserves address space for them.
const INSTANCES: u32 = 64;

/// What a stage is made of.
#[derive(Debug, Default)]
pub struct StageSetup {
    plugins: Vec<PathBuf>,
    config: Config,
    now_ms: Option<u64>,
}

/// A host without wire, for one thread.
pub struct Stage {
    inside: Rc<Inside>,
}

pub(super) struct Inside {
    /// Runs everything, under a clock that stands still until it is moved on.
    runtime: Runtime,
    /// Where plugins are loaded, so that no time passes for those on stage.
    loading: Runtime,
    loader: Loader,
    config: Config,
    endpoint: Endpoint,
    plugins: RefCell<Vec<Loaded>>,
    /// The last generation of each plugin, by name.
    generations: RefCell<HashMap<String, u32>>,
    /// All that connected.
    connections: RefCell<Vec<Rc<RefCell<Connection>>>>,
}

/// Who joins, and how.
#[derive(Clone, Debug, Default)]
pub struct Join {
    /// Who the socket is.
    pub identity: Identity,
    /// The parameters that it connects with, a JSON object; `null` for none.
    pub params: Value,
}

impl StageSetup {
    /// A stage with this plugin, `NAME.wasm`, too.
    #[must_use]
    pub fn plugin(mut self, file: impl Into<PathBuf>) -> Self {
        self.plugins.push(file.into());
        self
    }

    /// With a host's configuration: its limits, and what it tells and grants to plugins.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// With this time on its clock at first, in milliseconds since 1970, and else the time of the machine.
    #[must_use]
    pub fn now(mut self, milliseconds: u64) -> Self {
        self.now_ms = Some(milliseconds);
        self
    }

    /// Loads the plugins.
    ///
    /// # Errors
    /// Where one of them can't be loaded, in the host's words.
    pub fn load(self) -> Result<Stage> {
        let Self { plugins, config, now_ms } = self;
        let began_ms = now_ms.unwrap_or_else(system_now_ms);
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build()?;
        let loading = Builder::new_current_thread().enable_all().build()?;
        let routes = Arc::new(RouteTable::default());
        let store = Store::in_memory(config.limits.store())?;
        let node = Node::new(routes, config.limits.node(), config.limits.pace(), store.clone());
        let surroundings =
            HostSurroundings::new(&node).with_tokens(tokens(&config)?).with_clock(clock(&runtime, began_ms));
        let loader = loader(&config, Arc::new(surroundings), store, INSTANCES)?;
        let (sockets, limits, outbox_limits) = (Arc::default(), config.limits.socket(), config.limits.outbox());
        let endpoint = Endpoint { node, sockets, limits, outbox_limits };
        let inside = Inside {
            runtime,
            loading,
            loader,
            config,
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

    /// Loads a build of a plugin, in place of the one of that name that is there: members go on with it.
    ///
    /// # Errors
    /// In the host's words, and then what was there goes on.
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

    /// Which build of a plugin is there: 1 for the first, and one more for each [reload](Self::reload). The log and faults name it.
    #[must_use]
    pub fn generation(&self, plugin: &str) -> Option<u32> {
        let plugins = self.inside.plugins.borrow();
        plugins.iter().find(|loaded| loaded.name() == plugin).map(Loaded::generation)
    }

    /// Somebody connects and joins a topic.
    ///
    /// # Errors
    /// The response of a join that is refused.
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn join(&self, topic: &str, payload: Value) -> Result<Actor, Value> {
        self.join_as(&Join::default(), topic, &payload)
    }

    /// Somebody in particular connects and joins a topic.
    ///
    /// # Errors
    /// The response of a join that is refused.
    pub fn join_as(&self, who: &Join, topic: &str, payload: &Value) -> Result<Actor, Value> {
        Actor::join(self.connect(who), topic, payload)
    }

    pub(super) fn connect(&self, who: &Join) -> Client {
        Client::connect(&self.inside, who)
    }

    /// Lets time pass. Timers ring in their order.
    pub fn pass(&self, time: Duration) {
        self.inside.wait(time);
    }

    /// Somebody elsewhere broadcasts to a topic, as the HTTP API does.
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn broadcast(&self, topic: &str, event: &str, payload: Value) {
        let (topic, event, payload) = (Topic::new(topic), event.into(), json_payload(&payload));
        let _inside = self.inside.runtime.enter();
        self.inside.endpoint.node.pubsub.broadcast(Broadcast { topic, event, payload, except: Except::Nobody });
    }

    /// Somebody elsewhere sends to a topic's `handle_message`, and waits for the answer: its status and what it carries.
    ///
    /// # Errors
    /// Where nobody takes it, or the callback fails.
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn send(&self, topic: &str, event: &str, payload: Value) -> Delivered {
        let node = &self.inside.endpoint.node;
        self.inside.runtime.block_on(node.send(topic, event.into(), json_payload(&payload)))
    }

    /// Closes every socket with this id. Gives how many there were.
    #[must_use]
    pub fn disconnect(&self, id: &str) -> usize {
        let closed = self.inside.endpoint.node.pubsub.disconnect(id);
        self.inside.settle();
        closed
    }

    /// Stores bytes under a key of a plugin, as a callback has done earlier. A plugin in Rust has its values as MessagePack.
    ///
    /// # Errors
    /// Where there is no such plugin, or they can't be stored.
    pub fn store(&self, plugin: &str, key: &[u8], value: &[u8]) -> Result<()> {
        let mut draft = self.draft(plugin)?;
        draft.put(key, value.to_vec().into())?;
        let store = &self.inside.endpoint.node.store;
        self.inside.runtime.block_on(store.commit(draft)).map_err(|refusal| anyhow!("{refusal}"))?;
        Ok(())
    }

    /// What a plugin has stored under a key.
    ///
    /// # Errors
    /// Where there is no such plugin, or the key can't be one.
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

    /// Who is online in a topic: `{"KEY": {"metas": [..]}, ..}`.
    #[must_use]
    pub fn presences(&self, topic: &str) -> Value {
        match self.inside.endpoint.node.presence.state(&Topic::new(topic)) {
            Payload::Json(text) => serde_json::from_str(&text).unwrap_or_else(|_| (&*text).into()),
            Payload::Binary(_) => Value::Null,
        }
    }

    /// How many callbacks have failed.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.inside.endpoint.node.fault_count()
    }
}

impl Inside {
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Runs something here, with the clock of the stage.
    pub(super) fn enter<T>(&self, act: impl FnOnce() -> T) -> T {
        self.runtime.block_on(async { act() })
    }

    /// From now on what comes to this connection is taken.
    pub(super) fn admit(&self, connection: &Rc<RefCell<Connection>>) {
        self.connections.borrow_mut().push(Rc::clone(connection));
    }

    /// Waits until nothing more happens by itself, and every client has taken what came to it. The clock moves on by a
    /// millisecond, which is how it is known: it moves by itself only when everybody waits for it.
    pub(super) fn settle(&self) {
        self.wait(Duration::from_millis(1));
    }

    fn wait(&self, time: Duration) {
        self.runtime.block_on(async move { tokio::time::sleep(time).await });
        while self.take() {
            self.runtime.block_on(async move { tokio::time::sleep(Duration::from_millis(1)).await });
        }
    }

    /// Has every client take what came to it. Whether more may come of that.
    fn take(&self) -> bool {
        self.enter(|| {
            let connections = self.connections.borrow();
            let took = connections.iter().filter(|connection| connection.borrow_mut().take()).count();
            took > 0
        })
    }

    fn load(&self, name: &str, file: &Path) -> Result<Loaded> {
        let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
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
            bail!("`{}` is a gatekeeper; here are only plugins, and who connects is said by the test", loaded.name());
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
        // Members end within the runtime.
        self.enter(|| self.connections.borrow().iter().for_each(|connection| connection.borrow_mut().close()));
    }
}

/// What plugins take for the time: it goes on from now as the stage's clock does.
fn clock(runtime: &Runtime, began_ms: u64) -> impl Fn() -> u64 + Send + Sync + 'static {
    let began = runtime.block_on(async { Instant::now() });
    move || {
        let elapsed = Instant::now().saturating_duration_since(began);
        began_ms.saturating_add(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}

pub(super) fn json_payload(value: &Value) -> Payload {
    Payload::Json(value.to_string().into())
}
