//! The side of the running host, as a pure state machine.

use std::time::{Duration, Instant};

/// How long the steps may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The successor compiles the plugins.
    pub prepare: Duration,
    /// The turns that have begun end.
    pub turns: Duration,
    /// The state is put down and sent.
    pub send: Duration,
    /// The successor opens the store and adopts the state.
    pub adopt: Duration,
    /// A successor that was told to end does so. After that, it is killed.
    pub abort: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            prepare: Duration::from_secs(600),
            turns: Duration::from_secs(10),
            send: Duration::from_secs(60),
            adopt: Duration::from_secs(60),
            abort: Duration::from_secs(5),
        }
    }
}

/// What the running host learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The successor is prepared.
    Prepared,
    /// All turns are over, and none begins.
    TurnsOver,
    /// The state is sent, and the store's files are given up.
    Sent,
    /// A step of the host itself has failed.
    Failed(String),
    /// The successor serves.
    Serving,
    /// The successor ends, for this reason.
    GivesUp(String),
    /// The successor's connection has ended.
    Gone,
    /// The host is told to stop.
    Stop,
    /// Time has passed.
    Tick,
}

/// What the running host has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Accept no connections and messages, and end the turns.
    EndTurns,
    /// Store the rooms, give up the store, and send the state.
    Send,
    /// Tell the successor that it has to end.
    Abort(String),
    /// Kill the successor.
    Kill,
    /// Serve on: take the store back if it was given up, and let turns begin. The reason is for the log.
    Resume(String),
    /// The same, but the turns were never ended.
    GoOn(String),
    /// Close all connections, and end.
    GiveWay,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The successor compiles. The host serves.
    Preparing,
    /// The host ends its turns.
    EndingTurns,
    /// The host sends its state. The store may be given up.
    Sending,
    /// The successor adopts the state.
    Adopting,
    /// The successor has to end, for this reason. It may have the store. Whether it was killed.
    Aborting(String, bool),
    /// The hand-over is over.
    Over,
}

/// A hand-over, as the running host sees it. It begins when the successor was welcomed.
#[derive(Clone, Debug)]
pub struct Predecessor {
    phase: Phase,
    until: Instant,
    times: Times,
}

impl Predecessor {
    /// A hand-over that begins now.
    #[must_use]
    pub fn new(times: Times, now: Instant) -> Self {
        Self { phase: Phase::Preparing, until: now + times.prepare, times }
    }

    /// When [`Event::Tick`] is due; none if the hand-over is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (self.phase != Phase::Over).then_some(self.until)
    }

    /// Handles an event. Returns what to do, in this order.
    #[must_use]
    pub fn on(&mut self, told: Event, now: Instant) -> Vec<Action> {
        match (self.phase.clone(), told) {
            (Phase::Over, _) => Vec::new(),
            // Whoever serves has the store. Nothing that the host has begun to do against it counts any more, unless the
            // successor was killed.
            (Phase::Sending | Phase::Adopting | Phase::Aborting(_, false), Event::Serving) => {
                self.phase = Phase::Over;
                vec![Action::GiveWay]
            }
            (Phase::Preparing, Event::Prepared) => {
                self.enter(Phase::EndingTurns, self.times.turns, now, Action::EndTurns)
            }
            (Phase::EndingTurns, Event::TurnsOver) => self.enter(Phase::Sending, self.times.send, now, Action::Send),
            (Phase::Sending, Event::Sent) => {
                (self.phase, self.until) = (Phase::Adopting, now + self.times.adopt);
                Vec::new()
            }
            (Phase::Aborting(why, _), Event::Gone) => self.end(Action::Resume(why)),
            (Phase::Aborting(why, false), Event::Tick) if now >= self.until => {
                self.enter(Phase::Aborting(why, true), self.times.abort, now, Action::Kill)
            }
            // It was killed. What remains is the end of its connection.
            (Phase::Aborting(why, true), Event::Tick) if now >= self.until => self.end(Action::Resume(why)),
            (Phase::Aborting(..), _) => Vec::new(),
            (_, Event::Tick) if now < self.until => Vec::new(),
            (_, Event::Tick) => {
                self.abort(&format!("{} took longer than {:?}", self.what(), self.allowed()), now, true)
            }
            (_, Event::Gone) => self.back("the successor has ended"),
            (_, Event::GivesUp(why)) => self.abort(&why, now, false),
            (_, Event::Failed(why)) => self.abort(&why, now, true),
            (_, Event::Stop) => self.abort("the host is told to stop", now, true),
            (_, Event::Prepared | Event::TurnsOver | Event::Sent | Event::Serving) => {
                self.abort("the successor broke the protocol", now, true)
            }
        }
    }

    fn enter(&mut self, phase: Phase, time: Duration, now: Instant, step: Action) -> Vec<Action> {
        (self.phase, self.until) = (phase, now + time);
        vec![step]
    }

    fn end(&mut self, step: Action) -> Vec<Action> {
        self.phase = Phase::Over;
        vec![step]
    }

    /// Nobody else can have the store.
    fn back(&mut self, why: &str) -> Vec<Action> {
        let had_turns = self.phase == Phase::Preparing;
        self.end(if had_turns { Action::GoOn(why.to_owned()) } else { Action::Resume(why.to_owned()) })
    }

    /// The successor has to end. If it may have the store, the host waits for that.
    fn abort(&mut self, why: &str, now: Instant, is_told: bool) -> Vec<Action> {
        let told = is_told.then(|| Action::Abort(why.to_owned()));
        if matches!(self.phase, Phase::Preparing | Phase::EndingTurns) {
            return told.into_iter().chain(self.back(why)).collect();
        }
        (self.phase, self.until) = (Phase::Aborting(why.to_owned(), false), now + self.times.abort);
        told.into_iter().collect()
    }

    fn what(&self) -> &'static str {
        match self.phase {
            Phase::Preparing => "compiling the plugins",
            Phase::EndingTurns => "ending the turns that run",
            Phase::Sending => "sending the state",
            Phase::Adopting | Phase::Aborting(..) | Phase::Over => "adopting the state",
        }
    }

    fn allowed(&self) -> Duration {
        match self.phase {
            Phase::Preparing => self.times.prepare,
            Phase::EndingTurns => self.times.turns,
            Phase::Sending => self.times.send,
            Phase::Adopting | Phase::Aborting(..) | Phase::Over => self.times.adopt,
        }
    }
}
