//! How a process takes over from the host that runs on its data directory: the side of the successor.

use std::future::pending;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::net::lookup_host;
use tokio::time::{sleep, sleep_until, timeout};

use super::handing_over::OF_NODE;
use super::listeners::{API, CLIENTS};
use super::{Config, Listeners, check};
use crate::channel::{AdoptedTopic, Takeover};
use crate::contract::system_now_ms;
use crate::handover::{
    Answer, Connection, Incoming, Outgoing, PROTOCOL, Request, Successor, SuccessorAction, SuccessorEvent,
};
use crate::parcel::{Record, SocketRecord, VERSION};
use crate::pubsub::ClientKey;
use crate::store::is_free;

/// The most bytes that are handed over.
pub(super) const HANDOVER_BYTES_MAX: usize = 1 << 30;

/// How long the state may take to arrive.
const RECEIVE_MAX: Duration = Duration::from_secs(60);

/// How long the lock of the data directory may take to be free after the host that had it has ended.
const LOCK_MAX: Duration = Duration::from_secs(10);
const LOCK_LOOK: Duration = Duration::from_millis(20);

/// How long the members of a host without connections may take to come back, in addition to the time in which their
/// connections are closed.
const GRACE: Duration = Duration::from_secs(10);

/// The result of an attempt to take over.
pub enum TakeOver {
    /// There is nothing to adopt: no host runs, or it has ended meanwhile. The sockets are those that it had.
    Alone(Listeners),
    /// A host has ended its turns, and waits until this process serves.
    From(Listeners, Box<Inherited>),
}

/// The work of another host, until this process serves.
pub struct Inherited {
    /// The state, until it is adopted.
    pub(super) state: State,
    /// The plugins that the other host serves.
    plugins: Vec<String>,
    machine: Successor,
    incoming: Incoming,
    outgoing: Outgoing,
}

/// The state of another host.
#[derive(Default)]
pub(super) struct State {
    pub(super) sockets: Vec<SocketRecord>,
    pub(super) topics: Vec<AdoptedTopic>,
    pub(super) takeover: Takeover,
}

/// Greets the host that runs on the data directory, compiles the plugins, and waits for that host's state.
///
/// # Errors
/// If the configuration is wrong, or the host serves on.
pub async fn take_over(config: &Config) -> Result<TakeOver> {
    ensure!(config.cluster.is_none(), OF_NODE);
    let connecting =
        Connection::to(&config.data).await.context("connecting to the host that runs on the data directory");
    let Some(Connection { mut incoming, outgoing }) = connecting? else {
        tracing::info!("no host runs on the data directory, so there is nothing to take over");
        return Ok(TakeOver::Alone(Listeners::default()));
    };
    let version = env!("CARGO_PKG_VERSION").to_owned();
    // If the host has just ended, the answer is the end of the connection.
    let _ = outgoing.message(&Request::Hello { protocol: PROTOCOL, parcels: VERSION, version }).await;
    let mut machine = Successor::new(Instant::now());
    let (mut listeners, mut plugins, mut state) = (Listeners::default(), Vec::new(), State::default());
    let mut preparing: Pin<Box<dyn Future<Output = SuccessorEvent> + '_>> = Box::pin(pending());
    loop {
        let deadline = machine.deadline();
        let told = tokio::select! {
            answer = incoming.message::<Answer>() => match answer {
                Ok(Some(Answer::Welcome { listeners: names, are_managed, plugins: serving })) => {
                    plugins = serving;
                    match taken(config, (&names, are_managed), incoming.take_sockets()).await {
                        Ok(taken) => {
                            listeners = taken;
                            SuccessorEvent::Welcome
                        }
                        Err(error) => SuccessorEvent::Failed(format!("{error:#}")),
                    }
                }
                Ok(Some(Answer::Refused { why })) => SuccessorEvent::Refused(why),
                Ok(Some(Answer::Aborted { why })) => SuccessorEvent::Aborted(why),
                Ok(Some(Answer::State { ended_ms, closing_ms })) => match in_time(received(&mut incoming, &mut state)).await {
                    Ok(()) => {
                        state.takeover = takeover(ended_ms, closing_ms);
                        SuccessorEvent::Received
                    }
                    Err(error) if is_end(&error) => SuccessorEvent::Gone,
                    Err(error) => SuccessorEvent::Failed(format!("{error:#}")),
                },
                Ok(Some(Answer::Progress { .. } | Answer::Done { .. })) => {
                    SuccessorEvent::Failed("the running host broke the protocol".to_owned())
                }
                Ok(None) | Err(_) => SuccessorEvent::Gone,
            },
            prepared = &mut preparing => {
                preparing = Box::pin(pending());
                prepared
            }
            () = until(deadline) => SuccessorEvent::Tick,
        };
        match machine.on(told, Instant::now()) {
            None => {}
            Some(SuccessorAction::Prepare) => preparing = Box::pin(prepare(config)),
            Some(SuccessorAction::SayPrepared) => {
                tracing::info!("all plugins are compiled; waiting until the running host has ended its turns");
                let _ = outgoing.message(&Request::Prepared).await;
            }
            Some(SuccessorAction::Adopt) => {
                return Ok(TakeOver::From(
                    listeners,
                    Box::new(Inherited { state, plugins, machine, incoming, outgoing }),
                ));
            }
            Some(SuccessorAction::StartAlone) => {
                tracing::warn!(
                    "the running host has ended before it has handed its state over; starting from the store"
                );
                await_lock(&config.data).await?;
                return Ok(TakeOver::Alone(listeners));
            }
            Some(SuccessorAction::GiveUp(why)) => {
                let _ = outgoing.message(&Request::GivesUp { why: why.clone() }).await;
                bail!("the running host serves on: {why}");
            }
            // Only after an adoption.
            Some(SuccessorAction::Serve) => bail!("a fault of the host: it would serve before it has adopted anything"),
        }
    }
}

