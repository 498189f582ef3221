//! The host's data for one instance: the subject of its call, and the resources and effects of that call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bennu_outbound::Access;
use tokio::sync::Semaphore;
use wasmtime::{ResourceLimiter, Result};

use super::PluginLimits;
use super::bindings::bennu::channel::host::Level;
use super::epoch::{EPOCH, EpochSignal};
use super::http_phase::HttpPhase;
use super::output::Output;
use super::script::{Evaluation, SharedScript};
use super::source_lines::SourceLines;
use super::usage::{GenerationUsage, PluginUsage};
use super::wasi::WasiState;
use crate::contract::limits::keys;
use crate::contract::{AnswerRef, CallLimits, Fault, FaultKind, Fired, Http, Member, Record, Request, Surroundings};
use crate::entries::{CallEntries, EntryInput, PendingEntries};
use crate::protocol::{Pattern, Topic};
use crate::store::{Draft, Owner, Store};

/// Topics, as patterns.
pub type Grants = Arc<[Pattern]>;

/// The plugin that an instance belongs to, with its configuration and grants.
pub struct Origin {
    /// The plugin's name.
    pub name: Arc<str>,
    /// The plugin's generation.
    pub generation: u32,
    /// The plugin's configuration, a JSON object.
    pub configuration: Arc<str>,
    /// The topics to which the plugin may publish and send, in addition to its own, and the socket ids that it may
    /// disconnect.
    pub publish: Grants,
    /// The topics that the plugin may subscribe to and read about, in addition to its own.
    pub read: Grants,
    /// The owner of the plugin's data in the store.
    pub owner: Owner,
    /// The plugin's own limits.
    pub limits: PluginLimits,
    /// What the plugin uses.
    pub usage: Arc<PluginUsage>,
}

/// The data that all instances of one generation share.
pub(super) struct GuestContext {
    pub(super) origin: Arc<Origin>,
    /// The topics of the plugin's own routes.
    pub(super) own: Grants,
    pub(super) limits: Arc<CallLimits>,
    pub(super) surroundings: Arc<dyn Surroundings>,
    pub(super) store: Store,
    pub(super) http: Arc<Http>,
    /// What the plugin may ask for by HTTP.
    pub(super) access: Arc<Access>,
    /// The places for calls that wait for an answer by HTTP. A waiting call keeps its instance, so only some of them may wait.
    pub(super) waiting: Semaphore,
    /// The script that each new instance evaluates, if the plugin is one.
    pub(super) script: Option<SharedScript>,
    /// The places of the plugin's functions, if its component has them.
    pub(super) lines: Option<Arc<SourceLines>>,
    /// Whether each call is run twice. Then both runs read the same.
    pub(super) repeats_calls: bool,
    /// What the instances use.
    pub(super) usage: Arc<GenerationUsage>,
    /// Says how long the last epoch was.
    pub(super) epochs: Arc<EpochSignal>,
}

/// The access of a call to its plugin's storage.
#[derive(Default)]
pub(super) enum Storage {
    /// No access.
    #[default]
    Closed,
    /// The call may read, and write if `may_write` is true. `draft` has the call's reads and writes so far. `now_ms` is the time by
    /// which the call judges what has expired, if it was read before the draft began.
    Open { may_write: bool, draft: Option<Box<Draft>>, now_ms: Option<u64> },
}

/// The access of a call to the entries of its topic.
#[derive(Default)]
pub(super) enum EntryAccess {
    /// No access.
    #[default]
    Closed,
    /// The call has not used the entries so far. `has_upgrade` says whether the plugin exports `upgrade-entry`.
    Unused { input: EntryInput, has_upgrade: bool },
    /// The call has used them.
    Used(Box<CallEntries>),
}

