//! Tests of the clients and the floor together: messages arrive at all members, and are counted.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::MinimalServer;
use crate::load::{ClientEvent, ClientMessage, Clients, Dialect, Encoding, EventHandler, Load, connect, join};
use crate::scenario::churn::LifeCycles;

/// A test that takes longer fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a test waits for surplus messages.
const QUIET: Duration = Duration::from_millis(100);

/// Starts a floor, which runs until the test process ends, and returns its clients.
fn clients(payload: usize) -> Result<Load> {
    let mut server = MinimalServer::open(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = server.listener.local_addr()?;
    thread::spawn(move || server.run());
    Load::new(address, Encoding::new(Dialect::Phoenix, "bench:", payload))
}

/// Runs the load until `is_over`, and then for another [`QUIET`], in which surplus messages would arrive.
fn run<P: EventHandler>(load: &mut Load, handler: &mut P, is_over: impl Fn(&P) -> bool) -> Result<()> {
    let began = Instant::now();
    while !is_over(handler) {
        ensure!(began.elapsed() < PATIENCE, "the test takes too long");
        load.turn(QUIET, handler)?;
    }
    let quiet = Instant::now() + QUIET;
    while Instant::now() < quiet {
        load.turn(QUIET, handler)?;
    }
    Ok(())
}

/// The number of shouts that each connection received.
struct Counts(Vec<usize>);

impl EventHandler for Counts {
    fn handle_event(&mut self, clients: &mut Clients, client: usize, event: ClientEvent<'_>) -> Result<()> {
        if let ClientEvent::Message { event: b"shout", payload } = event {
            ensure!(clients.age(payload).is_some(), "the payload has no time");
            self.0[client] += 1;
        }
        Ok(())
    }
}

#[test]
fn all_members_of_a_topic_get_each_shout_once() -> Result<()> {
    // Three shouts with the largest payload are larger than the floor's read buffer.
    for payload in [0, 200, 30_000] {
        let mut load = clients(payload)?;
        connect(&mut load, 250)?;
        join(&mut load, (0..250).map(|client| (client, client % 2)))?;
        for _ in 0..3 {
            let at = load.clients.now();
            load.clients.put(ClientMessage::Shout { topic: 1, at });
        }
        load.clients.send(0)?;
        let mut received = Counts(vec![0; 250]);
        run(&mut load, &mut received, |received| received.0.iter().sum::<usize>() >= 3 * 125)?;
        let expected: Vec<_> = (0..250).map(|client| if client % 2 == 1 { 3 } else { 0 }).collect();
        ensure!(received.0 == expected, "with {payload} bytes: {:?}", received.0);
    }
    Ok(())
}

/// Life cycles of sockets, one after the other.
struct OneByOne(LifeCycles);

impl EventHandler for OneByOne {
    fn handle_event(&mut self, clients: &mut Clients, client: usize, event: ClientEvent<'_>) -> Result<()> {
        self.0.handle_event(clients, client, event)?;
        if self.0.under_way == 0 && self.0.over < 10 {
            self.0.begin(clients)?;
        }
        Ok(())
    }
}

#[test]
fn a_life_cycle_ends() -> Result<()> {
    let mut load = clients(64)?;
    let mut lives = OneByOne(LifeCycles::new(0));
    lives.0.begin(&mut load.clients)?;
    run(&mut load, &mut lives, |lives| lives.0.over == 10)?;
    ensure!(lives.0.over == 10 && lives.0.under_way == 0, "a life cycle didn't end");
    ensure!(lives.0.samples.latency().is_some(), "no latency was measured");
    Ok(())
}

/// Counts the events of a socket that doesn't read until the end.
#[derive(Default)]
struct Unread {
    received: usize,
    closed: usize,
}

impl EventHandler for Unread {
    fn handle_event(&mut self, _: &mut Clients, _: usize, event: ClientEvent<'_>) -> Result<()> {
        match event {
            ClientEvent::Closed => self.closed += 1,
            _ => self.received += 1,
        }
        Ok(())
    }
}

#[test]
fn a_client_that_never_reads_is_closed() -> Result<()> {
    /// More bytes than the floor and the kernel buffer together.
    const SHOUTS: usize = 1_000;
    let mut load = clients(30_000)?;
    connect(&mut load, 2)?;
    join(&mut load, [(0, 0)].into_iter())?;
    load.clients.pause_reading(0)?;
    let mut unread = Unread::default();
    for _ in 0..SHOUTS {
        let at = load.clients.now();
        load.clients.send_message(1, ClientMessage::Shout { topic: 0, at })?;
        load.turn(Duration::ZERO, &mut unread)?;
    }
    ensure!(unread.received == 0, "the socket has read something");
    load.clients.resume_reading(0)?;
    run(&mut load, &mut unread, |unread| unread.closed > 0)?;
    ensure!(
        unread.closed == 1 && unread.received > 0 && unread.received < SHOUTS,
        "{} read, {} closed",
        unread.received,
        unread.closed
    );
    Ok(())
}
