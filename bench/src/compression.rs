//! What compression saves, and what it costs: bytes and CPU time of a broadcast, with compression and without.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use bennu_test_tiers::Noise;
use clap::Args;

use crate::host::{Host, default_binary, guest};
use crate::load::{Dialect, Encoding, Load, connect, join};
use crate::rounds::order;
use crate::scenario::fanout::Fanout;
use crate::scenario::rest;
use crate::statistics::Spread;
use crate::target::Target;

/// Broadcasts with and without compression: bytes, and CPU time of the host
#[derive(Args)]
pub(crate) struct Compression {
    /// Rounds; each measures both hosts
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Measure a single row for a short time: tests the command. The figures have no meaning
    #[arg(long)]
    quick: bool,

    /// Measure only the memory of idle sockets
    #[arg(long)]
    idle: bool,

    /// The host's binary
    #[arg(long, default_value_os_t = default_binary())]
    host: PathBuf,

    /// The plugin `echo`, as `cargo xtask guests` builds it
    #[arg(long, default_value_os_t = guest("echo"))]
    plugin: PathBuf,
}

/// The configuration of the host that compresses.
const COMPRESSES: &str = "[mounts.\"/socket\"]\ncompress = true\n";

/// The numbers of members that get a broadcast.
const MEMBERS: [usize; 3] = [1, 10, 1_000];

/// The measured seconds of a round.
const SECONDS: u64 = 3;

/// The number of sockets whose memory is measured.
const IDLE_SOCKETS: usize = 10_000;

/// The time after which the host has finished its work for joins.
const SETTLE: Duration = Duration::from_secs(1);

/// A message, as the fields of its payload.
struct Sample {
    name: &'static str,
    fields: String,
}

impl Compression {
    pub(crate) fn run(&self) -> Result<()> {
        if !self.idle {
            self.deliveries()?;
        }
        self.idle_memories()
    }

    fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds }
    }

    fn deliveries(&self) -> Result<()> {
        println!("| message | bytes | compressed | members | CPU without, µs a delivery | with | with / without |");
        println!("| --- | --- | --- | --- | --- | --- | --- |");
        let members = if self.quick { &MEMBERS[1..2] } else { &MEMBERS };
        for sample in samples() {
            for members in members {
                println!("{}", self.row(&sample, *members)?);
            }
        }
        println!();
        Ok(())
    }

    fn idle_memories(&self) -> Result<()> {
        let mut memories = [vec![], vec![]];
        for round in 1..=self.rounds() {
            for place in order(2, round) {
                memories[place].push(self.idle_memory(place == 1)? as f64);
            }
        }
        let [Some(plain), Some(compressed)] = memories.map(Spread::of) else { bail!("no round was measured") };
        println!("Memory of an idle socket in a topic, in bytes: {plain} without compression, {compressed} with it");
        Ok(())
    }

    /// Returns the host's memory for a connection in a topic of its own, in bytes.
    fn idle_memory(&self, compresses: bool) -> Result<u64> {
        let sockets = if self.quick { 200 } else { IDLE_SOCKETS };
        let target = self.start(compresses)?;
        let mut load = load(&target, Encoding::new(Dialect::Phoenix, "bench:", 0), compresses)?;
        // The first sockets make memory that all sockets share.
        let mut all = 0;
        let mut memory = [0; 2];
        for (more, memory) in [100, sockets].into_iter().zip(&mut memory) {
            connect(&mut load, more)?;
            join(&mut load, (all..all + more).map(|number| (number, number)))?;
            all += more;
            rest(&mut load, SETTLE)?;
            *memory = target.process.memory()?;
        }
        let [before, after] = memory;
        Ok(after.saturating_sub(before) / sockets as u64)
    }

    fn start(&self, compresses: bool) -> Result<Target> {
        let config = if compresses { COMPRESSES } else { "" };
        Ok(Host::start(&self.host, &self.plugin, config)?.into())
    }

    fn row(&self, sample: &Sample, members: usize) -> Result<String> {
        let rounds = self.rounds();
        let mut costs = [vec![], vec![]];
        let mut bytes = [0; 2];
        for round in 1..=rounds {
            for place in order(2, round) {
                let compresses = place == 1;
                let (cpu, frame) = self.measure(sample, members, compresses)?;
                costs[place].push(cpu);
                bytes[place] = frame;
                let how = if compresses { "with" } else { "without" };
                eprintln!("round {round} of {rounds}, {}, {members} members, {how}: {cpu:.2} µs", sample.name);
            }
        }
        let ratios = costs[1].iter().zip(&costs[0]).map(|(with, without)| with / without);
        let figures = [Spread::of(costs[0].iter().copied()), Spread::of(costs[1].iter().copied()), Spread::of(ratios)];
        let mut row = format!("| {} | {} | {} | {members} |", sample.name, bytes[0], bytes[1]);
        for figure in figures.into_iter().flatten() {
            write!(row, " {figure} |")?;
        }
        Ok(row)
    }

    /// Returns the host's CPU time for a delivery in microseconds, and the bytes of a frame.
    fn measure(&self, sample: &Sample, members: usize, compresses: bool) -> Result<(f64, usize)> {
        let target = self.start(compresses)?;
        let encoding = Encoding { fields: Some(sample.fields.clone()), ..Encoding::new(Dialect::Phoenix, "bench:", 0) };
        let mut load = load(&target, encoding, compresses)?;
        let fanout = Fanout {
            sockets: members,
            topics: 1,
            window: 1,
            payload: 0,
            prefix: "bench:".into(),
            stalled: 0,
            seconds: if self.quick { 1 } else { SECONDS },
        };
        let outcome = fanout.measure_load(&mut load, &target)?;
        Ok((outcome.taken.cpu_each(), load.clients.last_frame))
    }
}

