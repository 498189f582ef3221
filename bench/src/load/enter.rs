//! Connects clients and joins topics before a scenario begins.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::{ClientEvent, ClientMessage, Clients, EventHandler, Load};

/// The number of clients that connect or join at once. It is below 128, the usual backlog of a listener. The kernel would
/// retry a surplus connection only after a second.
const AT_ONCE: usize = 100;

/// How long the loop waits for events.
const WAIT: Duration = Duration::from_millis(100);

/// Connecting or joining fails if it takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Opens `count` more connections. Returns when all of them can join topics.
pub(crate) fn connect(load: &mut Load, count: usize) -> Result<()> {
    let mut connecting = Connecting { left: count, ready: 0 };
    for _ in 0..count.min(AT_ONCE) {
        connecting.next(&mut load.clients)?;
    }
    let began = Instant::now();
    while connecting.ready < count {
        ensure!(began.elapsed() < PATIENCE, "only {} of {count} are connected", connecting.ready);
        load.turn(WAIT, &mut connecting)?;
    }
    Ok(())
}

struct Connecting {
    left: usize,
    ready: usize,
}

impl Connecting {
    fn next(&mut self, clients: &mut Clients) -> Result<()> {
        if self.left > 0 {
            self.left -= 1;
            clients.open()?;
        }
        Ok(())
    }
}

impl EventHandler for Connecting {
    fn handle_event(&mut self, clients: &mut Clients, _: usize, event: ClientEvent<'_>) -> Result<()> {
        match event {
            ClientEvent::Ready => {
                self.ready += 1;
                self.next(clients)
            }
            ClientEvent::Closed => bail!("the server closed a connection after accepting it"),
            _ => Ok(()),
        }
    }
}

/// Joins topics. `joins` gives the numbers of a connection and a topic for each join. Returns when all have joined.
pub(crate) fn join(load: &mut Load, joins: impl ExactSizeIterator<Item = (usize, usize)>) -> Result<()> {
    let count = joins.len();
    let mut joining = Joining { joins, joined: 0, sent: 0 };
    for _ in 0..count.min(AT_ONCE) {
        joining.next(&mut load.clients)?;
    }
    let began = Instant::now();
    while joining.joined < count {
        ensure!(began.elapsed() < PATIENCE, "only {} of {count} have joined", joining.joined);
        load.turn(WAIT, &mut joining)?;
    }
    Ok(())
}

struct Joining<I> {
    joins: I,
    joined: usize,
    sent: u64,
}

impl<I: Iterator<Item = (usize, usize)>> Joining<I> {
    fn next(&mut self, clients: &mut Clients) -> Result<()> {
        let Some((client, topic)) = self.joins.next() else { return Ok(()) };
        self.sent += 1;
        clients.send_message(client, ClientMessage::Join { topic, reference: self.sent })
    }
}

impl<I: Iterator<Item = (usize, usize)>> EventHandler for Joining<I> {
    fn handle_event(&mut self, clients: &mut Clients, _: usize, event: ClientEvent<'_>) -> Result<()> {
        match event {
            ClientEvent::Answer { is_ok, .. } => {
                ensure!(is_ok, "a join was refused");
                self.joined += 1;
                self.next(clients)
            }
            ClientEvent::Closed => bail!("the server closed a connection during a join"),
            _ => Ok(()),
        }
    }
}
