//! How a running host hands its work over to another process: the side of the predecessor.

use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::Pid;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, sleep_until, timeout};

use super::held_requests::HeldRequests;
use super::listeners::{API, CLIENTS};
use super::taking_over::HANDOVER_BYTES_MAX;
use crate::channel::Node;
use crate::contract::system_now_ms;
use crate::handover::{
    Answer, Connection, Incoming, Outgoing, PROTOCOL, Predecessor, PredecessorAction, PredecessorEvent, Request,
    Socket, Times, kill,
};
use crate::health::{Draining, Health};
use crate::parcel::{Record, VERSION};
use crate::plugin::{Control, LibraryPause, PluginStatuses};
use crate::socket::Sockets;
use crate::timing::within;
use crate::transport::{Intake, Reactors};
use crate::webhooks::Webhooks;

/// How long a peer may take to send its first message.
const GREETING_MAX: Duration = Duration::from_secs(10);

/// How long queued turns may run before no further turn begins. After that, what is still queued is lost: messages that
/// plugins send without end, and messages of clients, which get no reply.
const QUEUED_MAX: Duration = Duration::from_secs(1);

/// How long the events that have happened may take to be stored for webhooks.
const EVENTS_MAX: Duration = Duration::from_secs(1);

/// How often the host tries to take the store back.
const RECLAIM_PAUSE: Duration = Duration::from_millis(100);

/// After this time, the data directory counts as lost to another process.
const RECLAIM_MAX: Duration = Duration::from_secs(60);

/// The records that wait to be sent.
const RECORDS_MAX: usize = 8;

/// Why a node of a cluster has no successor. Its members and presences are known to the other nodes as those of this start, which ends
/// with the process. And there are other nodes for its clients.
pub(super) const OF_NODE: &str = "a node of a cluster isn't replaced while it runs: stop it, and start the new one; meanwhile its clients \
                                  connect to the other nodes";

/// How to start a successor: like this process, with a further argument.
#[derive(Clone, Debug)]
pub struct Relaunch {
    /// The file of this process.
    pub executable: PathBuf,
    /// The arguments of this process, and the one that makes it a successor.
    pub arguments: Vec<OsString>,
}

impl Relaunch {
    /// Like this process, with this flag. It must be called at the start, because later the file may be another one.
    ///
    /// # Errors
    /// If the operating system doesn't say which file this process was started from.
    pub fn of_this_process(flag: &str) -> Result<Self> {
        let executable = std::env::current_exe().context("finding the file of this process")?;
        let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        if !arguments.iter().any(|argument| argument == flag) {
            arguments.push(flag.into());
        }
        Ok(Self { executable, arguments })
    }
}

/// A running host, as far as it hands its work over.
pub(super) struct HandingOver {
    parts: Parts,
    /// Whether a hand-over has begun to end turns, and isn't over yet.
    is_busy: watch::Sender<bool>,
    /// Notified when the host is told to stop.
    stop: Notify,
}

/// Everything that has to stop, and to go on if the hand-over fails.
pub(super) struct Parts {
    pub(super) socket: Socket,
    pub(super) relaunch: Option<Relaunch>,
    /// Whether it is a node of a cluster.
    pub(super) is_node: bool,
    pub(super) clients: Arc<TcpListener>,
    pub(super) api: Option<Arc<TcpListener>>,
    pub(super) are_managed: bool,
    pub(super) intake: Intake,
    /// The requests to the API's own address.
    pub(super) held: HeldRequests,
    pub(super) health: Arc<Health>,
    pub(super) reactors: Arc<Reactors>,
    pub(super) node: Arc<Node>,
    pub(super) webhooks: Webhooks,
    pub(super) sockets: Arc<Sockets>,
    pub(super) control: Control,
    pub(super) statuses: Arc<PluginStatuses>,
    pub(super) times: Times,
}

/// A command that has asked for a successor, and the process that was started for it.
struct Upgrade {
    command: Outgoing,
    child: Child,
}

/// Why a hand-over has failed.
enum Failed {
    /// The host serves on.
    Serves(String),
    /// The host can't serve any more, because another process has its data directory.
    Lost(String),
}

/// The successor, and the pause of the library.
type Replaced = (Pid, Option<LibraryPause>);

