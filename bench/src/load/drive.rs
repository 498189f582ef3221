//! How a scenario runs: a while to settle, a while to warm up, and then it is measured.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Crowd, Load, Play};
use crate::process::Process;

/// Until joins and what follows them are over.
const SETTLE: Duration = Duration::from_millis(500);

/// Until the pace is steady.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long the loop waits for what comes, before it looks what is due.
const WAIT: Duration = Duration::from_millis(1);

/// So long without a single operation means that none comes any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// What goes on by itself.
pub(crate) trait Driven: Play {
    /// What is to be said now, beyond answers to what was heard.
    fn act(&mut self, crowd: &mut Crowd) -> Result<()>;

    /// What is counted, so far.
    fn operations(&self) -> u64;

    /// The measured time begins. What was counted doesn't matter, but latencies do from now on.
    fn begin(&mut self);
}

/// What was taken in the measured time.
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) operations: u64,
    pub(crate) time: Duration,
    /// CPU time of the server, and of the clients.
    pub(crate) cpu: Duration,
    pub(crate) clients_cpu: Duration,
}

impl Taken {
    /// Microseconds of the server's CPU time for one operation.
    pub(crate) fn cpu_each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.operations.max(1) as f64
    }

    pub(crate) fn a_second(&self) -> f64 {
        self.operations as f64 / self.time.as_secs_f64()
    }
}

/// Runs a scenario and measures so much of it.
pub(crate) fn drive(load: &mut Load, server: Process, measured: Duration, play: &mut impl Driven) -> Result<Taken> {
    let settled = Instant::now() + SETTLE;
    while Instant::now() < settled {
        load.turn(WAIT, play)?;
    }
    run(load, WARM_UP, play)?;
    play.begin();
    let (before, cpu, clients_cpu) = (play.operations(), server.cpu()?, Process::this().cpu()?);
    let began = Instant::now();
    run(load, measured, play)?;
    let time = began.elapsed();
    Ok(Taken {
        operations: play.operations() - before,
        time,
        cpu: server.cpu()?.saturating_sub(cpu),
        clients_cpu: Process::this().cpu()?.saturating_sub(clients_cpu),
    })
}

fn run(load: &mut Load, time: Duration, play: &mut impl Driven) -> Result<()> {
    let ends = Instant::now() + time;
    let (mut operations, mut moved) = (play.operations(), Instant::now());
    loop {
        play.act(&mut load.crowd)?;
        load.turn(WAIT, play)?;
        let now = Instant::now();
        if play.operations() > operations {
            (operations, moved) = (play.operations(), now);
        }
        ensure!(now - moved < PATIENCE, "nothing has come for {} s", PATIENCE.as_secs());
        if now >= ends {
            return Ok(());
        }
    }
}
