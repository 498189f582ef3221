//! A host with the plugin `shelf`, and one client that uses it.
//!
//! Every message has a reply with the status `ok`. The plugin broadcasts nothing.
//!
//! The plugin's own documentation has the topics and the messages (`guest-examples/shelf/src/lib.rs`).

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::replies::{ask, next_reply};
use crate::client::Client;
use crate::host::Host;

/// The bytes of an entry's key and value together.
pub(super) const ENTRY_BYTES: usize = KEY_BYTES + VALUE_BYTES;

/// The bytes of the key that the plugin gives an entry.
const KEY_BYTES: usize = 12;

const VALUE_BYTES: usize = 88;

/// The most entries that one `fill` adds.
const FILLED_AT_ONCE: usize = 1_000;

/// A client sends nothing while the other hosts of its row are measured, so a host must keep a silent client for that long.
/// If a host never replies, it closes the connection after this time, which ends the measurement.
/// The largest room needs more than the default quota.
const CONFIG: &str = "[limits]\nidle_ms = 600000\nstop_ms = 1000\nstore_bytes_per_plugin = 4294967296\n";

/// A host with the plugin, and a client.
pub(super) struct ShelfHost {
    host: Host,
    client: Client,
}

impl ShelfHost {
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

    /// Connects one more client.
    pub(super) async fn connect(&self) -> Result<Client> {
        Client::connect(self.host.address).await
    }

    /// The client of the calls.
    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Adds entries to an empty topic.
    pub(super) async fn fill(&mut self, topic: &str, entries: usize) -> Result<()> {
        self.fill_with(topic, 0..entries, VALUE_BYTES).await
    }

    /// Adds entries with these numbers and with values of these bytes.
    pub(super) async fn fill_with(&mut self, topic: &str, numbers: Range<usize>, bytes: usize) -> Result<()> {
        for from in numbers.clone().step_by(FILLED_AT_ONCE) {
            let more = FILLED_AT_ONCE.min(numbers.end - from);
            self.call(topic, "fill", &json!({ "from": from, "entries": more, "bytes": bytes })).await?;
        }
        Ok(())
    }

    /// Reads the first entries of a topic, so that they are in memory.
    pub(super) async fn read(&mut self, topic: &str, entries: usize) -> Result<()> {
        ask(&mut self.client, entries, |key| message(topic, "read", &format!(r#"{{"key":{key}}}"#))).await
    }

    /// Stops the host in order, and starts it again with the same data and another client.
    pub(super) async fn restart(self) -> Result<Self> {
        let host = self.host.restart()?;
        let client = Client::connect(host.address).await?;
        Ok(Self { host, client })
    }

    /// The number of pages that the host's store has read since its start.
    pub(super) fn page_reads(&self) -> Result<u64> {
        let inspected = self.host.inspect()?;
        inspected["store"]["page_reads"].as_u64().context("`inspect` has no number of page reads")
    }

    /// Rewrites `count` entries of a topic, [several at once](ask).
    pub(super) async fn change(&mut self, topic: &str, count: usize, mut entry: impl FnMut() -> usize) -> Result<()> {
        ask(&mut self.client, count, |_| message(topic, "change", &format!(r#"{{"key":{}}}"#, entry()))).await
    }

    /// Fails unless a topic has the last of this number of entries. To count them all would take too long for one callback.
    pub(super) async fn check_filled(&mut self, topic: &str, entries: usize) -> Result<()> {
        let response = self.call(topic, "read", &json!({ "key": entries - 1 })).await?;
        ensure!(response["bytes"].is_u64(), "{topic} has no entry {}", entries - 1);
        Ok(())
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

pub(super) fn message(topic: &str, event: &str, payload: &str) -> String {
    format!(r#"["1","r","{topic}","{event}",{payload}]"#)
}
