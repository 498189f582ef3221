//! Echo: every socket sends a message and gets it back. An operation is an answer.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;

use super::{Outcome, Scenario};
use crate::load::{Crowd, Driven, Load, News, Pace, Play, Say, Words, connect, drive, join};
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
    fn play(&self, target: &Target) -> Result<Outcome> {
        let mut load = self.enter(target)?;
        let mut echoing = Echoing::new(self.sockets, self.rate);
        let taken = drive(&mut load, target.process, Duration::from_secs(self.seconds), &mut echoing)?;
        Ok(Outcome { taken, latency: echoing.samples.latency(), notes: Vec::new() })
    }
}

impl Echo {
    /// Connects and joins all sockets.
    pub(super) fn enter(&self, target: &Target) -> Result<Load> {
        let words = Words::new(target.dialect, "bench:", self.payload);
        let mut load = Load::new(target.address, Words { echo: self.event.clone(), ..words })?;
        connect(&mut load, self.sockets)?;
        join(&mut load, (0..self.sockets).map(|who| (who, 0)))?;
        Ok(load)
    }
}

/// The latency of one in this many answers is measured.
const SAMPLED: u64 = 4;

/// The state of the scenario. The reference of a message is the time at which it was sent, so nothing has to be stored for
/// it.
pub(super) struct Echoing {
    sockets: usize,
    /// `None` if each socket waits for its answer.
    pace: Option<Pace>,
    /// The socket that sends the next message, if there is a pace.
    next: usize,
    /// The time of the first message. Answers to messages that were sent earlier belong to another run.
    since: Option<u64>,
    answered: u64,
    pub(super) samples: Samples,
}

impl Echoing {
    pub(super) fn new(sockets: usize, rate: u64) -> Self {
        let pace = (rate > 0).then(|| Pace::new(rate));
        Self { sockets, pace, next: 0, since: None, answered: 0, samples: Samples::default() }
    }
}

impl Play for Echoing {
    fn hear(&mut self, crowd: &mut Crowd, who: usize, news: News<'_>) -> Result<()> {
        match news {
            News::Answer { reference, is_ok } if self.since.is_some_and(|since| reference >= since) => {
                ensure!(is_ok, "an echo was refused");
                self.answered += 1;
                let now = crowd.now();
                if self.answered.is_multiple_of(SAMPLED) {
                    self.samples.add(now.saturating_sub(reference));
                }
                match self.pace {
                    Some(_) => Ok(()),
                    None => crowd.say(who, Say::Echo { topic: 0, reference: now }),
                }
            }
            News::Closed => bail!("the server closed a connection"),
            _ => Ok(()),
        }
    }
}

impl Driven for Echoing {
    fn act(&mut self, crowd: &mut Crowd) -> Result<()> {
        let is_first = self.since.is_none();
        self.since.get_or_insert_with(|| crowd.now());
        match &mut self.pace {
            None if is_first => {
                (0..self.sockets).try_for_each(|who| crowd.say(who, Say::Echo { topic: 0, reference: crowd.now() }))
            }
            None => Ok(()),
            Some(pace) => {
                while pace.is_due(crowd.now()) {
                    crowd.say(self.next, Say::Echo { topic: 0, reference: crowd.now() })?;
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
