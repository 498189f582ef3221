//! A host: wires all parts together, starts them, and stops them in order.

mod replacing;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use axum::Router;
use tokio::net::TcpListener;
use tokio::time::timeout;

use replacing::Replacing;

use super::cluster::{ClusterNode, EnteredCluster, start_plugins};
use super::config_reload::{ConfigParts, ConfigReload};
use super::findings::log_remarks;
use super::held_requests::HeldRequests;
use super::later::Later;
use super::listeners::Bound;
use super::mounts::{MountParts, tokens};
use super::overview::Overview;
use super::parts::{
    access, api_routes, files, health_routes, http, library, loader, node, open_store, sessions, start_reactors,
};
use super::self_test::SelfTest;
use super::start::Start;
use super::stopping::{End, close_sockets, end_requests, end_sockets_and_rooms, serve_on, until_end};
use super::surroundings::HostSurroundings;
use super::tasks::spawn_tasks;
use super::vital::{Ended, Vital};
use super::{Config, log_lines_lost};
use crate::api::{self, Api};
use crate::channel::Node;
use crate::health::Health;
use crate::plugin::{Control, Library, PluginStatuses};
use crate::routes::RouteTable;
use crate::socket::Sockets;
use crate::transport::{Accepting, Intake, LiveRouter, Mount, Reactors, StaticFiles, listen};

/// The maximum number of connections to an API with its own address.
const API_CONNECTIONS_MAX: usize = 256;

/// How long the plugin library may take at a stop to save the results of probations.
const LIBRARY_ENDS: Duration = Duration::from_secs(1);

/// A host that has bound its address and loaded its plugins once.
pub struct Host {
    listener: Arc<TcpListener>,
    mounts: Vec<Arc<Mount>>,
    reactors: Arc<Reactors>,
    api: Router,
    /// The listener of the API, if it has its own address.
    api_listener: Option<Arc<TcpListener>>,
    /// Whether connections and requests of clients are accepted.
    intake: Intake,
    /// The requests to the API that wait during a hand-over.
    held: HeldRequests,
    replacing: Replacing,
    node: Arc<Node>,
    sockets: Arc<Sockets>,
    library: Library,
    files: Option<StaticFiles>,
    /// Routes that a command has added.
    further: Router,
    /// The endpoints of the health, for both listeners, and the test whose results they tell.
    health: (Router, SelfTest),
    statuses: Arc<PluginStatuses>,
    config_reload: Arc<ConfigReload>,
    /// The limit of sockets.
    most_sockets: usize,
    later: Later,
    /// Watches the threads, which have already started. [`Host::serve`] adds the tasks.
    vital: Vital,
    /// Those that load plugins.
    loading: Vital,
    /// Names the vital task or thread that has ended, for the API. It is set at most once.
    failure: Arc<OnceLock<String>>,
    cluster: EnteredCluster,
}

impl Host {
    /// Binds the address and loads the plugins. A plugin that can't be loaded is logged, and doesn't keep the host from
    /// starting.
    ///
    /// # Errors
    /// Returns an error if something that the configuration names doesn't exist or can't be used, or if an address can't be
    /// bound.
    pub async fn start(config: &Config) -> Result<Self> {
        Self::start_with(config, Start::default()).await
    }

    /// Does the same with sockets that were passed to this process, or as the successor of another host. A successor must
    /// [take over](Self::take_over) before it serves.
    ///
    /// # Errors
    /// See [`Host::start`].
    pub async fn start_with(config: &Config, start: Start) -> Result<Self> {
        let mut cluster = ClusterNode::Alone;
        let started = Self::start_in(config, start, &mut cluster).await;
        if started.is_err() {
            cluster.abandon().await;
        }
        started
    }

