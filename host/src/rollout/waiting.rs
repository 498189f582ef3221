//! Operators, and the start of the host, that wait for a change of a plugin.

use bennu_cluster::rollout::OutcomeResult;

use super::driver::Rollouts;
use crate::plugin::{CommandAnswer, CommandError};

/// Somebody who waits.
pub(super) struct PendingAnswer {
    pub(super) plugin: String,
    pub(super) until: AwaitedChange,
    /// Where the answers go. None for the start of the host.
    pub(super) answers: Vec<CommandAnswer>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AwaitedChange {
    /// The end of the rollout with this number, and then the same as `Followed`.
    Outcome(u32),
    /// This node serves what the record says.
    Followed,
}

impl Rollouts {
    /// Answers those who need not wait any longer.
    pub(super) async fn answer_waiting(&mut self) {
        let (ended, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|waiting| (self.result_of(&waiting), waiting))
            .partition(|(result, _)| result.is_some());
        self.waiting = waiting.into_iter().map(|(_, waiting)| waiting).collect();
        for (result, PendingAnswer { plugin, answers, .. }) in ended {
            let Some(result) = result else { continue };
            if let Err(CommandError::Refused(why)) = &result {
                self.note_refused(&plugin);
                self.plugins.refuse(&plugin, why).await;
            }
            for answer in answers {
                // The operator may have disconnected.
                let _ = answer.send(result.clone());
            }
        }
    }

    fn result_of(&self, waiting: &PendingAnswer) -> Option<Result<(), CommandError>> {
        let refused = |why: &str| Some(Err(CommandError::Refused(why.to_owned())));
        let Some(record) = self.records.get(&waiting.plugin) else {
            let why = self.why_unread(&waiting.plugin);
            return refused(why.as_deref().unwrap_or("the plugin was forgotten meanwhile"));
        };
        if let AwaitedChange::Outcome(number) = waiting.until {
            let is_prepared = record.rollout.as_ref().is_some_and(|rollout| rollout.number == number);
            match record.outcome(number) {
                Some(OutcomeResult::Refused(why)) => return refused(why),
                Some(OutcomeResult::Replaced) => return refused("another build or command came meanwhile"),
                None if is_prepared => return None,
                // Many rollouts have ended since, or the records weren't read since it was written.
                None if record.last <= number => return None,
                None | Some(OutcomeResult::Switched) => {}
            }
        }
        self.is_served(&waiting.plugin, record).then_some(Ok(()))
    }
}
