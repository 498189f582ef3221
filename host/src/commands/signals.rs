//! The signals that stop a host or reload its plugins.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for the signals. After [`Signals::listen`], none of them ends the process by default.
pub(super) struct Signals {
    /// SIGINT (Ctrl-C), SIGTERM and SIGQUIT.
    stop: [Signal; 3],
    /// SIGHUP. A terminal also sends it when it is closed.
    hangup: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self> {
        let listen = |kind, name| signal(kind).with_context(|| format!("listening for {name}"));
        let stop = [
            listen(SignalKind::interrupt(), "Ctrl-C")?,
            listen(SignalKind::terminate(), "SIGTERM")?,
            listen(SignalKind::quit(), "SIGQUIT")?,
        ];
        Ok(Self { stop, hangup: listen(SignalKind::hangup(), "SIGHUP")? })
    }

    /// Waits for the next signal to stop. Calls `reload` for each SIGHUP until then.
    pub(super) async fn stop(&mut self, mut reload: impl FnMut()) {
        let [interrupt, terminate, quit] = &mut self.stop;
        loop {
            tokio::select! {
                _ = interrupt.recv() => return,
                _ = terminate.recv() => return,
                _ = quit.recv() => return,
                _ = self.hangup.recv() => reload(),
            }
        }
    }
}
