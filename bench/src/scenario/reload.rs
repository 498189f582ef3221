//! Reload: echoes at half of the rate that the host can reach, while the plugin is replaced every second, and the same
//! without reloads.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tempfile::TempDir;

use super::echo::{Echo, Echoing};
use crate::host::{Host, default_binary, guest};
use crate::load::{ClientEvent, Clients, EventHandler, Generator, Load, drive};
use crate::statistics::{Latency, Spread, shown};
use crate::target::Target;

/// Echoes at half of the host's rate, while the plugin is replaced every second, and the same without reloads
#[derive(Args, Clone)]
pub(crate) struct Reload {
    /// Sockets that echo
    #[arg(long, default_value_t = 50)]
    pub(crate) sockets: usize,

    /// Rounds, each of them once without and once with reloads
    #[arg(long, default_value_t = 7)]
    pub(crate) rounds: usize,

    /// Measured seconds of each
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,

    /// The host's binary
    #[arg(long, default_value_os_t = default_binary())]
    pub(crate) host: PathBuf,

    /// The two builds, as `cargo xtask guests --variants` builds them
    #[arg(long, num_args = 2, default_values_os_t = builds())]
    pub(crate) builds: Vec<PathBuf>,
}

/// How often the plugin is replaced.
const EACH: Duration = Duration::from_secs(1);

/// How long the maximum rate of the host is measured.
const LOOK: Duration = Duration::from_secs(2);

/// The host loads a build within this time, even if the build has to be compiled.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the host is asked for the generation of the plugin.
const AGAIN: Duration = Duration::from_millis(10);

/// Two builds that differ only in a number.
pub(crate) fn builds() -> Vec<PathBuf> {
    ["echo", "variants/echo-v2"].map(guest).into()
}

impl Reload {
    pub(crate) fn run(&self) -> Result<()> {
        let place = tempfile::tempdir()?;
        let mut swap = Swap::new(&place, &self.builds)?;
        let host = Host::start(&self.host, &swap.plugin, "")?;
        // Loads both builds once, so that their compiled code is in the cache.
        for _ in 0..2 {
            swap.replace_and_wait(&host)?;
        }
        (swap.count, swap.replaced) = (0, Instant::now());
        let started = generation(&host)?;
        let target = Target::from(host);
        let echo = Echo { sockets: self.sockets, payload: 64, rate: 0, event: "echo".into(), seconds: 0 };
        let mut load = echo.enter(&target)?;
        let fastest = drive(&mut load, target.process, LOOK, &mut Echoing::new(self.sockets, 0))?.a_second();
        let rate = (fastest / 2.0) as u64;
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            without.push(self.measure(&mut load, &target, rate, None)?);
            with.push(self.measure(&mut load, &target, rate, Some(&mut swap))?);
        }
        let host = target.host().context("the target isn't a host")?;
        let loads = generation(host)? - started;
        println!("| {rate} echoes a second, of {fastest:.0} | p50, µs | p99, µs |\n| --- | --- | --- |");
        let show = |what: &str, rounds: &[Latency]| {
            let column = |of: fn(&Latency) -> f64| {
                Spread::of(rounds.iter().map(of)).map_or_else(String::new, |it| it.to_string())
            };
            println!("| {what} | {} | {} |", column(|it| it.p50), column(|it| it.p99));
        };
        show("no reload", &without);
        show(&format!("a reload every second: {} files written, {loads} loaded", swap.count), &with);
        let ratios = Spread::of(with.iter().zip(&without).map(|(with, without)| with.p99 / without.p99));
        println!(
            "| median of the rounds' ratios of p99 | | {} |",
            ratios.map_or_else(String::new, |it| it.to_string())
        );
        Ok(())
    }

    fn measure(&self, load: &mut Load, target: &Target, rate: u64, swap: Option<&mut Swap>) -> Result<Latency> {
        let mut round = Round { echoing: Echoing::new(self.sockets, rate), swap };
        let taken = drive(load, target.process, Duration::from_secs(self.seconds), &mut round)?;
        ensure!(
            taken.a_second() >= 0.9 * rate as f64,
            "only {} echoes a second were answered, of {rate}",
            shown(taken.a_second())
        );
        round.echoing.samples.latency().context("nothing was answered")
    }
}

/// The generation of the plugin that runs.
fn generation(host: &Host) -> Result<u64> {
    let seen = host.inspect()?;
    let plugins = seen["plugins"].as_object().context("the answer has no plugins")?;
    plugins.values().find_map(|plugin| plugin["generation"].as_u64()).context("the plugin has no generation")
}

/// A plugin's file, and the two builds that replace it alternately.
struct Swap {
    builds: [PathBuf; 2],
    plugin: PathBuf,
    /// The index of the next build.
    next: usize,
    /// How often the file was replaced.
    count: usize,
    replaced: Instant,
}

impl Swap {
    fn new(place: &TempDir, builds: &[PathBuf]) -> Result<Self> {
        let [first, second] = builds else { bail!("two builds are needed") };
        let plugin = place.path().join("echo.wasm");
        fs::copy(first, &plugin).with_context(|| format!("{}: is it built?", first.display()))?;
        Ok(Self { builds: [first.clone(), second.clone()], plugin, next: 1, count: 0, replaced: Instant::now() })
    }

    /// Replaces the file by a rename, as `cargo xtask guests` does. So the host never reads an incomplete file.
    fn replace(&mut self) -> Result<()> {
        let build = &self.builds[self.next];
        let beside = self.plugin.with_extension("part");
        fs::copy(build, &beside).with_context(|| format!("{}: is it built?", build.display()))?;
        fs::rename(&beside, &self.plugin)?;
        self.next = 1 - self.next;
        self.count += 1;
        self.replaced = Instant::now();
        Ok(())
    }

    fn replace_and_wait(&mut self, host: &Host) -> Result<()> {
        let before = generation(host)?;
        self.replace()?;
        while generation(host)? == before {
            ensure!(self.replaced.elapsed() < PATIENCE, "the host doesn't load the build");
            thread::sleep(AGAIN);
        }
        Ok(())
    }
}

/// Echoes, with reloads if there is a `swap`.
struct Round<'a> {
    echoing: Echoing,
    swap: Option<&'a mut Swap>,
}

impl EventHandler for Round<'_> {
    fn handle_event(&mut self, clients: &mut Clients, client: usize, event: ClientEvent<'_>) -> Result<()> {
        self.echoing.handle_event(clients, client, event)
    }
}

impl Generator for Round<'_> {
    fn send_due(&mut self, clients: &mut Clients) -> Result<()> {
        if let Some(swap) = self.swap.as_mut().filter(|swap| swap.replaced.elapsed() >= EACH) {
            swap.replace()?;
        }
        self.echoing.send_due(clients)
    }

    fn operations(&self) -> u64 {
        self.echoing.operations()
    }

    fn begin(&mut self) {
        self.echoing.begin();
    }
}
