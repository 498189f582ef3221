//! Tests of the clients and the floor together: messages arrive at all members, and are counted.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::House;
use crate::load::{Crowd, Dialect, Load, News, Play, Say, Words, connect, join};
use crate::scenario::churn::Lives;

/// A test that takes longer fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a test waits for surplus messages.
const QUIET: Duration = Duration::from_millis(100);

/// Starts a floor, which runs until the test process ends, and returns its clients.
fn clients(payload: usize) -> Result<Load> {
    let mut house = House::open(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = house.listener.local_addr()?;
    thread::spawn(move || house.run());
    Load::new(address, Words::new(Dialect::Phoenix, "bench:", payload))
}

/// Plays until `is_over`, and then for another [`QUIET`], in which surplus messages would arrive.
fn play<P: Play>(load: &mut Load, play: &mut P, is_over: impl Fn(&P) -> bool) -> Result<()> {
    let began = Instant::now();
    while !is_over(play) {
        ensure!(began.elapsed() < PATIENCE, "the test takes too long");
        load.turn(QUIET, play)?;
    }
    let quiet = Instant::now() + QUIET;
    while Instant::now() < quiet {
        load.turn(QUIET, play)?;
    }
    Ok(())
}

/// The number of shouts that each connection received.
struct Heard(Vec<usize>);

impl Play for Heard {
    fn hear(&mut self, crowd: &mut Crowd, who: usize, news: News<'_>) -> Result<()> {
        if let News::Event { event: b"shout", payload } = news {
            ensure!(crowd.age(payload).is_some(), "the payload has no time");
            self.0[who] += 1;
        }
        Ok(())
    }
}

#[test]
fn all_of_a_topic_hear_each_shout_once() -> Result<()> {
    // Three shouts with the largest payload are larger than the floor's read buffer.
    for payload in [0, 200, 30_000] {
        let mut load = clients(payload)?;
        connect(&mut load, 250)?;
        join(&mut load, (0..250).map(|who| (who, who % 2)))?;
        for _ in 0..3 {
            let at = load.crowd.now();
            load.crowd.put(Say::Shout { topic: 1, at });
        }
        load.crowd.send(0)?;
        let mut heard = Heard(vec![0; 250]);
        play(&mut load, &mut heard, |heard| heard.0.iter().sum::<usize>() >= 3 * 125)?;
        let expected: Vec<_> = (0..250).map(|who| if who % 2 == 1 { 3 } else { 0 }).collect();
        ensure!(heard.0 == expected, "with {payload} bytes: {:?}", heard.0);
    }
    Ok(())
}

/// Life cycles of sockets, one after the other.
struct OneByOne(Lives);

impl Play for OneByOne {
    fn hear(&mut self, crowd: &mut Crowd, who: usize, news: News<'_>) -> Result<()> {
        self.0.hear(crowd, who, news)?;
        if self.0.under_way == 0 && self.0.over < 10 {
            self.0.begin(crowd)?;
        }
        Ok(())
    }
}

#[test]
fn a_life_has_an_end() -> Result<()> {
    let mut load = clients(64)?;
    let mut lives = OneByOne(Lives::new(0));
    lives.0.begin(&mut load.crowd)?;
    play(&mut load, &mut lives, |lives| lives.0.over == 10)?;
    ensure!(lives.0.over == 10 && lives.0.under_way == 0, "a life cycle didn't end");
    ensure!(lives.0.samples.latency().is_some(), "no latency was measured");
    Ok(())
}

/// Counts the events of a socket that doesn't read until the end.
#[derive(Default)]
struct Deaf {
    heard: usize,
    closed: usize,
}

impl Play for Deaf {
    fn hear(&mut self, _: &mut Crowd, _: usize, news: News<'_>) -> Result<()> {
        match news {
            News::Closed => self.closed += 1,
            _ => self.heard += 1,
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
    load.crowd.deafen(0)?;
    let mut deaf = Deaf::default();
    for _ in 0..SHOUTS {
        let at = load.crowd.now();
        load.crowd.say(1, Say::Shout { topic: 0, at })?;
        load.turn(Duration::ZERO, &mut deaf)?;
    }
    ensure!(deaf.heard == 0, "the socket has read something");
    load.crowd.listen(0)?;
    play(&mut load, &mut deaf, |deaf| deaf.closed > 0)?;
    ensure!(deaf.closed == 1 && deaf.heard > 0 && deaf.heard < SHOUTS, "{} read, {} closed", deaf.heard, deaf.closed);
    Ok(())
}
