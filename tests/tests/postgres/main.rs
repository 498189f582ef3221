//! Tests of the store on a real PostgreSQL server. `cargo xtask test postgres` runs them, and also the tests of `it` about storage
//! with all hosts on such a server.

mod cluster;
mod drafts;
mod engine;
mod generations;
mod hosts;
mod ledger;
mod migration;
mod moving;
mod node;
mod pooler;
mod refusals;
mod tls;

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use bennu_tests::PostgresServer;

/// Creates a database of its own on the server that the tests share. Returns its name and its URL.
fn database() -> Result<(String, String)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("db{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let url = PostgresServer::shared()?.database(&name)?;
    Ok((name, url))
}

/// The configuration of a host with its store in a database.
fn config(url: &str) -> String {
    format!("[store]\nurl = {url:?}\n")
}
