//! Calls that read entries of another version: the entries are upgraded, and the call runs again.
//!
//! An instance can't be entered while one of its calls waits for the host. So `upgrade-entry` can't run inside the call
//! that needs it. A second instance could: but if as many calls need one as there are instances, all of them would wait for
//! ever. So the call is ended, which is no fault. It has had no effect yet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call_kind::CallKind;
use super::guest::EntryAccess;
use super::http_phase::HttpPhase;
use super::wasm::WasmPlugin;
use crate::contract::{Call, Fault, HttpJournal, Outcome, TopicCall};
use crate::entries::{CallEntries, StaleEntries, StaleEntry};
use crate::protocol::Topic;

/// A call that runs again.
#[derive(Clone, Copy)]
pub(super) enum CallOf<'a> {
    Member(&'a Call),
    Topic(&'a TopicCall),
}

/// Upgrades run one after another for this time. Then the thread does other work first.
const YIELD_AFTER: Duration = Duration::from_millis(1);

impl WasmPlugin {
    /// Upgrades the entries that the call needs, and runs it again, until it needs no more. The caller limits the time of all
    /// runs together.
    pub(super) async fn call_again(
        &self,
        call: CallOf<'_>,
        http: Option<&Arc<HttpJournal>>,
        mut entries: Box<CallEntries>,
    ) -> Result<Outcome, Fault> {
        loop {
            self.upgrade_entries(call.topic(), &mut entries).await?;
            let (access, mut unfinished) = (EntryAccess::Used(entries), None);
            let mut borrowed = self.pool.take(call.kind()).await?;
            borrowed.instance.guest_mut().open_http(HttpPhase::of(http));
            let result = match call {
                CallOf::Member(call) => borrowed.call(call, access, Some(&mut unfinished)).await,
                CallOf::Topic(call) => {
                    let result = borrowed.instance.call_topic(call, access).await;
                    unfinished = borrowed.instance.guest_mut().take_unfinished();
                    borrowed.settle(result)
                }
            };
            match unfinished {
                None => return result,
                Some(more) => entries = more,
            }
        }
    }

    async fn upgrade_entries(&self, topic: &Topic, entries: &mut CallEntries) -> Result<(), Fault> {
        let StaleEntries { needed, ahead } = entries.take_stale().await?;
        let mut since = Instant::now();
        for stale in &needed {
            let value = self.upgrade_entry(topic, stale).await?;
            let value = value.map_err(|why| Fault::entry_refused(&stale.key, stale.version, &why))?;
            entries.upgrade(&stale.key, &value).await?;
            yield_after(&mut since).await;
        }
        for stale in &ahead {
            // After a fault the others may have one too, and each fault costs an instance.
            let Ok(upgraded) = self.upgrade_entry(topic, stale).await else { break };
            // A refused entry stays as it is, and so does one whose value isn't allowed.
            if let Ok(value) = upgraded
                && entries.upgrade(&stale.key, &value).await.is_err()
            {
                break;
            }
            yield_after(&mut since).await;
        }
        Ok(())
    }

    /// Calls `upgrade-entry`. The inner error is the plugin's reason for a refusal.
    async fn upgrade_entry(&self, topic: &Topic, stale: &StaleEntry) -> Result<Result<Vec<u8>, String>, Fault> {
        let mut borrowed = self.pool.take(CallKind::UpgradeEntry).await?;
        let result = borrowed.instance.upgrade_entry(topic, stale).await;
        borrowed.settle(result)
    }
}

impl CallOf<'_> {
    fn kind(self) -> CallKind {
        match self {
            Self::Member(call) => CallKind::of(&call.callback),
            Self::Topic(call) => CallKind::of_topic(&call.callback),
        }
    }

    fn topic(&self) -> &Topic {
        match self {
            Self::Member(call) => &call.member.topic,
            Self::Topic(call) => &call.topic,
        }
    }
}

async fn yield_after(since: &mut Instant) {
    if since.elapsed() >= YIELD_AFTER {
        tokio::task::yield_now().await;
        *since = Instant::now();
    }
}