type Work<'a> = Pin<Box<dyn Future<Output = PredecessorEvent> + Send + 'a>>;

impl HandingOver {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts, is_busy: watch::Sender::new(false), stop: Notify::new() }
    }

    /// The host is told to stop. Waits until no hand-over is under way. If one is, the host takes its work back, unless the
    /// successor already serves. [`until_replaced`](Self::until_replaced) has to be polled meanwhile.
    pub(super) async fn stopped(&self) {
        self.stop.notify_one();
        // The sender isn't dropped before the receiver.
        let _ = self.is_busy.subscribe().wait_for(|is_busy| !is_busy).await;
    }

    /// Waits for successors and commands, until a successor serves. Then no turn begins any more, and the store is the
    /// successor's.
    ///
    /// # Errors
    /// If the host can't serve any more.
    pub(super) async fn until_replaced(&self) -> Result<Option<LibraryPause>> {
        let mut upgrade: Option<Upgrade> = None;
        loop {
            let connection = tokio::select! {
                accepted = self.parts.socket.accept() => match accepted {
                    Ok(connection) => connection,
                    Err(error) => {
                        tracing::warn!("a connection to the host's own socket failed: {error}");
                        sleep(RECLAIM_PAUSE).await;
                        continue;
                    }
                },
                ended = ended(&mut upgrade) => {
                    let why = format!("the new process has ended with {ended} before it has taken over; its log says why");
                    refuse(&mut upgrade, why).await;
                    continue;
                }
            };
            match self.meet(connection, &mut upgrade).await {
                Ok(None) => {}
                Ok(Some((successor, pause))) => {
                    if let Some(upgrade) = upgrade {
                        let pid = u32::try_from(successor.as_raw_nonzero().get()).unwrap_or_default();
                        let _ = upgrade.command.message(&Answer::Done { pid }).await;
                    }
                    return Ok(pause);
                }
                Err(Failed::Serves(why)) => {
                    tracing::warn!("upgrade_failed: this process serves on: {why}");
                    refuse(&mut upgrade, why).await;
                }
                Err(Failed::Lost(why)) => {
                    refuse(&mut upgrade, why.clone()).await;
                    return Err(anyhow!("{why}"));
                }
            }
        }
    }

    /// Handles a connection. Returns the successor if one serves now.
    async fn meet(
        &self,
        mut connection: Connection,
        upgrade: &mut Option<Upgrade>,
    ) -> Result<Option<Replaced>, Failed> {
        let peer = connection.peer();
        let request = timeout(GREETING_MAX, connection.incoming.message::<Request>()).await;
        match (request, peer) {
            (Ok(Ok(Some(Request::Hello { .. }))), _) if self.parts.is_node => {
                let _ = connection.outgoing.message(&Answer::Refused { why: OF_NODE.to_owned() }).await;
                Err(Failed::Serves(OF_NODE.to_owned()))
            }
            (Ok(Ok(Some(Request::Hello { protocol, parcels, version }))), Some(peer)) => {
                if (protocol, parcels) != (PROTOCOL, VERSION) {
                    let why = format!(
                        "the new process has version {version}, and can't take the work of this one over (version {}): \
                         their hand-overs differ; stop this host, and start the new one",
                        env!("CARGO_PKG_VERSION")
                    );
                    let _ = connection.outgoing.message(&Answer::Refused { why: why.clone() }).await;
                    return Err(Failed::Serves(why));
                }
                tracing::info!(pid = peer.as_raw_nonzero().get(), version, "a process wants to take over");
                let handed_over = self.hand_over(connection, peer, upgrade.as_ref()).await;
                self.is_busy.send_replace(false);
                handed_over.map(|pause| Some((peer, pause)))
            }
            (Ok(Ok(Some(Request::Upgrade { executable }))), _) => {
                self.begin(connection.outgoing, executable, upgrade).await;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// A command asks for a successor.
    async fn begin(&self, command: Outgoing, executable: Option<String>, upgrade: &mut Option<Upgrade>) {
        let started =
            if upgrade.is_some() { Err(anyhow!("another upgrade is under way")) } else { self.start(executable) };
        match started {
            Ok(child) => {
                let text = format!("started the process {}", child.id().unwrap_or_default());
                let _ = command.message(&Answer::Progress { text }).await;
                *upgrade = Some(Upgrade { command, child });
            }
            Err(error) => {
                let _ = command.message(&Answer::Refused { why: format!("{error:#}") }).await;
            }
        }
    }

    fn start(&self, executable: Option<String>) -> Result<Child> {
        ensure!(!self.parts.is_node, OF_NODE);
        let relaunch = self.parts.relaunch.as_ref().context("this host can't start another process like itself")?;
        let executable = executable.map_or_else(|| relaunch.executable.clone(), PathBuf::from);
        let mut command = Command::new(&executable);
        command.args(&relaunch.arguments).stdin(Stdio::null());
        command.spawn().with_context(|| format!("starting {}", executable.display()))
    }

    async fn hand_over(
        &self,
        Connection { mut incoming, outgoing }: Connection,
        peer: Pid,
        upgrade: Option<&Upgrade>,
    ) -> Result<Option<LibraryPause>, Failed> {
        let mut machine = Predecessor::new(self.parts.times, Instant::now());
        let serves = |error: io::Error| Failed::Serves(format!("the new process can't be reached: {error}"));
        self.welcome(&outgoing).await.map_err(serves)?;
        let mut work: Work<'_> = Box::pin(pending());
        // The library's task holds still while this is here.
        let mut pause: Option<LibraryPause> = None;
        loop {
            let deadline = machine.deadline();
            let told = tokio::select! {
                told = next(&mut incoming) => told,
                told = &mut work => {
                    work = Box::pin(pending());
                    told
                }
                () = self.stop.notified() => PredecessorEvent::Stop,
                () = until(deadline) => PredecessorEvent::Tick,
            };
            for action in machine.on(told, Instant::now()) {
                match action {
                    PredecessorAction::EndTurns => {
                        self.is_busy.send_replace(true);
                        report(upgrade, "the new process is prepared; ending the turns").await;
                        pause = self.parts.control.pause().await;
                        work = Box::pin(self.end_turns());
                    }
                    PredecessorAction::Send => work = Box::pin(self.send(outgoing.clone())),
                    PredecessorAction::Abort(why) => {
                        work = Box::pin(pending());
                        let aborted = Answer::Aborted { why };
                        // A process that doesn't read is killed later.
                        let _ = timeout(Duration::from_secs(1), outgoing.message(&aborted)).await;
                    }
                    PredecessorAction::Kill => {
                        tracing::error!("the new process doesn't end, and is killed");
                        kill(peer);
                    }
                    PredecessorAction::Resume(why) => {
                        drop(work);
                        self.resume().await?;
                        drop(pause);
                        return Err(Failed::Serves(why));
                    }
                    PredecessorAction::GoOn(why) => return Err(Failed::Serves(why)),
                    PredecessorAction::GiveWay => {
                        self.parts.node.end_turns();
                        self.parts.held.pass_on();
                        return Ok(pause);
                    }
                }
            }
        }
    }

    async fn welcome(&self, outgoing: &Outgoing) -> io::Result<()> {
        let (mut names, mut sockets): (Vec<String>, Vec<BorrowedFd<'_>>) =
            (vec![CLIENTS.to_owned()], vec![self.parts.clients.as_fd()]);
        if let Some(api) = &self.parts.api {
            names.push(API.to_owned());
            sockets.push(api.as_fd());
        }
        let serving =
            self.parts.statuses.all().into_iter().filter(|(_, status)| status.generation > 0 && !status.is_unloaded);
        let plugins = serving.map(|(name, _)| name).collect();
        let welcome = Answer::Welcome { listeners: names, are_managed: self.parts.are_managed, plugins };
        outgoing.message_with(&welcome, &sockets).await
    }

    /// Accepts nothing more, and lets the turns end.
    async fn end_turns(&self) -> PredecessorEvent {
        self.parts.health.set_draining(Some(Draining::HandingOver));
        self.parts.intake.set(false);
        self.parts.held.hold(true);
        self.parts.reactors.pause(true);
        self.parts.node.hold_ticks(true);
        if within(QUEUED_MAX, self.parts.node.idle()).await.is_none() {
            tracing::warn!("turns are still queued; those that haven't begun are lost if the new process takes over");
        }
        self.parts.node.close_turns();
        self.parts.node.turns_over().await;
        if within(EVENTS_MAX, self.parts.webhooks.caught_up()).await.is_none() {
            tracing::warn!(
                "webhooks haven't stored all events; those that they haven't stored are lost if the new process takes over"
            );
        }
        PredecessorEvent::TurnsOver
    }

    /// Gives the store up, and sends the state.
    async fn send(&self, outgoing: Outgoing) -> PredecessorEvent {
        match self.try_send(&outgoing).await {
            Ok(()) => PredecessorEvent::Sent,
            Err(error) => PredecessorEvent::Failed(format!("{error:#}")),
        }
    }

    async fn try_send(&self, outgoing: &Outgoing) -> Result<()> {
        let ended_ms = system_now_ms();
        self.parts.node.store_rooms_now().await.map_err(|topic| anyhow!("the room of {topic} can't be stored"))?;
        self.parts.node.store.release().await.context("closing the store")?;
        let closing = self.parts.sockets.closing_time();
        let closing_ms = u64::try_from(closing.as_millis()).unwrap_or(u64::MAX);
        outgoing.message(&Answer::State { ended_ms, closing_ms }).await?;
        let (sender, mut records) = mpsc::channel(RECORDS_MAX);
        let node = &self.parts.node;
        let packing = async move {
            // If nobody receives any more, sending has failed, and that error counts.
            let _ = node.pack(&sender).await;
        };
        // If sending fails, the receiver is dropped with the future, and then packing ends too.
        let sending = async move {
            let (mut count, mut total) = (0, 0);
            while let Some(record) = records.recv().await {
                total += outgoing.record(&record).await?;
                ensure!(total <= HANDOVER_BYTES_MAX, "the state has more than {HANDOVER_BYTES_MAX} bytes");
                count += 1;
            }
            outgoing.record(&Record::End(count)).await?;
            tracing::info!(records = count, bytes = total, "the state is handed over");
            Ok::<_, anyhow::Error>(())
        };
        let ((), sent) = tokio::join!(packing, sending);
        sent
    }

    /// Serves on.
    async fn resume(&self) -> Result<(), Failed> {
        let began = Instant::now();
        while let Err(error) = self.parts.node.store.reclaim().await {
            if began.elapsed() > RECLAIM_MAX {
                self.parts.held.hold(false);
                return Err(Failed::Lost(format!("the store can't be taken back: {error}")));
            }
            sleep(RECLAIM_PAUSE).await;
        }
        self.parts.node.hold_ticks(false);
        self.parts.node.open_turns();
        self.parts.reactors.pause(false);
        self.parts.health.set_draining(None);
        self.parts.intake.set(true);
        self.parts.held.hold(false);
        Ok(())
    }
}

/// What the successor does next.
async fn next(incoming: &mut Incoming) -> PredecessorEvent {
    match incoming.message::<Request>().await {
        Ok(Some(Request::Prepared)) => PredecessorEvent::Prepared,
        Ok(Some(Request::Serving)) => PredecessorEvent::Serving,
        Ok(Some(Request::GivesUp { why })) => PredecessorEvent::GivesUp(why),
        Ok(Some(Request::Hello { .. } | Request::Upgrade { .. })) => {
            PredecessorEvent::Failed("the new process broke the protocol".to_owned())
        }
        Ok(None) | Err(_) => PredecessorEvent::Gone,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

/// Waits for the end of the process of an upgrade.
async fn ended(upgrade: &mut Option<Upgrade>) -> ExitStatus {
    match upgrade {
        Some(upgrade) => match upgrade.child.wait().await {
            Ok(status) => status,
            Err(_) => pending().await,
        },
        None => pending().await,
    }
}

async fn report(upgrade: Option<&Upgrade>, text: &str) {
    if let Some(upgrade) = upgrade {
        let _ = upgrade.command.message(&Answer::Progress { text: text.to_owned() }).await;
    }
}

/// The upgrade has failed. Its process ends by itself, or was killed.
async fn refuse(upgrade: &mut Option<Upgrade>, why: String) {
    if let Some(Upgrade { command, mut child }) = upgrade.take() {
        let _ = command.message(&Answer::Refused { why }).await;
        tokio::spawn(async move { child.wait().await });
    }
}
