//! Loads of plugins. Each load reads and compiles one plugin's file in a task of its own. Meanwhile the library's
//! loop can roll back bad builds and answer operators. Only the loop decides about a result, and publishes it.
//!
//! A plugin has at most one running load. A new load replaces the running one, so the last save wins. The result of a
//! replaced load is dropped.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{AbortHandle, JoinError, JoinSet, spawn_blocking};

use super::super::builds::LoadKept;
use super::super::guest::Origin;
use super::super::loader::{Loaded, Loader};
use super::super::scan::{Stamp, TimedStamp, read_settled};
use super::super::script::build_of;
use super::super::{Digest, Likeness};
use super::control::CommandError;
use super::recall::{Recall, Recalled};
use super::{Library, Rejection, Serving};

/// The channel for the answer to a command.
pub(super) type Answer = oneshot::Sender<Result<(), CommandError>>;

/// The reason for a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The file has changed.
    Changed,
    /// The file was so new when it was read that it may have changed since without getting another stamp.
    Doubtful,
    /// An operator asked for a reload, whether the file has changed or not.
    Asked,
    /// An operator asked for a rollback to an earlier build that is only on the disk.
    RollBack,
}

/// A running load.
pub(super) struct Job {
    number: u64,
    pub(super) path: PathBuf,
    pub(super) why: Why,
    /// Whether the file is being read. A change before the reading ends belongs to this load.
    pub(super) is_reading: bool,
    /// The build that is loaded, once it is known.
    pub(super) build: Option<Digest>,
    /// For a rollback: the build that served when the load began.
    pub(super) serves: Option<Digest>,
    /// Whether this load has replaced a load of the file.
    pub(super) has_replaced: bool,
    pub(super) answers: Vec<Answer>,
    task: AbortHandle,
}

/// The tasks of all loads.
pub(super) struct Jobs {
    tasks: JoinSet<Done>,
    begun: u64,
    /// The permits for loads of changed files. They limit the number of components in memory and of compiling
    /// threads.
    places: Arc<Semaphore>,
    /// One more permit for reloads by operators, and one for rollbacks. Otherwise these would wait behind many
    /// changed files.
    asked: Arc<Semaphore>,
    rollbacks: Arc<Semaphore>,
}

/// The result of a task.
pub(super) struct Done {
    name: String,
    number: u64,
    step: LoadStep,
}

enum LoadStep {
    Read(Result<(Content, Place)>),
    Loaded(Box<Outcome>),
}

/// A permit that is held until the last component of a load is compiled.
pub(super) type Place = Arc<OwnedSemaphorePermit>;

/// The content of a file.
pub(super) struct Content {
    pub(super) stamp: Stamp,
    pub(super) bytes: Bytes,
    pub(super) digest: Digest,
}

/// The instructions for a task.
struct Order {
    component: Component,
    /// The previous build, which is loaded first, because this one is on probation against it.
    recall: Option<Recall>,
    /// The origin of this generation, and that of the next one.
    origins: Result<[Arc<Origin>; 2]>,
    /// The reason why the build isn't the file's content, if it isn't.
    instead: Option<String>,
}

/// A component, or a function that reads it.
enum Component {
    /// The file's content, and a function that stores it for a later start.
    Content(Bytes, Digest, Box<dyn FnOnce() + Send>),
    /// A kept component.
    Kept(LoadKept),
}

/// The result of an order.
struct Outcome {
    loaded: Result<Loaded>,
    recalled: Option<Recalled>,
    /// Whether the bytes may be a gatekeeper's, if they couldn't be loaded.
    likeness: Likeness,
    instead: Option<String>,
}

/// The next step for a file that was read.
enum Next {
    /// Nothing is loaded: the file's build serves already, or an older generation serves again.
    Nothing,
    /// The file's build is loaded, or the build that serves instead of it. The text is the reason for the latter.
    Load(Component, Option<String>),
}

impl Default for Jobs {
    fn default() -> Self {
        // Half of the processors are left for channels. There are at least two permits, so that one large component
        // doesn't block all others.
        let places = available_parallelism().map_or(1, NonZero::get).div_ceil(2).max(2);
        let of = |places| Arc::new(Semaphore::new(places));
        Self { tasks: JoinSet::new(), begun: 0, places: of(places), asked: of(1), rollbacks: of(1) }
    }
}

impl Jobs {
    /// The permits for loads of changed files.
    pub(super) fn places(&self) -> Arc<Semaphore> {
        Arc::clone(&self.places)
    }

    /// Waits for the next task to end. Returns `None` if there is no task.
    pub(super) async fn ended(&mut self) -> Option<Result<Done, JoinError>> {
        self.tasks.join_next().await
    }
}

