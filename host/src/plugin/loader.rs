//! Makes a plugin that can be published from the bytes of a file.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::backtrace::fault_of;
use super::bindings::bennu::channel::types;
use super::exports::{Misshapen, Prepared};
use super::guest::{CallDiagnostics, Grants, GuestContext, Origin};
use super::instance::Instance;
use super::pool::{Pool, PoolLimits};
use super::repeat::{RecordedSurroundings, RepeatedPlugin};
use super::script::{Script, SharedScript, evaluation_failure, is_build};
use super::source_lines::SourceLines;
use super::usage::GenerationUsage;
use super::{Anatomy, Cache, Digest, Engine, Kind, Tools, WasmPlugin, compiler, wasi};
use crate::contract::limits::keys;
use crate::contract::{Behaviour, CallLimits, Gatekeeper, Http, Surroundings, limit_key};
use crate::routes::{NamedGatekeeper, Placement, Probation, Route, RouteSpec, Takes};
use crate::store::Store;

/// Loads components as plugins.
#[derive(Clone)]
pub struct Loader {
    /// The engine that compiles and links components.
    pub engine: Engine,
    /// The cache of compiled code, if there is one.
    pub cache: Option<Cache>,
    /// The limits of each call.
    pub call_limits: Arc<CallLimits>,
    /// The limits of each plugin's pool of instances.
    pub pool_limits: PoolLimits,
    /// The host's data that a call may read.
    pub surroundings: Arc<dyn Surroundings>,
    /// The store in which plugins keep data.
    pub store: Store,
    /// The requests by HTTP that plugins may ask for.
    pub http: Arc<Http>,
    /// Whether each call is run twice, on two instances. If the outcomes differ, the call is a fault that says what differs:
    /// the plugin keeps state in its instances, or isn't deterministic.
    pub repeats_calls: bool,
    /// Which routes the host may serve.
    pub placement: Placement,
}

/// A loaded plugin that has not been published yet.
pub struct Loaded {
    /// The component's imports, exports, kind and contract version.
    pub anatomy: Anatomy,
    /// The language, the SDK and the tools that the file was made with.
    pub tools: Tools,
    /// The plugin's routes; empty for a gatekeeper.
    pub routes: Vec<RouteSpec>,
    /// The size of the component, in bytes.
    pub size: usize,
    /// The digest of the component.
    pub digest: Digest,
    /// The time that compiling took, or finding the component in the cache.
    pub compiling: Duration,
    /// Whether the compiled form was in the cache.
    pub was_cached: bool,
    takes: Takes,
    origin: Arc<Origin>,
    behaviour: Arc<dyn Behaviour>,
    gatekeeper: Arc<dyn Gatekeeper>,
}

impl Loaded {
    /// Returns the routes for the route table. `trial` is the generation's probation, if it is on one. Its second
    /// part is the previous generation, with which the probation compares this one, if that generation is loaded.
    pub fn table<'a>(
        &'a self,
        trial: Option<(&'a Arc<Probation>, Option<&'a Self>)>,
    ) -> impl Iterator<Item = Arc<Route>> + 'a {
        self.routes.iter().map(move |spec| {
            let before = |loaded: &Self| loaded.routes.iter().find(|route| route.pattern == spec.pattern).cloned();
            let probation = trial.map(|(probation, previous)| {
                let before = previous.and_then(|loaded| Some(Arc::new(loaded.route(before(loaded)?, None))));
                (Arc::clone(probation), before)
            });
            Arc::new(self.route(spec.clone(), probation))
        })
    }

    fn route(&self, spec: RouteSpec, probation: Option<(Arc<Probation>, Option<Arc<Route>>)>) -> Route {
        Route {
            spec,
            plugin: Arc::clone(&self.origin.name),
            generation: self.origin.generation,
            takes: self.takes,
            owner: self.origin.owner.clone(),
            behaviour: Arc::clone(&self.behaviour),
            probation,
        }
    }

    /// Returns the plugin's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.origin.name
    }

    /// Returns the number of the generation.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.origin.generation
    }

    /// Returns the plugin's name and this generation as a gatekeeper, if it is one.
    #[must_use]
    pub fn gatekeeper(&self) -> Option<(Arc<str>, NamedGatekeeper)> {
        let gatekeeper = || (Arc::clone(&self.origin.name), NamedGatekeeper::Present(Arc::clone(&self.gatekeeper)));
        (self.anatomy.kind == Kind::Gatekeeper).then(gatekeeper)
    }
}

/// The parts of a plugin, before its `describe` has been called.
struct Parts {
    anatomy: Anatomy,
    tools: Tools,
    prepared: Prepared,
    instance: Instance,
    size: usize,
    digest: Digest,
    compiling: Duration,
    was_cached: bool,
    generation: Generation,
}

