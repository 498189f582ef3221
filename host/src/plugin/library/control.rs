//! The commands of operators to the library: reload, unload, roll back, forget. They are sent as messages, because
//! one task owns all plugins.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};

use super::super::PoolLimits;
use super::LibraryOptions;
use super::cluster_orders::ClusterOrder;
use crate::contract::CallLimits;

/// A command for one plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Loads the plugin's file again, changed or not. This also ends an unloading.
    Reload,
    /// Stops serving the plugin until a reload or the host's next start.
    Unload,
    /// Lets the previous generation serve again, until the file changes.
    Rollback,
    /// Removes the records of a plugin that is gone for good, including the fact that it was a gatekeeper.
    Forget,
}

/// The reason why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// There is no plugin with that name.
    Unknown,
    /// The library refused the command for this reason. The running generation continues to serve.
    Refused(String),
    /// The host is stopping.
    Stopping,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => write!(f, "there is no plugin with that name"),
            Self::Refused(why) => f.write_str(why),
            Self::Stopping => write!(f, "the host is stopping"),
        }
    }
}

impl std::error::Error for CommandError {}

/// A command with its plugin, and the channel for the answer.
pub(super) struct CommandRequest {
    pub(super) plugin: String,
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Result<(), CommandError>>,
}

/// The settings of a library that can be replaced while it watches its files.
pub struct LibraryConfig {
    /// The plugins' configuration, and the terms of a probation.
    pub options: LibraryOptions,
    /// The limits of each call.
    pub call_limits: Arc<CallLimits>,
    /// The limits of each plugin's pool of instances.
    pub pool_limits: PoolLimits,
}

/// What the library does for the rest of the host.
pub(super) enum Asked {
    /// A command for one plugin.
    Command(CommandRequest),
    /// Uses other settings for each later load.
    Configure(Box<LibraryConfig>),
    /// Does nothing for a while.
    Pause(PauseRequest),
    /// What the records of the cluster need.
    InCluster(ClusterOrder),
}

/// The maximum number of commands in the channel. Above it, senders wait.
const WAITING_MAX: usize = 16;

/// While this exists, the library does nothing: it reads and writes no file, and publishes nothing.
pub struct LibraryPause(#[expect(dead_code, reason = "the library waits for its end")] oneshot::Sender<()>);

/// A request for a pause. The library answers when the pause has begun, and waits until the sender of `over` is dropped.
pub(super) struct PauseRequest {
    pub(super) begun: oneshot::Sender<()>,
    pub(super) over: oneshot::Receiver<()>,
}

/// Sends commands to the library. Clones send to the same library.
#[derive(Clone)]
pub struct Control {
    asked: mpsc::Sender<Asked>,
    probes: mpsc::Sender<oneshot::Sender<()>>,
    /// Notified when all files must be read again.
    pub(super) look: Arc<Notify>,
}

impl Control {
    pub(super) fn new() -> (Self, mpsc::Receiver<Asked>, mpsc::Receiver<oneshot::Sender<()>>) {
        let (asked, commands) = mpsc::channel(WAITING_MAX);
        let (probes, probed) = mpsc::channel(WAITING_MAX);
        (Self { asked, probes, look: Arc::default() }, commands, probed)
    }

    /// Where orders are sent.
    pub(super) fn asked(&self) -> mpsc::Sender<Asked> {
        self.asked.clone()
    }

    /// Waits until the library has recorded what it has decided, and does nothing more until the pause is dropped. Returns
    /// none if the library has ended.
    pub async fn pause(&self) -> Option<LibraryPause> {
        let ((begun, has_begun), (pause, over)) = (oneshot::channel(), oneshot::channel());
        self.asked.send(Asked::Pause(PauseRequest { begun, over })).await.ok()?;
        has_begun.await.ok().map(|()| LibraryPause(pause))
    }

    /// Makes the library read the files of all plugins again, changed or not. If a file contains the build that
    /// already serves, nothing else happens.
    pub fn look_anew(&self) {
        self.look.notify_one();
    }

    /// Waits until the library has answered, which shows that its task still runs.
    ///
    /// # Errors
    /// If the library has ended.
    pub async fn answered(&self) -> Result<(), CommandError> {
        let (answer, answered) = oneshot::channel();
        self.probes.send(answer).await.map_err(|_| CommandError::Stopping)?;
        answered.await.map_err(|_| CommandError::Stopping)
    }

    /// Sends a command and waits until it is done. Every later call runs on the generation that the command has
    /// published.
    ///
    /// # Errors
    /// Returns the reason why the command failed.
    pub async fn ask(&self, plugin: &str, command: Command) -> Result<(), CommandError> {
        let (answer, answered) = oneshot::channel();
        let asked = CommandRequest { plugin: plugin.to_owned(), command, answer };
        self.asked.send(Asked::Command(asked)).await.map_err(|_| CommandError::Stopping)?;
        answered.await.map_err(|_| CommandError::Stopping)?
    }

    /// Makes the library use other settings for each later load. Generations that serve keep theirs.
    ///
    /// # Errors
    /// Returns an error if the host is stopping.
    pub async fn configure(&self, config: LibraryConfig) -> Result<(), CommandError> {
        let sent = self.asked.send(Asked::Configure(Box::new(config))).await;
        sent.map_err(|_| CommandError::Stopping)
    }
}