impl Library {
    /// Begins to load a file. Replaces a running load of this plugin.
    pub(super) fn begin(
        &mut self,
        name: &str,
        path: &Path,
        first: Option<TimedStamp>,
        why: Why,
        answer: Option<Answer>,
    ) {
        let entry = self.plugins.entry(name.to_owned()).or_default();
        let places = Arc::clone(if why == Why::Asked { &self.jobs.asked } else { &self.jobs.places });
        let (mut why, mut answers) = (why, Vec::new());
        if let Some(replaced) = entry.job.take() {
            replaced.task.abort();
            if replaced.why == Why::RollBack {
                refuse_all(replaced.answers, "its file was loaded meanwhile");
            } else {
                // Operators who wait for the replaced load get the result of the new one. The number of answers is
                // bounded, because each belongs to an API call that occupies a connection.
                answers = replaced.answers;
                answers.retain(|answer| !answer.is_closed());
            }
            if !answers.is_empty() {
                why = Why::Asked;
            }
        }
        answers.extend(answer);
        self.jobs.begun += 1;
        let number = self.jobs.begun;
        let (reader, path) = (name.to_owned(), path.to_owned());
        let file = path.clone();
        let task = self.jobs.tasks.spawn(async move {
            let step = LoadStep::Read(read(&file, first, places).await);
            Done { name: reader, number, step }
        });
        let (build, serves, has_replaced) = (None, None, false);
        entry.job = Some(Job { number, path, why, is_reading: true, build, serves, has_replaced, answers, task });
        // A file with a doubtful stamp is only read to find out whether its content is known. It usually is, and an operator
        // whose reload has just ended must not be told that another build is being loaded.
        if why != Why::Doubtful {
            self.statuses.update(name, |status| status.is_loading = true);
        }
    }

    /// Begins to load a kept component. Replaces a running load of this plugin.
    pub(super) fn begin_kept(&mut self, name: &str, kept: LoadKept, serves: Digest, answer: Answer) {
        let replaced = self.plugins.get_mut(name).and_then(|entry| entry.job.take());
        let has_replaced = replaced.is_some();
        if let Some(replaced) = replaced {
            replaced.task.abort();
            refuse_all(replaced.answers, ROLLED_BACK);
        }
        let order = self.order(name, Component::Kept(kept), None, None);
        self.jobs.begun += 1;
        let number = self.jobs.begun;
        let (loader, places, plugin) = (Arc::clone(&self.loader), Arc::clone(&self.jobs.rollbacks), name.to_owned());
        let task = self.jobs.tasks.spawn(async move {
            let outcome = match places.acquire_owned().await {
                Ok(place) => load(&loader, order, Arc::new(place)).await,
                Err(closed) => Outcome::failed(closed.into()),
            };
            Done { name: plugin, number, step: LoadStep::Loaded(Box::new(outcome)) }
        });
        let path = self.statuses.one(name).unwrap_or_default().file.into();
        let (why, build, serves) = (Why::RollBack, None, Some(serves));
        let job =
            Job { number, path, why, is_reading: false, build, serves, has_replaced, answers: vec![answer], task };
        self.plugins.entry(name.to_owned()).or_default().job = Some(job);
        self.statuses.update(name, |status| status.is_loading = true);
    }

    /// Cancels the running load of a plugin, if there is one.
    pub(super) fn abandon(&mut self, name: &str, why: &str) {
        let Some(entry) = self.plugins.get_mut(name) else { return };
        let Some(job) = entry.job.take() else { return };
        job.task.abort();
        // The file isn't read again for its doubtful stamp either.
        entry.is_doubtful = false;
        refuse_all(job.answers, why);
        self.statuses.update(name, |status| status.is_loading = false);
    }

    /// Handles the result of a task, unless its load was replaced or cancelled.
    pub(super) fn take(&mut self, ended: Result<Done, JoinError>) {
        let Done { name, number, step } = match ended {
            Ok(done) => done,
            Err(error) if error.is_cancelled() => return,
            Err(error) => return self.conclude_panic(&error),
        };
        let job = self.plugins.get(&name).and_then(|entry| entry.job.as_ref());
        let Some(job) = job.filter(|job| job.number == number) else { return };
        let (why, path) = (job.why, job.path.clone());
        match step {
            LoadStep::Read(Ok((content, place))) if self.cluster.is_some() => self.offer(&name, why, content, place),
            LoadStep::Read(Ok((content, place))) => match self.next(&name, why, content) {
                Ok(Next::Nothing) => self.conclude(&name, Ok(false)),
                Ok(Next::Load(component, instead)) => self.load(&name, number, component, instead, place),
                Err(error) => self.conclude(&name, Err(error)),
            },
            LoadStep::Read(Err(error)) => {
                self.note_missing(&name, Likeness::Unknown);
                self.conclude(&name, Err(error));
            }
            LoadStep::Loaded(outcome) if why == Why::RollBack => self.conclude_rollback(&name, outcome.loaded),
            LoadStep::Loaded(outcome) => {
                let taken = self.take_in(&name, &path, *outcome);
                self.conclude(&name, taken.map(|()| true));
            }
        }
    }