/// The subject of a call.
pub(super) enum Subject {
    /// No member: `describe`, `upgrade`, `handle-out` and all callbacks of a topic.
    Nobody,
    Member(Arc<Member>),
    /// A topic message that may be answered later: no member either.
    Message(AnswerRef),
    /// A schedule that fires, or a time of a cron line: no member either.
    Fired(Fired),
    /// A request to connect, for a gatekeeper's `connect`.
    Request(Arc<Request>),
}

/// The data of an instance's wasmtime store.
pub(super) struct Guest {
    pub(super) context: Arc<GuestContext>,
    pub(super) record: Record,
    pub(super) subject: Subject,
    pub(super) storage: Storage,
    pub(super) entries: EntryAccess,
    pub(super) http: HttpPhase,
    /// The phase of the next call. It isn't an argument of the call, because the future of each call would be larger.
    next_http: HttpPhase,
    /// The topic of the call, for the log.
    pub(super) topic: Option<Topic>,
    pub(super) log_lines: usize,
    /// The evaluation of the instance's script, while it runs.
    pub(super) evaluation: Option<Box<Evaluation>>,
    /// Whether the call has waited for the disk since its last epoch.
    pub(super) has_waited: bool,
    epochs_left: u64,
    memory_bytes: usize,
    table_elements: usize,
    memory_refused: bool,
    /// The guest's panic message. The host doesn't log it yet, because a trap may follow. The message then explains
    /// that fault.
    panic: Option<String>,
    /// What the call has printed, if it has printed anything.
    pub(super) output: Option<Box<Output>>,
    pub(super) wasi: WasiState,
}

/// Diagnostics of a failed call.
#[derive(Default)]
pub(super) struct CallDiagnostics {
    /// The key and the value of the memory limit, if the instance was refused more memory during the call.
    pub(super) memory_refused: Option<String>,
    /// The guest's panic message.
    pub(super) panic: Option<String>,
    /// The end of what the call has printed.
    pub(super) printed: Option<String>,
    /// The places of the guest's functions.
    pub(super) lines: Option<Arc<SourceLines>>,
}

/// The start of the line with which the Rust SDK logs a panic.
const PANIC: &str = "panicked";

/// The maximum number of elements in all tables of an instance.
const TABLE_ELEMENTS_MAX: usize = 1 << 20;

impl GuestContext {
    /// Returns the key that sets a limit of the plugin, with its value: the end of an error text.
    fn limit_key(&self, key: &str, limit: impl fmt::Display) -> String {
        self.origin.limits.key(&self.origin.name, key, limit)
    }
}

impl Guest {
    pub(super) fn new(context: Arc<GuestContext>) -> Self {
        let record = Record::new((*context.limits).clone());
        context.usage.begin_instance();
        Self {
            context,
            record,
            subject: Subject::Nobody,
            storage: Storage::Closed,
            entries: EntryAccess::Closed,
            http: HttpPhase::Closed,
            next_http: HttpPhase::Closed,
            topic: None,
            log_lines: 0,
            evaluation: None,
            has_waited: false,
            epochs_left: 0,
            memory_bytes: 0,
            table_elements: 0,
            memory_refused: false,
            panic: None,
            output: None,
            wasi: WasiState::default(),
        }
    }

    /// Counts a line that the call logs.
    ///
    /// # Errors
    /// Returns a fault if the call has logged too many lines.
    pub(super) fn count_line(&mut self) -> Result<(), Fault> {
        self.log_lines += 1;
        let most = self.context.limits.log_lines;
        if self.log_lines > most { Err(Fault::log_lines(most)) } else { Ok(()) }
    }

    /// Logs a line of the guest. A panic message is held until the end of the call.
    pub(super) fn log_line(&mut self, level: Level, line: String) {
        self.log_panic();
        if level == Level::Error && line.starts_with(PANIC) {
            self.panic = Some(line);
        } else {
            self.write_log(level, &line);
        }
    }

