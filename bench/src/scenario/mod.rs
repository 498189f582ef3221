//! The scenarios. Most can be measured against any server.

pub(crate) mod churn;
pub(crate) mod echo;
pub(crate) mod fanout;
pub(crate) mod idle;
pub(crate) mod mixed;
pub(crate) mod reload;
pub(crate) mod start;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::load::{ClientEvent, Clients, EventHandler, Load, Measurement};
use crate::statistics::{Latency, Samples, shown};
use crate::target::{Against, Target};

/// A load that can be run against a server and measured.
pub(crate) trait Scenario {
    fn measure(&self, target: &Target) -> Result<Outcome>;
}

/// The figures of a scenario.
pub(crate) struct Outcome {
    pub(crate) taken: Measurement,
    /// `None` if the scenario measures no latency.
    pub(crate) latency: Option<Latency>,
    /// Further figures with their names.
    pub(crate) notes: Vec<(String, f64)>,
}

/// A scenario, and the server that it is measured against.
#[derive(Args)]
pub(crate) struct Single<S: Args> {
    #[command(flatten)]
    scenario: S,

    #[command(flatten)]
    against: Against,
}

impl<S: Args + Scenario> Single<S> {
    pub(crate) fn run(&self) -> Result<()> {
        let Outcome { taken, latency, notes } = self.scenario.measure(&self.against.open()?)?;
        let cores = |cpu: Duration| cpu.as_secs_f64() / taken.time.as_secs_f64();
        let mut lines = vec![
            ("server CPU, µs an operation".to_owned(), taken.cpu_each()),
            ("operations a second".to_owned(), taken.a_second()),
        ];
        if let Some(latency) = latency {
            lines.extend([("p50, µs".to_owned(), latency.p50), ("p99, µs".to_owned(), latency.p99)]);
        }
        lines.extend(notes);
        lines.push(("server, cores".to_owned(), cores(taken.cpu)));
        lines.push(("clients, cores".to_owned(), cores(taken.clients_cpu)));
        println!("| | |\n| --- | --- |");
        for (what, figure) in lines {
            println!("| {what} | {} |", shown(figure));
        }
        Ok(())
    }
}

/// The p50 and p99 of a kind of message, as notes.
fn notes(what: &str, samples: &mut Samples) -> Vec<(String, f64)> {
    let latency = samples.latency().into_iter();
    latency.flat_map(|it| [(format!("{what}: p50, µs"), it.p50), (format!("{what}: p99, µs"), it.p99)]).collect()
}

/// How long the loop waits for events.
const WAIT: Duration = Duration::from_millis(10);

/// Waits. The clients send nothing, and it is an error if the server closes a connection.
pub(crate) fn rest(load: &mut Load, time: Duration) -> Result<()> {
    let ends = Instant::now() + time;
    while Instant::now() < ends {
        load.turn(WAIT, &mut Quiet)?;
    }
    Ok(())
}

struct Quiet;

impl EventHandler for Quiet {
    fn handle_event(&mut self, _: &mut Clients, _: usize, event: ClientEvent<'_>) -> Result<()> {
        match event {
            ClientEvent::Closed => bail!("the server closed an idle connection"),
            _ => Ok(()),
        }
    }
}
