//! Fanout: one socket of each topic sends shouts, and all members get them. An operation is a frame that one socket got.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Args;

use super::{Outcome, Scenario};
use crate::load::{ClientEvent, ClientMessage, Clients, Encoding, EventHandler, Generator, Load, connect, drive, join};
use crate::process::Process;
use crate::statistics::Samples;
use crate::target::Target;

/// The parameters.
#[derive(Args, Clone)]
pub(crate) struct Fanout {
    /// Sockets, each in one topic
    #[arg(long, default_value_t = 1_000)]
    pub(crate) sockets: usize,

    /// Topics
    #[arg(long, default_value_t = 1)]
    pub(crate) topics: usize,

    /// Shouts of a topic that are sent before all members have got the first of them
    #[arg(long, default_value_t = 4)]
    pub(crate) window: u64,

    /// Bytes of filling in a payload
    #[arg(long, default_value_t = 64)]
    pub(crate) payload: usize,

    /// The prefix of topic names; the topic's number follows it
    #[arg(long, default_value = "bench:")]
    pub(crate) prefix: String,

    /// One in this many sockets never reads; with 0, all read
    #[arg(long, default_value_t = 0)]
    pub(crate) stalled: usize,

    /// Measured seconds
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,
}

/// The latency of one in this many deliveries is measured.
const SAMPLED: u64 = 16;

/// How often the server's memory is read, if some sockets don't read.
const LOOK: Duration = Duration::from_millis(100);

/// At the end, the sockets that never read are read, to count those that the server has closed. This ends when nothing has
/// arrived for this long.
const QUIET: Duration = Duration::from_secs(1);

/// The maximum time in which the sockets that never read are read at the end.
const DRAINING_MAX: Duration = Duration::from_secs(20);

impl Scenario for Fanout {
    fn measure(&self, target: &Target) -> Result<Outcome> {
        ensure!(self.topics > 0 && self.window > 0, "topics and window must be at least 1");
        ensure!(self.stalled != 1, "with --stalled 1 no socket would read");
        ensure!(self.sockets >= self.topics, "there must be at least as many sockets as topics");
        let mut load = Load::new(target.address, Encoding::new(target.dialect, &self.prefix, self.payload))?;
        self.measure_load(&mut load, target)
    }
}

impl Fanout {
    /// Measures with these clients, which aren't connected yet.
    pub(crate) fn measure_load(&self, load: &mut Load, target: &Target) -> Result<Outcome> {
        connect(load, self.sockets)?;
        join(load, (0..self.sockets).map(|client| (client, client % self.topics)))?;
        let mut shouting = Shouting::new(self, target.process);
        for client in (0..self.sockets).filter(|client| self.is_stalled(*client)) {
            load.clients.pause_reading(client)?;
        }
        let before = target.process.memory()?;
        let taken = drive(load, target.process, Duration::from_secs(self.seconds), &mut shouting)?;
        let mut notes = Vec::new();
        if self.stalled > 0 {
            let grown = shouting.most_memory.saturating_sub(before);
            let stalled = (0..self.sockets).filter(|client| self.is_stalled(*client));
            notes.push(("memory grown, MiB".to_owned(), grown as f64 / f64::from(1 << 20)));
            notes.push(("sockets that don't read".to_owned(), stalled.clone().count() as f64));
            notes.push(("of these closed".to_owned(), closed(load, stalled)? as f64));
        }
        Ok(Outcome { taken, latency: shouting.samples.latency(), notes })
    }

    /// Whether a socket never reads. The first socket of a topic always reads, because it sends the shouts.
    fn is_stalled(&self, client: usize) -> bool {
        self.stalled > 0 && (client / self.topics) % self.stalled == self.stalled - 1
    }
}

/// The state of the scenario. The first socket of each topic sends its shouts.
struct Shouting {
    topics: Vec<Topic>,
    window: u64,
    /// Topics whose window may have room for another shout.
    due: Vec<usize>,
    delivered: u64,
    samples: Samples,
    /// The server, if its memory is read.
    looks_at: Option<Process>,
    looked: Instant,
    /// The largest memory of the server so far, in bytes.
    most_memory: u64,
}

#[derive(Clone, Default)]
struct Topic {
    /// The number of members that read.
    members: u64,
    shouted: u64,
    delivered: u64,
}

impl Shouting {
    fn new(fanout: &Fanout, server: Process) -> Self {
        let mut topics = vec![Topic::default(); fanout.topics];
        for client in (0..fanout.sockets).filter(|client| !fanout.is_stalled(*client)) {
            topics[client % fanout.topics].members += 1;
        }
        Self {
            topics,
            window: fanout.window,
            due: (0..fanout.topics).collect(),
            delivered: 0,
            samples: Samples::default(),
            looks_at: (fanout.stalled > 0).then_some(server),
            looked: Instant::now(),
            most_memory: 0,
        }
    }
}

impl EventHandler for Shouting {
    fn handle_event(&mut self, clients: &mut Clients, client: usize, event: ClientEvent<'_>) -> Result<()> {
        match event {
            ClientEvent::Message { event: b"shout", payload } => {
                let number = client % self.topics.len();
                let topic = &mut self.topics[number];
                topic.delivered += 1;
                self.delivered += 1;
                if topic.delivered.is_multiple_of(topic.members) {
                    self.due.push(number);
                }
                if topic.delivered.is_multiple_of(SAMPLED) {
                    clients.age(payload).into_iter().for_each(|age| self.samples.add(age));
                }
                Ok(())
            }
            ClientEvent::Closed => bail!("the server closed a connection"),
            _ => Ok(()),
        }
    }
}

impl Generator for Shouting {
    fn send_due(&mut self, clients: &mut Clients) -> Result<()> {
        for number in self.due.drain(..) {
            let topic = &mut self.topics[number];
            let room = (topic.delivered / topic.members + self.window).saturating_sub(topic.shouted);
            for _ in 0..room {
                clients.put(ClientMessage::Shout { topic: number, at: clients.now() });
            }
            if room > 0 {
                topic.shouted += room;
                clients.send(number)?;
            }
        }
        if let Some(server) = self.looks_at.filter(|_| self.looked.elapsed() >= LOOK) {
            self.looked = Instant::now();
            self.most_memory = self.most_memory.max(server.memory()?);
        }
        Ok(())
    }

    fn operations(&self) -> u64 {
        self.delivered
    }

    fn begin(&mut self) {
        self.samples.clear();
    }
}

/// Returns how many of the sockets that never read the server has closed. They read everything that arrives, which may be
/// the end of the connection.
fn closed(load: &mut Load, stalled: impl Iterator<Item = usize>) -> Result<usize> {
    for client in stalled {
        load.clients.resume_reading(client)?;
    }
    let began = Instant::now();
    let mut draining = Draining { closed: 0, last_event: began };
    while draining.last_event.elapsed() < QUIET && began.elapsed() < DRAINING_MAX {
        load.turn(super::WAIT, &mut draining)?;
    }
    Ok(draining.closed)
}

struct Draining {
    closed: usize,
    /// The time of the last event.
    last_event: Instant,
}

impl EventHandler for Draining {
    fn handle_event(&mut self, _: &mut Clients, _: usize, event: ClientEvent<'_>) -> Result<()> {
        self.last_event = Instant::now();
        self.closed += usize::from(matches!(event, ClientEvent::Closed));
        Ok(())
    }
}
