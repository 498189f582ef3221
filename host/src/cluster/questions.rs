//! Questions to the other nodes that wait for their answers.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bennu_cluster::Epoch;
use tokio::sync::oneshot;

use super::messages::NodeAnswer;

/// The most questions that wait for answers. Past it, a question is asked of nobody.
pub(super) const QUESTIONS_MAX: usize = 1_024;

/// What the nodes that were asked have answered.
pub(super) type Given = Vec<(Epoch, NodeAnswer)>;

/// The answers to a question that has been asked of all other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// How many other nodes were alive.
    pub asked: usize,
    /// Who answered in time, and what.
    pub given: Given,
}

/// The questions of a node.
#[derive(Debug, Default)]
pub(super) struct Questions {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The number of the last question. Numbers of one start of a node are never used twice.
    last: u64,
    waiting: HashMap<u64, WaitingQuestion>,
}

/// A question that waits.
#[derive(Debug)]
struct WaitingQuestion {
    missing: HashSet<Epoch>,
    given: Given,
    /// Is told that no answer is missing any more.
    done: Option<oneshot::Sender<()>>,
}

/// A question that was asked. When it is dropped, answers to it are ignored.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    questions: &'a Questions,
    /// Its number.
    pub(super) number: u64,
    done: oneshot::Receiver<()>,
}

impl Questions {
    /// Enters a question to these nodes. Returns none if too many questions wait.
    #[must_use]
    pub(super) fn enter(&self, nodes: impl IntoIterator<Item = Epoch>) -> Option<Asked<'_>> {
        let mut inner = self.lock();
        if inner.waiting.len() >= QUESTIONS_MAX {
            return None;
        }
        inner.last += 1;
        let (number, (done, is_done)) = (inner.last, oneshot::channel());
        let mut waiting = WaitingQuestion { missing: nodes.into_iter().collect(), given: Vec::new(), done: Some(done) };
        waiting.tell_if_done();
        inner.waiting.insert(number, waiting);
        Some(Asked { questions: self, number, done: is_done })
    }

    /// Takes an answer. One that nobody waits for, or a second one of the same node, is ignored. Returns whether it was taken.
    pub(super) fn answer(&self, number: u64, from: Epoch, answer: NodeAnswer) -> bool {
        let mut inner = self.lock();
        let Some(waiting) = inner.waiting.get_mut(&number) else { return false };
        let is_missing = waiting.missing.remove(&from);
        if is_missing {
            waiting.given.push((from, answer));
            waiting.tell_if_done();
        }
        is_missing
    }

    /// Waits for no more answers of a node that is dead.
    pub(super) fn forget(&self, gone: Epoch) {
        for waiting in self.lock().waiting.values_mut() {
            waiting.missing.remove(&gone);
            waiting.tell_if_done();
        }
    }

    /// How many questions wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// No panic can leave the data half changed, so a poisoned lock is used like any other.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitingQuestion {
    fn tell_if_done(&mut self) {
        if self.missing.is_empty()
            && let Some(done) = self.done.take()
        {
            // Who asked may have stopped waiting.
            let _ = done.send(());
        }
    }
}

impl Asked<'_> {
    /// Waits until all have answered, but not longer than `most`. Returns what was answered by then.
    pub(super) async fn answers(mut self, most: Duration) -> Given {
        let _ = tokio::time::timeout(most, &mut self.done).await;
        let mut inner = self.questions.lock();
        inner.waiting.remove(&self.number).map(|waiting| waiting.given).unwrap_or_default()
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.questions.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(250);

    #[tokio::test(start_paused = true)]
    async fn a_question_ends_with_the_last_answer_or_in_time() {
        let questions = Questions::default();
        let asked = questions.enter([Epoch(2), Epoch(3)]).expect("room");
        let number = asked.number;
        assert!(questions.answer(number, Epoch(2), NodeAnswer::Count(1)));
        assert!(!questions.answer(number, Epoch(2), NodeAnswer::Count(5)), "the second one of a node");
        assert!(!questions.answer(number, Epoch(9), NodeAnswer::Count(5)), "it was not asked");
        let (start, given) = (tokio::time::Instant::now(), asked.answers(WAIT).await);
        assert_eq!(given, [(Epoch(2), NodeAnswer::Count(1))]);
        assert_eq!(start.elapsed(), WAIT);
        assert!(!questions.answer(number, Epoch(3), NodeAnswer::Count(1)), "it comes too late");
        let asked = questions.enter([Epoch(2), Epoch(3)]).expect("room");
        questions.answer(asked.number, Epoch(3), NodeAnswer::Busy);
        questions.forget(Epoch(2));
        let (start, given) = (tokio::time::Instant::now(), asked.answers(WAIT).await);
        assert_eq!((given, start.elapsed()), (vec![(Epoch(3), NodeAnswer::Busy)], Duration::ZERO));
        assert!(questions.enter([]).expect("room").answers(WAIT).await.is_empty());
        assert_eq!(questions.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bounded_number_of_questions_waits_and_one_that_is_given_up_makes_room() {
        let questions = Questions::default();
        let mut asked: Vec<_> = (0..QUESTIONS_MAX).filter_map(|_| questions.enter([Epoch(2)])).collect();
        assert_eq!(asked.len(), QUESTIONS_MAX);
        assert!(questions.enter([Epoch(2)]).is_none());
        asked.pop();
        assert!(questions.enter([Epoch(2)]).is_some());
    }
}
