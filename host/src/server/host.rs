//! A host: everything wired together, its start and its stop.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use axum::Router;
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::time::timeout;

use super::api_key::{api_key_file, own_api_key};
use super::data;
use super::findings::{Finding, findings};
use super::mounts::{mounts, tokens};
use super::surroundings::HostSurroundings;
use super::vital::{Ended, Vital};
use super::{Config, Limits, MountTable, log_lines_lost};
use crate::api::{self, Access, Api};
use crate::channel::Node;
use crate::contract::Surroundings;
use crate::plugin::{Builds, Cache, Control, Engine, Kinds, Library, LibraryOptions, Loader, PluginStatuses};
use crate::protocol::CloseCode;
use crate::routes::{GatekeeperChoice, RouteTable};
use crate::socket::Sockets;
use crate::store::Store;
use crate::timing::within;
use crate::transport::{Mount, Reactors, StaticFiles, listen, router};

/// Connections that wait to be accepted: all clients of a host that was away come back at once. The operating system may
/// have a lower limit of its own.
const BACKLOG: u32 = 4096;

/// Connections to the API, where it has a listener of its own.
const API_CONNECTIONS_MAX: usize = 256;

/// How much of the time that a stop may take is for sockets and channels. The rest remains for storing the rooms of those
/// topics where nothing is stuck.
const STOP_FOR_CHANNELS: f64 = 0.75;

/// How long the library may take to write down what has come of probations.
const LIBRARY_ENDS: Duration = Duration::from_secs(1);

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
    /// The threads that have started. The tasks follow once it serves.
    vital: Vital,
    /// What vital thing has ended, for the API to show.
    failure: Arc<OnceLock<String>>,
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
        let files = files(config)?;
        let listener = bind(&config.listen, "--listen").await?;
        let api_listener = match &config.api.listen {
            Some(address) => Some(bind(address, "api.listen").await?),
            None => None,
        };
        let (routes, statuses) = (Arc::new(RouteTable::default()), Arc::new(PluginStatuses::default()));
        let (sources, settings) = (config.sources()?, config.settings()?);
        let mut vital = Vital::default();
        let store = data::open(config).await?;
        check_apart(config)?;
        vital.spawn("the thread that writes the store", store.ended());
        let node = Node::new(Arc::clone(&routes), config.limits.node(), config.limits.pace(), store.clone());
        let tokens = tokens(config)?;
        let surroundings = HostSurroundings::new(&node).with_tokens(tokens.clone());
        let loader = loader(config, Arc::new(surroundings), store, config.limits.instances)?;
        vital.spawn("the thread that interrupts plugins", loader.engine.ended());
        let builds = Builds::open(&config.data.join("builds")).context("`data` can't be used")?;
        let terms = LibraryOptions { settings, probation: (&config.reload).into() };
        let mut library = Library::new(loader, sources.clone(), terms, builds, (routes, Arc::clone(&statuses)));
        library.remember(Kinds::open(&config.data).context("`data` can't be used")?);
        let known = Arc::clone(&statuses);
        if config.mounts().values().any(MountTable::relies_on_the_only_gatekeeper) {
            library.expect_one_gatekeeper();
        }
        let sockets = Arc::new(Sockets::default());
        let reactors = Reactors::start(config.wire_threads(), &node.pubsub.pressure).context("serving connections")?;
        vital.spawn("a thread that serves WebSocket connections", reactors.ended());
        let failure = Arc::<OnceLock<String>>::default();
        let mounts = mounts(config, tokens.as_ref(), &node, &sockets, &reactors)?;
        let api = match access(config)? {
            Some(access) => api::router(Api {
                node: Arc::clone(&node),
                sockets: Arc::clone(&sockets),
                statuses,
                control: library.control(),
                started: Instant::now(),
                access,
                failure: Arc::clone(&failure),
                log_lines_lost,
            }),
            None => Router::new(),
        };
        library.start().await;
        data::tell_of_unclaimed(&node.store, &known).await;
        findings(config, &sources, &known.all())?.iter().for_each(Finding::log);
        say_open_mounts(config, &node.routes, listener.local_addr()?);
        let limits = config.limits.clone();
        Ok(Self {
            listener,
            mounts,
            reactors,
            api,
            api_listener,
            node,
            sockets,
            library,
            files,
            limits,
            vital,
            failure,
        })
    }

    /// What its plugins are told by.
    #[must_use]
    pub fn control(&self) -> Control {
        self.library.control()
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
    ///
    /// # Errors
    /// Where something ended that it can't serve without. It has ended in the same order then.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) -> Result<(), Ended> {
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
            mut vital,
            failure,
        } = self;
        let ending = library.ending();
        // Apart from the others, since it may write down what it knows of builds once nothing else goes on.
        let mut loading = Vital::default();
        loading.spawn("the task that loads plugins", library.watch());
        vital.spawn("the task that ends members without a plugin", sweep(Arc::clone(&node)));
        vital.spawn("the task that settles stored rooms", settle(Arc::clone(&node)));
        if let Some(listener) = api_listener {
            let (api, tally) = (std::mem::take(&mut api), Arc::clone(&sockets.tally));
            let listening = listen(listener, api, API_CONNECTIONS_MAX, tally);
            vital.spawn("the task that accepts connections to the API", listening);
        }
        let (router, tally) = (router(mounts, api, files), Arc::clone(&sockets.tally));
        vital.spawn("the task that accepts connections", listen(listener, router, limits.sockets(), tally));
        let outcome = tokio::select! {
            () = stop => Ok(()),
            ended = vital.ended() => Err(ended),
            ended = loading.ended() => Err(ended),
        };
        match &outcome {
            Ok(()) => tracing::info!("stopping"),
            Err(ended) => {
                tracing::error!("stopping: {ended}");
                let _ = failure.set(ended.to_string());
            }
        }
        // Nothing is accepted or swept any more.
        drop(vital);
        ending.notify_one();
        let (began, stop) = (Instant::now(), limits.stop());
        let ended = within(stop.mul_f64(STOP_FOR_CHANNELS), async {
            sockets.close_all(CloseCode::ServiceRestart).await;
            node.emptied().await;
        });
        if ended.await.is_none() {
            let (sockets, channels) = (sockets.count(), node.channel_count());
            tracing::warn!(
                sockets,
                channels,
                "stopped before all had ended; `limits.stop_ms` says how long that may take"
            );
        }
        // Also where some channels haven't ended: the rooms of others can be stored.
        let rest = stop.saturating_sub(began.elapsed()).max(stop.mul_f64(1.0 - STOP_FOR_CHANNELS));
        if within(rest, node.store_rooms()).await.is_none() {
            tracing::error!("stopped before the last commits of all durable rooms were stored");
        }
        // It may be loading a plugin, and nobody waits for that any more.
        let _ = timeout(LIBRARY_ENDS, loading.ended()).await;
        drop(loading);
        // What was acknowledged is stored already; this ends what waits, in order.
        node.store.close().await;
        outcome
    }
}