fn load(target: &Target, encoding: Encoding, compresses: bool) -> Result<Load> {
    if compresses { Load::deflating(target.address, encoding) } else { Load::new(target.address, encoding) }
}

/// The messages of the table.
fn samples() -> Vec<Sample> {
    let mut random = Noise::new(7);
    let chat = "\"id\":\"01JDRN4W8Q\",\"user\":\"alice\",\"body\":\"Did anybody else see the heron at the pond this morning? \
                It stood there for an hour.\",\"at\":1764409325123";
    let players = (0..8).map(|player| {
        let (x, y, heading) = (random.below(10_000), random.below(10_000), random.below(360));
        format!("\"p{player}\":{{\"x\":{x},\"y\":{y},\"a\":{heading}}}")
    });
    let diff = format!("\"n\":5123,\"patch\":{{\"players\":{{{}}}}}", players.collect::<Vec<_>>().join(","));
    let strokes = (0..40).map(|stroke| {
        let points: Vec<_> = (0..40).map(|_| random.below(2_000).to_string()).collect();
        format!("\"s/{stroke}\":{{\"color\":\"#1f6feb\",\"width\":3,\"points\":[{}]}}", points.join(","))
    });
    let strokes = strokes.collect::<Vec<_>>().join(",");
    let present = (0..1_000).map(|user| {
        let (reference, at) = (random.below(usize::MAX), 1_764_400_000 + random.below(9_000));
        format!("\"user-{user}\":{{\"metas\":[{{\"online_at\":{at},\"phx_ref\":\"{reference:016x}\"}}]}}")
    });
    let present = present.collect::<Vec<_>>().join(",");
    vec![
        Sample { name: "a chat message", fields: chat.into() },
        Sample { name: "a game's diff, 8 players", fields: diff },
        Sample { name: "a state of 40 strokes", fields: strokes },
        Sample { name: "`presence_state` of 1,000", fields: present },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_objects_of_the_sizes_that_the_table_is_about() -> Result<()> {
        let sizes = [100..250, 250..500, 5_000..15_000, 60_000..80_000];
        let samples = samples();
        assert_eq!(samples.len(), sizes.len());
        for (sample, size) in samples.iter().zip(sizes) {
            serde_json::from_str::<serde_json::Value>(&format!("{{{}}}", sample.fields))?;
            assert!(size.contains(&sample.fields.len()), "{}: {} bytes", sample.name, sample.fields.len());
        }
        Ok(())
    }
}