    /// Decides what to do with a file that was read.
    fn next(&mut self, name: &str, why: Why, content: Content) -> Result<Next> {
        let Content { stamp, bytes, digest } = content;
        let entry = self.plugins.entry(name.to_owned()).or_default();
        entry.seen = Some(stamp);
        entry.is_doubtful = !stamp.is_final();
        let is_known = entry.content.replace(digest) == Some(digest);
        if why == Why::Doubtful && is_known {
            return Ok(Next::Nothing);
        }
        entry.candidate = None;
        if why != Why::Asked && entry.serving.as_ref().is_some_and(|serving| serving.loaded.digest == digest) {
            self.statuses.update(name, |status| status.last_error = None);
            return Ok(Next::Nothing);
        }
        if let Some(trial) = self.rollback_by_file(name, &digest) {
            if let Some(previous) = trial.previous() {
                self.publish_previous(name, previous)?;
            }
            return Ok(Next::Nothing);
        }
        if why == Why::Asked {
            self.builds.forget(&digest);
        } else if let Some(rejection) = self.builds.rejection(name, &digest).cloned() {
            return self.load_instead(name, &rejection);
        }
        let keep = Box::new(self.builds.keep(&digest, bytes.clone()));
        Ok(Next::Load(Component::Content(bytes, digest, keep), None))
    }

    /// The file contains a build that was rolled back automatically. If nothing serves yet, the build that passed
    /// last is loaded instead.
    fn load_instead(&self, name: &str, rejection: &Rejection) -> Result<Next> {
        let serves = self.plugins.get(name).is_some_and(|entry| entry.serving.is_some());
        let why = format!(
            "this build was rolled back automatically after {} faults; `bennu plugins reload {name}` loads it anyway",
            rejection.faults
        );
        if serves {
            bail!(why);
        }
        Ok(Next::Load(Component::Kept(self.kept_instead(name, rejection)), Some(why)))
    }

    /// Returns the instructions for a task.
    fn order(&self, name: &str, component: Component, recall: Option<Recall>, instead: Option<String>) -> Order {
        Order { component, recall, origins: self.next_origins(name), instead }
    }

    /// Compiles and links a build and calls its `describe`, in a task. If necessary, the task first loads the
    /// previous build, against which the build is on probation.
    fn load(&mut self, name: &str, number: u64, component: Component, instead: Option<String>, place: Place) {
        let digest = component.digest();
        let order = self.order(name, component, self.to_recall(name), instead);
        let (loader, plugin) = (Arc::clone(&self.loader), name.to_owned());
        let task = self.jobs.tasks.spawn(async move {
            let outcome = load(&loader, order, place).await;
            Done { name: plugin, number, step: LoadStep::Loaded(Box::new(outcome)) }
        });
        if let Some(job) = self.plugins.get_mut(name).and_then(|entry| entry.job.as_mut()) {
            job.is_reading = false;
            job.build = digest;
            job.task = task;
        }
        self.statuses.update(name, |status| status.is_loading = true);
    }

    /// Makes a candidate of a loaded build.
    fn take_in(&mut self, name: &str, path: &Path, outcome: Outcome) -> Result<()> {
        let Outcome { loaded, recalled, likeness, instead } = outcome;
        if let Some(recalled) = recalled {
            self.take_recalled(name, recalled);
        }
        if loaded.is_err() {
            self.note_missing(name, likeness);
        }
        let loaded = match &instead {
            Some(why) => loaded.with_context(|| format!("{why}; the previous build can't be loaded any more either")),
            None => loaded,
        };
        let loaded = Arc::new(loaded?);
        self.check_kind(name, &loaded)?;
        let remark = instead.map(|why| format!("{why}; until then the previous build serves"));
        if let Some(remark) = &remark {
            tracing::warn!(plugin = name, "plugin_refused: {}: {remark}", path.display());
        }
        let trial = self.trial_of(name, &loaded);
        self.plugins.entry(name.to_owned()).or_default().candidate = Some(Serving { loaded, trial, remark });
        Ok(())
    }

