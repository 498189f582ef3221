//! A host with the plugin `shelf`, and one client that uses it.
//!
//! Every message has a reply with the status `ok`. The plugin broadcasts nothing.
//!
//! | topics | the room |
//! | --- | --- |
//! | `shelf:*` | numbered entries |
//! | `value:*` | the same data as one value (`type Room`). No row uses it |
//! | `players:entries:*` | players, each as an entry of about 60 bytes |
//! | `players:value:*` | the same players as one value (`type Room`) |
//!
//! | topics | the client sends | effect | reply |
//! | --- | --- | --- | --- |
//! | `shelf:*`, `value:*` | `fill {"entries": n, "bytes": b}` | adds `n` entries, at most 1,000. Each has `b` bytes of key and value together. Numbers continue from the last fill, and the first is 0 | `{"entries": total}` |
//! | | `change {"n": i}` | rewrites entry `i` with other bytes of the same length | `{}` |
//! | | `read {"n": i}` | reads entry `i`. No row uses it | |
//! | | `count` | | `{"entries": total}` |
//! | `players:entries:*`, `players:value:*` | `start {"players": 100, "period_ms": 10}` | replaces the players, and starts the ticks. Each tick reads all players, moves them and writes them back | `{}` |
//! | | `ticks` | | `{"ticks": n}`: the number of handled ticks. It never decreases between a `start` and the next `stop` |
//! | | `stop` | ends the ticks | `{}` |

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::replies::{ask, next_reply};
use crate::client::Client;
use crate::host::Host;

/// The bytes of an entry's key and value together.
pub(super) const ENTRY_BYTES: usize = 100;

/// The most entries that one `fill` adds.
const FILLED_AT_ONCE: usize = 1_000;

/// A client sends nothing while the other hosts of its row are measured, so a host must keep a silent client for that long.
/// If a host never replies, it closes the connection after this time, which ends the measurement.
const CONFIG: &str = "[limits]\nidle_ms = 600000\nstop_ms = 1\n";

/// A host with the plugin, and a client.
pub(super) struct Shelf {
    host: Host,
    client: Client,
}

impl Shelf {
    pub(super) async fn start(binary: &Path, plugin: &Path) -> Result<Self> {
        let host = Host::start(binary, plugin, CONFIG)?;
        let client = Client::connect(host.address).await?;
        Ok(Self { host, client })
    }

    /// The CPU time that the host has used.
    pub(super) fn cpu(&self) -> Result<Duration> {
        self.host.cpu()
    }

    /// The resident memory of the host, in bytes.
    pub(super) fn memory(&self) -> Result<u64> {
        self.host.memory()
    }

    pub(super) async fn join(&mut self, topic: &str) -> Result<()> {
        self.call(topic, "phx_join", &json!({})).await?;
        Ok(())
    }

    /// Adds entries to an empty topic.
    pub(super) async fn fill(&mut self, topic: &str, entries: usize) -> Result<()> {
        let mut filled = 0;
        while filled < entries {
            let more = FILLED_AT_ONCE.min(entries - filled);
            let response = self.call(topic, "fill", &json!({ "entries": more, "bytes": ENTRY_BYTES })).await?;
            filled += more;
            ensure_entries(&response, filled)?;
        }
        Ok(())
    }

    /// Rewrites `count` entries of a topic, [several at once](ask).
    pub(super) async fn change(&mut self, topic: &str, count: usize, mut entry: impl FnMut() -> usize) -> Result<()> {
        ask(&mut self.client, count, |_| message(topic, "change", &format!(r#"{{"n":{}}}"#, entry()))).await
    }

    /// Fails unless a topic has this number of entries.
    pub(super) async fn check_count(&mut self, topic: &str, entries: usize) -> Result<()> {
        ensure_entries(&self.call(topic, "count", &json!({})).await?, entries)
    }

    /// Sends a message and returns the response.
    pub(super) async fn call(&mut self, topic: &str, event: &str, payload: &Value) -> Result<Value> {
        let exchange = async {
            self.client.send(message(topic, event, &payload.to_string())).await?;
            let reply: Value = serde_json::from_str(&next_reply(&mut self.client).await?)?;
            anyhow::Ok(reply[4]["response"].clone())
        };
        exchange.await.with_context(|| format!("{event} in {topic}"))
    }
}

fn message(topic: &str, event: &str, payload: &str) -> String {
    format!(r#"["1","r","{topic}","{event}",{payload}]"#)
}

fn ensure_entries(response: &Value, entries: usize) -> Result<()> {
    ensure!(response["entries"] == entries, "{response} instead of {entries} entries");
    Ok(())
}
