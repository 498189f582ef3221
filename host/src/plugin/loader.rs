//! From a file's bytes to a plugin that can be published.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use tokio::time::timeout;

use super::backtrace::fault_of;
use super::bindings::bennu::channel::types;
use super::exports::{Misshapen, Prepared};
use super::guest::{CallDiagnostics, Grants, GuestContext, Origin};
use super::instance::Instance;
use super::pool::{Pool, PoolLimits};
use super::{Anatomy, Cache, Digest, Engine, Kind, WasmPlugin, compiler};
use crate::contract::{CallLimits, Surroundings};
use crate::routes::{NamedGatekeeper, Probation, Route, RouteSpec, Takes};
use crate::store::Store;

/// Makes plugins of files.
pub struct Loader {
    /// What compiles and links them.
    pub engine: Engine,
    /// Where compiled code is kept, if anywhere.
    pub cache: Option<Cache>,
    /// What a call may use.
    pub call_limits: Arc<CallLimits>,
    /// What a plugin may use.
    pub pool_limits: PoolLimits,
    /// What a call may read.
    pub surroundings: Arc<dyn Surroundings>,
    /// Where plugins keep what outlives the host.
    pub store: Store,
}

/// A plugin that was loaded and hasn't been published.
pub struct Loaded {
    /// What it is from outside.
    pub anatomy: Anatomy,
    /// What it serves; nothing, if it is a gatekeeper.
    pub routes: Vec<RouteSpec>,
    /// Bytes of the component.
    pub size: usize,
    /// Its content.
    pub digest: Digest,
    /// How long compiling took, or looking it up.
    pub compiling: Duration,
    /// Whether it was found compiled.
    pub was_cached: bool,
    takes: Takes,
    origin: Arc<Origin>,
    plugin: Arc<WasmPlugin>,
}

impl Loaded {
    /// Its routes, for the table: with the probation that it is on, and the generation that it has to prove itself against, if
    /// there is one.
    pub fn table<'a>(
        &'a self,
        trial: Option<(&'a Arc<Probation>, Option<&'a Self>)>,
    ) -> impl Iterator<Item = Arc<Route>> + 'a {
        self.routes.iter().map(move |spec| {
            let before = |proved: &Self| proved.routes.iter().find(|route| route.pattern == spec.pattern).cloned();
            let probation = trial.map(|(probation, proved)| {
                let before = proved.and_then(|proved| Some(Arc::new(proved.route(before(proved)?, None))));
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
            behaviour: Arc::clone(&self.plugin) as _,
            probation,
        }
    }

    /// The plugin's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.origin.name
    }

    /// Which load of its plugin it is.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.origin.generation
    }

    /// Itself as a guard, if it is a gatekeeper.
    #[must_use]
    pub fn gatekeeper(&self) -> Option<(Arc<str>, NamedGatekeeper)> {
        let guard = || (Arc::clone(&self.origin.name), NamedGatekeeper::Present(Arc::clone(&self.plugin) as _));
        (self.anatomy.kind == Kind::Gatekeeper).then(guard)
    }
}

impl Loader {
    /// Loads a component: anatomy, compilation, linking, one instance, `describe`.
    ///
    /// # Errors
    /// Where one of these refuses it, in one sentence that says what to do.
    pub async fn load(&self, bytes: Bytes, digest: Digest, origin: Arc<Origin>) -> Result<Loaded> {
        self.load_holding(bytes, digest, origin, ()).await
    }

    /// The same, holding something until the component is compiled, also if the future is dropped before that.
    pub(super) async fn load_holding(
        &self,
        bytes: Bytes,
        digest: Digest,
        origin: Arc<Origin>,
        held: impl Send + 'static,
    ) -> Result<Loaded> {
        let (size, started) = (bytes.len(), Instant::now());
        let compiled = compiler::compile(self.engine.wasm.clone(), self.cache.clone(), digest, bytes, held).await?;
        let (anatomy, compiling) = (compiled.anatomy, started.elapsed());
        let prepared = self.prepare(&anatomy, &compiled.component)?;
        let mut instance = self.instantiate(&prepared, &origin).await?;
        let routes = match anatomy.kind {
            Kind::Plugin => self.describe(&mut instance, prepared.has_handle_out()).await?,
            Kind::Gatekeeper => Vec::new(),
        };
        let takes = prepared.takes();
        let context = self.context(&origin, routes.iter().map(|route| route.pattern.clone()).collect());
        // It has a place that the first call may need.
        drop(instance);
        let pool = Pool::new(prepared, context, self.pool_limits, Arc::clone(&self.engine.capacity));
        let plugin = Arc::new(WasmPlugin::new(pool, Arc::clone(&self.call_limits), self.engine.clone()));
        let was_cached = compiled.was_cached;
        Ok(Loaded { anatomy, routes, size, digest, compiling, was_cached, takes, origin, plugin })
    }

    fn context(&self, origin: &Arc<Origin>, own: Grants) -> Arc<GuestContext> {
        let (limits, surroundings) = (Arc::clone(&self.call_limits), Arc::clone(&self.surroundings));
        let (origin, store) = (Arc::clone(origin), self.store.clone());
        Arc::new(GuestContext { origin, own, limits, surroundings, store })
    }

    /// Links it, and finds its exports with the shapes that they must have.
    fn prepare(&self, anatomy: &Anatomy, component: &wasmtime::component::Component) -> Result<Prepared> {
        let component = self.engine.linker.instantiate_pre(component).map_err(|error| {
            anyhow!("it asks for what this host does not give: {error:#}; build it against this host's `wit/`")
        })?;
        Ok(Prepared::new(component, anatomy)?)
    }

    async fn instantiate(&self, prepared: &Prepared, origin: &Arc<Origin>) -> Result<Instance> {
        let context = self.context(origin, Grants::default());
        let making = self.engine.capacity.instance(prepared, &context);
        let instance = timeout(self.call_limits.wall, self.engine.ticker.signal().keep(making)).await;
        let instance = instance.context("making an instance of it took too long")?;
        instance.map_err(|error| match error.downcast::<Misshapen>() {
            Ok(misshapen) => anyhow!(misshapen),
            Err(error) => anyhow!("no instance of it could be made: {}", fault_of(&error, CallDiagnostics::default())),
        })
    }

    async fn describe(&self, instance: &mut Instance, has_handle_out: bool) -> Result<Vec<RouteSpec>> {
        let described = timeout(self.call_limits.wall, self.engine.ticker.signal().keep(instance.describe()))
            .await
            .context("its `describe` took too long")?;
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
