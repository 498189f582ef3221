//! What the host keeps for one instance: whose call it runs, and what that call has used and asked for.

use std::sync::Arc;

use wasmtime::{ResourceLimiter, Result};

use super::bindings::bennu::channel::host::Level;
use super::epoch::EPOCH;
use crate::contract::{CallLimits, Fault, FaultKind, Member, Record, Request, Surroundings, limit_key};
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
pub(super) struct GuestContext {
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
    pub(super) context: Arc<GuestContext>,
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
    /// What the guest has said of its panic. It is held back, as a trap may follow, whose fault it explains.
    panic: Option<String>,
}

/// How a call has ended that failed.
#[derive(Default)]
pub(super) struct CallDiagnostics {
    /// The most memory that the instance may have, where it was refused more during the call.
    pub(super) memory_refused: Option<usize>,
    /// What the guest has said of its panic.
    pub(super) panic: Option<String>,
}

/// How the Rust SDK begins the line that it logs of a panic.
const PANIC: &str = "panicked";

/// The most elements in all tables of an instance.
const TABLE_ELEMENTS_MAX: usize = 1 << 20;

impl Guest {
    pub(super) fn new(context: Arc<GuestContext>) -> Self {
        let record = Record::new((*context.limits).clone());
        Self {
            context,
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
            panic: None,
        }
    }

    /// A line for the log, from the guest. What it says of a panic waits for the end of the call.
    pub(super) fn log_line(&mut self, level: Level, line: String) {
        self.log_panic();
        if level == Level::Error && line.starts_with(PANIC) {
            self.panic = Some(line);
        } else {
            self.write_log(level, &line);
        }
    }

    /// Logs what was held back: the guest has gone on all the same.
    pub(super) fn log_panic(&mut self) {
        if let Some(panic) = self.panic.take() {
            self.write_log(Level::Error, &panic);
        }
    }

    fn write_log(&self, level: Level, line: &str) {
        let (plugin, generation) = (&*self.context.origin.name, self.context.origin.generation);
        let topic = self.topic.as_ref().map_or("", |topic| topic.as_str());
        match level {
            Level::Trace => tracing::trace!(target: "guest", plugin, generation, topic, "{line}"),
            Level::Debug => tracing::debug!(target: "guest", plugin, generation, topic, "{line}"),
            Level::Info => tracing::info!(target: "guest", plugin, generation, topic, "{line}"),
            Level::Warn => tracing::warn!(target: "guest", plugin, generation, topic, "{line}"),
            Level::Error => tracing::error!(target: "guest", plugin, generation, topic, "{line}"),
        }
    }

    /// What is known of a call that failed, for its fault.
    pub(super) fn take_diagnostics(&mut self) -> CallDiagnostics {
        let most = self.context.limits.memory_bytes;
        CallDiagnostics { memory_refused: self.memory_refused.then_some(most), panic: self.panic.take() }
    }

    /// Makes ready for a call about `topic`.
    pub(super) fn begin(&mut self, subject: Subject, topic: Option<Topic>, storage: Storage) {
        self.subject = subject;
        self.storage = storage;
        self.topic = topic;
        self.log_lines = 0;
        self.has_waited = false;
        self.memory_refused = false;
        let epochs = self.context.limits.cpu.as_nanos().div_ceil(EPOCH.as_nanos());
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
            let limit = self.context.limits.cpu.as_millis();
            let key = limit_key("call_cpu_ms", limit);
            let detail = format!("the call ran for more than {limit} ms of CPU time{key}");
            return Err(Fault::new(FaultKind::Deadline, detail));
        }
        Ok(())
    }

    /// Bytes of linear memory in use.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}

/// A call that is broken off has no fault that would say it.
impl Drop for Guest {
    fn drop(&mut self) {
        self.log_panic();
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if total > self.context.limits.memory_bytes {
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

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Mutex;

    use super::*;
    use crate::contract::NoHost;
    use crate::store::{QUOTA_BYTES, StoreLimits};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn guest() -> Guest {
        let none = || Grants::from([]);
        let origin = Origin {
            name: "p".into(),
            generation: 1,
            configuration: "{}".into(),
            publish: none(),
            read: none(),
            owner: Owner::new("p", QUOTA_BYTES).expect("a name"),
        };
        let store = Store::in_memory(StoreLimits::default()).expect("memory");
        let (limits, surroundings) = (Arc::default(), Arc::new(NoHost));
        Guest::new(Arc::new(GuestContext { origin: Arc::new(origin), own: none(), limits, surroundings, store }))
    }

    /// The lines that are logged meanwhile.
    fn logged(work: impl FnOnce(&mut Guest)) -> Vec<String> {
        let written = Written::default();
        let writer = {
            let written = written.clone();
            move || written.clone()
        };
        let log = tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(writer).finish();
        tracing::subscriber::with_default(log, || {
            let mut guest = guest();
            work(&mut guest);
        });
        let written = written.0.lock().expect("no panic");
        let line =
            |line: &str| line.split_once("guest: ").map(|(_, line)| line.split(" plugin=").next().map(str::to_owned));
        String::from_utf8_lossy(&written).lines().filter_map(line).flatten().collect()
    }

    #[test]
    fn what_a_guest_says_of_a_panic_is_its_faults_and_no_line_of_its_own() {
        let lines = logged(|guest| {
            guest.log_line(Level::Info, "one".into());
            guest.log_line(Level::Error, "panicked at x: why".into());
            assert_eq!(guest.take_diagnostics().panic.as_deref(), Some("panicked at x: why"));
        });
        assert_eq!(lines, ["one"]);
    }

    #[test]
    fn where_no_fault_follows_it_is_a_line_in_its_place_also_of_a_call_that_is_broken_off() {
        let lines = logged(|guest| {
            guest.log_line(Level::Error, "panicked, or so it says".into());
            guest.log_line(Level::Info, "two".into());
            guest.log_line(Level::Error, "panicked again".into());
            guest.log_panic();
            guest.log_line(Level::Error, "panicked at last".into());
        });
        assert_eq!(lines, ["panicked, or so it says", "two", "panicked again", "panicked at last"]);
    }
}
