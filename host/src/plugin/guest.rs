//! What the host keeps for one instance: whose call it runs, and what that call has used and asked for.

use std::sync::Arc;

use wasmtime::{ResourceLimiter, Result};

use super::engine::EPOCH;
use crate::contract::{CallLimits, Fault, FaultKind, Member, Record};
use crate::protocol::{Pattern, Topic};

/// Which topics a plugin may publish to, beyond those of its own routes.
pub type Grants = Arc<[Pattern]>;

/// Which plugin an instance is of.
#[derive(Debug)]
pub struct Origin {
    /// The plugin's name.
    pub name: Arc<str>,
    /// Its generation.
    pub generation: u32,
    /// Its configuration, a JSON object.
    pub configuration: Arc<str>,
    /// Where else it may publish.
    pub publish: Grants,
}

/// The data of an instance's store.
pub(super) struct Guest {
    pub(super) origin: Arc<Origin>,
    pub(super) limits: Arc<CallLimits>,
    pub(super) record: Record,
    /// Whose call runs; none in `describe` and `handle-out`.
    pub(super) member: Option<Arc<Member>>,
    /// The topic of the call, for the log.
    pub(super) topic: Option<Topic>,
    /// The topics that its own routes match.
    pub(super) own: Grants,
    pub(super) log_lines: usize,
    epochs_left: u64,
    memory_bytes: usize,
    table_elements: usize,
    memory_refused: bool,
}

/// The most elements in all tables of an instance.
const TABLE_ELEMENTS_MAX: usize = 1 << 20;

impl Guest {
    pub(super) fn new(origin: Arc<Origin>, own: Grants, limits: Arc<CallLimits>) -> Self {
        let record = Record::new((*limits).clone());
        Self {
            origin,
            limits,
            record,
            member: None,
            topic: None,
            own,
            log_lines: 0,
            epochs_left: 0,
            memory_bytes: 0,
            table_elements: 0,
            memory_refused: false,
        }
    }

    /// Makes ready for a call about `topic`, of `member` if it is a member's.
    pub(super) fn begin(&mut self, member: Option<Arc<Member>>, topic: Option<Topic>) {
        self.member = member;
        self.topic = topic;
        self.log_lines = 0;
        self.memory_refused = false;
        let epochs = self.limits.cpu.as_nanos().div_ceil(EPOCH.as_nanos());
        // One more, for the epoch that was under way when the call began.
        self.epochs_left = u64::try_from(epochs).unwrap_or(u64::MAX).saturating_add(1);
    }

    /// An epoch has passed while the guest ran.
    pub(super) fn spend_epoch(&mut self) -> Result<(), Fault> {
        self.epochs_left = self.epochs_left.saturating_sub(1);
        if self.epochs_left == 0 {
            let limit = self.limits.cpu.as_millis();
            return Err(Fault::new(FaultKind::Deadline, format!("the call ran for more than {limit} ms of CPU time")));
        }
        Ok(())
    }

    /// Bytes of linear memory in use.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Whether memory that it asked for was refused during this call.
    pub(super) fn memory_refused(&self) -> bool {
        self.memory_refused
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if total > self.limits.memory_bytes {
            // The guest may cope with it; if it doesn't, its trap is counted as this.
            self.memory_refused = true;
            return Ok(false);
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let total = self.table_elements.saturating_add(desired.saturating_sub(current));
        if total > TABLE_ELEMENTS_MAX {
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }
}
