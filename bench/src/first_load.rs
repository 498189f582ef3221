//! A first load: echoes at half of the rate that the host can reach, while a large plugin is compiled for the first time, and the same
//! without it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::host::{Host, HostLog, Surroundings, guest};
use crate::load::{ClientEvent, Clients, EventHandler, Generator, Load, drive};
use crate::scenario::echo::{Echo, Echoing};
use crate::statistics::{Latency, Spread};
use crate::target::Target;

/// Sockets that echo.
const SOCKETS: usize = 50;

/// How long the maximum rate of a host is measured.
const LOOK: Duration = Duration::from_secs(2);

/// The measurement.
pub(crate) struct FirstLoad<'a> {
    /// The host's binary.
    pub(crate) host: &'a Path,
    /// The large plugin.
    pub(crate) plugin: &'a Path,
    /// How long its compilation takes. So long are the echoes measured.
    pub(crate) compiling: Duration,
    pub(crate) rounds: usize,
}

impl FirstLoad<'_> {
    /// Prints the latencies, and the median of the rounds' ratios. Each round has a host with an empty cache.
    pub(crate) fn run(&self, name: &str) -> Result<()> {
        let (mut alone, mut meanwhile) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let [without, with] = self.round()?;
            alone.push(without);
            meanwhile.push(with);
        }
        let size = fs::metadata(self.plugin)?.len() as f64 / 1e6;
        println!("\n| an echo by another plugin | p50, µs | p99, µs |\n| --- | --- | --- |");
        let spread = |figures: Vec<f64>| Spread::of(figures).map_or_else(String::new, |spread| spread.to_string());
        let show = |what: &str, rounds: &[Latency]| {
            let column = |of: fn(&Latency) -> f64| spread(rounds.iter().map(of).collect());
            println!("| {what} | {} | {} |", column(|it| it.p50), column(|it| it.p99));
        };
        show("alone", &alone);
        show(&format!("while the plugin in {name}, of {size:.1} MB, is compiled for the first time"), &meanwhile);
        let ratios = meanwhile.iter().zip(&alone).map(|(with, without)| with.p99 / without.p99).collect();
        println!("| median of the rounds' ratios of p99 | | {} |", spread(ratios));
        Ok(())
    }

    /// The latencies of one host: without the large plugin, and while it is compiled.
    fn round(&self) -> Result<[Latency; 2]> {
        let place = tempfile::tempdir()?;
        let (plugins, cache) = (place.path().join("plugins"), place.path().join("cache"));
        fs::create_dir(&plugins)?;
        fs::copy(guest("echo"), plugins.join("echo.wasm")).context("is the plugin `echo` built?")?;
        let config = format!("cache = {:?}", cache.display().to_string());
        // The large plugin serves the same topics, so it is compiled and then refused, which is in the log. That is enough.
        let surroundings = Surroundings { log: HostLog::Discarded, ..Surroundings::default() };
        let host = Host::serve_in(self.host, &[&plugins], &config, &surroundings)?;
        let target = Target::from(host);
        let echo = Echo { sockets: SOCKETS, payload: 64, rate: 0, event: "echo".into(), seconds: 0 };
        let mut load = echo.enter(&target)?;
        let fastest = drive(&mut load, target.process, LOOK, &mut Echoing::new(SOCKETS, 0))?.a_second();
        let rate = (fastest / 2.0) as u64;
        let without = self.measure(&mut load, &target, rate, None)?;
        let with = self.measure(&mut load, &target, rate, Some(plugins.join("large.wasm")))?;
        Ok([without, with])
    }

    fn measure(&self, load: &mut Load, target: &Target, rate: u64, place: Option<PathBuf>) -> Result<Latency> {
        let mut round = Round { echoing: Echoing::new(SOCKETS, rate), plugin: self.plugin, place, problem: None };
        drive(load, target.process, self.compiling, &mut round)?;
        ensure!(round.problem.is_none(), "the plugin can't be copied: {:?}", round.problem);
        round.echoing.samples.latency().context("nothing was answered")
    }
}

/// Echoes. When the measured time begins, the plugin is put into its place, if there is one.
struct Round<'a> {
    echoing: Echoing,
    plugin: &'a Path,
    place: Option<PathBuf>,
    problem: Option<std::io::Error>,
}

impl EventHandler for Round<'_> {
    fn handle_event(&mut self, clients: &mut Clients, client: usize, event: ClientEvent<'_>) -> Result<()> {
        self.echoing.handle_event(clients, client, event)
    }
}

impl Generator for Round<'_> {
    fn send_due(&mut self, clients: &mut Clients) -> Result<()> {
        self.echoing.send_due(clients)
    }

    fn operations(&self) -> u64 {
        self.echoing.operations()
    }

    fn begin(&mut self) {
        self.echoing.begin();
        if let Some(place) = self.place.take() {
            // By a rename, so that the host never reads a part of it.
            let beside = place.with_extension("part");
            self.problem = fs::copy(self.plugin, &beside).and_then(|_| fs::rename(&beside, &place)).err();
        }
    }
}
