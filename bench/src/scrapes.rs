//! The cost of a scrape of `/metrics`: its CPU time and its bytes, on a host with many sockets and plugins.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::client::Client;
use crate::host::{Host, default_binary, script};
use crate::statistics::{Spread, shown};

/// The targets of a scrape.
const CPU_MS_MAX: f64 = 5.0;
const BYTES_MAX: usize = 256 << 10;

/// The CPU time and the bytes of a scrape, with many sockets and plugins
#[derive(Args, Clone)]
pub(crate) struct Scrapes {
    /// Sockets, each with a topic of its own
    #[arg(long, default_value_t = 15_000)]
    pub(crate) sockets: usize,

    /// Plugins, each of which has been called
    #[arg(long, default_value_t = 100)]
    pub(crate) plugins: usize,

    /// Measured scrapes
    #[arg(long, default_value_t = 51)]
    pub(crate) rounds: usize,

    /// Run with few sockets and plugins: tests the scenario
    #[arg(long)]
    pub(crate) quick: bool,

    /// The host's binary
    #[arg(long, default_value_os_t = default_binary())]
    pub(crate) host: PathBuf,
}

impl Scrapes {
    pub(crate) async fn run(&self) -> Result<()> {
        let (sockets, plugins, rounds) =
            if self.quick { (50, 5, 3) } else { (self.sockets, self.plugins, self.rounds) };
        let (place, source) = (tempfile::tempdir()?, fs::read_to_string(script())?);
        for number in 0..plugins {
            let file = place.path().join(format!("plugin-{number:03}.ts"));
            fs::write(file, source.replace("bench:", &format!("bench-{number}:")))?;
        }
        let host = Host::start(&self.host, place.path(), "[limits]\nidle_ms = 600000\ncall_wall_ms = 60000\n")?;
        let mut clients = Vec::with_capacity(sockets);
        for number in 0..sockets {
            let mut client = Client::connect(host.address).await?;
            // Each plugin has two kinds of calls.
            for event in ["phx_join", "echo"] {
                let topic = format!("bench-{}:{number}", number % plugins);
                client.send(format!("[\"1\",\"2\",\"{topic}\",\"{event}\",{{}}]")).await?;
                client.next().await?;
            }
            clients.push(client);
        }
        // The first scrape allocates, and the second one finds its memory again.
        let bytes = host.get("/metrics")?.len();
        let mut times = Vec::new();
        for _ in 0..rounds {
            let before = host.cpu()?;
            let text = host.get("/metrics")?;
            times.push((host.cpu()? - before).as_secs_f64() * 1e3);
            ensure!(text.contains(&format!("bennu_sockets {sockets}\n")), "all sockets are there");
        }
        let spread = Spread::of(times.clone()).map_or_else(String::new, |spread| spread.to_string());
        println!("| | |\n| --- | --- |");
        println!("| a scrape with {sockets} sockets, as many topics, and {plugins} plugins: CPU time, ms | {spread} |");
        println!("| the same: size, KB | {} |", shown(bytes as f64 / 1024.0));
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).copied().context("no scrape was measured")?;
        ensure!(median <= CPU_MS_MAX, "a scrape takes {median} ms of CPU time; the target is {CPU_MS_MAX} ms");
        ensure!(bytes <= BYTES_MAX, "a scrape has {bytes} bytes; the target is {BYTES_MAX}");
        Ok(())
    }
}