impl Inherited {
    /// Waits until the other host wants to serve on itself. Returns why.
    pub async fn aborted(&mut self) -> anyhow::Error {
        loop {
            let told = match self.incoming.message::<Answer>().await {
                Ok(Some(Answer::Aborted { why })) => SuccessorEvent::Aborted(why),
                Ok(Some(_)) => SuccessorEvent::Failed("the running host broke the protocol".to_owned()),
                Ok(None) | Err(_) => SuccessorEvent::Gone,
            };
            let is_gone = told == SuccessorEvent::Gone;
            if let Some(SuccessorAction::GiveUp(why)) = self.machine.on(told, Instant::now()) {
                return anyhow!("the running host serves on: {why}");
            }
            if is_gone {
                return pending().await;
            }
        }
    }

    /// This process is ready, and serves exactly these plugins. Tells the other host that this one serves now.
    ///
    /// # Errors
    /// If the other host served a plugin that this one doesn't.
    pub async fn serve(mut self, serves: impl Fn(&str) -> bool) -> Result<()> {
        let missing: Vec<_> = self.plugins.iter().filter(|plugin| !serves(plugin)).map(String::as_str).collect();
        if !missing.is_empty() {
            let why = format!("the new process doesn't serve the plugins {}; its log says why", missing.join(", "));
            return Err(self.give_up(why).await);
        }
        match self.machine.on(SuccessorEvent::Adopted, Instant::now()) {
            Some(SuccessorAction::Serve) => {
                // If the other host has ended meanwhile, this one serves all the same.
                let _ = self.outgoing.message(&Request::Serving).await;
                Ok(())
            }
            _ => Err(anyhow!("the running host serves on")),
        }
    }

    /// This process can't serve, for this reason. Tells the other host, and returns the error.
    pub async fn give_up(mut self, why: String) -> anyhow::Error {
        let _ = self.machine.on(SuccessorEvent::Failed(why.clone()), Instant::now());
        let _ = self.outgoing.message(&Request::GivesUp { why: why.clone() }).await;
        anyhow!("the running host serves on: {why}")
    }
}

