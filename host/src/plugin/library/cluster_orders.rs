//! What the library of a node of a cluster and the rest of the host say to each other: files and commands for the cluster, and orders to load
//! and serve builds.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

use super::super::{Digest, PluginStatuses};
use super::control::{Asked, Command, CommandError};
use super::jobs::Place;
use crate::routes::{Probation, ProbationTerms};

/// What a library has for the cluster.
pub enum LibraryEvent {
    /// A plugin's file has a build.
    Offer(Box<FileOffer>),
    /// An operator wants to roll back, unload or forget a plugin, or to reload one of which this node has no file.
    Command {
        /// The plugin.
        plugin: String,
        /// What the operator wants.
        command: Command,
        /// Where the answer goes.
        answer: CommandAnswer,
    },
    /// All files were read once.
    Scanned,
}

/// A build that a plugin's file has. While it exists, a permit for reading files is in use, so few builds are in memory.
pub struct FileOffer {
    /// The plugin.
    pub plugin: String,
    /// The build's digest.
    pub digest: Digest,
    /// The build.
    pub bytes: Bytes,
    /// The name under which the plugin's data is stored, or why it has none.
    pub store: Result<String, String>,
    /// Whether an operator has asked for it.
    pub is_asked: bool,
    /// Where the answers to operators go.
    pub answers: Vec<CommandAnswer>,
    pub(super) place: Place,
}

/// Where the answer to a command goes.
pub type CommandAnswer = oneshot::Sender<Result<(), CommandError>>;

/// The library, for the task that does what the records of the cluster say.
pub struct ClusterPlugins {
    pub(super) asked: mpsc::Sender<Asked>,
    pub(super) news: mpsc::Receiver<LibraryEvent>,
    pub(super) counted: Arc<Notify>,
    pub(super) terms: Arc<ArcSwap<ProbationTerms>>,
    pub(super) statuses: Arc<PluginStatuses>,
}

/// Loads builds of a cluster.
pub struct BuildLoader {
    asked: mpsc::Sender<Asked>,
}

/// What the library has read from a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildFacts {
    /// The patterns of its topics.
    pub topics: Vec<String>,
    /// Whether it is a gatekeeper.
    pub is_gatekeeper: bool,
}

/// How a loaded generation begins to serve, or continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeOrder {
    /// The generation.
    pub generation: u32,
    /// Its phase.
    pub phase: ServePhase,
    /// If a probation has ended that was open here: whether its build was rolled back.
    pub ends: Option<bool>,
    /// The build that was rolled back automatically, so that this one serves again.
    pub rolled_back: Option<RolledBackBuild>,
    /// Whether an operator has rolled back to it.
    pub is_rollback: bool,
}

/// The phase of a generation in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServePhase {
    /// It has passed, or needs no probation.
    Passed,
    /// It has answered no call, and no build was there before it.
    Unproved,
    /// It is on probation.
    OnProbation {
        /// The probation's number.
        id: u32,
        /// The generation before, which serves again after a rollback.
        against: u32,
        /// That generation's build.
        against_digest: String,
        /// What the probation tolerates in the whole cluster, for what is shown.
        terms: ProbationTerms,
    },
}

/// A build that was rolled back automatically.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolledBackBuild {
    /// Its generation.
    pub generation: u32,
    /// Its digest.
    pub digest: String,
    /// The counted faults of all nodes.
    pub faults: u32,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// An order to a library.
pub(super) enum ClusterOrder {
    Load { build: BuildOrder, answer: oneshot::Sender<Result<BuildFacts, String>> },
    Serve { plugin: String, order: Box<ServeOrder>, answer: oneshot::Sender<Result<Option<Arc<Probation>>, String>> },
    Withdraw { plugin: String, why: Option<String>, answer: oneshot::Sender<()> },
    Drop { plugin: String, generation: u32 },
    RememberGatekeepers { plugins: Vec<String>, answer: oneshot::Sender<()> },
    ClearGatekeeper(String),
    OfferAgain(String),
    Forget(String),
    Refuse { plugin: String, why: String },
}

/// A build to load.
pub(super) struct BuildOrder {
    pub(super) plugin: String,
    pub(super) generation: u32,
    pub(super) digest: Digest,
    pub(super) bytes: Bytes,
}

impl ClusterPlugins {
    /// Waits for what the library has for the cluster. None if it has ended.
    pub async fn news(&mut self) -> Option<LibraryEvent> {
        self.news.recv().await
    }

    /// Notified when the counts of a probation may decide it.
    #[must_use]
    pub fn counted(&self) -> Arc<Notify> {
        Arc::clone(&self.counted)
    }

