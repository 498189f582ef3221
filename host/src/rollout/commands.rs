//! The commands of operators that change a plugin at all nodes.

use bennu_cluster::rollout::{
    ChangeResult, Offer, OfferResult, Records, RegistryError, RollbackResult, offer, roll_back, unload,
};

use super::driver::Rollouts;
use super::offers::WRITES_MAX;
use super::waiting::{AwaitedChange, PendingAnswer};
use crate::plugin::{Command, CommandAnswer, CommandError};

impl Rollouts {
    /// Carries a command out. The answer follows when this node has followed it.
    pub(super) async fn command(&mut self, plugin: &str, command: Command, answer: CommandAnswer) {
        let until = match self.change(plugin, command).await {
            // A file that was never rolled out, for example because it can't be read.
            Ok(Err(CommandError::Unknown)) if command == Command::Forget && self.is_known_here(plugin) => {
                self.plugins.forget(plugin).await;
                Ok(None)
            }
            Ok(until) => until,
            Err(error) => Err(CommandError::Refused(error.to_string())),
        };
        match until {
            Ok(Some(until)) => {
                self.waiting.push(PendingAnswer { plugin: plugin.to_owned(), until, answers: vec![answer] })
            }
            // The operator may have disconnected.
            Ok(None) => drop(answer.send(Ok(()))),
            Err(denied) => drop(answer.send(Err(denied))),
        }
    }

    fn is_known_here(&self, plugin: &str) -> bool {
        self.plugins.statuses().one(plugin).is_some()
    }

    /// Writes the change that a command wants. Returns what the operator has to wait for.
    async fn change(
        &mut self,
        plugin: &str,
        command: Command,
    ) -> Result<Result<Option<AwaitedChange>, CommandError>, RegistryError> {
        for _ in 0..WRITES_MAX {
            self.refresh().await?;
            let mut records = self.records.clone();
            let until = match self.changed(&mut records, plugin, command) {
                Ok(until) => until,
                Err(denied) => return Ok(Err(denied)),
            };
            match self.write(records).await? {
                ChangeResult::Done => return Ok(Ok(until)),
                ChangeResult::Outdated => {}
                ChangeResult::BuildMissing => {
                    return Ok(Err(CommandError::Refused("the database lacks the bytes of that build".to_owned())));
                }
            }
        }
        Ok(Err(CommandError::Refused("other nodes changed the records at each attempt".to_owned())))
    }

    fn reload(&self, records: &mut Records, plugin: &str) -> Result<AwaitedChange, CommandError> {
        let refused = |why: &str| CommandError::Refused(why.to_owned());
        let record = records.get(plugin).ok_or(CommandError::Unknown)?;
        let none = || refused("this node has no file of it, and no node serves it");
        let digest = record.serving.as_ref().ok_or_else(none)?.build.digest;
        let (plugin, store, by) = (plugin.to_owned(), record.store.clone(), self.name.clone());
        match offer(records, &Offer { plugin, digest, store, is_asked: true, by }) {
            OfferResult::Begun(number) | OfferResult::UnderWay(number) => Ok(AwaitedChange::Outcome(number)),
            OfferResult::Refused(why) => Err(CommandError::Refused(why)),
            // These are answers to files that nobody has asked for.
            OfferResult::Serves | OfferResult::Outdated | OfferResult::Rejected(_) | OfferResult::Unloaded => {
                Err(refused("it can't be rolled out"))
            }
        }
    }

    fn changed(
        &self,
        records: &mut Records,
        plugin: &str,
        command: Command,
    ) -> Result<Option<AwaitedChange>, CommandError> {
        if let Some(why) = self.why_unread(plugin) {
            return Err(CommandError::Refused(why));
        }
        let record = records.get_mut(plugin).ok_or(CommandError::Unknown)?;
        match command {
            Command::Rollback => {
                let before = record.probation().map(|open| open.against.topics.clone()).unwrap_or_default();
                if let Some(why) = self.why_taken(&before).or_else(|| self.why_maybe_taken(record, &before)) {
                    return Err(CommandError::Refused(why));
                }
                match roll_back(records, plugin, &self.name).map_err(CommandError::Refused)? {
                    RollbackResult::Done => Ok(Some(AwaitedChange::Followed)),
                    RollbackResult::Begun(number) => Ok(Some(AwaitedChange::Outcome(number))),
                }
            }
            Command::Unload => {
                unload(record);
                Ok(Some(AwaitedChange::Followed))
            }
            Command::Forget if record.serving.is_some() || record.rollout.is_some() => {
                let why = "the cluster serves it, or is about to; unload it first";
                Err(CommandError::Refused(why.to_owned()))
            }
            Command::Forget => {
                records.remove(plugin);
                Ok(None)
            }
            // With a file, it would be an offer. So the build that serves is loaded again, for example for another configuration.
            Command::Reload => self.reload(records, plugin).map(Some),
        }
    }
}
