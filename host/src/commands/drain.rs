//! `bennu drain`.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::ask::Ask;

/// Stop a running host in order, as the signal SIGTERM does: it says to load balancers that it isn't ready, serves on for `drain_ms` of its
/// configuration, and closes its connections. Clients connect again by themselves, in a cluster to the other nodes.
///
/// The command doesn't wait for the end of the host.
#[derive(Args)]
pub(super) struct Drain {
    #[command(flatten)]
    ask: Ask,
}

impl Drain {
    pub(super) fn run(self) -> Result<()> {
        let answer: Value = self.ask.post("/api/drain", "{}")?;
        let count = |key: &str| answer[key].as_u64().unwrap_or_default();
        out_line!("the host stops; it has {} sockets and {} channels", count("sockets"), count("channels"));
        Ok(())
    }
}
