//! Plugins in TypeScript: how long a saved script takes to answer, what an instance costs, and a start with many scripts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::client::Client;
use crate::host::{Host, default_binary, guest, script};
use crate::statistics::{Spread, shown};

/// The time from a saved script to its first answer, the memory of an instance, and the time of a start with many plugins
#[derive(Args, Clone)]
pub(crate) struct Scripts {
    /// Saved files
    #[arg(long, default_value_t = 100)]
    pub(crate) saves: usize,

    /// Calls of one instance, during which its memory must not grow
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) calls: usize,

    /// Plugins of the measured start: in TypeScript, in Rust, and those of `--also`
    #[arg(long, default_value_t = 100)]
    pub(crate) plugins: usize,

    /// A plugin in another language, which is one of the plugins of the measured start. Its topics must be different from the others'
    #[arg(long, value_name = "FILE")]
    pub(crate) also: Vec<PathBuf>,

    /// Measured starts, after one that isn't measured
    #[arg(long, default_value_t = 7)]
    pub(crate) rounds: usize,

    /// Run everything for a short time: tests the scenario, but the figures are not reliable
    #[arg(long)]
    pub(crate) quick: bool,

    /// The host's binary
    #[arg(long, default_value_os_t = default_binary())]
    pub(crate) host: PathBuf,
}

/// Calls that wait for their answers at the same time.
const WINDOW: usize = 16;

/// Sockets whose calls run at the same time, each on an instance of its own.
const BUSY: usize = 24;

impl Scripts {
    pub(crate) async fn run(&self) -> Result<()> {
        let (saves, calls, plugins) = if self.quick { (5, 2_000, 10) } else { (self.saves, self.calls, self.plugins) };
        println!("| | |\n| --- | --- |");
        self.save(saves).await?;
        self.memory().await?;
        self.calls(calls).await?;
        self.start(plugins, if self.quick { 1 } else { self.rounds })
    }