    /// Logs what a call without a fault has left: a held panic message, and unfinished lines.
    pub(super) fn log_rest(&mut self) {
        self.log_panic();
        if self.output.is_some() {
            self.end_output();
        }
    }

    /// Logs the held panic message, if there is one: no fault has followed it.
    fn log_panic(&mut self) {
        if let Some(panic) = self.panic.take() {
            self.write_log(Level::Error, &panic);
        }
    }

    /// Takes the diagnostics of a failed call, for its fault.
    pub(super) fn take_diagnostics(&mut self) -> CallDiagnostics {
        let memory_refused =
            self.memory_refused.then(|| self.context.limit_key(keys::MEMORY_BYTES, self.context.limits.memory_bytes));
        let (printed, panic, lines) = (self.end_output(), self.panic.take(), self.context.lines.clone());
        CallDiagnostics { printed, memory_refused, panic, lines }
    }

    /// Prepares for a call about `topic`.
    pub(super) fn begin(&mut self, subject: Subject, topic: Option<Topic>, storage: Storage, entries: EntryAccess) {
        self.subject = subject;
        self.storage = storage;
        match &entries {
            EntryAccess::Closed => {}
            EntryAccess::Unused { input, .. } => input.topic.with_published(|all| self.record.set_published(all)),
            EntryAccess::Used(used) => used.topic().with_published(|all| self.record.set_published(all)),
        }
        self.entries = entries;
        self.http = std::mem::take(&mut self.next_http);
        self.topic = topic;
        self.log_lines = 0;
        self.has_waited = false;
        self.memory_refused = false;
        self.epochs_left = epochs(self.context.limits.cpu);
    }

    /// Allows the next call to wait for answers by HTTP, or not.
    pub(super) fn open_http(&mut self, http: HttpPhase) {
        self.next_http = http;
    }

    /// Prepares for the evaluation of the instance's script.
    pub(super) fn begin_evaluation(&mut self, evaluation: Evaluation) {
        self.begin(Subject::Nobody, None, Storage::Closed, EntryAccess::Closed);
        self.epochs_left = epochs(self.context.limits.init_cpu);
        self.evaluation = Some(Box::new(evaluation));
    }

    /// The time, in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        self.evaluation.as_ref().map_or_else(|| self.context.surroundings.now_ms(), |evaluation| evaluation.now_ms())
    }

    /// A random number.
    pub(super) fn random_number(&mut self) -> Result<u64, Fault> {
        match &mut self.evaluation {
            Some(evaluation) => Ok(evaluation.random()),
            None => self.context.surroundings.random(),
        }
    }

    /// Returns a fault while the instance's script is evaluated: every instance must be the same.
    pub(super) fn check_evaluated(&self) -> Result<(), Fault> {
        match self.evaluation {
            Some(_) => Err(Fault::failed(
                "while a script is evaluated, it can have no effects and can't read the host's data; do it in a callback",
            )),
            None => Ok(()),
        }
    }

    /// Takes the call's reads and writes of the store, if there are any.
    pub(super) fn take_draft(&mut self) -> Option<Box<Draft>> {
        match std::mem::take(&mut self.storage) {
            Storage::Open { draft, .. } => draft,
            Storage::Closed => None,
        }
    }

    /// Takes the call's changes of entries, if there are any.
    pub(super) fn take_entries(&mut self) -> Option<Box<PendingEntries>> {
        match std::mem::take(&mut self.entries) {
            EntryAccess::Used(entries) => entries.into_pending(),
            EntryAccess::Closed | EntryAccess::Unused { .. } => None,
        }
    }

    /// Takes the entries of a call that has ended because entries have to be upgraded before it runs again.
    pub(super) fn take_unfinished(&mut self) -> Option<Box<CallEntries>> {
        match &self.entries {
            EntryAccess::Used(entries) if entries.needs_upgrade() => {}
            EntryAccess::Closed | EntryAccess::Unused { .. } | EntryAccess::Used(_) => return None,
        }
        match std::mem::take(&mut self.entries) {
            EntryAccess::Used(entries) => Some(entries),
            EntryAccess::Closed | EntryAccess::Unused { .. } => None,
        }
    }

    /// Counts an epoch that has passed while the guest ran or waited for the disk. An epoch with a wait isn't
    /// counted, because the guest hasn't run during all of it. The call's wall time limits how long a call waits.
    ///
    /// # Errors
    /// Returns a [`Fault`] if the CPU time of the call is over.
    pub(super) fn spend_epoch(&mut self) -> Result<(), Fault> {
        if std::mem::take(&mut self.has_waited) {
            return Ok(());
        }
        self.context.usage.add_cpu(self.context.epochs.last_ns());
        self.epochs_left = self.epochs_left.saturating_sub(1);
        if self.epochs_left == 0 {
            let limits = &self.context.limits;
            let (what, limit, key) = match self.evaluation {
                Some(_) => ("the evaluation of the script", limits.init_cpu, keys::INIT_CPU_MS),
                None => ("the call", limits.cpu, keys::CALL_CPU_MS),
            };
            let limit = limit.as_millis();
            let key = self.context.limit_key(key, limit);
            let detail = format!("{what} ran for more than {limit} ms of CPU time{key}");
            return Err(Fault::new(FaultKind::Deadline, detail));
        }
        Ok(())
    }

    /// Returns the size of the guest's linear memory in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}

