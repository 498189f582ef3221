//! The plugin `echo` in several languages: its file, its compilation, the time from a saved file to its first answer, the CPU time of its
//! answers, the memory of its instances, and what a first compilation does to other plugins.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::first_load::FirstLoad;
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
    /// The event whose answer is another one after this change.
    asks: &'static str,
}

/// The configuration of the measured hosts: an event of the plugin takes long on purpose.
const CONFIG: &str = "[limits]\ncall_cpu_ms = 5000\ncall_wall_ms = 60000";

/// A saved file answers within this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// The events that are measured: one that hands the payload back, and one that parses it and writes it again.
const EVENTS: [&str; 2] = ["echo", "parse"];

impl Language {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, files) = text.split_once('=').ok_or("give NAME=FILE, or NAME=FILE,EDITED")?;
        let (file, edited) = files.split_once(',').map_or((files, None), |(file, edited)| (file, Some(edited.into())));
        Ok(Self { name: name.to_owned(), file: file.into(), edited, asks: "build" })
    }

    fn of(name: &str, file: PathBuf, edited: PathBuf, asks: &'static str) -> Self {
        Self { name: name.to_owned(), file, edited: Some(edited), asks }
    }
}

impl Languages {
    pub(crate) async fn run(&self) -> Result<()> {
        let place = tempfile::tempdir()?;
        let edited = edited_script(&place)?;
        let mut all = vec![
            Language::of("Rust", guest("echo"), guest("variants/echo-v2"), "version"),
            Language::of("TypeScript", script(), edited, "build"),
        ];
        all.extend(self.languages.iter().cloned());
        let compiled = all.iter().map(|language| self.compiled(language)).collect::<Result<Vec<_>>>()?;
        let mut saved = Vec::new();
        for language in &all {
            saved.push(self.saved(language).await?);
        }
        let times = self.answers(&all)?;
        println!(
            "| | file, MB | compiled, ms | from the cache, ms | compiled after an edit, ms | saved to first answer, ms | CPU time of an answer, µs: unchanged | × Rust | parsed and written | × Rust | memory of an instance, KiB |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
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
            let cells = cells.chain([saved[at].clone()]).chain(answers).chain([memory]).map(Option::unwrap_or_default);
            println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
        }
        self.first_load(&all, &compiled)
    }

    /// Measures what the first compilation of the largest plugin does to another one.
    fn first_load(&self, all: &[Language], compiled: &[[Option<String>; 3]]) -> Result<()> {
        let size = |language: &Language| fs::metadata(&language.file).map_or(0, |metadata| metadata.len());
        let (largest, [first, ..]) =
            all.iter().zip(compiled).max_by_key(|(language, _)| size(language)).context("there is no plugin")?;
        let milliseconds = first.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default();
        let compiling = Duration::from_millis(milliseconds).max(Duration::from_millis(200));
        let rounds = if self.quick { 1 } else { self.rounds };
        FirstLoad { host: &self.host, plugin: &largest.file, compiling, rounds }.run(&largest.name)
    }

    /// The milliseconds from the rename of a saved file, which was edited, to the first answer by the new code. The host has an
    /// empty cache at the start, so that it knows only the build before. A client asks without a pause.
    async fn saved(&self, language: &Language) -> Result<Option<String>> {
        let Some(edited) = &language.edited else { return Ok(None) };
        let mut times = Vec::new();
        for _ in 0..if self.quick { 1 } else { self.rounds } {
            let place = tempfile::tempdir()?;
            let (plugins, cache) = (place.path().join("plugins"), place.path().join("cache"));
            fs::create_dir(&plugins)?;
            let file = plugins.join("echo").with_extension(language.file.extension().unwrap_or_default());
            fs::copy(&language.file, &file).with_context(|| format!("{}: is it built?", language.file.display()))?;
            let host =
                Host::start(&self.host, &plugins, &format!("cache = {:?}\n{CONFIG}", cache.display().to_string()))?;
            let mut client = Client::connect(host.address).await?;
            ask(&mut client, "phx_join").await?;
            let before = ask(&mut client, language.asks).await?;
            let beside = file.with_extension("part");
            fs::copy(edited, &beside).with_context(|| format!("{}: is it built?", edited.display()))?;
            let began = Instant::now();
            fs::rename(&beside, &file)?;
            while ask(&mut client, language.asks).await? == before {
                ensure!(began.elapsed() < PATIENCE, "{}: the saved file isn't served", language.name);
            }
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        Ok(Spread::of(times).map(|spread| spread.to_string()))
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

/// The script with another number in the answer to `build`.
fn edited_script(place: &TempDir) -> Result<PathBuf> {
    let edited = place.path().join("echo.ts");
    fs::write(&edited, fs::read_to_string(script())?.replace("build: 1", "build: 2"))?;
    Ok(edited)
}

/// Sends an event, and returns its reply.
async fn ask(client: &mut Client, event: &str) -> Result<Value> {
    client.send(format!("[\"1\",\"2\",\"bench:1\",\"{event}\",{{}}]")).await?;
    Ok(serde_json::from_str(&client.next().await?)?)
}
