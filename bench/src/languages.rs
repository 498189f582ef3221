//! The plugin `echo` in several languages: its file, its compilation, the CPU time of its answers, the memory of its instances.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::host::{Host, default_binary, guest, script};
use crate::rounds::order;
use crate::scenario::Scenario;
use crate::scenario::echo::Echo;
use crate::scripts::memory_of_instance;
use crate::statistics::{Spread, shown};

/// What a plugin costs in each language
#[derive(Args, Clone)]
pub(crate) struct Languages {
    /// Also measure this plugin, and its compilation after an edit. It must have the events of `bench/scripts/echo.ts`
    #[arg(long = "language", value_name = "NAME=FILE[,EDITED]", value_parser = Language::parse)]
    pub(crate) languages: Vec<Language>,

    /// The number of rounds. Each round measures the answers of all plugins, one after another
    #[arg(long, default_value_t = 7)]
    pub(crate) rounds: usize,

    /// Measured seconds of each round
    #[arg(long, default_value_t = 3)]
    pub(crate) seconds: u64,

    /// Run everything for a short time: tests the scenario, but the figures are not reliable
    #[arg(long)]
    pub(crate) quick: bool,

    /// The host's binary
    #[arg(long, default_value_os_t = default_binary())]
    pub(crate) host: PathBuf,
}

/// A plugin in a language.
#[derive(Clone, Debug)]
pub(crate) struct Language {
    name: String,
    file: PathBuf,
    /// The same plugin after a small change of its source.
    edited: Option<PathBuf>,
}

/// The configuration of the measured hosts: an event of the plugin takes long on purpose.
const CONFIG: &str = "[limits]\ncall_cpu_ms = 5000\ncall_wall_ms = 60000";

/// The events that are measured: one that hands the payload back, and one that parses it and writes it again.
const EVENTS: [&str; 2] = ["echo", "parse"];

impl Language {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, files) = text.split_once('=').ok_or("give NAME=FILE, or NAME=FILE,EDITED")?;
        let (file, edited) = files.split_once(',').map_or((files, None), |(file, edited)| (file, Some(edited.into())));
        Ok(Self { name: name.to_owned(), file: file.into(), edited })
    }

    fn of(name: &str, file: PathBuf) -> Self {
        Self { name: name.to_owned(), file, edited: None }
    }
}

impl Languages {
    pub(crate) async fn run(&self) -> Result<()> {
        let mut all = vec![Language::of("Rust", guest("echo")), Language::of("TypeScript", script())];
        all.extend(self.languages.iter().cloned());
        let compiled = all.iter().map(|language| self.compiled(language)).collect::<Result<Vec<_>>>()?;
        let times = self.answers(&all)?;
        println!(
            "| | file, MB | compiled, ms | from the cache, ms | after an edit, ms | CPU time of an answer, µs: unchanged | times Rust's | parsed and written | times Rust's | memory of an instance, KiB |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        for (at, language) in all.iter().enumerate() {
            let host = Host::start(&self.host, &language.file, CONFIG)?;
            // Rust's plugin has no event that takes long, so it needs no further instances.
            let memory = memory_of_instance(&host).await.ok().map(|memory| shown(memory.own));
            let size = fs::metadata(&language.file)?.len() as f64 / 1e6;
            let answers = times.iter().flat_map(|of_event| {
                let ratio = of_event[at].as_ref().zip(of_event[0].as_ref()).map(|(own, rust)| own.median / rust.median);
                [of_event[at].as_ref().map(ToString::to_string), ratio.map(shown)]
            });
            let cells = [Some(language.name.clone()), Some(shown(size))].into_iter().chain(compiled[at].clone());
            let cells = cells.chain(answers).chain([memory]).map(Option::unwrap_or_default);
            println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
        }
        Ok(())
    }

    /// The times of a compilation with an empty cache, of the same file again, and of the edited one.
    fn compiled(&self, language: &Language) -> Result<[Option<String>; 3]> {
        let cache = tempfile::tempdir()?;
        let check = |file: &Path| self.check(cache.path(), file).map(Some);
        let (first, again) = (check(&language.file)?, check(&language.file)?);
        Ok([first, again, language.edited.as_deref().map_or(Ok(None), check)?])
    }

    /// The milliseconds that `bennu check` says, with its cache in this folder.
    fn check(&self, cache: &Path, file: &Path) -> Result<String> {
        let mut command = Command::new(&self.host);
        let output = command.arg("check").arg(file).env("XDG_CACHE_HOME", cache).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stderr));
        let line = text.lines().find(|line| line.trim_start().starts_with("code ")).context("there is no such line")?;
        Ok(line.split_whitespace().rev().nth(1).unwrap_or_default().to_owned())
    }

    /// The CPU time of the host for an answer, in microseconds, for each event and each plugin. A plugin may lack an event.
    fn answers(&self, all: &[Language]) -> Result<Vec<Vec<Option<Spread>>>> {
        let (rounds, seconds) = if self.quick { (1, 1) } else { (self.rounds, self.seconds) };
        let mut times = vec![vec![Vec::new(); all.len()]; EVENTS.len()];
        for round in 1..=rounds {
            for at in order(all.len(), round) {
                for (number, event) in EVENTS.into_iter().enumerate() {
                    let host = Host::start(&self.host, &all[at].file, CONFIG)?;
                    let echo = Echo { sockets: 50, payload: 64, rate: 0, event: event.into(), seconds };
                    let measured = echo.measure(&host.into());
                    times[number][at].extend(measured.ok().map(|outcome| outcome.taken.cpu_each()));
                }
            }
        }
        Ok(times.into_iter().map(|of_event| of_event.into_iter().map(Spread::of).collect()).collect())
    }
}
