//! A host: everything wired together, its start and its stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use axum::Router;
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::time::{timeout, timeout_at};

use super::mounts::{mounts, tokens};
use super::surroundings::HostSurroundings;
use super::{Config, Limits, MountTable};
use crate::api::{self, Access, Api};
use crate::channel::Node;
use crate::contract::Surroundings;
use crate::plugin::{Builds, Cache, Engine, Kinds, Library, Loader, Shelf, Terms};
use crate::protocol::CloseCode;
use crate::routes::{Guarding, RouteTable};
use crate::socket::Sockets;
use crate::store::Store;
use crate::transport::{Mount, Reactors, StaticFiles, listen, router};

/// Connections that wait to be accepted: all clients of a host that was away come back at once. The operating system may
/// have a lower limit of its own.
const BACKLOG: u32 = 4096;

/// Connections to the API, where it has a listener of its own.
const API_CONNECTIONS_MAX: usize = 256;

/// How much of the time that a stop may take is for sockets and channels. The rest remains for storing the rooms of those
/// topics where nothing is stuck.
const STOP_FOR_CHANNELS: f64 = 0.75;

/// A host that listens and has looked through its plugins once.
pub struct Host {
    listener: TcpListener,
    mounts: Vec<Arc<Mount>>,
    reactors: Arc<Reactors>,
    api: Router,
    /// Where the API is, if not with the rest.
    api_listener: Option<TcpListener>,
    node: Arc<Node>,
    sockets: Arc<Sockets>,
    library: Library,
    files: Option<StaticFiles>,
    limits: Limits,
}

/// A loader as this configuration wants it, for so many instances of all plugins together.
///
/// # Errors
/// Where the engine can't run on this machine, or a cache directory that was named can't be used.
pub fn loader(config: &Config, surroundings: Arc<dyn Surroundings>, store: Store, instances: u32) -> Result<Loader> {
    let call_limits = config.limits.call();
    let cache = match &config.cache {
        Some(directory) => Some(Cache::open(directory).context("`cache` can't be used")?),
        None => Cache::default_directory().and_then(|directory| {
            Cache::open(&directory).inspect_err(|error| tracing::warn!("compiled plugins aren't kept: {error:#}")).ok()
        }),
    };
    let engine = Engine::new(&call_limits, instances)?;
    Ok(Loader { engine, cache, call_limits, pool_limits: config.limits.pool(), surroundings, store })
}

impl Host {
    /// Binds the address and loads the plugins. One that can't be loaded is logged, and doesn't keep the host from starting.
    ///
    /// # Errors
    /// Where something that the configuration names isn't there, or the address can't be had.
    pub async fn start(config: &Config) -> Result<Self> {
        let files = config.static_directory.as_ref().map(|directory| {
            std::fs::read_dir(directory)
                .map(|_| StaticFiles(directory.clone()))
                .with_context(|| format!("looking for static files in {}", directory.display()))
        });
        let files = files.transpose()?;
        let listener = bind(&config.listen, "--listen").await?;
        let api_listener = match &config.api.listen {
            Some(address) => Some(bind(address, "api.listen").await?),
            None => None,
        };
        let (routes, shelf) = (Arc::new(RouteTable::default()), Arc::new(Shelf::default()));
        let (sources, settings) = (config.sources()?, config.settings()?);
        let store = Store::open(&config.data, config.limits.store()).await.context("`data` can't be used")?;
        let node = Node::new(Arc::clone(&routes), config.limits.node(), config.limits.pace(), store.clone());
        let tokens = tokens(config)?;
        let surroundings = HostSurroundings::new(&node).with_tokens(tokens.clone());
        let loader = loader(config, Arc::new(surroundings), store, config.limits.instances)?;
        let builds = Builds::open(&config.data.join("builds")).context("`data` can't be used")?;
        let terms = Terms { settings, probation: (&config.reload).into() };
        let mut library = Library::new(loader, sources, terms, builds, (routes, Arc::clone(&shelf)));
        library.remember(Kinds::open(&config.data).context("`data` can't be used")?);
        if config.mounts().values().any(MountTable::relies_on_the_only_gatekeeper) {
            library.expect_one_gatekeeper();
        }
        let sockets = Arc::new(Sockets::default());
        let reactors = Reactors::start(config.wire_threads(), &node.pubsub.pressure).context("serving connections")?;
        let mounts = mounts(config, tokens.as_ref(), &node, &sockets, &reactors)?;
        let api = match config.api.enabled {
            true => api::router(Api {
                node: Arc::clone(&node),
                sockets: Arc::clone(&sockets),
                shelf,
                control: library.control(),
                started: Instant::now(),
                access: Access::new(config.api_key()?),
            }),
            false => Router::new(),
        };
        library.start().await;
        say_open_mounts(config, &node.routes, listener.local_addr()?);
        let limits = config.limits.clone();
        Ok(Self { listener, mounts, reactors, api, api_listener, node, sockets, library, files, limits })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Where the operating system doesn't say.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().context("asking for the address")
    }