    /// The terms of a probation that begins.
    #[must_use]
    pub fn terms(&self) -> ProbationTerms {
        **self.terms.load()
    }

    /// The statuses that operators see.
    #[must_use]
    pub fn statuses(&self) -> &PluginStatuses {
        &self.statuses
    }

    /// What loads builds, for a task of its own.
    #[must_use]
    pub fn loader(&self) -> BuildLoader {
        BuildLoader { asked: self.asked.clone() }
    }

    /// Lets a loaded generation serve, or gives it another phase. Returns its probation, whose counts it reports.
    ///
    /// # Errors
    /// If another plugin still serves its topics here. It is published together with that plugin's next build.
    pub async fn serve(&self, plugin: &str, order: ServeOrder) -> Result<Option<Arc<Probation>>, String> {
        let (answer, answered) = oneshot::channel();
        let (plugin, order) = (plugin.to_owned(), Box::new(order));
        let sent = self.asked.send(Asked::InCluster(ClusterOrder::Serve { plugin, order, answer })).await;
        sent.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }

    /// Ends the service of a plugin here. `why` says why it can't serve what the cluster serves, or is none if the cluster serves none.
    pub async fn withdraw(&self, plugin: &str, why: Option<String>) {
        let (answer, answered) = oneshot::channel();
        let order = ClusterOrder::Withdraw { plugin: plugin.to_owned(), why, answer };
        if self.asked.send(Asked::InCluster(order)).await.is_ok() {
            let _ = answered.await;
        }
    }

    /// Forgets a loaded build that isn't needed any more.
    pub async fn drop_build(&self, plugin: &str, generation: u32) {
        self.order(ClusterOrder::Drop { plugin: plugin.to_owned(), generation }).await;
    }

    /// Says which plugins were gatekeepers. Until they serve, mounts that may depend on them let nobody in.
    ///
    /// That holds when it returns: the node may say then that it has started, and has clients.
    pub async fn remember_gatekeepers(&self, plugins: Vec<String>) {
        let (answer, answered) = oneshot::channel();
        self.order(ClusterOrder::RememberGatekeepers { plugins, answer }).await;
        let _ = answered.await;
    }

    /// Says that a plugin isn't a gatekeeper that counted as one.
    pub async fn clear_gatekeeper(&self, plugin: &str) {
        self.order(ClusterOrder::ClearGatekeeper(plugin.to_owned())).await;
    }

    /// Has the file of a plugin read again, as if it had changed, because the reason of its refusal may be gone.
    pub async fn offer_again(&self, plugin: &str) {
        self.order(ClusterOrder::OfferAgain(plugin.to_owned())).await;
    }

    /// Forgets a plugin that the cluster has forgotten.
    pub async fn forget(&self, plugin: &str) {
        self.order(ClusterOrder::Forget(plugin.to_owned())).await;
    }

    /// Shows and logs why a build isn't rolled out.
    pub async fn refuse(&self, plugin: &str, why: &str) {
        self.order(ClusterOrder::Refuse { plugin: plugin.to_owned(), why: why.to_owned() }).await;
    }

    async fn order(&self, order: ClusterOrder) {
        // If the library has ended, nothing serves any more.
        let _ = self.asked.send(Asked::InCluster(order)).await;
    }
}

impl BuildLoader {
    /// Loads a build, without publishing it.
    ///
    /// # Errors
    /// A sentence that says why it can't be loaded.
    pub async fn load(
        &self,
        plugin: &str,
        generation: u32,
        digest: Digest,
        bytes: Bytes,
    ) -> Result<BuildFacts, String> {
        let (answer, answered) = oneshot::channel();
        let build = BuildOrder { plugin: plugin.to_owned(), generation, digest, bytes };
        let sent = self.asked.send(Asked::InCluster(ClusterOrder::Load { build, answer })).await;
        sent.map_err(|_| stopping())?;
        answered.await.map_err(|_| "loading it panicked; this is a fault of the host".to_owned())?
    }
}

impl FileOffer {
    /// Gives the bytes up, and returns where the answers to operators go.
    #[must_use]
    pub fn into_answers(self) -> Vec<CommandAnswer> {
        self.answers
    }

    /// Answers all operators that have asked for it.
    pub fn answer(self, result: &Result<(), CommandError>) {
        for answer in self.answers {
            // The operator may have disconnected.
            let _ = answer.send(result.clone());
        }
        drop(self.place);
    }
}

fn stopping() -> String {
    "the host is stopping".to_owned()
}
