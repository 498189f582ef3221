//! What a page shows while it is developed: generations, failed builds, refusals and faults.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

/// The maximum number of faults of a plugin that a page shows. The last ones are shown.
const FAULTS_MAX: usize = 5;

/// The maximum size of one text, in bytes. The first lines of a compiler's output explain most.
const TEXT_BYTES_MAX: usize = 32 << 10;

/// The maximum number of remarks about a plugin between two generations.
const REMARKS_MAX: usize = 100;

/// Changes of a file within this time are one save.
const ONE_SAVE: Duration = Duration::from_secs(1);

/// The state that all pages show. Pages wait for its changes.
pub(super) struct Board {
    shown: watch::Sender<Shown>,
    /// When the file of a plugin was saved that isn't served yet. A lock, because the thread of the watcher and that of the library
    /// use it. Nothing waits while it is held.
    saved: Mutex<HashMap<String, Instant>>,
    /// The remarks about each plugin since its last generation. A lock for the same reason.
    remarks: Mutex<HashMap<String, HashSet<String>>>,
}

/// The state.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Shown {
    plugins: BTreeMap<String, ShownPlugin>,
    /// The output of failed tests.
    tests: Option<String>,
    /// Counts the changes of static files. A page that has another count loads itself again.
    pages: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
struct ShownPlugin {
    generation: u32,
    topics: String,
    is_building: bool,
    problem: Option<Problem>,
    faults: Vec<ShownFault>,
}

/// Why the last save of a plugin doesn't serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Problem {
    kind: ProblemKind,
    text: String,
}

/// The kind of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ProblemKind {
    /// The compiler has failed.
    Build,
    /// The host refuses the file.
    Refused,
}

#[derive(Clone, Debug, Serialize)]
struct ShownFault {
    place: String,
    text: String,
    count: u64,
}

impl Board {
    pub(super) fn new() -> Self {
        Self { shown: watch::Sender::default(), saved: Mutex::default(), remarks: Mutex::default() }
    }

    /// Returns a receiver that is notified of each change.
    pub(super) fn watch(&self) -> watch::Receiver<Shown> {
        self.shown.subscribe()
    }

    /// Notes that a file of a plugin was saved. One save may be several changes of the file; its first one counts.
    pub(super) fn note_saved(&self, plugin: &str) {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let since = saved.entry(plugin.to_owned()).or_insert_with(Instant::now);
        if since.elapsed() > ONE_SAVE {
            *since = Instant::now();
        }
    }

    /// Returns the time since the save that a plugin now serves, if one was noted.
    pub(super) fn take_saved(&self, plugin: &str) -> Option<Duration> {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        saved.remove(plugin).map(|saved| saved.elapsed())
    }

    /// Whether a remark about a plugin is another one than those since its last generation. A build is checked before the host loads
    /// it, so its remarks come twice.
    pub(super) fn is_new_remark(&self, plugin: &str, text: &str) -> bool {
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        let known = remarks.entry(plugin.to_owned()).or_default();
        known.len() < REMARKS_MAX && known.insert(text.to_owned())
    }

    /// A build of a plugin has begun.
    pub(super) fn begin_build(&self, plugin: &str) {
        self.change(plugin, |shown| shown.is_building = true);
    }