impl Default for Takeover {
    fn default() -> Self {
        Self { paused: Duration::ZERO, grace: GRACE }
    }
}

fn takeover(ended_ms: u64, closing_ms: u64) -> Takeover {
    let paused = Duration::from_millis(system_now_ms().saturating_sub(ended_ms));
    Takeover { paused, grace: GRACE + Duration::from_millis(closing_ms) }
}

/// Compiles all plugins, so that the start finds their compiled code in the cache.
async fn prepare(config: &Config) -> SuccessorEvent {
    match check(config).await {
        Ok(checked) => {
            for (name, plugin) in &checked.plugins {
                if let Some(why) = &plugin.last_error {
                    tracing::warn!(plugin = name, "the plugin can't be loaded from its file: {why}");
                }
            }
            SuccessorEvent::Prepared
        }
        Err(error) => SuccessorEvent::Failed(format!("{error:#}")),
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

/// Reads all records of a state.
async fn received(incoming: &mut Incoming, state: &mut State) -> Result<()> {
    let (mut count, mut total) = (0, 0);
    loop {
        let (record, bytes) = incoming.record().await?;
        total += bytes;
        ensure!(total <= HANDOVER_BYTES_MAX, "the state has more than {HANDOVER_BYTES_MAX} bytes");
        match record {
            Record::End(records) => {
                ensure!(records == count, "the state has {count} records, and {records} were announced");
                return Ok(());
            }
            Record::ClientSecret(secret) => ClientKey::set_secret(secret),
            Record::Socket(socket) => state.sockets.push(socket),
            Record::Topic(topic) => state.topics.push(AdoptedTopic { topic, ..AdoptedTopic::default() }),
            Record::Entries(entries) => last(state)?.entries.extend(entries),
            Record::History(history) => last(state)?.history = Some(history),
            Record::Broadcasts(broadcasts) => last(state)?.broadcasts.extend(broadcasts),
        }
        count += 1;
    }
}

async fn in_time(receiving: impl Future<Output = Result<()>>) -> Result<()> {
    timeout(RECEIVE_MAX, receiving).await.context("the state didn't come in time")?
}

fn last(state: &mut State) -> Result<&mut AdoptedTopic> {
    state.topics.last_mut().context("a part of a topic came before any topic")
}

/// Whether the connection has ended.
fn is_end(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| {
        matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset)
    })
}

/// The sockets of the other host, by their names. Those that it has bound, and that aren't for the addresses of this
/// configuration, are closed.
async fn taken(config: &Config, (names, are_managed): (&[String], bool), sockets: Vec<OwnedFd>) -> Result<Listeners> {
    ensure!(names.len() == sockets.len(), "{} sockets came, and {} were announced", sockets.len(), names.len());
    let mut listeners = Listeners { are_managed, ..Listeners::default() };
    for (name, socket) in names.iter().zip(sockets) {
        let socket = TcpListener::from(socket);
        let (address, place) = match name.as_str() {
            CLIENTS => (Some(&config.listen), &mut listeners.clients),
            API => (config.api.listen.as_ref(), &mut listeners.api),
            _ => continue,
        };
        if let Some(address) = address
            && (are_managed || is_for(&socket, address).await?)
        {
            *place = Some(socket);
        }
    }
    Ok(listeners)
}

/// Whether a socket listens on one of the addresses with this name.
async fn is_for(socket: &TcpListener, address: &str) -> Result<bool> {
    let own = socket.local_addr()?;
    let mut addresses =
        lookup_host(address).await.with_context(|| format!("`{address}` is not an address to listen on"))?;
    Ok(addresses.any(|address| address.ip() == own.ip() && (address.port() == 0 || address.port() == own.port())))
}

/// Waits until no host has the data directory.
async fn await_lock(data: &Path) -> Result<()> {
    let began = Instant::now();
    while !is_free(data)? {
        ensure!(began.elapsed() < LOCK_MAX, "the host that has ended still has the data directory");
        sleep(LOCK_LOOK).await;
    }
    Ok(())
}
