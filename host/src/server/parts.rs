//! The parts of a host, made from its configuration.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, bail};
use axum::Router;
use bennu_cluster::NodeId;
use bennu_outbound::{Client, Roots, SystemNetwork};

use super::api_key::{api_key_file, own_api_key};
use super::data;
use super::vital::Vital;
use super::{Config, MountTable};
use crate::api::{self, Access, Api, ApiKey, HealthParts, Sessions, health_router};
use crate::channel::{Node, NodeIdentity};
use crate::cluster::Peers;
use crate::contract::{CallLimits, Http, Surroundings};
use crate::dashboard::{self, Connections};
use crate::entries::EntriesNode;
use crate::health::Health;
use crate::plugin::{Builds, Cache, Engine, Kinds, Library, LibraryOptions, Loader, PluginStatuses, Source};
use crate::routes::RouteTable;
use crate::store::{DirectoryLock, Store};
use crate::transport::{Reactors, StaticFiles};

/// Makes a loader of plugins with the limits and the cache of the configuration. `instances` is the limit for all plugins
/// together.
///
/// # Errors
/// Returns an error if the engine can't run on this machine, or if the configured cache directory can't be used.
pub fn loader(
    config: &Config,
    surroundings: Arc<dyn Surroundings>,
    store: Store,
    http: Arc<Http>,
    instances: u32,
) -> Result<Loader> {
    let call_limits = config.limits.call();
    let cache = match &config.cache {
        Some(directory) => Some(Cache::open(directory).context("`cache` can't be used")?),
        None => Cache::default_directory().and_then(|directory| {
            Cache::open(&directory).inspect_err(|error| tracing::warn!("compiled plugins aren't kept: {error:#}")).ok()
        }),
    };
    // Address space is reserved for the largest memory that a plugin may have.
    let own = config.plugins.values().filter_map(|table| table.memory_bytes);
    let memory_bytes = own.fold(call_limits.memory_bytes, usize::max);
    let engine = Engine::new(&CallLimits { memory_bytes, ..(*call_limits).clone() }, instances)?;
    let (pool_limits, repeats_calls) = (config.limits.pool(), config.repeats_calls);
    let placement = config.placement()?;
    Ok(Loader { engine, cache, call_limits, pool_limits, surroundings, store, http, repeats_calls, placement })
}

/// Opens the store, and makes the place of the published entries, which a task keeps within their limit. `shared` is this start of the node
/// and the lock of its data directory, if the nodes of a cluster share the store.
pub(super) async fn open_store(
    config: &Config,
    shared: Option<(NodeId, DirectoryLock)>,
    vital: &mut Vital,
) -> Result<(Store, Arc<EntriesNode>)> {
    let store = data::open(config, shared).await?;
    check_apart(config)?;
    vital.spawn("the thread that writes the store", store.ended());
    let entries = EntriesNode::with_cache(config.limits.entries(), config.limits.entries_cache());
    vital.spawn("the task that evicts entries", Arc::clone(&entries).keep_within_limit());
    Ok((store, entries))
}

/// Starts the threads that serve WebSocket connections.
pub(super) fn start_reactors(config: &Config, node: &Node, vital: &mut Vital) -> Result<Arc<Reactors>> {
    let reactors = Reactors::start(config.wire_threads(), &node.pubsub.pressure).context("serving connections")?;
    vital.spawn("a thread that serves WebSocket connections", reactors.ended());
    Ok(reactors)
}

/// Makes the node, with the limits of the configuration.
pub(super) fn node(
    config: &Config,
    routes: &Arc<RouteTable>,
    store: &Store,
    entries: Arc<EntriesNode>,
    http: &Arc<Http>,
    identity: NodeIdentity,
) -> Arc<Node> {
    let (limits, pace) = (config.limits.node(), config.limits.pace());
    let node =
        Node::with_identity(Arc::clone(routes), limits, pace, (store.clone(), entries), Arc::clone(http), identity);
    node.pubsub.histories.set_limits(config.limits.history());
    node.clients.set_limits(config.limits.clients());
    node
}

