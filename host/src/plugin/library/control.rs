//! What operators ask of the library: reload, unload, roll back, forget. One task owns all plugins, so they ask by messages.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};

/// What is asked of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Load its file anew, changed or not. It also takes back an unloading.
    Reload,
    /// Serve it no more, until a reload is asked for or the host starts anew.
    Unload,
    /// Let the generation before this one serve again, until the file changes.
    Rollback,
    /// It is gone for good: forget it, and that it was a gatekeeper.
    Forget,
}

/// Why a wish wasn't granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// There is no plugin of that name.
    Unknown,
    /// Something keeps it from it; the running generation goes on.
    Refused(String),
    /// The host is stopping.
    Stopping,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => write!(f, "there is no plugin of that name"),
            Self::Refused(why) => f.write_str(why),
            Self::Stopping => write!(f, "the host is stopping"),
        }
    }
}

impl std::error::Error for CommandError {}

/// A wish with its plugin, and where the answer goes.
pub(super) struct CommandRequest {
    pub(super) plugin: String,
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Result<(), CommandError>>,
}

/// Wishes that wait; past it who asks waits too.
const WAITING_MAX: usize = 16;

/// Asks the library. Cloning shares it.
#[derive(Clone)]
pub struct Control {
    asked: mpsc::Sender<CommandRequest>,
    /// Told where all files are to be looked at anew.
    pub(super) look: Arc<Notify>,
}

impl Control {
    pub(super) fn new() -> (Self, mpsc::Receiver<CommandRequest>) {
        let (asked, receiver) = mpsc::channel(WAITING_MAX);
        (Self { asked, look: Arc::default() }, receiver)
    }

    /// Has all plugins' files read anew, whether they seem to have changed or not. A plugin whose file holds what serves
    /// already is left alone.
    pub fn look_anew(&self) {
        self.look.notify_one();
    }

    /// Asks, and waits until it is done: what is called from then on is served by what was asked for.
    ///
    /// # Errors
    /// Why it wasn't done.
    pub async fn ask(&self, plugin: &str, command: Command) -> Result<(), CommandError> {
        let (answer, answered) = oneshot::channel();
        let asked = CommandRequest { plugin: plugin.to_owned(), command, answer };
        self.asked.send(asked).await.map_err(|_| CommandError::Stopping)?;
        answered.await.map_err(|_| CommandError::Stopping)?
    }
}
