//! Tests of hosts that are the nodes of a cluster: the real binary, several times, on a real PostgreSQL server, and on NATS.
//! `cargo xtask test postgres` runs them, and `cargo xtask test nats` those in `nats`.

mod balancer;
mod chaos;
mod deaths;
mod losses;
mod nats;
mod operations;
mod partitions;
mod phoenix;
mod plan;
mod refusals;
mod rollouts;
mod slow;
mod together;

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use bennu_tests::PostgresServer;

/// Creates a database of its own on the server that the tests share. Returns its name and its URL.
fn database() -> Result<(String, String)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("nodes{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let url = PostgresServer::shared()?.database(&name)?;
    Ok((name, url))
}
