//! A host that replaces another one, and that may be replaced.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use super::Host;
use crate::channel::Adopted;
use crate::handover::{Socket, Times};
use crate::server::Inherited;
use crate::server::handing_over::{HandingOver, Parts, Relaunch};
use crate::server::taking_over::State;

/// What a host needs to replace another one, and to be replaced.
pub(super) struct Replacing {
    /// Whether the listeners come from a service manager.
    pub(super) are_managed: bool,
    /// The socket for a successor. None if it can't be made.
    pub(super) upgrades: Option<Socket>,
    pub(super) relaunch: Option<Relaunch>,
    /// The work of a host that this one replaces, until this one serves.
    pub(super) inherited: Option<Box<Inherited>>,
}

impl Host {
    /// Takes the state of the host over that this one replaces, if it replaces one: that host closes its connections from now
    /// on, and this one has to serve. `data` is the data directory, in which this host waits for a successor of its own.
    ///
    /// # Errors
    /// If the other host serves on. This one must end.
    pub async fn take_over(&mut self, data: &Path) -> Result<bool> {
        let replaces = self.replacing.inherited.is_some();
        if let Some(mut inherited) = self.replacing.inherited.take() {
            // No turn begins before this host serves, because the other one can still take everything back.
            self.node.close_turns();
            let State { sockets, topics, takeover } = std::mem::take(&mut inherited.state);
            let Adopted { rooms, rooms_dropped, members } = self.node.adopt(sockets, topics, takeover).await;
            let paused = takeover.paused;
            tracing::info!(rooms, rooms_dropped, members, ?paused, "the state of the other host is adopted");
            // The other host may have changed its mind while this one started.
            tokio::select! {
                biased;
                why = inherited.aborted() => return Err(why),
                () = std::future::ready(()) => {}
            }
            let served = self.statuses.all();
            let serves = |name: &str| served.get(name).is_some_and(|status| status.generation > 0);
            inherited.serve(serves).await?;
            self.node.open_turns();
        }
        match Socket::listen(data) {
            Ok(socket) => self.replacing.upgrades = Some(socket),
            Err(error) => tracing::warn!("this host can't be replaced while it runs: its own socket failed: {error}"),
        }
        Ok(replaces)
    }

    /// Returns what a successor needs, if there may be one.
    pub(super) fn handing_over(&mut self) -> Option<HandingOver> {
        let parts = Parts {
            socket: self.replacing.upgrades.take()?,
            relaunch: self.replacing.relaunch.take(),
            is_node: self.cluster.is_node(),
            clients: Arc::clone(&self.listener),
            api: self.api_listener.clone(),
            are_managed: self.replacing.are_managed,
            intake: self.intake.clone(),
            held: self.held.clone(),
            health: Arc::clone(&self.health.1.health),
            reactors: Arc::clone(&self.reactors),
            node: Arc::clone(&self.node),
            webhooks: self.later.webhooks(),
            sockets: Arc::clone(&self.sockets),
            control: self.library.control(),
            statuses: Arc::clone(&self.statuses),
            times: Times { turns: self.config_reload.limits().stop(), ..Times::default() },
        };
        Some(HandingOver::new(parts))
    }
}
