//! Start: the time from `bennu serve` to the first connected client.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::host::{Host, default_binary, guests};
use crate::load::{Dialect, Encoding, Load, connect};
use crate::statistics::Spread;

/// The time from `bennu serve`, with many plugins from the cache, to the first connected client
#[derive(Args, Clone)]
pub(crate) struct Start {
    /// Measured starts, after one that isn't measured
    #[arg(long, default_value_t = 7)]
    pub(crate) rounds: usize,

    /// The number of plugins; they are taken in the order of their names
    #[arg(long, default_value_t = 10)]
    pub(crate) plugins: usize,

    /// The host's binary
    #[arg(long, default_value_os_t = default_binary())]
    pub(crate) host: PathBuf,

    /// The directory of the plugins, as `cargo xtask guests` builds them
    #[arg(long, default_value_os_t = guests())]
    pub(crate) guests: PathBuf,
}

/// The plugins may include a gatekeeper. With this setting it isn't asked.
const CONFIG: &str = "[mounts.\"/socket\"]\nauth = \"none\"\n";

/// An example whose topics conflict with those of another example. Here its topics are replaced.
const RENAMED: &str = "reference.wasm";
const ITS_TOPICS: &[u8] = b"room:*";
const OTHERS: &[u8] = b"rOOm:*";

/// Replaces the topics in a compiled plugin.
fn rename(plugin: &mut [u8]) -> Result<()> {
    let at = memchr::memmem::find(plugin, ITS_TOPICS).context("the plugin has no such topics")?;
    plugin[at..at + OTHERS.len()].copy_from_slice(OTHERS);
    Ok(())
}

impl Start {
    pub(crate) fn run(&self) -> Result<()> {
        let place = tempfile::tempdir()?;
        let entries = fs::read_dir(&self.guests).with_context(|| format!("reading {}", self.guests.display()))?;
        let files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let mut plugins: Vec<_> =
            files.into_iter().filter(|it| it.extension().is_some_and(|it| it == "wasm")).collect();
        plugins.sort();
        ensure!(plugins.len() >= self.plugins, "there are only {} plugins", plugins.len());
        for plugin in &plugins[..self.plugins] {
            let mut bytes = fs::read(plugin)?;
            let name = plugin.file_name().context("the file has no name")?;
            if name == RENAMED {
                rename(&mut bytes)?;
            }
            fs::write(place.path().join(name), bytes)?;
        }
        // After this start, the compiled code of all plugins is in the cache.
        self.start(&place)?;
        let (mut times, mut memory) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let (time, bytes) = self.start(&place)?;
            times.push(time);
            memory.push(bytes);
        }
        println!("| plugins | to the first client, ms | memory then, MiB |\n| --- | --- | --- |");
        let cell = |figures| Spread::of(figures).map_or_else(String::new, |it| it.to_string());
        println!("| {} | {} | {} |", self.plugins, cell(times), cell(memory));
        Ok(())
    }

    /// Starts a host. Returns the milliseconds to the first connected client, and the host's memory in MiB.
    fn start(&self, place: &tempfile::TempDir) -> Result<(f64, f64)> {
        let began = Instant::now();
        let host = Host::start(&self.host, place.path(), CONFIG)?;
        let mut load = Load::new(host.address, Encoding::new(Dialect::Phoenix, "", 0))?;
        connect(&mut load, 1)?;
        let time = began.elapsed();
        let seen = host.inspect()?;
        let served = seen["plugins"].as_object().context("the answer has no plugins")?.values();
        let served = served.filter(|plugin| plugin["last_error"].is_null()).count();
        ensure!(served == self.plugins, "only {served} plugins are served");
        Ok((time.as_secs_f64() * 1e3, host.memory()? as f64 / f64::from(1 << 20)))
    }
}
