//! The evaluation of a script in a new instance. Every instance of a build is the same: while a script is evaluated, the time and
//! random numbers are a function of the build, and there are no effects and no reads of the host's data.

use wasmtime::component::Instance as Linked;
use wasmtime::{Error, Result, Store, Trap};

use super::super::backtrace::fault_of;
use super::super::guest::{CallDiagnostics, EntryAccess, Guest, Storage, Subject};
use super::Script;
use crate::contract::{Fault, FaultKind};

/// The name of the engine's module that is evaluated first. It imports the script.
const ENTRY: &str = "bennu:entry";

/// An evaluation that is running, or that has ended in an instance that has not been called.
pub(in crate::plugin) struct Evaluation {
    random: u64,
    now_ms: u64,
    /// The optional callbacks that the script has.
    pub(in crate::plugin) offers: Vec<String>,
    /// Why it fails, as the engine reports it.
    pub(super) problem: Option<String>,
}

/// All evaluations see a time in the year that begins with this one, in milliseconds since 1970: 2025.
const YEAR_START_MS: u64 = 1_735_689_600_000;
const YEAR_MS: u64 = 365 * 24 * 60 * 60 * 1000;

impl Evaluation {
    fn new(script: &Script) -> Self {
        let word = |at: usize| script.seed[at..at + 8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        Self { random: word(0), now_ms: YEAR_START_MS + word(8) % YEAR_MS, offers: Vec::new(), problem: None }
    }

    /// The time, in milliseconds since 1970. It stands still.
    pub(in crate::plugin) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The next random number: SplitMix64.
    pub(in crate::plugin) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// Evaluates the instance's script. Returns the optional callbacks that it has.
///
/// # Errors
/// Returns an error if the script fails, with its message and places, or if a limit is exceeded.
pub(in crate::plugin) async fn evaluate(
    store: &mut Store<Guest>,
    instance: &Linked,
    script: &Script,
) -> Result<Vec<String>> {
    let init =
        instance.get_typed_func::<(&str, &str, Option<&str>, bool), (Result<(), String>,)>(&mut *store, "init")?;
    store.data_mut().begin_evaluation(Evaluation::new(script));
    let entry = super::engine_module(ENTRY).unwrap_or_default();
    let thread = std::thread::current();
    let (plugin, thread) = (&*store.data().context.origin.name, thread.name().unwrap_or_default());
    tracing::debug!(plugin, thread, "script_evaluated");
    let (evaluated,) = init.call_async(&mut *store, ("globalThis.wit = {};", entry, Some(ENTRY), false)).await?;
    let evaluation = store.data_mut().evaluation.take();
    let (offers, problem) = evaluation.map(|evaluation| (evaluation.offers, evaluation.problem)).unwrap_or_default();
    evaluated.map_err(|why| Fault::failed(problem.unwrap_or_else(|| readable(&why))))?;
    store.data_mut().begin(Subject::Nobody, None, Storage::Closed, EntryAccess::Closed);
    Ok(offers)
}

/// Says why an evaluation failed. A script's own error has its places; another one gets the name of the file.
pub(in crate::plugin) fn evaluation_failure(script: &Script, error: &Error) -> String {
    let text = match error.downcast_ref::<Fault>() {
        Some(fault) if fault.kind == FaultKind::Failed => fault.detail.clone(),
        _ => fault_of(error, CallDiagnostics::default()).to_string(),
    };
    let text = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => "a function calls itself without an end".to_owned(),
        _ => text,
    };
    if text.contains(&script.file) { text } else { format!("{}: {text}", script.file) }
}

/// The runtime's error if nothing is left to do, and the module still waits.
const DEADLOCK: &str = "Error blocking on a promise resulted in a dead lock";

/// Makes a text for people of the runtime's own error.
fn readable(why: &str) -> String {
    let text = why.rsplit("module evaluation: ").next().unwrap_or(why).trim();
    if text == DEADLOCK {
        "a top-level `await` waits for a promise that never settles".to_owned()
    } else {
        text.to_owned()
    }
}
