//! Churn: sockets connect and close. An operation is a life cycle: connect, join, send one message, leave, close.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::{Outcome, Scenario};
use crate::load::{ClientEvent, ClientMessage, Clients, Encoding, EventHandler, Generator, Load, drive};
use crate::statistics::Samples;
use crate::target::Target;

/// The parameters.
#[derive(Args, Clone)]
pub(crate) struct Churn {
    /// Sockets at once
    #[arg(long, default_value_t = 50)]
    pub(crate) sockets: usize,

    /// Bytes of filling in a payload
    #[arg(long, default_value_t = 64)]
    pub(crate) payload: usize,

    /// Measured seconds
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,
}

impl Scenario for Churn {
    fn measure(&self, target: &Target) -> Result<Outcome> {
        let mut load = Load::new(target.address, Encoding::new(target.dialect, "bench:", self.payload))?;
        let mut churning = Churning { lives: LifeCycles::new(0), sockets: self.sockets };
        let taken = drive(&mut load, target.process, Duration::from_secs(self.seconds), &mut churning)?;
        Ok(Outcome { taken, latency: churning.lives.samples.latency(), notes: Vec::new() })
    }
}

/// A constant number of life cycles at once.
struct Churning {
    lives: LifeCycles,
    sockets: usize,
}

impl EventHandler for Churning {
    fn handle_event(&mut self, clients: &mut Clients, client: usize, event: ClientEvent<'_>) -> Result<()> {
        self.lives.handle_event(clients, client, event)
    }
}

impl Generator for Churning {
    fn send_due(&mut self, clients: &mut Clients) -> Result<()> {
        while self.lives.under_way < self.sockets {
            self.lives.begin(clients)?;
        }
        Ok(())
    }

    fn operations(&self) -> u64 {
        self.lives.over
    }

    fn begin(&mut self) {
        self.lives.samples.clear();
    }
}

/// The references of the requests in a life cycle, in their order. The answer to one starts the next.
const JOIN: u64 = 1;
const ECHO: u64 = 2;
const LEAVE: u64 = 3;

/// The number of topics that the sockets join.
const TOPICS: usize = 10;

/// The life cycles of sockets: those that run, and the number of those that ended.
pub(crate) struct LifeCycles {
    /// The number of the first topic.
    topic: usize,
    /// For each connection, the time at which its life cycle began, and whether it has asked the server to close it.
    began: Vec<(u64, bool)>,
    pub(crate) under_way: usize,
    pub(crate) over: u64,
    pub(crate) samples: Samples,
}

impl LifeCycles {
    pub(crate) fn new(topic: usize) -> Self {
        Self { topic, began: Vec::new(), under_way: 0, over: 0, samples: Samples::default() }
    }

    pub(crate) fn begin(&mut self, clients: &mut Clients) -> Result<()> {
        let began = clients.now();
        let client = clients.open()?;
        if self.began.len() <= client {
            self.began.resize(client + 1, (0, false));
        }
        self.began[client] = (began, false);
        self.under_way += 1;
        Ok(())
    }

    pub(crate) fn handle_event(&mut self, clients: &mut Clients, client: usize, event: ClientEvent<'_>) -> Result<()> {
        let topic = self.topic + client % TOPICS;
        let (began, is_ending) =
            self.began.get_mut(client).context("an event on a connection that wasn't opened here")?;
        match event {
            ClientEvent::Ready => clients.send_message(client, ClientMessage::Join { topic, reference: JOIN }),
            ClientEvent::Answer { reference, is_ok } => {
                ensure!(is_ok, "the server refused a request");
                match reference {
                    JOIN => clients.send_message(client, ClientMessage::Echo { topic, reference: ECHO }),
                    ECHO => clients.send_message(client, ClientMessage::Leave { topic, reference: LEAVE }),
                    _ => {
                        *is_ending = true;
                        clients.close(client)
                    }
                }
            }
            ClientEvent::Closed if *is_ending => {
                self.under_way -= 1;
                self.over += 1;
                self.samples.add(clients.now().saturating_sub(*began));
                Ok(())
            }
            ClientEvent::Closed => bail!("the server closed a connection"),
            ClientEvent::Message { .. } => Ok(()),
        }
    }
}