/// What all instances of a generation share.
struct Generation {
    origin: Arc<Origin>,
    script: Option<SharedScript>,
    lines: Option<Arc<SourceLines>>,
    usage: Arc<GenerationUsage>,
}

impl Generation {
    fn new(origin: Arc<Origin>, script: Option<SharedScript>, lines: Option<Arc<SourceLines>>) -> Self {
        let usage = origin.usage.begin_generation();
        Self { origin, script, lines, usage }
    }
}

impl Loader {
    /// Loads a component: reads its anatomy, compiles it, links it, makes one instance, and calls `describe`.
    ///
    /// # Errors
    /// Returns an error if one of these steps refuses the component. Its message is one sentence that says what to
    /// do.
    pub async fn load(&self, bytes: Bytes, digest: Digest, origin: Arc<Origin>) -> Result<Loaded> {
        self.load_holding(bytes, digest, origin, ()).await
    }

    /// Loads a component as [`load`](Self::load) does. `held` is dropped once the component is compiled, even if the
    /// future is dropped before that.
    pub(super) async fn load_holding(
        &self,
        bytes: Bytes,
        digest: Digest,
        origin: Arc<Origin>,
        held: impl Send + 'static,
    ) -> Result<Loaded> {
        if is_build(&bytes) {
            return self.load_script(bytes, digest, origin, held).await;
        }
        let (size, started) = (bytes.len(), Instant::now());
        let compiled = compiler::compile(self.engine.clone(), self.cache.clone(), digest, bytes, held).await?;
        let (anatomy, compiling) = (compiled.anatomy, started.elapsed());
        let prepared = self.prepare(&anatomy, &compiled.component)?;
        let generation = Generation::new(origin, None, compiled.lines);
        let instance = self.instantiate(&prepared, self.context(&generation, Grants::default())).await?;
        let (was_cached, tools) = (compiled.was_cached, compiled.tools);
        if let Some(warning) = tools.warning() {
            tracing::warn!(plugin = &*generation.origin.name, "{warning}");
        }
        self.finish(Parts { anatomy, tools, prepared, instance, size, digest, compiling, was_cached, generation }).await
    }

    /// Loads a script: checks its source, evaluates it in an instance of the engine, and calls `describe`.
    async fn load_script(
        &self,
        bytes: Bytes,
        digest: Digest,
        origin: Arc<Origin>,
        held: impl Send + 'static,
    ) -> Result<Loaded> {
        let (size, started) = (bytes.len(), Instant::now());
        let script = compiler::in_thread(move || {
            let script = Script::read(&bytes);
            drop(held);
            script
        });
        let script = Arc::new(script.await?);
        let engine = self.engine.scripts.get(&self.engine, self.cache.as_ref()).await?;
        let compiling = started.elapsed();
        let whole = Prepared::new(engine.component.clone(), &engine.anatomy)?;
        let generation = Generation::new(origin, Some(Arc::clone(&script)), None);
        let mut instance = self.instantiate(&whole, self.context(&generation, Grants::default())).await?;
        for warning in script.warnings() {
            tracing::warn!(plugin = &*generation.origin.name, "{warning}");
        }
        let anatomy = engine.anatomy.clone().offering(&std::mem::take(&mut instance.offers));
        let prepared = Prepared::new(engine.component.clone(), &anatomy)?;
        let (was_cached, tools) = (engine.was_cached, script.tools());
        self.finish(Parts { anatomy, tools, prepared, instance, size, digest, compiling, was_cached, generation }).await
    }

    /// Calls `describe`, and makes the plugin.
    async fn finish(&self, parts: Parts) -> Result<Loaded> {
        let Parts { anatomy, tools, prepared, mut instance, size, digest, compiling, was_cached, generation } = parts;
        let routes = match anatomy.kind {
            Kind::Plugin => self.describe(&mut instance, prepared.has_handle_out()).await?,
            Kind::Gatekeeper => Vec::new(),
        };
        self.placement.check(&routes)?;
        let own = routes.iter().map(|route| route.pattern.clone()).collect();
        let context = self.context(&generation, own);
        let takes = prepared.takes(&anatomy, !context.access.is_empty());
        let Generation { origin, script, .. } = generation;
        let pool_limits = origin.limits.of_pool(self.pool_limits);
        let served = self.plugin(&prepared, &context, pool_limits);
        if script.is_some() {
            // The first call doesn't have to evaluate the script again.
            served.pool.adopt(instance);
        } else {
            // The instance occupies a place that the first call may need.
            drop(instance);
        }
        let (behaviour, gatekeeper): (Arc<dyn Behaviour>, Arc<dyn Gatekeeper>) = if self.repeats_calls {
            let fresh = self.plugin(&prepared, &context, PoolLimits { calls_per_instance: 1, ..pool_limits });
            let plugin = Arc::new(RepeatedPlugin { served, fresh });
            (Arc::clone(&plugin) as _, plugin)
        } else {
            let plugin = Arc::new(served);
            (Arc::clone(&plugin) as _, plugin)
        };
        Ok(Loaded { anatomy, tools, routes, size, digest, compiling, was_cached, takes, origin, behaviour, gatekeeper })
    }

