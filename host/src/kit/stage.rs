//! A host in process: its plugins, its clock, and what comes from elsewhere.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use super::actor::Actor;
use super::client::Client;
use crate::channel::{Delivered, Node};
use crate::contract::{Identity, system_now_ms};
use crate::plugin::{Digest, Loaded, Loader, Origin};
use crate::protocol::{Payload, Topic};
use crate::pubsub::{Broadcast, Except};
use crate::routes::{RouteTable, Routes};
use crate::server::{Config, HostSurroundings, loader, tokens};
use crate::socket::Endpoint;
use crate::store::{Owner, Store};

/// Instances of all plugins on a stage. A process may have many stages, and each reserves address space for them.
const INSTANCES: u32 = 64;

/// What a stage is made of.
#[derive(Debug, Default)]
pub struct StageSetup {
    plugins: Vec<PathBuf>,
    config: Config,
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

    /// Loads the plugins.
    ///
    /// # Errors
    /// Where one of them can't be loaded, in the host's words.
    pub fn load(self) -> Result<Stage> {
        let Self { plugins, config } = self;
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build()?;
        let loading = Builder::new_current_thread().enable_all().build()?;
        let routes = Arc::new(RouteTable::default());
        let store = Store::in_memory(config.limits.store())?;
        let node = Node::new(routes, config.limits.node(), config.limits.pace(), store.clone());
        let surroundings = HostSurroundings::new(&node).with_tokens(tokens(&config)?).with_clock(clock(&runtime));
        let loader = loader(&config, Arc::new(surroundings), store, INSTANCES)?;
        let (sockets, limits, outbox_limits) = (Arc::default(), config.limits.socket(), config.limits.outbox());
        let endpoint = Endpoint { node, sockets, limits, outbox_limits };
        let inside = Inside { runtime, loading, loader, config, endpoint, plugins: RefCell::default() };
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
        self.inside.endpoint.node.pubsub.disconnect(id)
    }

    /// Who is online in a topic: `{"KEY": {"metas": [..]}, ..}`.
    #[must_use]
    pub fn presences(&self, topic: &str) -> Value {
        match self.inside.endpoint.node.presence.state(&Topic::new(topic)) {
            Payload::Json(text) => serde_json::from_str(&text).unwrap_or_default(),
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

    /// Waits until nothing more happens by itself. The clock moves on by a millisecond, which is how it is known: it moves
    /// by itself only when everybody waits for it.
    pub(super) fn settle(&self) {
        self.wait(Duration::from_millis(1));
    }

    fn wait(&self, time: Duration) {
        self.runtime.block_on(async move { tokio::time::sleep(time).await });
    }

    fn load(&self, name: &str, file: &Path) -> Result<Loaded> {
        let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let settings = self.config.settings()?.of(name);
        // `publish` keeps one build of each plugin, so what is kept can't be counted.
        let before = self.plugins.borrow().iter().find(|loaded| loaded.name() == name).map_or(0, Loaded::generation);
        let origin = Origin {
            name: name.into(),
            generation: before.saturating_add(1),
            configuration: settings.configuration,
            publish: settings.publish,
            read: settings.read,
            owner: Owner::new(name, settings.store_bytes)?,
        };
        let digest = Digest::of(&bytes);
        self.loading.block_on(self.loader.load(bytes.into(), digest, Arc::new(origin)))
    }

    fn publish(&self, loaded: Loaded) -> Result<()> {
        let mut plugins = self.plugins.borrow_mut();
        if loaded.guard().is_some() {
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

/// What plugins take for the time: it goes on from now as the stage's clock does.
fn clock(runtime: &Runtime) -> impl Fn() -> u64 + Send + Sync + 'static {
    let began = runtime.block_on(async { Instant::now() });
    let began_ms = system_now_ms();
    move || {
        let elapsed = Instant::now().saturating_duration_since(began);
        began_ms.saturating_add(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}

pub(super) fn json_payload(value: &Value) -> Payload {
    Payload::Json(value.to_string().into())
}
