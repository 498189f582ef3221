//! What is played: each scenario against any server, one after the other.

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

use crate::load::{Crowd, Load, News, Play, Taken};
use crate::statistics::{Latency, Samples, shown};
use crate::target::{Against, Target};

/// Something that can be played.
pub(crate) trait Scenario {
    fn play(&self, target: &Target) -> Result<Outcome>;
}

/// What a scenario took.
pub(crate) struct Outcome {
    pub(crate) taken: Taken,
    /// None where nothing is waited for.
    pub(crate) latency: Option<Latency>,
    /// What else is worth to know, by what it is.
    pub(crate) notes: Vec<(String, f64)>,
}

/// A scenario, and whom it is played against.
#[derive(Args)]
pub(crate) struct Single<S: Args> {
    #[command(flatten)]
    scenario: S,

    #[command(flatten)]
    against: Against,
}

impl<S: Args + Scenario> Single<S> {
    pub(crate) fn run(&self) -> Result<()> {
        let Outcome { taken, latency, notes } = self.scenario.play(&self.against.open()?)?;
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

/// Median and worst of a kind of message, as notes.
fn notes(what: &str, samples: &mut Samples) -> Vec<(String, f64)> {
    let latency = samples.latency().into_iter();
    latency.flat_map(|it| [(format!("{what}: p50, µs"), it.p50), (format!("{what}: p99, µs"), it.p99)]).collect()
}

/// How long the loop waits for what comes.
const WAIT: Duration = Duration::from_millis(10);

/// Lets time pass in which nothing is said, and nobody may be closed.
fn rest(load: &mut Load, time: Duration) -> Result<()> {
    let ends = Instant::now() + time;
    while Instant::now() < ends {
        load.turn(WAIT, &mut Resting)?;
    }
    Ok(())
}

struct Resting;

impl Play for Resting {
    fn hear(&mut self, _: &mut Crowd, _: usize, news: News<'_>) -> Result<()> {
        match news {
            News::Closed => bail!("the server closes connections that are idle"),
            _ => Ok(()),
        }
    }
}
