//! The presence storm: many members join one topic with presence at the same time.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::host::{Host, default_binary, guest};

/// Many members join one topic with presence at once, until each of them has got the presences of all.
#[derive(Args)]
pub(crate) struct Storm {
    /// Members; may be given more than once
    #[arg(long, default_values_t = [1_000, 5_000])]
    members: Vec<usize>,

    /// The host's binary
    #[arg(long, default_value_os_t = default_binary())]
    host: PathBuf,

    /// The chat, as `cargo xtask guests` builds it
    #[arg(long, default_value_os_t = guest("chat"))]
    plugin: PathBuf,
}

/// The lengths of the presence window that are compared, in milliseconds. With 0, no diffs are merged.
const WINDOWS: [u64; 2] = [0, 100];

/// The scenario fails if it takes longer.
const PATIENCE: Duration = Duration::from_secs(600);

struct Taken {
    wall: Duration,
    cpu: Duration,
    states: u64,
    diffs: u64,
    frames: u64,
}

impl Storm {
    pub(crate) async fn run(self) -> Result<()> {
        println!("| members | window | until all know all | host CPU | states for each member | diffs | diff frames |");
        println!("| --- | --- | --- | --- | --- | --- | --- |");
        for &members in &self.members {
            for window in WINDOWS {
                let taken = self.measure(members, window).await?;
                let (each, kib) = (members as u64, |bytes: u64| bytes as f64 / 1024.0);
                println!(
                    "| {members} | {} | {:.1} s | {:.1} s | {:.0} KiB | {:.0} KiB | {} |",
                    if window == 0 { "none".to_owned() } else { format!("{window} ms") },
                    taken.wall.as_secs_f64(),
                    taken.cpu.as_secs_f64(),
                    kib(taken.states / each),
                    kib(taken.diffs / each),
                    taken.frames / each,
                );
            }
        }
        Ok(())
    }

    async fn measure(&self, members: usize, window: u64) -> Result<Taken> {
        // No client may be closed. The limits of the outbox are high, because the clients share the machine with the host
        // and may read slowly. The idle timeout is long, because the clients send no heartbeats.
        let config = format!(
            "[limits]\npresence_window_ms = {window}\noutbox_frames = 1000000\noutbox_bytes = 1000000000\nidle_ms = {}\n",
            PATIENCE.as_millis()
        );
        let host = Host::start(&self.host, &self.plugin, &config)?;
        let counts = Arc::new(Counts::default());
        let ready = Arc::new(Barrier::new(members + 1));
        let mut clients = JoinSet::new();
        for number in 0..members {
            let client = Client::connect(host.address).await?;
            clients.spawn(join(client, number, members, Arc::clone(&ready), Arc::clone(&counts)));
        }
        let before = host.cpu()?;
        let began = Instant::now();
        ready.wait().await;
        let all = async {
            while let Some(done) = clients.join_next().await {
                done??;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, all).await.context("not all members know all others")??;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(Taken {
            wall: began.elapsed(),
            cpu: host.cpu()?.saturating_sub(before),
            states: count(&counts.states),
            diffs: count(&counts.diffs),
            frames: count(&counts.frames),
        })
    }
}

/// Sums over all members: the bytes of states and of diffs, and the number of diff frames.
#[derive(Default)]
struct Counts {
    states: AtomicU64,
    diffs: AtomicU64,
    frames: AtomicU64,
}

/// The parts of a frame that are read.
#[derive(Deserialize)]
struct Frame<'a>(
    IgnoredAny,
    IgnoredAny,
    IgnoredAny,
    #[serde(borrow)] &'a str,
    #[serde(borrow)] &'a serde_json::value::RawValue,
);

#[derive(Deserialize)]
struct Diff<'a> {
    #[serde(borrow)]
    joins: HashMap<&'a str, IgnoredAny>,
}

/// The presences that a member has got.
struct Known {
    keys: Vec<bool>,
    missing: usize,
}

impl Known {
    fn see(&mut self, key: &str) -> Result<()> {
        let number: usize = key.trim_start_matches('m').parse()?;
        let slot = self.keys.get_mut(number).context("an unknown presence key")?;
        self.missing -= usize::from(!std::mem::replace(slot, true));
        Ok(())
    }
}

/// Joins when all clients are connected, and reads until it has got the presences of all members.
async fn join(
    mut client: Client,
    number: usize,
    members: usize,
    ready: Arc<Barrier>,
    counts: Arc<Counts>,
) -> Result<Client> {
    let mut known = Known { keys: vec![false; members], missing: members };
    ready.wait().await;
    client.send(format!(r#"["1","1","room:storm","phx_join",{{"user":"m{number}"}}]"#)).await?;
    while known.missing > 0 {
        let text = client.next().await?;
        let Frame(_, _, _, event, payload) = serde_json::from_str(&text)?;
        match event {
            "presence_state" => {
                counts.states.fetch_add(text.len() as u64, Ordering::Relaxed);
                let state: HashMap<&str, IgnoredAny> = serde_json::from_str(payload.get())?;
                state.keys().try_for_each(|key| known.see(key))?;
            }
            "presence_diff" => {
                counts.diffs.fetch_add(text.len() as u64, Ordering::Relaxed);
                counts.frames.fetch_add(1, Ordering::Relaxed);
                let diff: Diff<'_> = serde_json::from_str(payload.get())?;
                diff.joins.keys().try_for_each(|key| known.see(key))?;
            }
            _ => {}
        }
    }
    // The client stays connected until all have finished, so that no presence leaves.
    Ok(client)
}