/// Makes the library of all plugins, which has loaded none yet.
pub(super) fn library(
    config: &Config,
    loader: Loader,
    sources: Vec<Source>,
    published: (Arc<RouteTable>, Arc<PluginStatuses>),
    vital: &mut Vital,
) -> Result<Library> {
    vital.spawn("the thread that interrupts plugins", loader.engine.ended());
    // What a node of a cluster remembers is in the records of the cluster.
    let (builds, kinds) = if config.cluster.is_some() {
        (Builds::default(), Kinds::default())
    } else {
        let builds = Builds::open(&config.data.join("builds")).context("`data` can't be used")?;
        (builds, Kinds::open(&config.data).context("`data` can't be used")?)
    };
    let options = LibraryOptions { settings: config.settings()?, probation: (&config.reload).into() };
    let mut library = Library::new(loader, sources, options, builds, published);
    library.remember(kinds);
    if config.mounts().values().any(MountTable::relies_on_the_only_gatekeeper) {
        library.expect_one_gatekeeper();
    }
    Ok(library)
}

/// Returns the place of the dashboard's sessions, if the API has an address of its own. The dashboard is never at the address of the clients:
/// pages there, and whatever they load, would have its origin.
pub(super) fn sessions<T>(api_listener: Option<&T>) -> Option<Arc<Sessions>> {
    api_listener.map(|_| Arc::default())
}

/// Makes the routes of the API, if it is enabled, and those of the dashboard, if there are sessions.
pub(super) fn api_routes(
    api: Option<Arc<Api>>,
    sessions: Option<&Arc<Sessions>>,
    connections: Connections,
) -> Result<Router> {
    let Some(api) = api else { return Ok(Router::new()) };
    let dashboard = sessions.map(|sessions| dashboard::router(&api, sessions, connections)).transpose()?;
    Ok(api::router(api).merge(dashboard.unwrap_or_default()))
}

/// Makes the endpoints that tell the results of the self-test.
pub(super) fn health_routes(
    health: &Arc<Health>,
    node: &Arc<Node>,
    statuses: &Arc<PluginStatuses>,
    failure: &Arc<OnceLock<String>>,
    (cluster, access): (Option<Arc<Peers>>, Option<Arc<Access>>),
) -> Router {
    let (health, node) = (Arc::clone(health), Arc::clone(node));
    let (statuses, failure) = (Arc::clone(statuses), Arc::clone(failure));
    health_router(HealthParts { health, node, statuses, failure, cluster, access })
}

/// Returns the requests by HTTP that the configuration grants. The client does nothing until the first one.
pub(super) fn http(config: &Config) -> Result<Arc<Http>> {
    let client = Client::new(config.limits.outbound(), Arc::new(SystemNetwork::default()), Roots::System);
    Ok(Http::new(Arc::new(client), config.http_access(true)?, config.limits.http()))
}

/// Returns the static files, if the configuration names a directory for them. Checks that the directory can be read.
pub(super) fn files(config: &Config) -> Result<Option<StaticFiles>> {
    let files = config.static_directory.as_ref().map(|directory| {
        std::fs::read_dir(directory)
            .map(|_| StaticFiles::new(directory.clone()))
            .with_context(|| format!("looking for static files in {}", directory.display()))
    });
    files.transpose()
}

/// Refuses a data directory inside the directory of static files: everybody could read plugins' data and the API key.
pub(super) fn check_apart(config: &Config) -> Result<()> {
    let Some(pages) = &config.static_directory else { return Ok(()) };
    let plain = |path: &Path| std::fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    if plain(&config.data)?.starts_with(plain(pages)?) {
        bail!(
            "the data directory {} is inside {}, whose files are served, so everybody could read it; \
             name another directory with --data or --static",
            config.data.display(),
            pages.display()
        );
    }
    Ok(())
}

/// Returns the keys of the API, if the API is enabled: the one for everything, which `api.key` names or the host makes, and those
/// of `api.keys`. The caller must have opened the store, so that no other host uses the data directory.
pub(super) fn access(config: &Config) -> Result<Option<Arc<Access>>> {
    if !config.api.enabled {
        return Ok(None);
    }
    let key = match config.api_key()? {
        Some(key) => key,
        None => {
            let key = own_api_key(&config.data)?;
            tracing::info!("the key of the API is in {}", api_key_file(&config.data).display());
            key
        }
    };
    let mut keys = config.api_keys()?;
    keys.push(ApiKey::for_everything(&key));
    Ok(Some(Arc::new(Access::new(keys))))
}
