//! Rooms with one value: the cost of many rooms with and without a tick, and the cost of a callback for rooms of several
//! sizes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use tokio::task::JoinSet;

use super::replies::ask;
use crate::client::Client;
use crate::host::{Host, default_binary, guest};

/// Many rooms with a tick, compared with as many rooms without; and a callback on rooms of several sizes.
#[derive(Args)]
pub(super) struct Plain {
    /// Rooms at once
    #[arg(long, default_value_t = 1_000)]
    rooms: usize,

    /// Members of each room
    #[arg(long, default_value_t = 4)]
    members: usize,

    /// The tick interval, in milliseconds
    #[arg(long, default_value_t = 50)]
    tick: u64,

    /// Measured seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,

    /// The host's binary
    #[arg(long, default_value_os_t = default_binary())]
    host: PathBuf,

    /// The counter, as `cargo xtask guests` builds it
    #[arg(long, default_value_os_t = guest("counter"))]
    plugin: PathBuf,

    /// The counter with a durable room, as `cargo xtask guests --variants` builds it
    #[arg(long, default_value_os_t = guest("variants/counter-durable"))]
    durable: PathBuf,
}

/// Sizes of a room's encoding that are compared, in bytes.
const SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];

/// The encoded size of a mark on the board: its name and two numbers.
const MARK_BYTES: usize = 20;

impl Plain {
    pub(super) async fn run(self) -> Result<()> {
        println!(
            "| {} rooms, {} members each | host CPU | memory | deliveries a second | ticks due | ticks missed |",
            self.rooms, self.members
        );
        println!("| --- | --- | --- | --- | --- | --- |");
        for tick in [None, Some(self.tick)] {
            self.measure_tick(tick).await?;
        }
        println!();
        println!("The CPU time of a message, as a multiple of the first one's:");
        println!();
        println!(
            "| room | the callback doesn't look at it | looks at it | changes it | changes it, and it is durable |"
        );
        println!("| --- | --- | --- | --- | --- |");
        let mut first = None;
        for size in SIZES {
            let ignores = self.measure_calls(&self.plugin, size, "mine").await?;
            let reads = self.measure_calls(&self.plugin, size, "sum").await?;
            let changes = self.measure_calls(&self.plugin, size, "add").await?;
            let stored = self.measure_calls(&self.durable, size, "add").await?;
            let first = *first.get_or_insert(ignores);
            let ratio = |cost: Duration| format!("{:.1}", cost.div_duration_f64(first));
            let costs = [ignores, reads, changes, stored].map(ratio);
            println!("| {size} bytes | {} |", costs.join(" | "));
        }
        Ok(())
    }

    async fn measure_tick(&self, tick: Option<u64>) -> Result<()> {
        let host = Host::start(&self.host, &self.plugin, "[limits]\nidle_ms = 600000\nstop_ms = 1\n")?;
        let frames = Arc::new(AtomicU64::new(0));
        let mut clients = JoinSet::new();
        for room in 0..self.rooms {
            for _ in 0..self.members {
                let mut client = Client::connect(host.address).await?;
                let params = tick.map_or("{}".to_owned(), |ms| format!("{{\"tick\":{ms}}}"));
                client.send(format!(r#"["1","1","count:{room}","phx_join",{params}]"#)).await?;
                ensure!(client.next().await?.contains("phx_reply"), "a join was refused");
                let frames = Arc::clone(&frames);
                clients.spawn(async move {
                    while client.next().await.is_ok() {
                        frames.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
        let count = |inspected: &serde_json::Value, key: &str| inspected[key].as_u64().unwrap_or_default();
        let (cpu, seen, before) = (host.cpu()?, frames.load(Ordering::Relaxed), host.inspect()?);
        let began = Instant::now();
        tokio::time::sleep(Duration::from_secs(self.seconds)).await;
        let (took, after) = (began.elapsed().as_secs_f64(), host.inspect()?);
        let cpu = host.cpu()?.saturating_sub(cpu).as_secs_f64();
        let delivered = frames.load(Ordering::Relaxed) - seen;
        let named = tick.map_or("without a tick".to_owned(), |ms| format!("a tick every {ms} ms"));
        println!(
            "| {named} | {:.0} % of a core | {:.0} MiB | {:.0} | {} | {} |",
            cpu / took * 100.0,
            host.memory()? as f64 / f64::from(1 << 20),
            delivered as f64 / took,
            count(&after, "ticks") - count(&before, "ticks"),
            count(&after, "ticks_missed") - count(&before, "ticks_missed"),
        );
        Ok(())
    }

    /// CPU time of the host for one callback on a room of this size, including the handling of its message.
    async fn measure_calls(&self, plugin: &Path, size: usize, event: &str) -> Result<Duration> {
        let host = Host::start(&self.host, plugin, "[limits]\nstop_ms = 1\n")?;
        let mut client = Client::connect(host.address).await?;
        let topic = "count:1";
        client.send(format!(r#"["1","1","{topic}","phx_join",{{}}]"#)).await?;
        client.next().await?;
        let mark = |n: usize| format!(r#"["1","r","{topic}","mark",{{"name":"mark{n:06}","at":[{n},1]}}]"#);
        ask(&mut client, size / MARK_BYTES, mark).await?;
        let message = |_| format!(r#"["1","r","{topic}","{event}",{{"n":1}}]"#);
        // The cost of the first hundred calls determines how many are measured: about one second of the host's CPU time.
        let before = host.cpu()?;
        ask(&mut client, 100, message).await?;
        let hundred = host.cpu()?.saturating_sub(before).max(Duration::from_millis(2));
        let calls = usize::try_from(100 * 1000 / hundred.as_millis().max(1))?.clamp(1_000, 50_000);
        let before = host.cpu()?;
        ask(&mut client, calls, message).await?;
        Ok(host.cpu()?.saturating_sub(before) / u32::try_from(calls)?)
    }
}