    /// Does the same. `cluster` is the place of a host in its cluster, from when it has entered it until its parts are made.
    async fn start_in(config: &Config, start: Start, cluster: &mut ClusterNode) -> Result<Self> {
        let Start { listeners, inherited, relaunch, seams } = start;
        let (files, sources, mut vital) = (files(config)?, config.sources()?, Vital::default());
        let Bound { clients: listener, api: api_listener, are_managed } = listeners.bind(config).await?;
        let (routes, statuses) = (Arc::new(RouteTable::default()), Arc::new(PluginStatuses::default()));
        *cluster = ClusterNode::start(config, seams).await?;
        let (store, entries) = open_store(config, cluster.take_shared(), &mut vital).await?;
        let (http, sockets, tokens) = (http(config)?, Arc::new(Sockets::default()), tokens(config)?);
        let (node, peers) = cluster.connect(|identity| node(config, &routes, &store, entries, &http, identity)).await?;
        let surroundings = Arc::new(HostSurroundings::new(&node).with_tokens(tokens.clone()).with_peers(peers.clone()));
        let loader = loader(config, Arc::clone(&surroundings) as _, store, Arc::clone(&http), config.limits.instances)?;
        let mut library = library(config, loader, sources.clone(), (routes, Arc::clone(&statuses)), &mut vital)?;
        let (loading, rollouts) = cluster.roll_out(&mut library, &node, peers.as_ref());
        let reactors = start_reactors(config, &node, &mut vital)?;
        let (failure, later) = (Arc::<OnceLock<String>>::default(), Later::new(config, &node, Arc::clone(&http))?);
        let mount_parts = MountParts::new(config, &node, &sockets, &reactors);
        let (mounts, access) = (mount_parts.mounts_at_start(config, tokens.as_ref()).await?, access(config)?);
        let parts = ConfigParts {
            access: access.clone(),
            tokens: surroundings.tokens(),
            http,
            mounts: mount_parts,
            control: library.control(),
            statuses: Arc::clone(&statuses),
            node: Arc::clone(&node),
            sources: sources.clone(),
            proxies: Arc::new(ArcSwap::from_pointee(config.proxies())),
        };
        let config_reload = ConfigReload::new(config, parts)?;
        let (self_test, seen) = (SelfTest::new(&reactors, &library, &node.store), (peers.clone(), access.clone()));
        let health_routes = health_routes(&self_test.health, &node, &statuses, &failure, seen);
        let sessions = sessions(api_listener.as_ref());
        let api = access.map(|access| {
            Arc::new(Api {
                node: Arc::clone(&node),
                sockets: Arc::clone(&sockets),
                statuses: Arc::clone(&statuses),
                control: library.control(),
                jobs: later.jobs(),
                deliveries: later.deliveries(),
                started: Instant::now(),
                access,
                sessions: sessions.clone(),
                reload_config: config_reload.for_api(),
                failure: Arc::clone(&failure),
                health: Arc::clone(&self_test.health),
                answers: api::Answers::default(),
                log_lines_lost,
                cluster: peers.clone(),
            })
        });
        let cluster = cluster.enter(&mut vital, &node, peers.as_ref(), api.as_ref()).await;
        let api = api_routes(api, sessions.as_ref(), config_reload.connections(config))?;
        start_plugins(&mut library, rollouts).await;
        log_remarks(config, &sources, &node, &statuses, listener.local_addr()?).await?;
        Ok(Self {
            listener,
            mounts,
            reactors,
            api,
            api_listener,
            intake: Intake::default(),
            held: HeldRequests::default(),
            replacing: Replacing { are_managed, upgrades: None, relaunch, inherited },
            node,
            sockets,
            library,
            files,
            further: Router::new(),
            health: (health_routes, self_test),
            statuses,
            config_reload,
            most_sockets: config.limits.sockets(),
            later,
            vital,
            loading,
            failure,
            cluster,
        })
    }

    /// Returns whether connections and requests of clients are accepted. When it is closed, routes that were added have to end their
    /// endless answers.
    #[must_use]
    pub fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// Adds routes, at the address at which clients connect. They take precedence over static files.
    pub fn add_routes(&mut self, routes: Router) {
        self.further = std::mem::take(&mut self.further).merge(routes);
    }

