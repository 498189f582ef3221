//! Attacks on a host: what it holds, and what its other clients notice.

pub(crate) mod attackers;
mod list;
mod neighbours;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::runtime::Handle;
use tokio::time::sleep;

pub(crate) use self::attackers::{Attackers, Place, Tally};
use self::list::{ATTACKS, Attack, Effect};
pub(crate) use self::neighbours::{Neighbours, Seen};
use crate::host::{Host, default_binary, guests};
use crate::statistics::{Spread, shown};

/// Attacks on a host, and what its other clients notice: the latency with and without the attack, alternating, and messages that were lost
#[derive(Args)]
pub(crate) struct Attacking {
    /// The attacks; all if none is named
    attacks: Vec<String>,

    /// Pairs of measurements, with and without the attack
    #[arg(long, default_value_t = 7)]
    rounds: usize,

    /// Seconds of each measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,

    /// Clients that do no harm
    #[arg(long, default_value_t = 50)]
    neighbours: usize,

    /// Run one short round of each attack: tests the scenario
    #[arg(long)]
    quick: bool,

    /// The host's binary
    #[arg(long, default_value_os_t = default_binary())]
    host: PathBuf,

    /// The directory of the plugins, as `cargo xtask guests` builds them
    #[arg(long, default_value_os_t = guests())]
    plugins: PathBuf,
}

/// The first two lines of the table, as docs/reliability.md has them.
const HEAD: &str = "| attack | what was held | memory, MB | p50, ms | p50, ratio | p99, ms | p99, ratio | lost |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- |";

/// The time between the start of an attack, or its end, and the next measurement.
const SETTLE: Duration = Duration::from_millis(1_500);

/// How long the last attack goes on after it was measured, so that the time for which the host holds a connection is known.
const HELD_FOR: Duration = Duration::from_secs(13);

/// The figures of an attack.
#[derive(Default)]
struct Figures {
    p50: [Vec<f64>; 2],
    p99: [Vec<f64>; 2],
    lost: usize,
    /// The resident memory of the host before the attack, and the most during it, in MB.
    memory: [f64; 2],
}

impl Attacking {
    pub(crate) async fn run(mut self) -> Result<()> {
        if self.quick {
            (self.rounds, self.seconds, self.neighbours) = (1, 0.5, 10);
        }
        if let Some(unknown) = self.attacks.iter().find(|named| !ATTACKS.iter().any(|attack| attack.name == **named)) {
            let known: Vec<_> = ATTACKS.iter().map(|attack| attack.name).collect();
            bail!("there is no attack `{unknown}`; there are {}", known.join(", "));
        }
        let runtime = attackers::runtime()?;
        let measured = self.measure_all(runtime.handle()).await;
        // It can't be dropped here, where other tasks run.
        runtime.shutdown_background();
        measured
    }

    /// Measures the attacks that were asked for, and prints their table.
    async fn measure_all(&self, runtime: &Handle) -> Result<()> {
        println!("{HEAD}");
        for attack in &ATTACKS {
            if self.attacks.is_empty() || self.attacks.iter().any(|named| named == attack.name) {
                let row = self.measure(attack, runtime).await;
                println!("{}", row.with_context(|| format!("the attack `{}`", attack.name))?);
            }
        }
        Ok(())
    }

    /// Measures an attack, and returns its row of the table.
    async fn measure(&self, attack: &Attack, runtime: &Handle) -> Result<String> {
        let plugins = attack.plugins.map(|name| self.plugins.join(name).with_extension("wasm"));
        let host = Host::serve_in(&self.host, &plugins, attack.config, &(attack.surroundings)())?;
        let mut neighbours = Neighbours::connect(host.address, self.neighbours).await?;
        let (time, mut figures) = (Duration::from_secs_f64(self.seconds), Figures::default());
        let tally = Arc::new(Tally::default());
        let place = Place { address: host.address, tally: Arc::clone(&tally), runtime: runtime.clone() };
        neighbours.talk(SETTLE).await?;
        figures.memory[0] = megabytes(host.memory()?);
        let mut effect = Effect::default();
        for round in 0..self.rounds {
            figures.note(0, neighbours.talk(time).await?)?;
            let attackers = (attack.begin)(&host, &place)?;
            neighbours.talk(SETTLE).await?;
            let before = (attack.count)(&host)?;
            figures.note(1, neighbours.talk(time).await?)?;
            effect.count += (attack.count)(&host)? - before;
            figures.memory[1] = figures.memory[1].max(megabytes(host.memory()?));
            if round + 1 == self.rounds && attack.is_slow && !self.quick {
                figures.lost += neighbours.talk(HELD_FOR).await?.lost;
            }
            drop(attackers);
            (attack.end)(&host)?;
            sleep(SETTLE / 3).await;
            figures.lost += neighbours.talk(SETTLE).await?.lost;
        }
        let expected = self.neighbours - figures.lost;
        if neighbours.len() != expected {
            bail!("{} of {expected} neighbours are left", neighbours.len());
        }
        effect.seconds = self.seconds * self.rounds as f64;
        effect.read(&tally);
        Ok(figures.row(attack, &(attack.held)(&effect)))
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Figures {
    /// Adds a measurement: without the attack (0), or with it (1).
    fn note(&mut self, with: usize, seen: Seen) -> Result<()> {
        let latency = seen.latency.context("no neighbour got an answer")?;
        self.p50[with].push(latency.p50 / 1e3);
        self.p99[with].push(latency.p99 / 1e3);
        self.lost += seen.lost;
        Ok(())
    }

    fn row(&self, attack: &Attack, held: &str) -> String {
        let median =
            |figures: &[f64]| Spread::of(figures.iter().copied()).map_or_else(String::new, |it| shown(it.median));
        let both = |figures: &[Vec<f64>; 2]| format!("{} → {}", median(&figures[0]), median(&figures[1]));
        let ratio = |figures: &[Vec<f64>; 2]| {
            let ratios = figures[1].iter().zip(&figures[0]).map(|(with, without)| with / without);
            Spread::of(ratios).map_or_else(String::new, |it| it.to_string())
        };
        format!(
            "{} {held} | {} → {} | {} | {} | {} | {} | {} |",
            attack.cell(),
            shown(self.memory[0]),
            shown(self.memory[1]),
            both(&self.p50),
            ratio(&self.p50),
            both(&self.p99),
            ratio(&self.p99),
            match self.lost {
                0 => "nothing".to_owned(),
                lost => format!("{lost} neighbours"),
            }
        )
    }
}

impl Effect {
    fn read(&mut self, tally: &Tally) {
        self.open_max = tally.open_max.load(Ordering::Relaxed);
        self.held_max = tally.held_max.load(Ordering::Relaxed) as f64 / 1e3;
        self.closed = tally.closed.load(Ordering::Relaxed);
        self.sent = tally.sent.load(Ordering::Relaxed);
        self.answered = tally.answered.load(Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the document is what the command prints: the same columns, and a row for each attack, in the same order.
    #[test]
    fn the_document_has_a_row_for_each_attack() -> Result<()> {
        let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reliability.md"))?;
        let (_, table) = document.split_once(&format!("{HEAD}\n")).context("the head of the table")?;
        let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), ATTACKS.len());
        for (row, attack) in rows.iter().zip(&ATTACKS) {
            assert!(row.starts_with(&attack.cell()), "{row}\nmust begin with\n{}", attack.cell());
            assert_eq!(
                row.matches(" | ").count(),
                HEAD.lines().next().map_or(0, |head| head.matches(" | ").count()),
                "{row}"
            );
        }
        Ok(())
    }
}
