//! What the operator's signals ask a host for.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for them. From its making on, none of them ends the process by itself.
pub(super) struct Signals {
    /// SIGINT, which is Ctrl-C, SIGTERM and SIGQUIT.
    stop: [Signal; 3],
    /// SIGHUP, which comes too where the terminal of the host is closed.
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

    /// Waits for the next one that asks to stop. Each SIGHUP until then has `reload` called.
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