    /// A generation serves: its problems are over.
    pub(super) fn serve(&self, plugin: &str, generation: u32, topics: &str) {
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner).remove(plugin);
        self.change(plugin, |shown| {
            *shown = ShownPlugin { generation, topics: topics.to_owned(), ..ShownPlugin::default() };
        });
    }

    /// The last save of a plugin doesn't serve.
    pub(super) fn fail(&self, plugin: &str, kind: ProblemKind, text: &str) {
        self.take_saved(plugin);
        self.change(plugin, |shown| {
            shown.is_building = false;
            shown.problem = Some(Problem { kind, text: beginning(text) });
        });
    }

    /// The problem of this kind is over, although no other generation serves: the file is what it was before.
    pub(super) fn mend(&self, plugin: &str, kind: ProblemKind) {
        self.change(plugin, |shown| {
            shown.is_building = false;
            shown.problem.take_if(|problem| problem.kind == kind);
        });
    }

    /// Returns the plugins that have a problem of a kind.
    pub(super) fn with_problem(&self, kind: ProblemKind) -> Vec<String> {
        let shown = self.shown.borrow();
        let has = |plugin: &ShownPlugin| plugin.problem.as_ref().is_some_and(|problem| problem.kind == kind);
        shown.plugins.iter().filter(|(_, plugin)| has(plugin)).map(|(name, _)| name.clone()).collect()
    }

    /// A callback has failed.
    pub(super) fn add_fault(&self, plugin: &str, place: &str, text: &str) {
        self.change(plugin, |shown| {
            let faults = &mut shown.faults;
            let text = beginning(text);
            let known = faults.iter().position(|fault| fault.place == place && fault.text == text);
            let count = known.map_or(0, |at| faults.remove(at).count) + 1;
            faults.push(ShownFault { place: place.to_owned(), text, count });
            let surplus = faults.len().saturating_sub(FAULTS_MAX);
            faults.drain(..surplus);
        });
    }

    /// The tests have passed, or failed with this output.
    pub(super) fn set_tests(&self, failed: Option<&str>) {
        self.shown.send_modify(|shown| shown.tests = failed.map(beginning));
    }

    /// Static files have changed.
    pub(super) fn reload_pages(&self) {
        self.shown.send_modify(|shown| shown.pages += 1);
    }

    fn change(&self, plugin: &str, change: impl FnOnce(&mut ShownPlugin)) {
        self.shown.send_modify(|shown| change(shown.plugins.entry(plugin.to_owned()).or_default()));
    }
}

fn beginning(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}\n…", &text[..text.floor_char_boundary(TEXT_BYTES_MAX)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_generation_ends_all_problems() {
        let board = Board::new();
        board.serve("chat", 1, "room:*");
        board.begin_build("chat");
        board.fail("chat", ProblemKind::Build, "no");
        board.add_fault("chat", "join of room:1", "crash");
        let shown = board.shown.borrow().plugins["chat"].clone();
        assert!(shown.problem.is_some() && shown.faults.len() == 1 && !shown.is_building && shown.generation == 1);
        board.mend("chat", ProblemKind::Refused);
        assert_eq!(board.with_problem(ProblemKind::Build), ["chat"]);
        board.serve("chat", 2, "room:*");
        let shown = board.shown.borrow().plugins["chat"].clone();
        assert!(shown.problem.is_none() && shown.faults.is_empty() && shown.generation == 2);
    }

    #[test]
    fn texts_and_faults_are_bounded() {
        let board = Board::new();
        for number in 0..20 {
            board.add_fault("chat", "join", &"ü".repeat(TEXT_BYTES_MAX));
            board.add_fault("chat", "join", &number.to_string());
        }
        let shown = board.shown.borrow().plugins["chat"].clone();
        assert_eq!(shown.faults.len(), FAULTS_MAX);
        assert!(shown.faults.iter().any(|fault| fault.count == 20), "equal faults are counted");
        assert!(shown.faults.iter().all(|fault| fault.text.len() < TEXT_BYTES_MAX + 8));
    }

    #[test]
    fn the_first_save_counts() {
        let board = Board::new();
        assert_eq!(board.take_saved("chat"), None);
        board.note_saved("chat");
        let first = board.saved.lock().ok().and_then(|saved| saved.get("chat").copied());
        board.note_saved("chat");
        assert_eq!(board.saved.lock().ok().and_then(|saved| saved.get("chat").copied()), first);
        assert!(board.take_saved("chat").is_some() && board.take_saved("chat").is_none());
    }
}
