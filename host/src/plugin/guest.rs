//! What the host keeps for one instance: whose call it runs, and what that call has used and asked for.

use std::sync::Arc;

use wasmtime::{ResourceLimiter, Result};

use super::clock::EPOCH;
use crate::contract::{CallLimits, Fault, FaultKind, Member, Record, Request, Surroundings};
use crate::protocol::{Pattern, Topic};
use crate::store::{Draft, Owner, Store};

/// Topics, by patterns.
pub type Grants = Arc<[Pattern]>;

/// Which plugin an instance is of.
pub struct Origin {
    /// The plugin's name.
    pub name: Arc<str>,
    /// Its generation.
    pub generation: u32,
    /// Its configuration, a JSON object.
    pub configuration: Arc<str>,
    /// Where it may publish and send, and whom it may disconnect, beyond its own routes.
    pub publish: Grants,
    /// Which topics it may subscribe to and read about, beyond those of its own routes.
    pub read: Grants,
    /// Whose storage is its.
    pub owner: Owner,
}

/// What every instance of one generation of a plugin lives under.
pub(super) struct Terms {
    pub(super) origin: Arc<Origin>,
    /// The topics that its own routes match.
    pub(super) own: Grants,
    pub(super) limits: Arc<CallLimits>,
    pub(super) surroundings: Arc<dyn Surroundings>,
    pub(super) store: Store,
}

/// What a call may do with its plugin's storage.
#[derive(Default)]
pub(super) enum Storage {
    /// Nothing.
    #[default]
    Closed,
    /// Read, and write if that is said; with what it has done so far.
    Open { may_write: bool, draft: Option<Box<Draft>> },
}

/// Whom a call is about.
pub(super) enum Subject {
    /// `describe`, `handle-out` and `handle-message`.
    Nobody,
    Member(Arc<Member>),
    /// A gatekeeper's `connect`.
    Request(Arc<Request>),
}

/// The data of an instance's store.
pub(super) struct Guest {
    pub(super) terms: Arc<Terms>,
    pub(super) record: Record,
    pub(super) subject: Subject,
    pub(super) storage: Storage,
    /// The topic of the call, for the log.
    pub(super) topic: Option<Topic>,
    pub(super) log_lines: usize,
    /// Whether it has waited for the disk since its last epoch.
    pub(super) has_waited: bool,
    epochs_left: u64,
    memory_bytes: usize,
    table_elements: usize,
    memory_refused: bool,
}

/// The most elements in all tables of an instance.
const TABLE_ELEMENTS_MAX: usize = 1 << 20;

impl Guest {
    pub(super) fn new(terms: Arc<Terms>) -> Self {
        let record = Record::new((*terms.limits).clone());
        Self {
            terms,
            record,
            subject: Subject::Nobody,
            storage: Storage::Closed,
            topic: None,
            log_lines: 0,
            has_waited: false,
            epochs_left: 0,
            memory_bytes: 0,
            table_elements: 0,
            memory_refused: false,
        }
    }

    /// Makes ready for a call about `topic`.
    pub(super) fn begin(&mut self, subject: Subject, topic: Option<Topic>, storage: Storage) {
        self.subject = subject;
        self.storage = storage;
        self.topic = topic;
        self.log_lines = 0;
        self.has_waited = false;
        self.memory_refused = false;
        let epochs = self.terms.limits.cpu.as_nanos().div_ceil(EPOCH.as_nanos());
        // One more, for the epoch that was under way when the call began.
        self.epochs_left = u64::try_from(epochs).unwrap_or(u64::MAX).saturating_add(1);
    }

    /// What the call has done with its storage, if anything.
    pub(super) fn take_draft(&mut self) -> Option<Box<Draft>> {
        match std::mem::take(&mut self.storage) {
            Storage::Open { draft, .. } => draft,
            Storage::Closed => None,
        }
    }

    /// An epoch has passed while the guest ran, or while it waited for the disk. An epoch with a wait doesn't count, since the
    /// guest hasn't run for all of it. How long a call waits is bounded by its wall time.
    pub(super) fn spend_epoch(&mut self) -> Result<(), Fault> {
        if std::mem::take(&mut self.has_waited) {
            return Ok(());
        }
        self.epochs_left = self.epochs_left.saturating_sub(1);
        if self.epochs_left == 0 {
            let limit = self.terms.limits.cpu.as_millis();
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
        if total > self.terms.limits.memory_bytes {
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