    /// Where the API listens, if it is apart.
    ///
    /// # Errors
    /// Where the operating system doesn't say.
    pub fn api_address(&self) -> Result<Option<SocketAddr>> {
        let address = self.api_listener.as_ref().map(TcpListener::local_addr);
        address.transpose().context("asking for the address of the API")
    }

    /// Serves until `stop`, and then ends in order: no new connections, the sockets closed in batches, each channel's
    /// `terminate`.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) {
        // The reactors end once all is said.
        let Self {
            listener,
            mounts,
            reactors: _reactors,
            mut api,
            api_listener,
            node,
            sockets,
            library,
            files,
            limits,
        } = self;
        let watching = tokio::spawn(library.watch());
        let sweeping = tokio::spawn(sweep(Arc::clone(&node)));
        let apart =
            api_listener.map(|listener| tokio::spawn(listen(listener, std::mem::take(&mut api), API_CONNECTIONS_MAX)));
        let listening = tokio::spawn(listen(listener, router(mounts, api, files), limits.sockets()));
        stop.await;
        tracing::info!("stopping");
        listening.abort();
        if let Some(apart) = apart {
            apart.abort();
        }
        watching.abort();
        sweeping.abort();
        let until = Instant::now() + limits.stop();
        let ended = timeout(limits.stop().mul_f64(STOP_FOR_CHANNELS), async {
            sockets.close_all(CloseCode::ServiceRestart).await;
            node.emptied().await;
        });
        if ended.await.is_err() {
            let (sockets, channels) = (sockets.count(), node.channel_count());
            tracing::warn!(
                sockets,
                channels,
                "stopped before all had ended; `limits.stop_ms` says how long that may take"
            );
        }
        // Also where some channels haven't ended: the rooms of others can be stored.
        if timeout_at(until.into(), node.store_rooms()).await.is_err() {
            tracing::error!("stopped before the last commits of all durable rooms were stored");
        }
        // What was acknowledged is stored already; this ends what waits, in order.
        node.store.close().await;
    }
}

/// Says which mounts let anybody in, if the address isn't this machine's alone. The plugins have been loaded, so it is known
/// whether there is a gatekeeper.
fn say_open_mounts(config: &Config, routes: &RouteTable, address: SocketAddr) {
    let mounts = config.mounts();
    let paths = |is_open: &dyn Fn(&MountTable) -> bool| {
        let open = mounts.iter().filter(|(_, mount)| is_open(mount)).map(|(path, _)| path.as_str());
        open.collect::<Vec<_>>().join(", ")
    };
    if address.ip().to_canonical().is_loopback() {
        return;
    }
    let has_no_gatekeeper = matches!(routes.current().guards().only(), Guarding::Open);
    let by_default = paths(&|mount| has_no_gatekeeper && mount.relies_on_the_only_gatekeeper());
    if !by_default.is_empty() {
        tracing::warn!(
            "others than this machine can connect at {address}, and anybody is let in at {by_default}: there is no gatekeeper; set \
             `token`, `jwt` or `gatekeeper` of the mount, or `auth = \"none\"` if this is meant"
        );
    }
    let on_purpose = paths(&|mount| mount.auth.is_some());
    if !on_purpose.is_empty() {
        tracing::info!("others than this machine can connect at {address}, and anybody is let in at {on_purpose}");
    }
}

async fn bind(address: &str, key: &str) -> Result<TcpListener> {
    listen_on(address).await.with_context(|| {
        format!("listening on `{address}`; name another with {key} ADDRESS:PORT (port 0 takes a free one)")
    })
}

/// Listens on the first of the addresses that a name stands for at which it can.
async fn listen_on(address: &str) -> io::Result<TcpListener> {
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "it is no address");
    for address in lookup_host(address).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// When topics pass to other plugins or to none, or a build is taken back, ends the members that this concerns.
async fn sweep(node: Arc<Node>) {
    let mut owners = node.routes.watch_owners();
    while owners.changed().await.is_ok() {
        node.sweep().await;
    }
}
