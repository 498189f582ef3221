//! Minutes of everything at once on one host: attacks, churn, reloads, faults, a full disk, a log that stalls. At the end all
//! counts must be balanced, the memory flat, and the log without a line that nobody expects.

mod log;
mod verdict;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Resource, Rlimit, prlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tempfile::TempDir;
use tokio::runtime::{Handle, Runtime};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use self::log::Log;
use self::verdict::{Memory, settle};
use crate::attack::{Attackers, Neighbours, Place, Tally, attackers};
use crate::client::Client;
use crate::host::{Host, HostLog, Surroundings, default_binary, guests};

/// Minutes of everything at once on one host, which must end with balanced counts, flat memory and no unexpected line of its log
#[derive(Args)]
pub(crate) struct Soak {
    /// How long
    #[arg(long, default_value_t = 20.0)]
    minutes: f64,

    /// The host's binary
    #[arg(long, default_value_os_t = default_binary())]
    host: PathBuf,

    /// The directory of the plugins, as `cargo xtask guests` builds them
    #[arg(long, default_value_os_t = guests())]
    plugins: PathBuf,
}

/// Silent sockets end soon, and the attackers' address has limits.
const CONFIG: &str =
    "[limits]\nidle_ms = 5000\n[limits.address]\nmessages_per_second = 20000\nconnects_per_second = 2000\n";

/// The number of clients that do no harm.
const NEIGHBOURS: usize = 30;

/// The length of a phase with one attack.
const PHASE: Duration = Duration::from_secs(7);

/// The time between two reloads of the neighbours' plugin.
const RELOAD: Duration = Duration::from_secs(5);

/// The largest file while the disk is full.
const DISK_BYTES: u64 = 12 << 20;

/// A kind of trouble, for one phase.
type Phase = (&'static str, fn(&Place) -> Attackers);

const PHASES: [Phase; 11] = [
    ("slow handshakes", attackers::slow_handshakes),
    ("deaf members", attackers::deaf),
    ("panics", |place| attackers::naughty(place, "panic")),
    ("floods", attackers::floods),
    (FULL_DISK, attackers::stores),
    ("silent sockets", attackers::silent),
    ("endless loops", |place| attackers::naughty(place, "loop")),
    ("bombs", attackers::bombs),
    (STALLED_LOG, attackers::garbage),
    ("slow frames", attackers::slow_frames),
    ("memory", |place| attackers::naughty(place, "grow")),
];
const FULL_DISK: &str = "a full disk";
const STALLED_LOG: &str = "a log that stalls";

impl Soak {
    pub(crate) fn run(&self) -> Result<()> {
        use_half_of_the_machine()?;
        Runtime::new()?.block_on(self.soak())
    }

    async fn soak(&self) -> Result<()> {
        let plugins = self.plugin_directory()?;
        let surroundings = Surroundings { limit: Some("trap '' XFSZ".to_owned()), log: HostLog::Piped };
        let mut host = Host::serve_in(&self.host, &[plugins.path()], CONFIG, &surroundings)?;
        let log = Log::read(host.take_log().context("the host has a log")?);
        let files = host.process().files()?;
        let mut neighbours = Neighbours::connect(host.address, NEIGHBOURS).await?;
        let place = Place { address: host.address, tally: Arc::new(Tally::default()), runtime: Handle::current() };
        let ends = Instant::now() + Duration::from_secs_f64(self.minutes * 60.0);
        let (mut memory, mut lost, mut answered) = (Memory::default(), 0, 0);
        let reloads = reload(plugins.path().join("echo.wasm"), RELOAD)?;
        let churn = churn(&place);
        for (phase, begin) in PHASES.iter().cycle() {
            if Instant::now() >= ends {
                break;
            }
            log.stall(*phase == STALLED_LOG);
            limit_files(&host, (*phase == FULL_DISK).then_some(DISK_BYTES))?;
            let attackers = begin(&place);
            let began = Instant::now();
            while began.elapsed() < PHASE {
                let seen = neighbours.talk(Duration::from_secs(1)).await?;
                (lost, answered) = (lost + seen.lost, answered + seen.answered);
                memory.add(host.memory()?);
            }
            drop(attackers);
            limit_files(&host, None)?;
            log.stall(false);
            eprintln!("{phase}: {} MB, {answered} answers, {lost} neighbours lost", host.memory()? >> 20);
        }
        drop(churn);
        reloads.abort();
        let mut failures = Vec::new();
        if lost > 0 {
            failures.push(format!("{lost} neighbours were lost"));
        }
        failures.extend(settle(&host, &mut neighbours, files).await?);
        failures.extend(memory.growth());
        host.stop()?;
        failures.extend(log.unexpected());
        println!("| | |\n| --- | --- |\n| minutes | {} |\n| answers to the neighbours | {answered} |", self.minutes);
        println!("| memory, MB | {memory} |\n| lines of the log | {} |", log.summary());
        if failures.is_empty() {
            println!("| counts, memory and log | as expected |");
            return Ok(());
        }
        bail!("{}", failures.join("\n"))
    }

    /// A directory with copies of the plugins, so that they can be replaced.
    fn plugin_directory(&self) -> Result<TempDir> {
        let directory = tempfile::tempdir()?;
        for name in ["echo.wasm", "naughty.wasm"] {
            let from = self.plugins.join(name);
            fs::copy(&from, directory.path().join(name)).with_context(|| format!("copying {}", from.display()))?;
        }
        Ok(directory)
    }
}

/// Lets this process, and the host that it starts, use half of the processors, and at least one.
fn use_half_of_the_machine() -> Result<()> {
    let all = sched_getaffinity(None)?;
    let (mut half, most) = (CpuSet::new(), (all.count() as usize).div_ceil(2));
    (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).take(most).for_each(|cpu| half.set(cpu));
    Ok(sched_setaffinity(None, &half)?)
}

/// Limits the size of the host's files, or lets them grow again.
fn limit_files(host: &Host, bytes: Option<u64>) -> Result<()> {
    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(Some(host.process().pid()?), Resource::Fsize, limit)?;
    Ok(())
}

/// Replaces a plugin again and again by another build: the same with a note.
fn reload(path: PathBuf, every: Duration) -> Result<JoinHandle<()>> {
    let build = fs::read(&path)?;
    Ok(tokio::spawn(async move {
        for number in 0_u32.. {
            sleep(every).await;
            if let Err(error) = replace(&path, &with_note(&build, &number.to_string())) {
                eprintln!("the plugin can't be replaced: {error:#}");
            }
        }
    }))
}

fn replace(path: &Path, build: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, build)?;
    Ok(fs::rename(new, path)?)
}

/// Another build of a component: it has one more custom section, which has no effect.
fn with_note(component: &[u8], note: &str) -> Vec<u8> {
    let length = u8::try_from(note.len()).unwrap_or_default();
    [component, &[0, length + 1, length], note.as_bytes()].concat()
}

/// Clients that connect, join, send one message, leave and close, again and again.
fn churn(place: &Place) -> Attackers {
    let mut clients = JoinSet::new();
    for number in 0..4 {
        let place = place.clone();
        clients.spawn(async move {
            loop {
                let life = async {
                    let mut client = Client::connect(place.address).await?;
                    for event in ["phx_join", "echo", "phx_leave"] {
                        client.send(format!(r#"["1","1","bench:c{number}","{event}",{{}}]"#)).await?;
                        client.next().await?;
                    }
                    anyhow::Ok(())
                };
                // It may be refused, because the file table or a limit is exhausted.
                let _ = life.await;
                sleep(Duration::from_millis(20)).await;
            }
        });
    }
    clients
}