    fn plugin(&self, prepared: &Prepared, context: &Arc<GuestContext>, limits: PoolLimits) -> WasmPlugin {
        let (capacity, ticker) = (Arc::clone(&self.engine.capacity), Arc::clone(&self.engine.ticker));
        let pool = Pool::new(prepared.clone(), Arc::clone(context), limits, capacity, ticker);
        WasmPlugin::new(pool, self.engine.clone())
    }

    fn context(&self, generation: &Generation, own: Grants) -> Arc<GuestContext> {
        let Generation { origin, script, lines, usage } = generation;
        let (http, access) = (Arc::clone(&self.http), self.http.access(&origin.name));
        let (repeats_calls, surroundings) = (self.repeats_calls, Arc::clone(&self.surroundings));
        Arc::new(GuestContext {
            own,
            limits: origin.limits.of_calls(&self.call_limits),
            surroundings: if repeats_calls { Arc::new(RecordedSurroundings(surroundings)) } else { surroundings },
            store: self.store.clone(),
            http,
            access,
            waiting: Semaphore::new(origin.limits.of_pool(self.pool_limits).waiting()),
            script: script.clone(),
            lines: lines.clone(),
            repeats_calls,
            usage: Arc::clone(usage),
            epochs: Arc::clone(self.engine.ticker.signal()),
            origin: Arc::clone(origin),
        })
    }

    /// Links the component, and finds its exports. Their types must match the contract.
    fn prepare(&self, anatomy: &Anatomy, component: &wasmtime::component::Component) -> Result<Prepared> {
        let mut linker = Cow::Borrowed(&*self.engine.linker);
        if anatomy.imports_wasi() {
            wasi::add_to_linker(linker.to_mut(), component)?;
        }
        let component = linker.instantiate_pre(component).map_err(|error| {
            anyhow!(
                "it imports something that this host does not provide: {error:#}; build it against this host's `wit/`"
            )
        })?;
        Ok(Prepared::new(component, anatomy)?)
    }

    /// Says that a step of loading has exceeded the limit of time.
    fn too_long(&self, step: &str) -> String {
        let most = self.call_limits.wall.as_millis();
        format!("{step} took more than {most} ms{}", limit_key(keys::CALL_WALL_MS, most))
    }

    async fn instantiate(&self, prepared: &Prepared, context: Arc<GuestContext>) -> Result<Instance> {
        let making = self.engine.capacity.instance(prepared, &context);
        let instance = timeout(self.call_limits.wall, self.engine.ticker.signal().keep(making)).await;
        let instance = instance.with_context(|| self.too_long("instantiating it"))?;
        instance.map_err(|error| match error.downcast::<Misshapen>() {
            Ok(misshapen) => anyhow!(misshapen),
            Err(error) => match &context.script {
                Some(script) => anyhow!("its evaluation failed: {}", evaluation_failure(script, &error)),
                None => anyhow!("it could not be instantiated: {}", fault_of(&error, CallDiagnostics::default())),
            },
        })
    }

    async fn describe(&self, instance: &mut Instance, has_handle_out: bool) -> Result<Vec<RouteSpec>> {
        let described = timeout(self.call_limits.wall, self.engine.ticker.signal().keep(instance.describe()))
            .await
            .with_context(|| self.too_long("its `describe`"))?;
        let routes = described.map_err(|error| {
            anyhow!("its `describe` failed with {}", fault_of(&error, instance.guest_mut().take_diagnostics()))
        })?;
        let routes = routes.into_iter().map(read_route).collect::<Result<Vec<_>>>()?;
        RouteSpec::check_all(&routes, has_handle_out)?;
        Ok(routes)
    }
}

fn read_route(route: types::Route) -> Result<RouteSpec> {
    let options: Vec<_> = route.options.into_iter().map(|option| (option.name, option.value)).collect();
    let versions = (route.assigns_version, route.room_version);
    Ok(RouteSpec::read(&route.pattern, route.intercepts, versions, &options)?)
}
