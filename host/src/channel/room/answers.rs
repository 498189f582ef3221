//! Topic messages that may be answered after their callback, and who waits for the answers.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytestring::ByteString;
use tokio::time::Instant;

use super::in_flight::InFlight;
use super::sender::{Delivered, Sender};
use crate::contract::{AnswerRef, Reply};
use crate::protocol::Topic;

/// How long a sender waits. A caller of the API stops earlier.
const WAIT_MAX: Duration = Duration::from_secs(60 * 60);

/// The number of waiting senders from which on those that wait no longer are looked for.
const SWEEP_FROM: usize = 64;

/// The senders that wait.
#[derive(Default)]
pub(in crate::channel) struct Answers {
    numbered: AtomicU64,
    /// Makes the seals. Its keys are random, so nobody can guess the seal of another message.
    seals: RandomState,
    waiting: Mutex<Waiters>,
}

#[derive(Default)]
struct Waiters {
    senders: HashMap<AnswerRef, Box<dyn Awaiting>>,
    /// The number of senders at which the next search begins. It doubles with their number, so a search costs little for each
    /// of them.
    sweep_at: usize,
}

impl Waiters {
    fn sweep(&mut self) {
        self.senders.retain(|_, sender| sender.is_waiting());
        self.sweep_at = 2 * self.senders.len();
    }
}

/// A sender that waits, with the message that it has sent.
trait Awaiting: Send {
    fn is_waiting(&self) -> bool;
    fn answer(self: Box<Self>, delivered: Delivered);
}

struct Awaited<S> {
    sender: S,
    topic: Topic,
    event: ByteString,
    until: Instant,
    /// The message counts for the plugin of its topic until it is answered.
    _in_flight: Option<InFlight>,
}

impl<S: Sender> Awaiting for Awaited<S> {
    fn is_waiting(&self) -> bool {
        self.sender.is_waiting() && Instant::now() < self.until
    }

    fn answer(self: Box<Self>, delivered: Delivered) {
        let Self { sender, topic, event, .. } = *self;
        sender.answer(&topic, event, delivered);
    }
}

impl Answers {
    /// The sender of a message waits from now on.
    pub(in crate::channel) fn begin<S: Sender>(
        &self,
        sender: S,
        topic: &Topic,
        event: &ByteString,
        in_flight: Option<InFlight>,
    ) -> AnswerRef {
        // Relaxed, because only the uniqueness of the number matters.
        let number = self.numbered.fetch_add(1, Ordering::Relaxed);
        let answer_ref = AnswerRef { number, seal: self.seals.hash_one(number) };
        let awaited = Awaited {
            sender,
            topic: topic.clone(),
            event: event.clone(),
            until: Instant::now() + WAIT_MAX,
            _in_flight: in_flight,
        };
        let mut waiting = self.waiting();
        if waiting.senders.len() >= waiting.sweep_at.max(SWEEP_FROM) {
            waiting.sweep();
        }
        waiting.senders.insert(answer_ref, Box::new(awaited));
        answer_ref
    }

    /// Forgets the senders that wait no longer.
    pub(in crate::channel::room) fn sweep(&self) {
        self.waiting().sweep();
    }

    /// Answers a message, if its sender still waits.
    pub(in crate::channel) fn end(&self, answer_ref: AnswerRef, delivered: Delivered) {
        // The lock is free before the sender gets the answer, because that may take other locks.
        let sender = self.waiting().senders.remove(&answer_ref);
        if let Some(sender) = sender {
            sender.answer(delivered);
        }
    }

    /// The same, for a name that a plugin gives.
    pub(in crate::channel) fn answer(&self, answer_ref: &str, reply: Reply) {
        if let Ok(answer_ref) = answer_ref.parse() {
            self.end(answer_ref, Ok(Some(reply)));
        }
    }

    // No change can panic half-way, so a poisoned lock is used like any other.
    fn waiting(&self) -> MutexGuard<'_, Waiters> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