    /// Inserts HTML at the end of every served page.
    pub fn insert_into_pages(&mut self, html: &'static str) {
        if let Some(files) = &mut self.files {
            files.inserted = Some(html);
        }
    }

    /// Returns a handle that answers questions about the plugins and their members.
    #[must_use]
    pub fn overview(&self) -> Overview {
        Overview::new(Arc::clone(&self.node), Arc::clone(&self.statuses))
    }

    /// Returns the handle that sends commands to the plugin library.
    #[must_use]
    pub fn control(&self) -> Control {
        self.library.control()
    }

    /// Returns the handle that reads the configuration again.
    #[must_use]
    pub fn config_reload(&self) -> Arc<ConfigReload> {
        Arc::clone(&self.config_reload)
    }

    /// Returns the address on which the host listens, with the actual port.
    ///
    /// # Errors
    /// Returns the operating system's error if it doesn't give the address.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().context("asking for the address")
    }

    /// Returns the address on which the API listens, if it has its own.
    ///
    /// # Errors
    /// Returns the operating system's error if it doesn't give the address.
    pub fn api_address(&self) -> Result<Option<SocketAddr>> {
        let address = self.api_listener.as_ref().map(|listener| listener.local_addr());
        address.transpose().context("asking for the address of the API")
    }

    /// Returns the results of the self-test. They also say whether an operator has asked the host to stop.
    #[must_use]
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health.1.health)
    }

    /// Serves until `stop` completes, or an operator asks the host to stop. Then it stops in order: it serves on for `drain_ms` without
    /// being ready, accepts no new connections and messages, waits for the turns that have begun, closes the sockets in batches, and runs
    /// each channel's `terminate`.
    ///
    /// # Errors
    /// Returns the vital task or thread that has ended. The host has then stopped in the same order.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) -> Result<(), Ended> {
        let (health, drain) = (self.health(), self.config_reload.drain());
        let stop = async {
            tokio::select! {
                () = health.asked_to_stop() => {}
                () = stop => {}
            }
            // A command that serves is told of the same, and may be the first one to stop the host.
            if health.is_asked_to_stop() {
                tracing::info!("an operator has asked the host to stop");
            }
        };
        self.serve_until(stop, drain).await
    }

    async fn serve_until(mut self, stop: impl Future<Output = ()> + Send, drain: Duration) -> Result<(), Ended> {
        let handing_over = self.handing_over();
        let Self {
            listener,
            mounts,
            reactors,
            mut api,
            api_listener,
            intake,
            held,
            node,
            sockets,
            library,
            files,
            further,
            health: (health_routes, self_test),
            config_reload,
            most_sockets,
            later,
            mut vital,
            mut loading,
            failure,
            cluster,
            ..
        } = self;
        let ending = library.ending();
        loading.spawn("the task that loads plugins", library.watch());
        spawn_tasks(&mut vital, &node);
        later.spawn(&mut vital);
        // Until the end of a stop, so that an operator sees its state at an address of the API's own.
        let (mut operating, health) = (Vital::default(), Arc::clone(&self_test.health));
        operating.spawn("the task that tests the host", self_test.run());
        let (tally, proxies) = (Arc::clone(&sockets.tally), config_reload.proxies());
        let accepting = Accepting { tally, intake: intake.clone(), proxies };
        if let Some(listener) = api_listener {
            let api = held.holding(std::mem::take(&mut api), &listener).merge(health_routes.clone());
            let accepting = Accepting { intake: held.intake.clone(), ..accepting.clone() };
            let listening = listen(listener, LiveRouter::fixed(api), API_CONNECTIONS_MAX, accepting);
            operating.spawn("the task that accepts connections to the API", listening);
        }
        let router =
            LiveRouter::new(mounts, api.merge(health_routes).merge(further), files, Arc::clone(&sockets.tally));
        config_reload.serves(Arc::clone(&router));
        vital.spawn("the task that accepts connections", listen(listener, router, most_sockets, accepting));
        let end = until_end(stop, [&mut vital, &mut loading, &mut operating], handing_over).await;
        cluster.stop(&health).await;
        let end = serve_on(end, drain, [&mut vital, &mut loading, &mut operating]).await;
        // Ends the tasks that accept and sweep, and closes the listener, in whose queue clients would wait until the process ends.
        drop(vital);
        intake.set(false);
        node.pubsub.events.close();
        let outcome = match end {
            End::Replaced(_pause) => {
                // The library must not write any more, and the turns have ended.
                drop((loading, operating));
                held.intake.set(false);
                close_sockets(&sockets, [&intake, &held.intake], config_reload.limits().stop()).await;
                return Ok(());
            }
            End::Stop => {
                tracing::info!("stopping");
                Ok(())
            }
            End::Failed(ended) => {
                tracing::error!("stopping: {ended}");
                let _ = failure.set(ended.to_string());
                Err(ended)
            }
        };
        ending.notify_one();
        end_sockets_and_rooms(&node, &sockets, &reactors, config_reload.limits().stop()).await;
        // The library may still be loading a plugin. A stop doesn't wait for that longer than this.
        let _ = tokio::join!(timeout(LIBRARY_ENDS, loading.ended()), end_requests([&intake, &held.intake]));
        // The threads of the reactors end with the last reference. The routes of the dashboard have one, too.
        drop((loading, operating, reactors));
        cluster.leave().await;
        // Acknowledged writes are already on the disk. This ends the writes that are still queued, in order.
        node.store.close().await;
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::Notify;
    use tokio::time::sleep;

    use super::*;

    /// A host without plugins.
    async fn start(home: &Path) -> Result<Host> {
        let plugins = home.join("plugins");
        std::fs::create_dir(&plugins)?;
        let config = Config {
            listen: "127.0.0.1:0".into(),
            load: vec![plugins],
            data: home.join("data"),
            cache: Some(home.join("cache")),
            ..Config::default()
        };
        Host::start(&config).await
    }

    /// Such as the call that has asked for the stop.
    #[tokio::test]
    async fn a_host_that_stops_waits_for_a_request_that_is_being_answered() -> Result<()> {
        let home = tempfile::tempdir()?;
        let mut host = start(home.path()).await?;
        let (begun, stop, is_over) = (Arc::<Notify>::default(), Notify::new(), Arc::<AtomicBool>::default());
        let (began, ends) = (Arc::clone(&begun), Arc::clone(&is_over));
        let slow = move || async move {
            began.notify_one();
            sleep(Duration::from_millis(300)).await;
            ends.store(true, Ordering::Relaxed);
        };
        host.add_routes(Router::new().route("/slow", get(slow)));
        let address = host.address()?;
        let asking = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
            begun.notified().await;
            stop.notify_one();
            anyhow::Ok(stream)
        };
        let stopped = async { tokio::join!(host.serve(stop.notified()), asking) };
        let (served, asked) = timeout(Duration::from_secs(30), stopped).await?;
        served?;
        assert!(is_over.load(Ordering::Relaxed), "the host has ended before");
        let mut answer = String::new();
        asked?.read_to_string(&mut answer).await?;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        Ok(())
    }

    /// Closing the store ends its thread, as a panic would.
    #[tokio::test]
    async fn a_host_stops_with_an_error_if_the_stores_thread_ends() -> Result<()> {
        let home = tempfile::tempdir()?;
        let host = start(home.path()).await?;
        let failure = Arc::clone(&host.failure);
        host.node.store.close().await;
        let served = timeout(Duration::from_secs(30), host.serve(std::future::pending())).await?;
        let text = served.err().context("it ended without an error")?.to_string();
        assert!(text.contains("the thread that writes the store has ended"), "{text}");
        assert_eq!(failure.get(), Some(&text));
        Ok(())
    }
}
