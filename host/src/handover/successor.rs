//! The side of the process that replaces the running host, as a pure state machine.

use std::time::{Duration, Instant};

/// How long the running host may take to answer. It ends its turns and sends its state meanwhile.
const ANSWER: Duration = Duration::from_secs(180);

/// What the successor learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It may prepare.
    Welcome,
    /// There is no hand-over, for this reason.
    Refused(String),
    /// It has compiled the plugins.
    Prepared,
    /// The state was received completely.
    Received,
    /// The state was adopted, and the host is about to serve.
    Adopted,
    /// A step of its own has failed.
    Failed(String),
    /// The running host serves on, for this reason.
    Aborted(String),
    /// The running host's connection has ended.
    Gone,
    /// Time has passed.
    Tick,
}

/// What the successor has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Compile the plugins.
    Prepare,
    /// Say that it is prepared.
    SayPrepared,
    /// Open the store, and adopt the state.
    Adopt,
    /// Start from the store alone, as after a crash of the running host.
    StartAlone,
    /// Say that it serves, and serve.
    Serve,
    /// Say that it ends for this reason, and end.
    GiveUp(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    Preparing,
    Waiting,
    Adopting,
    Over,
}

/// A hand-over, as the successor sees it. It begins when it has greeted the running host.
#[derive(Clone, Debug)]
pub struct Successor {
    phase: Phase,
    until: Option<Instant>,
}

impl Successor {
    /// A hand-over that begins now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { phase: Phase::Greeting, until: Some(now + ANSWER) }
    }

    /// When [`Event::Tick`] is due, if it is.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.until
    }

    /// Handles an event. Returns what to do.
    #[must_use]
    pub fn on(&mut self, told: Event, now: Instant) -> Option<Action> {
        match (self.phase, told) {
            (Phase::Over, _) => None,
            (_, Event::Refused(why) | Event::Aborted(why) | Event::Failed(why)) => self.end(Action::GiveUp(why)),
            (Phase::Greeting, Event::Welcome) => self.enter(Phase::Preparing, None, Action::Prepare),
            (Phase::Preparing, Event::Prepared) => self.enter(Phase::Waiting, Some(now + ANSWER), Action::SayPrepared),
            // From here on, the state is here, and nobody else has it if the running host dies.
            (Phase::Waiting, Event::Received) => self.enter(Phase::Adopting, None, Action::Adopt),
            (Phase::Adopting, Event::Adopted) => self.end(Action::Serve),
            (Phase::Adopting, Event::Gone) => None,
            (_, Event::Gone) => self.end(Action::StartAlone),
            (_, Event::Tick) if self.until.is_none_or(|until| now < until) => None,
            (_, Event::Tick) => self.end(Action::GiveUp(format!("the running host didn't answer in {ANSWER:?}"))),
            (_, Event::Welcome | Event::Prepared | Event::Received | Event::Adopted) => {
                self.end(Action::GiveUp("the running host broke the protocol".to_owned()))
            }
        }
    }

    fn enter(&mut self, phase: Phase, until: Option<Instant>, step: Action) -> Option<Action> {
        (self.phase, self.until) = (phase, until);
        Some(step)
    }

    fn end(&mut self, step: Action) -> Option<Action> {
        (self.phase, self.until) = (Phase::Over, None);
        Some(step)
    }
}
