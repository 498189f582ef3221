//! Loads under way. Each reads and compiles one plugin's file in a task of its own, so that the library's loop goes on meanwhile:
//! bad builds are taken back, and operators are answered. Only the loop decides what becomes of a result, and publishes it.
//!
//! A plugin has at most one load under way. A load that begins for it replaces the one before: the last save wins, and the result
//! of a load that was replaced is dropped.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::super::guest::Origin;
use super::super::loader::{Loaded, Loader};
use super::super::scan::{Look, Stamp, read_settled};
use super::super::{Digest, Likeness};
use super::control::Denied;
use super::{Library, Serving};
use crate::store::Owner;

/// Where the answer to a wish goes.
pub(super) type Answer = oneshot::Sender<Result<(), Denied>>;

/// Why a file is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It has changed.
    Changed,
    /// It was so new when it was read that it may have changed since without getting another stamp.
    Doubtful,
    /// An operator asked for it, changed or not.
    Asked,
}

/// A load under way.
pub(super) struct Job {
    number: u64,
    path: PathBuf,
    why: Why,
    /// Whether its file is being read. A change until that is done is part of what it reads.
    pub(super) is_reading: bool,
    answers: Vec<Answer>,
    task: AbortHandle,
}

/// The tasks of all loads.
pub(super) struct Jobs {
    tasks: JoinSet<Done>,
    begun: u64,
    /// For loads of changed files. It bounds the components in memory, and the threads that compile.
    places: Arc<Semaphore>,
    /// One place more for reloads that operators ask for. Otherwise they would wait behind many changed files.
    asked: Arc<Semaphore>,
}

/// What a task gives.
pub(super) struct Done {
    name: String,
    number: u64,
    step: Step,
}

enum Step {
    Read(Result<(Content, OwnedSemaphorePermit)>),
    Loaded(Result<Loaded>, Build),
}

/// A file's content.
struct Content {
    stamp: Stamp,
    bytes: Bytes,
    digest: Digest,
}

/// What is loaded: the file's content, or what serves in place of it.
struct Build {
    bytes: Bytes,
    digest: Digest,
    /// Why it isn't the file's content, if it isn't.
    remark: Option<String>,
}

/// What becomes of a file that was read.
enum Next {
    /// Nothing: what is in it serves already, or an older generation serves again.
    Nothing,
    Load(Build),
}

impl Default for Jobs {
    fn default() -> Self {
        // Half of the processors are left for channels; two at least, since one large component is not to stop all others.
        let places = available_parallelism().map_or(1, NonZero::get).div_ceil(2).max(2);
        let (places, asked) = (Arc::new(Semaphore::new(places)), Arc::new(Semaphore::new(1)));
        Self { tasks: JoinSet::new(), begun: 0, places, asked }
    }
}

impl Jobs {
    /// Waits for the next task to end. None if there is no task.
    pub(super) async fn ended(&mut self) -> Option<Result<Done, JoinError>> {
        self.tasks.join_next().await
    }
}

impl Library {
    /// Begins to load a file, in place of a load of this plugin that is under way.
    pub(super) fn begin(&mut self, name: &str, path: &Path, look: Option<Look>, why: Why, answer: Option<Answer>) {
        let entry = self.plugins.entry(name.to_owned()).or_default();
        let places = Arc::clone(if why == Why::Asked { &self.jobs.asked } else { &self.jobs.places });
        let (mut why, mut answers) = (why, Vec::new());
        if let Some(replaced) = entry.job.take() {
            replaced.task.abort();
            // A reload that was asked for is answered with what becomes of the later content. The answers are bounded, because each
            // is waited for by a call that holds one of the API's connections.
            answers = replaced.answers;
            answers.retain(|answer| !answer.is_closed());
            if !answers.is_empty() {
                why = Why::Asked;
            }
        }
        answers.extend(answer);
        self.jobs.begun += 1;
        let number = self.jobs.begun;
        let (reader, file) = (name.to_owned(), path.to_owned());
        let task = self.jobs.tasks.spawn(async move {
            let step = Step::Read(read(&file, look, places).await);
            Done { name: reader, number, step }
        });
        entry.job = Some(Job { number, path: path.to_owned(), why, is_reading: true, answers, task });
        self.shelf.update(name, |status| status.is_loading = true);
    }

    /// Gives up a load that is under way, if there is one.
    pub(super) fn abandon(&mut self, name: &str, why: &str) {
        let Some(entry) = self.plugins.get_mut(name) else { return };
        let Some(job) = entry.job.take() else { return };
        job.task.abort();
        // What may not have been read is given up as well.
        entry.is_doubtful = false;
        for answer in job.answers {
            // Who asked may have gone.
            let _ = answer.send(Err(Denied::Refused(why.to_owned())));
        }
        self.shelf.update(name, |status| status.is_loading = false);
    }