    /// From the rename of a saved file to the first answer by the new code. A client asks without pause.
    async fn save(&self, saves: usize) -> Result<()> {
        let place = tempfile::tempdir()?;
        let (file, source) = (place.path().join("echo.ts"), fs::read_to_string(script())?);
        fs::write(&file, &source)?;
        let host = Host::start(&self.host, place.path(), "")?;
        let mut client = joined(&host, 1).await?;
        let mut times = Vec::new();
        for build in 2..saves + 2 {
            let beside = place.path().join("echo.part");
            fs::write(&beside, source.replace("build: 1", &format!("build: {build}")))?;
            let began = Instant::now();
            fs::rename(&beside, &file)?;
            loop {
                let answer = ask(&mut client, 1, "build", "{}").await?;
                if answer["response"]["build"] == build {
                    break;
                }
                ensure!(began.elapsed() < Duration::from_secs(10), "the saved file isn't served: {answer}");
            }
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let at = |share: f64| shown(times[((times.len() - 1) as f64 * share) as usize]);
        println!(
            "| save to first answer, {saves} saves: p50, p95, greatest, ms | {}, {}, {} |",
            at(0.5),
            at(0.95),
            at(1.0)
        );
        Ok(())
    }

    /// The memory of one more instance.
    async fn memory(&self) -> Result<()> {
        let host = Host::start(&self.host, &script(), "[limits]\ncall_cpu_ms = 5000")?;
        let InstanceMemory { instances, resident, linear, .. } = memory_of_instance(&host).await?;
        println!(
            "| memory of an instance, of {}: resident, linear memory, KiB | {}, {} |",
            shown(instances),
            shown(resident),
            shown(linear)
        );
        Ok(())
    }

    /// Resident memory after a tenth of the calls, and after all of them.
    async fn calls(&self, calls: usize) -> Result<()> {
        let host = Host::start(&self.host, &script(), "[limits]\ncalls_per_instance = 100000000")?;
        let mut client = joined(&host, 1).await?;
        let (mut sent, mut first) = (0, 0);
        let started = (Instant::now(), host.cpu()?);
        for answered in 0..calls {
            while sent < calls && sent < answered + WINDOW {
                client.send(message(1, "parse", "{\"text\":\"some text\",\"list\":[1,2,3]}")).await?;
                sent += 1;
            }
            client.next().await?;
            if answered == calls / 10 {
                first = host.memory()?;
            }
        }
        let (cpu, mib) = (host.cpu()? - started.1, |bytes: u64| shown(bytes as f64 / f64::from(1 << 20)));
        println!(
            "| {calls} calls: resident memory after a tenth and after all, MiB; CPU time of the host, µs a call | {}, {}; {} |",
            mib(first),
            mib(host.memory()?),
            shown(cpu.as_secs_f64() * 1e6 / calls as f64)
        );
        Ok(())
    }

    /// From `bennu serve` to the first answer to HTTP, with many plugins from the cache.
    fn start(&self, plugins: usize, rounds: usize) -> Result<()> {
        let place = tempfile::tempdir()?;
        let (source, echo) = (fs::read_to_string(script())?, fs::read(guest("echo"))?);
        for (number, file) in self.also.iter().enumerate() {
            fs::copy(file, place.path().join(format!("also-{number}.wasm")))
                .with_context(|| format!("{}: is it built?", file.display()))?;
        }
        let own = plugins.saturating_sub(self.also.len());
        for number in 0..own {
            let name = |extension: &str| place.path().join(format!("plugin-{number}.{extension}"));
            if number % 2 == 0 {
                fs::write(name("ts"), source.replace("bench:", &format!("bench-{number}:")))?;
            } else {
                fs::write(name("wasm"), renamed(&echo, number)?)?;
            }
        }
        self.started(place.path(), plugins)?;
        let times: Vec<f64> = (0..rounds).map(|_| self.started(place.path(), plugins)).collect::<Result<_>>()?;
        let spread = Spread::of(times).map_or_else(String::new, |it| it.to_string());
        println!(
            "| start with {plugins} plugins, of which {} are in TypeScript and {} in Rust, all in the cache, ms | {spread} |",
            own.div_ceil(2),
            own / 2
        );
        Ok(())
    }

    fn started(&self, plugins: &Path, count: usize) -> Result<f64> {
        let began = Instant::now();
        let host = Host::start(&self.host, plugins, "")?;
        let time = began.elapsed();
        let seen = host.inspect()?;
        let served = seen["plugins"].as_object().context("the answer has no plugins")?.values();
        let served = served.filter(|plugin| plugin["generation"] == 1).count();
        ensure!(served == count, "only {served} plugins are served");
        Ok(time.as_secs_f64() * 1e3)
    }
}

/// The memory of one more instance, in KiB.
pub(crate) struct InstanceMemory {
    /// The number of instances that were measured.
    instances: f64,
    /// Without the pages that they share.
    pub(crate) own: f64,
    resident: f64,
    linear: f64,
}

/// Measures how much the memory of a host grows for each further instance of its only plugin.
pub(crate) async fn memory_of_instance(host: &Host) -> Result<InstanceMemory> {
    let mut clients = Vec::new();
    for topic in 0..BUSY {
        clients.push(joined(host, topic).await?);
    }
    let resident = || anyhow::Ok((host.memory()? as f64, host.process().own_memory()? as f64));
    let before = (resident()?, usage(host)?);
    for (topic, client) in clients.iter_mut().enumerate() {
        client.send(message(topic, "work", "{\"rounds\":2000000}")).await?;
    }
    for client in &mut clients {
        client.next().await?;
    }
    let after = (resident()?, usage(host)?);
    let number = |usage: &Value, key: &str| usage[key].as_f64().unwrap_or_default();
    let instances = number(&after.1, "instances") - number(&before.1, "instances");
    ensure!(instances >= 1.0, "there are no more instances than before");
    let each = |bytes: f64| bytes / instances / 1024.0;
    let linear = number(&after.1, "memory_bytes") - number(&before.1, "memory_bytes");
    let (resident, own) = (after.0.0 - before.0.0, after.0.1 - before.0.1);
    Ok(InstanceMemory { instances, own: each(own), resident: each(resident), linear: each(linear) })
}

/// The plugin `echo` with other topics, so that many of them can be served. Each is another build.
fn renamed(echo: &[u8], number: usize) -> Result<Vec<u8>> {
    let mut plugin = echo.to_vec();
    for (topics, short) in [("bench:*", "b"), ("echo:*", "e"), ("passed:*", "p")] {
        let at = memchr::memmem::find(&plugin, topics.as_bytes()).context("the plugin has no such topics")?;
        let other = format!("{short}{number:0width$}:*", width = topics.len() - 3);
        ensure!(other.len() == topics.len(), "there are too many plugins");
        plugin[at..at + topics.len()].copy_from_slice(other.as_bytes());
    }
    Ok(plugin)
}

fn message(topic: usize, event: &str, payload: &str) -> String {
    format!("[\"1\",\"2\",\"bench:{topic}\",\"{event}\",{payload}]")
}

async fn joined(host: &Host, topic: usize) -> Result<Client> {
    let mut client = Client::connect(host.address).await?;
    ask(&mut client, topic, "phx_join", "{}").await?;
    Ok(client)
}

/// Sends a message, and returns the payload of its reply.
async fn ask(client: &mut Client, topic: usize, event: &str, payload: &str) -> Result<Value> {
    client.send(message(topic, event, payload)).await?;
    let reply: Value = serde_json::from_str(&client.next().await?)?;
    ensure!(reply[3] == "phx_reply" && reply[4]["status"] == "ok", "{reply}");
    Ok(reply[4].clone())
}

fn usage(host: &Host) -> Result<Value> {
    let inspected = host.inspect()?;
    let plugins = inspected["plugins"].as_object().context("the answer has no plugins")?;
    Ok(plugins.values().next().context("there is no plugin")?["usage"].clone())
}
