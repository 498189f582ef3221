//! Work that takes long, and that a signal stops.

use anyhow::{Result, anyhow, bail};
use tokio::sync::oneshot;

use super::super::signals::Signals;

/// Runs work on a thread of its own, until it is done or a signal comes. After a signal, the thread ends with the process. `stopped`
/// says what the user has then.
pub(super) async fn stoppable<T: Send + 'static>(
    stopped: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let mut signals = Signals::listen()?;
    let (done, result) = oneshot::channel();
    // Not a thread of the runtime: the end of the command would wait for it.
    std::thread::Builder::new().name("bennu-work".into()).spawn(move || {
        // If nobody waits, a signal has stopped the command.
        let _ = done.send(work());
    })?;
    tokio::select! {
        result = result => result.map_err(|_| anyhow!("a thread panicked; this is a fault of bennu"))?,
        () = signals.stop(|| ()) => bail!("{stopped}"),
    }
}

/// Does the same with a future, which the thread runs alone.
pub(super) async fn stoppable_future<T: Send + 'static, F: Future<Output = Result<T>> + 'static>(
    stopped: &str,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<T> {
    let work = move || tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work());
    stoppable(stopped, work).await
}
