//! Runs a scenario: it settles, warms up, and is then measured.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Clients, EventHandler, Load};
use crate::process::Process;

/// Time for the server to finish its work for the joins.
const SETTLE: Duration = Duration::from_millis(500);

/// Time until the rate is constant.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long the loop waits for events before it sends the messages that are due.
const WAIT: Duration = Duration::from_millis(1);

/// A scenario fails if it counts no operation for this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A scenario that sends messages by itself, not only in answer to events.
pub(crate) trait Generator: EventHandler {
    /// Sends the messages that are due now.
    fn send_due(&mut self, clients: &mut Clients) -> Result<()>;

    /// The number of operations since the start.
    fn operations(&self) -> u64;

    /// The measured time begins: discards the latencies that were measured before. The count of operations continues.
    fn begin(&mut self);
}

/// The CPU time and the operations of the measured time.
#[derive(Clone, Copy)]
pub(crate) struct Measurement {
    pub(crate) operations: u64,
    pub(crate) time: Duration,
    /// CPU time of the server.
    pub(crate) cpu: Duration,
    /// CPU time of the clients.
    pub(crate) clients_cpu: Duration,
}

impl Measurement {
    /// Microseconds of the server's CPU time for one operation.
    pub(crate) fn cpu_each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.operations.max(1) as f64
    }

    pub(crate) fn a_second(&self) -> f64 {
        self.operations as f64 / self.time.as_secs_f64()
    }
}

/// Runs a scenario and measures it for the time `measured`.
pub(crate) fn drive(
    load: &mut Load,
    server: Process,
    measured: Duration,
    handler: &mut impl Generator,
) -> Result<Measurement> {
    let settled = Instant::now() + SETTLE;
    while Instant::now() < settled {
        load.turn(WAIT, handler)?;
    }
    run(load, WARM_UP, handler)?;
    handler.begin();
    let (before, cpu, clients_cpu) = (handler.operations(), server.cpu()?, Process::this().cpu()?);
    let began = Instant::now();
    run(load, measured, handler)?;
    let time = began.elapsed();
    Ok(Measurement {
        operations: handler.operations() - before,
        time,
        cpu: server.cpu()?.saturating_sub(cpu),
        clients_cpu: Process::this().cpu()?.saturating_sub(clients_cpu),
    })
}

fn run(load: &mut Load, time: Duration, handler: &mut impl Generator) -> Result<()> {
    let ends = Instant::now() + time;
    let (mut operations, mut moved) = (handler.operations(), Instant::now());
    loop {
        handler.send_due(&mut load.clients)?;
        load.turn(WAIT, handler)?;
        let now = Instant::now();
        if handler.operations() > operations {
            (operations, moved) = (handler.operations(), now);
        }
        ensure!(now - moved < PATIENCE, "no operation was counted for {} s", PATIENCE.as_secs());
        if now >= ends {
            return Ok(());
        }
    }
}
