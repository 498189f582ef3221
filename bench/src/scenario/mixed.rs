//! Mixed: a realistic load. Most sockets are idle, some echo, some are in topics with shouts, some connect and close. All
//! of it is sent at a constant rate, with which the server isn't busy all the time. An operation is an answer, a delivery
//! or a life cycle.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;

use super::churn::LifeCycles;
use super::{Outcome, Scenario, notes};
use crate::load::{
    ClientEvent, ClientMessage, Clients, Encoding, EventHandler, Generator, Load, Rate, connect, drive, join,
};
use crate::statistics::Samples;
use crate::target::Target;

/// The parameters.
#[derive(Args, Clone)]
pub(crate) struct Mixed {
    /// Sockets that only send heartbeats
    #[arg(long, default_value_t = 1_500)]
    pub(crate) idle: usize,

    /// Sockets that echo
    #[arg(long, default_value_t = 100)]
    pub(crate) echo: usize,

    /// Echoes a second, of all sockets together
    #[arg(long, default_value_t = 1_000)]
    pub(crate) echoes: u64,

    /// Topics with shouts
    #[arg(long, default_value_t = 20)]
    pub(crate) topics: usize,

    /// Members of each of these topics
    #[arg(long, default_value_t = 20)]
    pub(crate) members: usize,

    /// Shouts a second, in all these topics together
    #[arg(long, default_value_t = 500)]
    pub(crate) shouts: u64,

    /// Sockets a second that connect, join, send one message, leave and close
    #[arg(long, default_value_t = 50)]
    pub(crate) life_cycles: u64,

    /// Bytes of filling in a payload
    #[arg(long, default_value_t = 64)]
    pub(crate) payload: usize,

    /// Measured seconds
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,
}

/// The interval of each socket's heartbeats. It is the default of phoenix.js.
const HEARTBEAT_SECONDS: u64 = 30;

/// The number of sockets that share a topic without shouts.
const IDLE_TOGETHER: usize = 50;

impl Scenario for Mixed {
    fn measure(&self, target: &Target) -> Result<Outcome> {
        let members = self.topics * self.members;
        ensure!(members > 0 && self.echo > 0, "topics, members and echo must be at least 1");
        let mut load = Load::new(target.address, Encoding::new(target.dialect, "bench:", self.payload))?;
        let sockets = members + self.echo + self.idle;
        connect(&mut load, sockets)?;
        join(&mut load, (0..sockets).map(|client| (client, self.topic(client))))?;
        let mut state = MixedLoad::new(self, sockets);
        let taken = drive(&mut load, target.process, Duration::from_secs(self.seconds), &mut state)?;
        let mut all = Vec::new();
        let kinds = [
            ("echo", &mut state.echoes),
            ("delivery", &mut state.deliveries),
            ("heartbeat", &mut state.heartbeats),
            ("life", &mut state.lives.samples),
        ];
        kinds.into_iter().for_each(|(what, samples)| all.extend(notes(what, samples)));
        Ok(Outcome { taken, latency: state.echoes.latency(), notes: all })
    }
}

impl Mixed {
    /// The topic of a socket. The first numbers are members of topics with shouts, then sockets that echo, then idle
    /// sockets.
    fn topic(&self, client: usize) -> usize {
        let members = self.topics * self.members;
        if client < members { client % self.topics } else { self.topics + (client - members) / IDLE_TOGETHER }
    }

    /// The first topic that only sockets with life cycles join.
    fn free_topic(&self, sockets: usize) -> usize {
        self.topics + sockets / IDLE_TOGETHER + 1
    }
}

/// The state of the scenario.
struct MixedLoad<'a> {
    mixed: &'a Mixed,
    /// The number of sockets that stay connected.
    sockets: usize,
    rates: Rates,
    next: Next,
    lives: LifeCycles,
    done: u64,
    echoes: Samples,
    deliveries: Samples,
    heartbeats: Samples,
}

struct Rates {
    echo: Rate,
    shout: Rate,
    heartbeat: Rate,
    life: Rate,
}

#[derive(Default)]
struct Next {
    echo: usize,
    shout: usize,
    heartbeat: usize,
}

impl<'a> MixedLoad<'a> {
    fn new(mixed: &'a Mixed, sockets: usize) -> Self {
        Self {
            mixed,
            sockets,
            rates: Rates {
                echo: Rate::new(mixed.echoes),
                shout: Rate::new(mixed.shouts),
                heartbeat: Rate::new((sockets as u64).div_ceil(HEARTBEAT_SECONDS)),
                life: Rate::new(mixed.life_cycles),
            },
            next: Next::default(),
            lives: LifeCycles::new(mixed.free_topic(sockets)),
            done: 0,
            echoes: Samples::default(),
            deliveries: Samples::default(),
            heartbeats: Samples::default(),
        }
    }
}

/// The lowest bit of a reference. References are times, made even for an echo and odd for a heartbeat.
const HEARTBEAT: u64 = 1;

impl EventHandler for MixedLoad<'_> {
    fn handle_event(&mut self, clients: &mut Clients, client: usize, event: ClientEvent<'_>) -> Result<()> {
        if client >= self.sockets {
            return self.lives.handle_event(clients, client, event);
        }
        match event {
            ClientEvent::Answer { reference, is_ok } => {
                ensure!(is_ok, "the server refused a request");
                self.done += 1;
                let samples = if reference & HEARTBEAT == 0 { &mut self.echoes } else { &mut self.heartbeats };
                samples.add(clients.now().saturating_sub(reference));
                Ok(())
            }
            ClientEvent::Message { event: b"shout", payload } => {
                self.done += 1;
                clients.age(payload).into_iter().for_each(|age| self.deliveries.add(age));
                Ok(())
            }
            ClientEvent::Closed => bail!("the server closed a connection"),
            _ => Ok(()),
        }
    }
}

impl Generator for MixedLoad<'_> {
    fn send_due(&mut self, clients: &mut Clients) -> Result<()> {
        let Self { mixed, rates, next, .. } = self;
        let members = mixed.topics * mixed.members;
        while rates.echo.is_due(clients.now()) {
            let client = members + next.echo;
            clients.send_message(
                client,
                ClientMessage::Echo { topic: mixed.topic(client), reference: clients.now() & !HEARTBEAT },
            )?;
            next.echo = (next.echo + 1) % mixed.echo;
        }
        while rates.shout.is_due(clients.now()) {
            let client = next.shout;
            clients.send_message(client, ClientMessage::Shout { topic: mixed.topic(client), at: clients.now() })?;
            next.shout = (next.shout + 1) % members;
        }
        while rates.heartbeat.is_due(clients.now()) {
            clients.send_message(next.heartbeat, ClientMessage::Heartbeat { reference: clients.now() | HEARTBEAT })?;
            next.heartbeat = (next.heartbeat + 1) % self.sockets;
        }
        while rates.life.is_due(clients.now()) {
            self.lives.begin(clients)?;
        }
        Ok(())
    }

    fn operations(&self) -> u64 {
        self.done + self.lives.over
    }

    fn begin(&mut self) {
        for samples in [&mut self.echoes, &mut self.deliveries, &mut self.heartbeats, &mut self.lives.samples] {
            samples.clear();
        }
    }
}
