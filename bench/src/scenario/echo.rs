//! Echo: every socket sends a message and gets it back. An operation is an answer.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;

use super::{Outcome, Scenario};
use crate::load::{
    ClientEvent, ClientMessage, Clients, Encoding, EventHandler, Generator, Load, Rate, connect, drive, join,
};
use crate::statistics::Samples;
use crate::target::Target;

/// The parameters.
#[derive(Args, Clone)]
pub(crate) struct Echo {
    /// Sockets, all in one topic
    #[arg(long, default_value_t = 50)]
    pub(crate) sockets: usize,

    /// Bytes of filling in a payload
    #[arg(long, default_value_t = 64)]
    pub(crate) payload: usize,

    /// Messages a second, whether or not they are answered; with 0, each socket sends its next message after an answer
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u64,

    /// The event that is answered with its payload; the plugin `echo` also has `parse`, which parses and rewrites the
    /// payload
    #[arg(long, default_value = "echo")]
    pub(crate) event: String,

    /// Measured seconds
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,
}

impl Scenario for Echo {
    fn measure(&self, target: &Target) -> Result<Outcome> {
        let mut load = self.enter(target)?;
        let mut echoing = Echoing::new(self.sockets, self.rate);
        let taken = drive(&mut load, target.process, Duration::from_secs(self.seconds), &mut echoing)?;
        Ok(Outcome { taken, latency: echoing.samples.latency(), notes: Vec::new() })
    }
}

impl Echo {
    /// Connects and joins all sockets.
    pub(crate) fn enter(&self, target: &Target) -> Result<Load> {
        let encoding = Encoding::new(target.dialect, "bench:", self.payload);
        let mut load = Load::new(target.address, Encoding { echo: self.event.clone(), ..encoding })?;
        connect(&mut load, self.sockets)?;
        join(&mut load, (0..self.sockets).map(|client| (client, 0)))?;
        Ok(load)
    }
}

/// The latency of one in this many answers is measured.
const SAMPLED: u64 = 4;

/// The state of the scenario. The reference of a message is the time at which it was sent, so nothing has to be stored for
/// it.
pub(crate) struct Echoing {
    sockets: usize,
    /// `None` if each socket waits for its answer.
    rate: Option<Rate>,
    /// The socket that sends the next message, if there is a rate.
    next: usize,
    /// The time of the first message. Answers to messages that were sent earlier belong to another run.
    since: Option<u64>,
    answered: u64,
    pub(crate) samples: Samples,
}

impl Echoing {
    pub(crate) fn new(sockets: usize, rate: u64) -> Self {
        let rate = (rate > 0).then(|| Rate::new(rate));
        Self { sockets, rate, next: 0, since: None, answered: 0, samples: Samples::default() }
    }
}

impl EventHandler for Echoing {
    fn handle_event(&mut self, clients: &mut Clients, client: usize, event: ClientEvent<'_>) -> Result<()> {
        match event {
            ClientEvent::Answer { reference, is_ok } if self.since.is_some_and(|since| reference >= since) => {
                ensure!(is_ok, "an echo was refused");
                self.answered += 1;
                let now = clients.now();
                if self.answered.is_multiple_of(SAMPLED) {
                    self.samples.add(now.saturating_sub(reference));
                }
                match self.rate {
                    Some(_) => Ok(()),
                    None => clients.send_message(client, ClientMessage::Echo { topic: 0, reference: now }),
                }
            }
            ClientEvent::Closed => bail!("the server closed a connection"),
            _ => Ok(()),
        }
    }
}

impl Generator for Echoing {
    fn send_due(&mut self, clients: &mut Clients) -> Result<()> {
        let is_first = self.since.is_none();
        self.since.get_or_insert_with(|| clients.now());
        match &mut self.rate {
            None if is_first => (0..self.sockets).try_for_each(|client| {
                clients.send_message(client, ClientMessage::Echo { topic: 0, reference: clients.now() })
            }),
            None => Ok(()),
            Some(rate) => {
                while rate.is_due(clients.now()) {
                    clients.send_message(self.next, ClientMessage::Echo { topic: 0, reference: clients.now() })?;
                    self.next = (self.next + 1) % self.sockets;
                }
                Ok(())
            }
        }
    }

    fn operations(&self) -> u64 {
        self.answered
    }

    fn begin(&mut self) {
        self.samples.clear();
    }
}
