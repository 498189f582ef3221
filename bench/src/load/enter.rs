//! How everybody comes in: connected, and joined.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::{Crowd, Load, News, Play, Say};

/// How many come in at once: fewer than may wait at a listener by custom, which are 128. One that is too many would try again
/// after a second.
const AT_ONCE: usize = 100;

/// How long the loop waits for what comes.
const WAIT: Duration = Duration::from_millis(100);

/// After so long it has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Connects so many more. It ends once all of them may join.
pub(crate) fn connect(load: &mut Load, count: usize) -> Result<()> {
    let mut connecting = Connecting { left: count, ready: 0 };
    for _ in 0..count.min(AT_ONCE) {
        connecting.next(&mut load.crowd)?;
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
    fn next(&mut self, crowd: &mut Crowd) -> Result<()> {
        if self.left > 0 {
            self.left -= 1;
            crowd.open()?;
        }
        Ok(())
    }
}

impl Play for Connecting {
    fn hear(&mut self, crowd: &mut Crowd, _: usize, news: News<'_>) -> Result<()> {
        match news {
            News::Ready => {
                self.ready += 1;
                self.next(crowd)
            }
            News::Closed => bail!("the server closes connections that it accepted"),
            _ => Ok(()),
        }
    }
}

/// Lets connections join topics: a list of connections, each with a topic. It ends once all have.
pub(crate) fn join(load: &mut Load, joins: impl ExactSizeIterator<Item = (usize, usize)>) -> Result<()> {
    let count = joins.len();
    let mut joining = Joining { joins, joined: 0, sent: 0 };
    for _ in 0..count.min(AT_ONCE) {
        joining.next(&mut load.crowd)?;
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
    fn next(&mut self, crowd: &mut Crowd) -> Result<()> {
        let Some((who, topic)) = self.joins.next() else { return Ok(()) };
        self.sent += 1;
        crowd.say(who, Say::Join { topic, reference: self.sent })
    }
}

impl<I: Iterator<Item = (usize, usize)>> Play for Joining<I> {
    fn hear(&mut self, crowd: &mut Crowd, _: usize, news: News<'_>) -> Result<()> {
        match news {
            News::Answer { is_ok, .. } => {
                ensure!(is_ok, "a join was refused");
                self.joined += 1;
                self.next(crowd)
            }
            News::Closed => bail!("the server closes connections that join"),
            _ => Ok(()),
        }
    }
}