/// The pages, if the configuration names a directory of them.
pub(super) fn files(config: &Config) -> Result<Option<StaticFiles>> {
    let files = config.static_directory.as_ref().map(|directory| {
        std::fs::read_dir(directory)
            .map(|_| StaticFiles(directory.clone()))
            .with_context(|| format!("looking for static files in {}", directory.display()))
    });
    files.transpose()
}

/// Refuses to serve pages among which the data directory lies: everybody could read what plugins keep, and the key of the API.
pub(super) fn check_apart(config: &Config) -> Result<()> {
    let Some(pages) = &config.static_directory else { return Ok(()) };
    let plain = |path: &Path| std::fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    if plain(&config.data)?.starts_with(plain(pages)?) {
        bail!(
            "the data directory {} lies in {}, whose files are served, so everybody could read what is in it; \
             name another directory with --data or --static",
            config.data.display(),
            pages.display()
        );
    }
    Ok(())
}

/// Who may use the API, if there is one: whoever has the key that the configuration names, or else the one that the host makes.
/// The store is open by now, so that no other host has the data directory.
fn access(config: &Config) -> Result<Option<Access>> {
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
    Ok(Some(Access::new(key)))
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
    let has_no_gatekeeper = matches!(routes.current().gatekeepers().only(), GatekeeperChoice::Open);
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

/// When probations have ended, and once at the start, has the stored rooms return to what they were, or let go of it. Apart from
/// the members, who needn't wait for as many rooms as there may be.
async fn settle(node: Arc<Node>) {
    let mut owners = node.routes.watch_owners();
    loop {
        node.settle_stored_rooms().await;
        if owners.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if the thread had panicked: whatever ends it, it is gone.
    #[tokio::test]
    async fn a_host_whose_store_can_no_longer_be_written_ends_and_says_so() -> Result<()> {
        let home = tempfile::tempdir()?;
        let plugins = home.path().join("plugins");
        std::fs::create_dir(&plugins)?;
        let config = Config {
            listen: "127.0.0.1:0".into(),
            load: vec![plugins],
            data: home.path().join("data"),
            cache: Some(home.path().join("cache")),
            ..Config::default()
        };
        let host = Host::start(&config).await?;
        let failure = Arc::clone(&host.failure);
        host.node.store.close().await;
        let served = timeout(Duration::from_secs(30), host.serve(std::future::pending())).await?;
        let text = served.err().context("it has ended as if it had been asked to")?.to_string();
        assert!(text.contains("the thread that writes the store has ended"), "{text}");
        assert_eq!(failure.get(), Some(&text));
        Ok(())
    }
}