    /// Ends a load. `result` is whether there is a new candidate, or the reason for a refusal.
    fn conclude(&mut self, name: &str, result: Result<bool>) {
        let Some(job) = self.plugins.get_mut(name).and_then(|entry| entry.job.take()) else { return };
        self.statuses.update(name, |status| {
            status.is_loading = false;
            status.file = job.path.display().to_string();
        });
        let granted = match result {
            Ok(is_candidate) => {
                if is_candidate {
                    self.fresh.insert(name.to_owned());
                }
                self.publish_candidates();
                self.conflict_of(name).map_or(Ok(()), |conflict| Err(conflict.to_string()))
            }
            Err(error) => {
                let why = format!("{error:#}");
                self.refuse(name, &why);
                Err(why)
            }
        };
        self.refuse_candidates();
        for answer in job.answers {
            // The operator may have disconnected.
            let _ = answer.send(granted.clone().map_err(CommandError::Refused));
        }
    }

    fn conclude_panic(&mut self, error: &JoinError) {
        let is_its = |job: &Job| job.task.id() == error.id();
        let name = self.plugins.iter().find(|(_, entry)| entry.job.as_ref().is_some_and(is_its));
        let Some((name, why)) = name.and_then(|(name, entry)| Some((name.clone(), entry.job.as_ref()?.why))) else {
            return;
        };
        let panicked = anyhow!("loading it panicked; this is a fault of the host");
        if why == Why::RollBack {
            return self.conclude_rollback(&name, Err(panicked));
        }
        self.note_missing(&name, Likeness::Unknown);
        self.conclude(&name, Err(panicked));
    }
}

/// The answer to operators whose load was cancelled by a rollback.
pub(super) const ROLLED_BACK: &str = "the plugin was rolled back meanwhile";

pub(super) fn refuse_all(answers: Vec<Answer>, why: &str) {
    for answer in answers {
        // The operator may have disconnected.
        let _ = answer.send(Err(CommandError::Refused(why.to_owned())));
    }
}

impl Component {
    /// Returns the digest, if it is known before the component is read.
    fn digest(&self) -> Option<Digest> {
        match self {
            Self::Content(_, digest, _) => Some(*digest),
            Self::Kept(_) => None,
        }
    }
}

impl Outcome {
    /// Returns the result for a component that couldn't be read.
    fn failed(error: anyhow::Error) -> Self {
        Self { loaded: Err(error), recalled: None, likeness: Likeness::Unknown, instead: None }
    }
}

async fn read(path: &Path, first: Option<TimedStamp>, places: Arc<Semaphore>) -> Result<(Content, Place)> {
    let place = places.acquire_owned().await.context("waiting for a permit to read it")?;
    let (stamp, bytes) = read_settled(path, first).await?;
    let bytes = Bytes::from(build_of(path, bytes));
    let digesting = spawn_blocking(move || (Digest::of(&bytes), bytes)).await;
    let (digest, bytes) = digesting.context("computing the file's digest")?;
    Ok((Content { stamp, bytes, digest }, Arc::new(place)))
}

/// Executes an order, in a task.
async fn load(loader: &Loader, order: Order, place: Place) -> Outcome {
    let Order { component, recall, origins, instead } = order;
    let (bytes, digest, keep) = match component {
        Component::Content(bytes, digest, keep) => (bytes, digest, Some(keep)),
        Component::Kept(kept) => match read_kept(kept).await {
            Ok((bytes, digest)) => (bytes, digest, None),
            Err(error) => return Outcome { instead, ..Outcome::failed(error) },
        },
    };
    let mut recalled = None;
    let loaded = match origins {
        Ok([first, second]) => {
            if let Some(recall) = recall.filter(|recall| recall.previous != digest.to_string()) {
                recalled = Some(recall.load(loader, Arc::clone(&first), &place).await);
            }
            let is_second = recalled.as_ref().is_some_and(|recalled| recalled.loaded.is_ok());
            let origin = if is_second { second } else { first };
            loader.load_holding(bytes.clone(), digest, origin, Arc::clone(&place)).await
        }
        Err(error) => Err(error),
    };
    let is_loaded = loaded.is_ok();
    // In a thread that may block: writing a kept component waits for a disk sync, and searching a large component
    // takes time.
    let rest = spawn_blocking(move || {
        if is_loaded {
            keep.into_iter().for_each(|keep| keep());
            return Likeness::Unknown;
        }
        Likeness::of(&bytes)
    });
    let likeness = rest.await.unwrap_or(Likeness::Unknown);
    Outcome { loaded, recalled, likeness, instead }
}

/// Reads a kept component, in a thread that may block.
pub(super) async fn read_kept(kept: LoadKept) -> Result<(Bytes, Digest)> {
    let found = spawn_blocking(kept).await.context("reading the kept component")?;
    found.context("its kept component is gone or damaged")
}
