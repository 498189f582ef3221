//! From a file's bytes to a plugin that can be published.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::time::timeout;

use super::backtrace::fault_of;
use super::bindings::bennu::channel::types;
use super::bindings::exports::bennu::channel::{channel, handle_out};
use super::guest::{Grants, Guest, Origin};
use super::instance::{Instance, Misshapen, Prepared};
use super::pool::{Pool, PoolLimits};
use super::{Anatomy, Cache, Digest, Engine, WasmPlugin, compiler};
use crate::contract::CallLimits;
use crate::routes::{Route, RouteSpec};

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
}

/// A plugin that was loaded and hasn't been published.
pub struct Loaded {
    /// What it is from outside.
    pub anatomy: Anatomy,
    /// What it serves.
    pub routes: Vec<RouteSpec>,
    /// Bytes of the component.
    pub size: usize,
    /// Its content.
    pub digest: Digest,
    /// How long compiling took, or looking it up.
    pub compiling: Duration,
    /// Whether it was found compiled.
    pub was_cached: bool,
    origin: Arc<Origin>,
    plugin: Arc<WasmPlugin>,
}

impl Loaded {
    /// Its routes, for the table.
    pub fn table(&self) -> impl Iterator<Item = Arc<Route>> + '_ {
        self.routes.iter().map(|spec| {
            Arc::new(Route {
                spec: spec.clone(),
                plugin: Arc::clone(&self.origin.name),
                generation: self.origin.generation,
                behaviour: Arc::clone(&self.plugin) as _,
            })
        })
    }
}

impl Loader {
    /// Loads a component: anatomy, compilation, linking, one instance, `describe`.
    ///
    /// # Errors
    /// Where one of these refuses it, in one sentence that says what to do.
    pub async fn load(&self, bytes: Vec<u8>, digest: Digest, origin: Arc<Origin>) -> Result<Loaded> {
        let (size, started) = (bytes.len(), Instant::now());
        let compiled = compiler::compile(self.engine.wasm.clone(), self.cache.clone(), digest, bytes).await?;
        let (anatomy, compiling) = (compiled.anatomy, started.elapsed());
        let prepared = self.prepare(&anatomy, &compiled.component)?;
        let routes = self.describe(&prepared, Arc::clone(&origin)).await?;
        RouteSpec::check_all(&routes, prepared.handle_out.is_some())?;
        let own: Grants = routes.iter().map(|route| route.pattern.clone()).collect();
        let limits = Arc::clone(&self.call_limits);
        let pool = Pool::new(prepared, Arc::clone(&origin), own, Arc::clone(&limits), self.pool_limits);
        let plugin = Arc::new(WasmPlugin::new(pool, limits, self.engine.clone()));
        Ok(Loaded { anatomy, routes, size, digest, compiling, was_cached: compiled.was_cached, origin, plugin })
    }

    /// Links it, and finds its exports with the shapes that they must have.
    fn prepare(&self, anatomy: &Anatomy, component: &wasmtime::component::Component) -> Result<Prepared> {
        let component = self.engine.linker.instantiate_pre(component).map_err(|error| {
            anyhow!("it asks for what this host does not give: {error:#}; build it against this host's `wit/`")
        })?;
        let channel = channel::GuestIndices::new(&component).map_err(Misshapen::export("channel"))?;
        let handle_out = anatomy
            .exports_interface("handle-out")
            .then(|| handle_out::GuestIndices::new(&component).map_err(Misshapen::export("handle-out")))
            .transpose()?;
        Ok(Prepared { component, channel: Arc::new(channel), handle_out: handle_out.map(Arc::new) })
    }

    async fn describe(&self, prepared: &Prepared, origin: Arc<Origin>) -> Result<Vec<RouteSpec>> {
        let guest = Guest::new(origin, Grants::default(), Arc::clone(&self.call_limits));
        let instance = timeout(self.call_limits.wall, Instance::new(prepared, guest)).await;
        let mut instance = instance.context("making an instance of it took too long")?.map_err(|error| match error
            .downcast::<Misshapen>(
        ) {
            Ok(misshapen) => anyhow!(misshapen),
            Err(error) => anyhow!("no instance of it could be made: {}", fault_of(&error, false)),
        })?;
        let described =
            timeout(self.call_limits.wall, instance.describe()).await.context("its `describe` took too long")?;
        let routes = described.map_err(|error| {
            anyhow!("its `describe` failed with {}", fault_of(&error, instance.guest().memory_refused()))
        })?;
        routes.into_iter().map(read_route).collect()
    }
}

fn read_route(route: types::Route) -> Result<RouteSpec> {
    let options: Vec<_> = route.options.into_iter().map(|option| (option.name, option.value)).collect();
    let versions = (route.assigns_version, route.room_version);
    Ok(RouteSpec::read(&route.pattern, route.intercepts, versions, &options)?)
}
