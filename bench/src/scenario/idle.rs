//! Idle: sockets connect, join, and then send nothing. An operation is a socket that has connected and joined its topics.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;

use super::{Outcome, Scenario, rest};
use crate::load::{Encoding, Load, Measurement, connect, join};
use crate::process::{Kernel, Process};
use crate::target::Target;

/// The parameters.
#[derive(Args, Clone)]
pub(crate) struct Idle {
    /// Sockets
    #[arg(long, default_value_t = 15_000)]
    pub(crate) sockets: usize,

    /// Topics that each of them joins
    #[arg(long, default_value_t = 1)]
    pub(crate) topics: usize,

    /// The number of topics; by default, each socket joins the same ones
    #[arg(long)]
    pub(crate) of: Option<usize>,

    /// Seconds that the sockets stay connected
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,
}

/// Time for the server to finish its work for connections or joins.
const SETTLE: Duration = Duration::from_secs(1);

/// Memory and CPU time at one moment.
struct Reading {
    memory: u64,
    cpu: Duration,
    clients_cpu: Duration,
    kernel: Kernel,
}

impl Reading {
    fn at(server: Process) -> Result<Self> {
        let (cpu, clients_cpu) = (server.cpu()?, Process::this().cpu()?);
        Ok(Self { memory: server.memory()?, cpu, clients_cpu, kernel: Kernel::look()? })
    }
}

impl Scenario for Idle {
    fn measure(&self, target: &Target) -> Result<Outcome> {
        let of = self.of.unwrap_or(self.topics);
        ensure!(
            self.sockets > 0 && self.topics > 0 && of >= self.topics,
            "sockets and topics must be at least 1, and --of at least the number of topics"
        );
        let look = || Reading::at(target.process);
        let mut load = Load::new(target.address, Encoding::new(target.dialect, "bench:", 0))?;
        let before = look()?;
        let mut began = Instant::now();
        connect(&mut load, self.sockets)?;
        let mut time = began.elapsed();
        rest(&mut load, SETTLE)?;
        let connected = look()?;
        began = Instant::now();
        let joins = (0..self.sockets * self.topics).map(|number| {
            let (client, nth) = (number % self.sockets, number / self.sockets);
            (client, (client * self.topics + nth) % of)
        });
        join(&mut load, joins)?;
        time += began.elapsed();
        rest(&mut load, SETTLE)?;
        let joined = look()?;
        rest(&mut load, Duration::from_secs(self.seconds))?;
        let after = look()?;

        let (sockets, joins) = (self.sockets as f64, (self.sockets * self.topics) as f64);
        let micros = |from: &Reading, to: &Reading| to.cpu.saturating_sub(from.cpu).as_secs_f64() * 1e6;
        let bytes = |from: u64, to: u64| to as f64 - from as f64;
        let idle = micros(&joined, &after) / sockets / self.seconds.max(1) as f64;
        let notes = [
            ("memory before the first socket, MiB", before.memory as f64 / f64::from(1 << 20)),
            ("memory a socket with its topics, bytes", bytes(before.memory, after.memory) / sockets),
            ("memory a connection, bytes", bytes(before.memory, connected.memory) / sockets),
            ("memory a joined topic, bytes", bytes(connected.memory, joined.memory) / joins),
            ("CPU to connect, µs", micros(&before, &connected) / sockets),
            ("CPU to join, µs", micros(&connected, &joined) / joins),
            ("CPU an idle socket, µs a second", idle),
            (
                "the kernel's buffers a socket, both ends, bytes",
                bytes(before.kernel.buffers, after.kernel.buffers) / sockets,
            ),
            (
                "the kernel's records a socket, both ends, bytes",
                bytes(before.kernel.records, after.kernel.records) / sockets,
            ),
        ];
        let clients_cpu = joined.clients_cpu.saturating_sub(before.clients_cpu);
        let cpu = joined.cpu.saturating_sub(before.cpu);
        Ok(Outcome {
            taken: Measurement { operations: self.sockets as u64, time, cpu, clients_cpu },
            latency: None,
            notes: notes.map(|(what, figure)| (what.to_owned(), figure)).into(),
        })
    }
}