/// Returns the number of epochs in a CPU time, and one more, because an epoch has already begun when a call begins.
fn epochs(cpu: Duration) -> u64 {
    let epochs = cpu.as_nanos().div_ceil(EPOCH.as_nanos());
    u64::try_from(epochs).unwrap_or(u64::MAX).saturating_add(1)
}

/// A cancelled call has no fault that would contain the panic message, so the message is logged here. The instance is no
/// longer counted.
impl Drop for Guest {
    fn drop(&mut self) {
        self.log_rest();
        self.context.usage.end_instance(self.memory_bytes);
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if total > self.context.limits.memory_bytes {
            // The guest may handle the refusal. If it traps instead, the fault is of the kind `memory`.
            self.memory_refused = true;
            return Ok(false);
        }
        self.context.usage.grow(total - self.memory_bytes);
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
            limits: PluginLimits::default(),
            usage: Arc::default(),
        };
        let store = Store::in_memory(StoreLimits::default()).expect("memory");
        let (limits, surroundings) = (Arc::default(), Arc::new(NoHost));
        let (http, access) = (Http::none(), Arc::default());
        Guest::new(Arc::new(GuestContext {
            origin: Arc::new(origin),
            own: none(),
            limits,
            surroundings,
            store,
            http,
            access,
            waiting: Semaphore::new(0),
            script: None,
            lines: None,
            repeats_calls: false,
            usage: Arc::default(),
            epochs: Arc::default(),
        }))
    }

    /// Returns the lines that are logged while `work` runs.
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
    fn a_panic_message_goes_into_the_fault_and_not_into_the_log() {
        let lines = logged(|guest| {
            guest.log_line(Level::Info, "one".into());
            guest.log_line(Level::Error, "panicked at x: why".into());
            assert_eq!(guest.take_diagnostics().panic.as_deref(), Some("panicked at x: why"));
        });
        assert_eq!(lines, ["one"]);
    }

    #[test]
    fn a_panic_message_without_a_fault_is_logged_in_order_even_if_the_call_is_cancelled() {
        let lines = logged(|guest| {
            guest.log_line(Level::Error, "panicked, or so it says".into());
            guest.log_line(Level::Info, "two".into());
            guest.log_line(Level::Error, "panicked again".into());
            guest.log_rest();
            guest.log_line(Level::Error, "panicked at last".into());
        });
        assert_eq!(lines, ["panicked, or so it says", "two", "panicked again", "panicked at last"]);
    }
}
