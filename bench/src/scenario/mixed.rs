//! Mixed: a realistic load. Most sockets are idle, some echo, some are in topics with shouts, some connect and close. All
//! of it is sent at a constant rate, with which the server isn't busy all the time. An operation is an answer, a delivery
//! or a life cycle.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;

use super::churn::Lives;
use super::{Outcome, Scenario, notes};
use crate::load::{Crowd, Driven, Load, News, Pace, Play, Say, Words, connect, drive, join};
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
    pub(crate) lives: u64,

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
    fn play(&self, target: &Target) -> Result<Outcome> {
        let members = self.topics * self.members;
        ensure!(members > 0 && self.echo > 0, "topics, members and echo must be at least 1");
        let mut load = Load::new(target.address, Words::new(target.dialect, "bench:", self.payload))?;
        let sockets = members + self.echo + self.idle;
        connect(&mut load, sockets)?;
        join(&mut load, (0..sockets).map(|who| (who, self.topic(who))))?;
        let mut day = Day::new(self, sockets);
        let taken = drive(&mut load, target.process, Duration::from_secs(self.seconds), &mut day)?;
        let mut all = Vec::new();
        let kinds = [
            ("echo", &mut day.echoes),
            ("delivery", &mut day.deliveries),
            ("heartbeat", &mut day.heartbeats),
            ("life", &mut day.lives.samples),
        ];
        kinds.into_iter().for_each(|(what, samples)| all.extend(notes(what, samples)));
        Ok(Outcome { taken, latency: day.echoes.latency(), notes: all })
    }
}

impl Mixed {
    /// The topic of a socket. The first numbers are members of topics with shouts, then sockets that echo, then idle
    /// sockets.
    fn topic(&self, who: usize) -> usize {
        let members = self.topics * self.members;
        if who < members { who % self.topics } else { self.topics + (who - members) / IDLE_TOGETHER }
    }

    /// The first topic that only sockets with life cycles join.
    fn free_topic(&self, sockets: usize) -> usize {
        self.topics + sockets / IDLE_TOGETHER + 1
    }
}

/// The state of the scenario.
struct Day<'a> {
    mixed: &'a Mixed,
    /// The number of sockets that stay connected.
    sockets: usize,
    paces: Paces,
    next: Next,
    lives: Lives,
    done: u64,
    echoes: Samples,
    deliveries: Samples,
    heartbeats: Samples,
}

struct Paces {
    echo: Pace,
    shout: Pace,
    beat: Pace,
    life: Pace,
}

#[derive(Default)]
struct Next {
    echo: usize,
    shout: usize,
    beat: usize,
}

impl<'a> Day<'a> {
    fn new(mixed: &'a Mixed, sockets: usize) -> Self {
        Self {
            mixed,
            sockets,
            paces: Paces {
                echo: Pace::new(mixed.echoes),
                shout: Pace::new(mixed.shouts),
                beat: Pace::new((sockets as u64).div_ceil(HEARTBEAT_SECONDS)),
                life: Pace::new(mixed.lives),
            },
            next: Next::default(),
            lives: Lives::new(mixed.free_topic(sockets)),
            done: 0,
            echoes: Samples::default(),
            deliveries: Samples::default(),
            heartbeats: Samples::default(),
        }
    }
}

/// The lowest bit of a reference. References are times, made even for an echo and odd for a heartbeat.
const BEAT: u64 = 1;

impl Play for Day<'_> {
    fn hear(&mut self, crowd: &mut Crowd, who: usize, news: News<'_>) -> Result<()> {
        if who >= self.sockets {
            return self.lives.hear(crowd, who, news);
        }
        match news {
            News::Answer { reference, is_ok } => {
                ensure!(is_ok, "the server refused a request");
                self.done += 1;
                let samples = if reference & BEAT == 0 { &mut self.echoes } else { &mut self.heartbeats };
                samples.add(crowd.now().saturating_sub(reference));
                Ok(())
            }
            News::Event { event: b"shout", payload } => {
                self.done += 1;
                crowd.age(payload).into_iter().for_each(|age| self.deliveries.add(age));
                Ok(())
            }
            News::Closed => bail!("the server closed a connection"),
            _ => Ok(()),
        }
    }
}

impl Driven for Day<'_> {
    fn act(&mut self, crowd: &mut Crowd) -> Result<()> {
        let Self { mixed, paces, next, .. } = self;
        let members = mixed.topics * mixed.members;
        while paces.echo.is_due(crowd.now()) {
            let who = members + next.echo;
            crowd.say(who, Say::Echo { topic: mixed.topic(who), reference: crowd.now() & !BEAT })?;
            next.echo = (next.echo + 1) % mixed.echo;
        }
        while paces.shout.is_due(crowd.now()) {
            let who = next.shout;
            crowd.say(who, Say::Shout { topic: mixed.topic(who), at: crowd.now() })?;
            next.shout = (next.shout + 1) % members;
        }
        while paces.beat.is_due(crowd.now()) {
            crowd.say(next.beat, Say::Beat { reference: crowd.now() | BEAT })?;
            next.beat = (next.beat + 1) % self.sockets;
        }
        while paces.life.is_due(crowd.now()) {
            self.lives.begin(crowd)?;
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
