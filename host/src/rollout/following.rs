//! What a node does so that it has and serves what the records say.

use std::collections::BTreeSet;
use std::time::Duration;

use bennu_cluster::rollout::{BuildToLoad, LoadState, LocalStep, PluginRecord, next_step};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::sleep;

use super::convert::{digest_of, loaded_of, order_of};
use super::driver::Rollouts;
use crate::plugin::{BuildFacts, Digest};

/// The pause between two tries to read the bytes of a build.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A load that has ended.
pub(super) struct LoadDone {
    plugin: String,
    build: BuildToLoad,
    result: Result<BuildFacts, String>,
}

impl Rollouts {
    /// Takes all steps that are possible now. Returns whether there was one.
    pub(super) async fn follow(&mut self) -> bool {
        let names: BTreeSet<String> = self.records.keys().chain(self.locals.keys()).cloned().collect();
        let names: Vec<String> = names.into_iter().filter(|name| !self.unread.contains_key(name)).collect();
        let mut has_done = false;
        for name in names {
            while let Some(step) = self.next_step(&name) {
                if !self.step(&name, step).await {
                    break;
                }
                has_done = true;
            }
            if !self.records.contains_key(&name) {
                self.locals.remove(&name);
                self.plugins.forget(&name).await;
            }
        }
        has_done
    }

    fn next_step(&mut self, name: &str) -> Option<LocalStep> {
        let local = self.locals.entry(name.to_owned()).or_default();
        next_step(self.records.get(name), &local.plugin)
    }

    /// Takes a step. Returns false if it must be tried again later.
    async fn step(&mut self, name: &str, step: LocalStep) -> bool {
        let Some(local) = self.locals.get_mut(name) else { return false };
        match step {
            LocalStep::Load(build) => {
                local.plugin.loads.insert(build.generation, (build.digest, LoadState::Loading));
                self.begin_load(name, build);
            }
            LocalStep::Serve(step) => {
                let Some(record) = self.records.get(name) else { return false };
                let order = order_of(record, &step, local.generation());
                match self.plugins.serve(name, order).await {
                    Ok(probation) => {
                        local.plugin.serving = Some((step.build.generation, step.phase));
                        local.probation = probation;
                    }
                    Err(why) => {
                        // Another plugin is about to give its topics up.
                        tracing::debug!(plugin = name, "the switch waits: {why}");
                        return false;
                    }
                }
            }
            LocalStep::Withdraw => {
                let why = self.records.get(name).and_then(|record| local.plugin.report(record, (0, 0)).trouble);
                self.plugins.withdraw(name, why).await;
                (local.plugin.serving, local.probation) = (None, None);
            }
            LocalStep::Drop(generation) => {
                self.plugins.drop_build(name, generation).await;
                local.plugin.loads.remove(&generation);
            }
        }
        true
    }

    /// Reads the bytes of a build and has the library load it, in a task.
    fn begin_load(&mut self, name: &str, build: BuildToLoad) {
        let (registry, plugin) = (self.registry.clone(), name.to_owned());
        let load = self.plugins.loader();
        self.loads.spawn(async move {
            let bytes = loop {
                match registry.build(build.digest).await {
                    Ok(bytes) => break bytes,
                    Err(error) => {
                        tracing::debug!(plugin, "the bytes of a build can't be read yet: {error}");
                        sleep(RETRY_PAUSE).await;
                    }
                }
            };
            // It takes some tenths of a second for a large build.
            let digested = spawn_blocking(move || bytes.map(|bytes| (Digest::of(&bytes), bytes))).await;
            let result = match digested.unwrap_or_default() {
                None => Err("the database doesn't have its bytes".to_owned()),
                Some((digest, _)) if digest_of(&digest) != build.digest => {
                    Err("its bytes in the database are damaged".to_owned())
                }
                Some((digest, bytes)) => load.load(&plugin, build.generation, digest, bytes).await,
            };
            LoadDone { plugin, build, result }
        });
    }

    /// Takes a load that has ended. One that nobody needs any more is forgotten by a later step.
    pub(super) fn take_load(&mut self, done: Result<LoadDone, JoinError>) {
        let LoadDone { plugin, build, result } = match done {
            Ok(done) => done,
            Err(error) => return tracing::error!("a fault of the host: a load panicked: {error}"),
        };
        let serves = self.records.get(&plugin).and_then(PluginRecord::generation) == Some(build.generation);
        let Some(local) = self.locals.get_mut(&plugin) else { return };
        let state = match result {
            Ok(facts) => LoadState::Loaded(loaded_of(facts)),
            Err(why) => {
                warn_not_loaded(&plugin, build.generation, serves, &why);
                LoadState::Failed(why)
            }
        };
        let load = local.plugin.loads.get_mut(&build.generation);
        if let Some((_, at)) = load.filter(|(digest, at)| *digest == build.digest && *at == LoadState::Loading) {
            *at = state;
        }
    }

    /// Whether this node serves what a record says, or can't.
    pub(super) fn is_served(&self, name: &str, record: &PluginRecord) -> bool {
        let Some(local) = self.locals.get(name) else { return false };
        let has_failed =
            |generation: u32| matches!(local.plugin.loads.get(&generation), Some((_, LoadState::Failed(_))));
        local.generation() == record.generation().filter(|generation| !has_failed(*generation))
    }
}

/// Logs that this node can't load a build, which serves in the cluster or is being prepared.
fn warn_not_loaded(plugin: &str, generation: u32, serves: bool, why: &str) {
    if serves {
        tracing::warn!(
            plugin,
            generation,
            "plugin_not_served: the cluster serves this build, and this node can't load it: {why}; so this node isn't ready; give it the \
             version and the configuration of the others, and start it again, or roll the plugin back (`bennu plugins rollback {plugin}`)"
        );
    } else {
        tracing::warn!(plugin, generation, "plugin_not_prepared: this node can't load it: {why}");
    }
}
