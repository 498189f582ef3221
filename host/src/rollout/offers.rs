//! The builds of files: which of them are rolled out.

use bennu_cluster::rollout::{ChangeResult, Offer, OfferResult, RegistryError, Rejection, offer};
use tokio::task::JoinError;

use super::convert::digest_of;
use super::driver::Rollouts;
use super::waiting::{AwaitedChange, PendingAnswer};
use crate::plugin::{CommandError, FileOffer};

/// The most tries to write the records when other nodes change them at the same time.
pub(super) const WRITES_MAX: usize = 16;

/// A build whose bytes were brought to the registry.
pub(super) struct Upload {
    offer: FileOffer,
    result: Result<(), RegistryError>,
}

impl Rollouts {
    /// Handles the build of a file. If it is to be rolled out, its bytes are brought to the registry first, in a task.
    pub(super) async fn hear_offer(&mut self, file: FileOffer) {
        if self.revision.is_none() {
            return self.stalled.push(file);
        }
        match self.consider(&file) {
            OfferResult::Begun(_) => self.begin_upload(file),
            result => self.conclude_offer(file, result).await,
        }
    }

    /// What the records say to the build of a file.
    fn consider(&self, file: &FileOffer) -> OfferResult {
        match self.offer_of(file) {
            Ok(offered) => offer(&mut self.records.clone(), &offered),
            Err(why) => OfferResult::Refused(why),
        }
    }

    fn offer_of(&self, file: &FileOffer) -> Result<Offer, String> {
        let FileOffer { plugin, digest, store, is_asked, .. } = file;
        if let Some(why) = self.why_unread(plugin) {
            return Err(why);
        }
        let store = store.clone()?;
        if let Some(why) = self.why_not_alone(plugin, &store) {
            return Err(why);
        }
        let (plugin, digest, by) = (plugin.clone(), digest_of(digest), self.name.clone());
        Ok(Offer { plugin, digest, store, is_asked: *is_asked, by })
    }

    fn begin_upload(&mut self, file: FileOffer) {
        let (registry, me) = (self.registry.clone(), self.me);
        self.uploads.spawn(async move {
            let result = registry.keep_build(me, digest_of(&file.digest), file.bytes.clone()).await;
            Upload { offer: file, result }
        });
    }

    /// Begins the rollout of a build whose bytes the registry has.
    pub(super) async fn take_upload(&mut self, done: Result<Upload, JoinError>) {
        let Upload { offer: file, result } = match done {
            Ok(upload) => upload,
            Err(error) => {
                return tracing::error!("a fault of the host: bringing a build to the database panicked: {error}");
            }
        };
        let begun = match result {
            Ok(()) => self.begin_rollout(&file).await,
            Err(error) => Err(error),
        };
        match begun {
            Ok(Some(result)) => self.conclude_offer(file, result).await,
            // Another node has removed the bytes, because no record needed them yet.
            Ok(None) => self.begin_upload(file),
            Err(error) => self.conclude_offer(file, OfferResult::Refused(error.to_string())).await,
        }
    }

    /// Writes that a rollout begins. Returns none if the registry doesn't have the bytes.
    async fn begin_rollout(&mut self, file: &FileOffer) -> Result<Option<OfferResult>, RegistryError> {
        for _ in 0..WRITES_MAX {
            self.refresh().await?;
            let mut records = self.records.clone();
            let offered = match self.offer_of(file) {
                Ok(offered) => offered,
                Err(why) => return Ok(Some(OfferResult::Refused(why))),
            };
            let result = offer(&mut records, &offered);
            if !matches!(result, OfferResult::Begun(_)) {
                return Ok(Some(result));
            }
            match self.write(records).await? {
                ChangeResult::Done => return Ok(Some(result)),
                ChangeResult::BuildMissing => return Ok(None),
                ChangeResult::Outdated => {}
            }
        }
        Ok(Some(OfferResult::Refused("other nodes changed the records at each attempt".to_owned())))
    }

    /// Answers those who wait for an offer, or lets them wait for the rollout.
    async fn conclude_offer(&mut self, file: FileOffer, result: OfferResult) {
        let plugin = file.plugin.clone();
        let why = match result {
            OfferResult::Begun(number) | OfferResult::UnderWay(number) => {
                tracing::info!(
                    plugin,
                    rollout = number,
                    "plugin_rollout: all nodes of the cluster prepare the file's build"
                );
                return self.waiting.push(PendingAnswer {
                    plugin,
                    until: AwaitedChange::Outcome(number),
                    answers: file.into_answers(),
                });
            }
            OfferResult::Serves => return file.answer(&Ok(())),
            OfferResult::Outdated => format!(
                "this build has served before, and the cluster serves another one, which wins; `bennu plugins reload {plugin}` rolls this \
                 one out"
            ),
            OfferResult::Rejected(Rejection { faults, .. }) => format!(
                "this build was rolled back automatically after {faults} faults; `bennu plugins reload {plugin}` rolls it out anyway"
            ),
            OfferResult::Unloaded => {
                format!(
                    "the plugin was unloaded in the whole cluster; `bennu plugins reload {plugin}` rolls the file's build out"
                )
            }
            OfferResult::Refused(why) => {
                self.note_refused(&plugin);
                why
            }
        };
        self.plugins.refuse(&plugin, &why).await;
        file.answer(&Err(CommandError::Refused(why)));
    }
}