    /// Takes what a task has given, unless its load was replaced or given up.
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
            Step::Read(Ok((content, place))) => match self.next(&name, &path, why, content) {
                Ok(Next::Nothing) => self.conclude(&name, Ok(false)),
                Ok(Next::Load(build)) => self.load(&name, number, build, place),
                Err(error) => self.conclude(&name, Err(error)),
            },
            Step::Read(Err(error)) => {
                self.miss(&name, Likeness::Unknown);
                self.conclude(&name, Err(error));
            }
            Step::Loaded(loaded, build) => {
                let taken = self.take_in(&name, loaded, build);
                self.conclude(&name, taken.map(|()| true));
            }
        }
    }

    /// Decides what becomes of a file that was read.
    fn next(&mut self, name: &str, path: &Path, why: Why, content: Content) -> Result<Next> {
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
            self.shelf.update(name, |status| status.last_error = None);
            return Ok(Next::Nothing);
        }
        if let Some(trial) = self.way_back(name, &digest) {
            self.return_to_proved(name, &trial)?;
            return Ok(Next::Nothing);
        }
        if why == Why::Asked {
            self.builds.forget(&digest);
        } else if let Some(rejection) = self.builds.rejection(name, &digest).cloned() {
            return self.load_instead(name, path, &rejection).map(Next::Load);
        }
        Ok(Next::Load(Build { bytes, digest, remark: None }))
    }

    /// The file holds a build that was taken back. If nothing serves yet, what served in its place does again.
    fn load_instead(&self, name: &str, path: &Path, rejection: &super::Rejection) -> Result<Build> {
        let serves = self.plugins.get(name).is_some_and(|entry| entry.serving.is_some());
        let why = anyhow!(
            "this build was taken back after {} faults; `bennu plugins reload {name}` loads it all the same",
            rejection.faults
        );
        let kept = if serves { None } else { self.builds.kept(&rejection.instead) };
        let Some(bytes) = kept.map(Bytes::from) else { return Err(why) };
        let remark = format!("{why}; until then the build before it serves");
        tracing::warn!(plugin = name, "plugin_refused: {}: {remark}", path.display());
        Ok(Build { digest: Digest::of(&bytes), bytes, remark: Some(remark) })
    }

    /// Compiles a build, links it and asks it for its routes, in a task.
    fn load(&mut self, name: &str, number: u64, build: Build, place: OwnedSemaphorePermit) {
        let origin = match self.origin(name) {
            Ok(origin) => origin,
            Err(error) => return self.conclude(name, Err(error)),
        };
        let (loader, plugin) = (Arc::clone(&self.loader), name.to_owned());
        let task = self.jobs.tasks.spawn(async move {
            let loaded = load(&loader, &build, origin, place).await;
            Done { name: plugin, number, step: Step::Loaded(loaded, build) }
        });
        if let Some(job) = self.plugins.get_mut(name).and_then(|entry| entry.job.as_mut()) {
            job.is_reading = false;
            job.task = task;
        }
    }

    /// What the next generation of a plugin is told of itself.
    fn origin(&self, name: &str) -> Result<Arc<Origin>> {
        let settings = self.terms.settings.of(name);
        let before = self.plugins.get(name).map_or(0, |entry| entry.generation);
        Ok(Arc::new(Origin {
            name: name.into(),
            generation: before + 1,
            configuration: settings.configuration,
            publish: settings.publish,
            read: settings.read,
            owner: Owner::new(name, settings.store_bytes)?,
        }))
    }

    /// Makes a candidate of what was loaded.
    fn take_in(&mut self, name: &str, loaded: Result<Loaded>, build: Build) -> Result<()> {
        if loaded.is_err() {
            self.miss(name, Likeness::of(&build.bytes));
        }
        let loaded = Arc::new(loaded?);
        self.check_kind(name, &loaded)?;
        self.builds.keep(&build.digest, &build.bytes);
        let (trial, remark) = (self.trial_of(name, &loaded), build.remark);
        self.plugins.entry(name.to_owned()).or_default().candidate = Some(Serving { loaded, trial, remark });
        Ok(())
    }

    /// A load has come to its end, with a candidate or without.
    fn conclude(&mut self, name: &str, result: Result<bool>) {
        let Some(job) = self.plugins.get_mut(name).and_then(|entry| entry.job.take()) else { return };
        self.shelf.update(name, |status| {
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
            // Who asked may have gone.
            let _ = answer.send(granted.clone().map_err(Denied::Refused));
        }
    }

    fn conclude_panic(&mut self, error: &JoinError) {
        let is_its = |job: &Job| job.task.id() == error.id();
        let name = self.plugins.iter().find(|(_, entry)| entry.job.as_ref().is_some_and(is_its));
        if let Some(name) = name.map(|(name, _)| name.clone()) {
            self.miss(&name, Likeness::Unknown);
            self.conclude(&name, Err(anyhow!("loading it panicked; this is a fault of the host")));
        }
    }
}

async fn read(path: &Path, look: Option<Look>, places: Arc<Semaphore>) -> Result<(Content, OwnedSemaphorePermit)> {
    let place = places.acquire_owned().await.context("waiting to read it")?;
    let (stamp, bytes) = read_settled(path, look).await?;
    let bytes = Bytes::from(bytes);
    let digesting = tokio::task::spawn_blocking(move || (Digest::of(&bytes), bytes)).await;
    let (digest, bytes) = digesting.context("reading the file's digest")?;
    Ok((Content { stamp, bytes, digest }, place))
}

async fn load(loader: &Loader, build: &Build, origin: Arc<Origin>, place: OwnedSemaphorePermit) -> Result<Loaded> {
    loader.load_holding(build.bytes.clone(), build.digest, origin, place).await
}
