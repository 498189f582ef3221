//! The task that gives jobs to their topics when they are due.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::cron::{CronLine, next_row};
use crate::channel::{DueJob, InfoOutcome, Node};
use crate::contract::NowMs;
use crate::contract::jobs::{JobId, JobKind, JobRow};
use crate::store::JobBoard;

/// The most jobs that are being tried at the same time, and those of one plugin. More wait, so that many jobs that are due
/// together don't delay what clients send.
pub const RUNNING_MAX: usize = 64;
/// See [`RUNNING_MAX`].
pub const RUNNING_MAX_OF_PLUGIN: usize = 16;

/// The longest sleep of the dispatcher. The machine's clock may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// The pause before the jobs that nobody serves are looked at again. A change of the routes ends it.
const HELD_PAUSE: Duration = Duration::from_secs(5);

/// The shortest time from a try that didn't succeed to the next one, in milliseconds. It only matters if the store fails.
const PAUSE_MS: u64 = 1000;

/// A try that has ended.
type Tried = (Arc<JobId>, InfoOutcome);

/// Gives jobs that are due to their topics.
pub struct Dispatcher {
    node: Arc<Node>,
    clock: NowMs,
    /// The lines of the configuration, by the keys of their jobs.
    crons: HashMap<JobId, CronLine>,
    trying: FuturesUnordered<BoxFuture<'static, Tried>>,
    /// How many jobs of each plugin are being tried.
    running: BTreeMap<Arc<str>, usize>,
    /// The lines for which the log already says that their plugin doesn't serve their topic.
    warned: HashSet<JobId>,
}

impl Dispatcher {
    /// A dispatcher for these lines of the configuration, by the names under which the data of their plugins is stored.
    #[must_use]
    pub fn new(node: Arc<Node>, clock: NowMs, crons: Vec<(Arc<str>, CronLine)>) -> Self {
        let crons = crons.into_iter().map(|(store, line)| (line.job(&store), line)).collect();
        Self { node, clock, crons, trying: FuturesUnordered::new(), running: BTreeMap::new(), warned: HashSet::new() }
    }

    /// Runs until the host stops. First it stores the next time of each new cron line, and removes the jobs of lines that are
    /// no longer in the configuration.
    pub async fn run(mut self) {
        settle_crons(&self.node, &self.crons, (self.clock)()).await;
        let board = Arc::clone(self.node.store.jobs());
        let mut owners = self.node.routes.watch_owners();
        self.warn_unserved();
        loop {
            self.begin_due(&board);
            let (pause, has_held) = (self.pause(&board), board.with(|agenda| agenda.has_held()));
            tokio::select! {
                Some(tried) = self.trying.next(), if !self.trying.is_empty() => self.ended(&board, &tried),
                () = board.changed() => {}
                changed = owners.changed() => match changed {
                    Ok(()) => {
                        self.warn_unserved();
                        self.release(&board);
                    }
                    // There is no route table any more: the host has ended.
                    Err(_) => return,
                },
                () = tokio::time::sleep(HELD_PAUSE), if has_held => self.release(&board),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Begins to try all jobs that are due, up to the limits. A topic gets its jobs in the order in which they are due.
    fn begin_due(&mut self, board: &JobBoard) {
        while self.trying.len() < RUNNING_MAX {
            let now_ms = (self.clock)();
            let due = board.with(|agenda| agenda.take_due(now_ms, |plugin| self.is_free(plugin)));
            let Some(id) = due else { return };
            let next = self.crons.get(&*id).and_then(|line| next_row(line, now_ms));
            *self.running.entry(Arc::clone(&id.plugin)).or_default() += 1;
            let telling = self.node.run_job(DueJob { id: Arc::clone(&id), now_ms, next });
            self.trying.push(Box::pin(async move { (id, telling.await) }));
        }
    }

    fn is_free(&self, plugin: &str) -> bool {
        self.running.get(plugin).is_none_or(|running| *running < RUNNING_MAX_OF_PLUGIN)
    }

    fn ended(&mut self, board: &JobBoard, (id, telling): &Tried) {
        if let Some(running) = self.running.get_mut(&id.plugin) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&id.plugin);
            }
        }
        match telling {
            InfoOutcome::Done => board.with(|agenda| agenda.ended(id, 0)),
            InfoOutcome::Unserved => board.with(|agenda| agenda.hold(id)),
            InfoOutcome::Changed | InfoOutcome::Failed => {
                let not_before_ms = (self.clock)().saturating_add(PAUSE_MS);
                board.with(|agenda| agenda.ended(id, not_before_ms));
            }
        }
    }

    /// Jobs whose topics are served now wait no longer.
    fn release(&self, board: &JobBoard) {
        board.with(|agenda| agenda.release(|id| self.node.serves(id)));
    }

    /// Warns of lines whose plugin serves topics, but not theirs: probably a typing error, and such a line waits for ever.
    fn warn_unserved(&mut self) {
        let routes = self.node.routes.current();
        for id in self.crons.keys() {
            if self.node.serves(id) || !routes.all().any(|route| route.owner.name() == &*id.plugin) {
                self.warned.remove(id);
            } else if self.warned.insert(id.clone()) {
                tracing::warn!(
                    plugin = &*id.plugin,
                    topic = id.topic.as_str(),
                    "{id} waits: its plugin has no route for this topic, or no `handle_topic_info`; \
                     see `plugins.NAME.cron` in the configuration"
                );
            }
        }
    }

    /// How long the dispatcher may sleep.
    fn pause(&self, board: &JobBoard) -> Duration {
        if self.trying.len() >= RUNNING_MAX {
            return SLEEP_MAX;
        }
        let next_ms = board.with(|agenda| agenda.next_due_ms(|plugin| self.is_free(plugin)));
        let wait = next_ms.map(|next_ms| Duration::from_millis(next_ms.saturating_sub((self.clock)())));
        wait.map_or(SLEEP_MAX, |wait| wait.min(SLEEP_MAX))
    }
}

/// Makes the stored jobs of cron lines those of the configuration. A line that was stored before keeps its time, also if that has
/// passed meanwhile: then it fires once, late.
async fn settle_crons(node: &Node, crons: &HashMap<JobId, CronLine>, now_ms: u64) {
    let stored: Vec<Arc<JobId>> = node.store.jobs().with(|agenda| {
        let all = agenda.after(None).map(|(id, _)| Arc::clone(id));
        all.filter(|id| id.kind == JobKind::Cron).collect()
    });
    let gone = stored.iter().filter(|id| !crons.contains_key(&***id));
    let new = crons.iter().filter(|(id, _)| !stored.iter().any(|stored| **stored == **id));
    let new = new.filter_map(|(id, line)| Some((id.clone(), next_row(line, now_ms)?)));
    let changes = gone.map(|id| (JobId::clone(id), None)).chain(new.map(|(id, row)| (id, Some(row))));
    for (id, row) in changes.collect::<Vec<(JobId, Option<JobRow>)>>() {
        if let Err(error) = node.store.put_job(&id, row.as_ref()).await {
            tracing::error!("{id} can't be stored: {error:#}");
        }
    }
}
