//! What follows from the reports of all nodes: a switch, a refusal, the result of a probation.

use std::collections::BTreeSet;
use std::time::Duration;

use super::conflict::TopicConflict;
use super::record::{
    Build, BuildPhase, OpenProbation, OutcomeResult, PluginRecord, Purpose, RecordedTerms, Records, Rejection, Rollout,
};
use super::registry::LivingNode;
use super::report::{LoadedBuild, NodeReport, PreparedReport};
use super::seen_since::{SeenFact, SeenSince};
use crate::names::named;
use crate::node::Epoch;

/// How long all nodes may take to prepare a build. Past it, the rollout is refused.
pub const PREPARED_WITHIN: Duration = Duration::from_secs(60);

/// How long an automatic rollback is left to a node that can read all records, if the build before has topics that a plugin may have taken
/// whose record can't be read. Past it, there is no rollback. Until then, the build before answers the calls that fail.
const ROLLED_BACK_WITHIN: Duration = Duration::from_secs(60);

/// What a node knows when it decides.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The start of this node.
    pub me: Epoch,
    /// All living nodes, read together with the records.
    pub nodes: &'a [LivingNode],
    /// The reports of living and dead nodes, read together with the records.
    pub reports: &'a [NodeReport],
    /// Whether all records could be read. Otherwise another plugin may serve topics of which nothing is known.
    pub reads_all: bool,
    /// Since when this node has seen what the records say.
    pub seen: &'a SeenSince,
    /// The time, by the clock of `seen`.
    pub now: Duration,
    /// The terms of a probation that begins.
    pub terms: RecordedTerms,
    /// The time in milliseconds since 1970. It is only written down.
    pub now_ms: u64,
}

/// Other records, and what they mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// All records, with the changes.
    pub records: Records,
    /// What has changed, for the log of the node that decides.
    pub events: Vec<(String, DecisionEvent)>,
}

/// What has changed for a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DecisionEvent {
    /// All nodes switch to this generation.
    Switched(u32),
    /// A rollout was refused. No node has switched.
    Refused {
        /// Its number.
        number: u32,
        /// Why.
        why: String,
    },
    /// A generation has passed its probation.
    Passed(u32),
    /// A generation was rolled back.
    RolledBack {
        /// The generation.
        generation: u32,
        /// The one that serves again.
        instead: u32,
        /// The faults of all nodes.
        faults: u32,
    },
    /// A generation has failed its probation, and can't be rolled back, because another plugin has topics of the build before it, or may
    /// have them.
    NotRolledBack {
        /// The generation.
        generation: u32,
        /// Which plugin has which topic, or why nobody knows that.
        why: String,
    },
}

/// How far the nodes are with a rollout.
enum Readiness {
    /// All of them have the build.
    Ready(LoadedBuild),
    /// One of them never will.
    Refused(String),
    /// Some haven't ended.
    Waiting,
}

/// Decides what the facts allow. Returns none if nothing changes. A node that isn't among the living decides nothing.
#[must_use]
pub fn decide(records: &Records, facts: &Facts<'_>) -> Option<Decision> {
    if !facts.nodes.iter().any(|node| node.epoch == facts.me) {
        return None;
    }
    let mut decision = Decision { records: records.clone(), events: Vec::new() };
    for name in records.keys() {
        decision.review_probation(name, facts);
    }
    decision.review_rollouts(facts);
    (decision.records != *records).then_some(decision)
}

impl Decision {
    fn note(&mut self, name: &str, event: DecisionEvent) {
        self.events.push((name.to_owned(), event));
    }

    /// Ends the probation of a plugin, if it is over.
    fn review_probation(&mut self, name: &str, facts: &Facts<'_>) {
        let Some(record) = self.records.get(name) else { return };
        let Some(serving) = &record.serving else { return };
        let generation = serving.build.generation;
        let (calls, faults) = probation_counts(name, generation, facts.reports);
        match &serving.phase {
            BuildPhase::Passed => {}
            BuildPhase::Unproved if calls == 0 => {}
            BuildPhase::Unproved => self.pass(name, generation, None),
            BuildPhase::OnProbation(probation) if faults > probation.terms.faults => {
                let probation = probation.clone();
                self.end_failed(name, (generation, faults), probation, facts);
            }
            BuildPhase::OnProbation(probation) => {
                let lasts = facts.seen.lasts(name, SeenFact::Serving(generation), facts.now);
                let is_long_enough = lasts >= Duration::from_millis(probation.terms.time_ms);
                // Without an answered call, nothing is known of the build.
                if is_long_enough && calls >= probation.terms.calls.max(1) {
                    let probation = probation.clone();
                    self.pass(name, generation, Some(probation));
                }
            }
        }
    }

    fn pass(&mut self, name: &str, generation: u32, probation: Option<OpenProbation>) {
        let Some(record) = self.records.get_mut(name) else { return };
        let Some(serving) = &mut record.serving else { return };
        serving.phase = BuildPhase::Passed;
        if let Some(OpenProbation { id, against, .. }) = probation {
            record.end_probation(id, false);
            record.previous = Some(against);
        }
        self.note(name, DecisionEvent::Passed(generation));
    }

    /// Ends the probation of a generation with too many faults. Its build stays if another plugin has topics of the build before. If that
    /// isn't known, the decision is left to others for a while: to give a topic to two plugins would be worse than faults.
    fn end_failed(
        &mut self,
        name: &str,
        (generation, faults): (u32, u32),
        probation: OpenProbation,
        facts: &Facts<'_>,
    ) {
        let before = &probation.against.topics;
        let why = if let Some(conflict) = TopicConflict::find(&self.records, name, before, &BTreeSet::new()) {
            conflict.to_string()
        } else if facts.reads_all || !self.gains_topics(name, before) {
            return self.roll_back(name, (generation, faults), probation, facts.now_ms);
        } else if facts.seen.lasts(name, SeenFact::Failing(generation), facts.now) < ROLLED_BACK_WITHIN {
            // As with a rollout, a node of a later version may be able to read all records, and decides then.
            return;
        } else {
            "the record of another plugin can't be read, so nobody knows whether that one has the topics which only the build before has"
                .to_owned()
        };
        self.note(name, DecisionEvent::NotRolledBack { generation, why });
        self.pass(name, generation, Some(probation));
    }

    fn roll_back(&mut self, name: &str, (generation, faults): (u32, u32), probation: OpenProbation, at_ms: u64) {
        let Some(record) = self.records.get_mut(name) else { return };
        let Some(failed) = record.serving.as_ref().map(|serving| serving.build.digest) else { return };
        let OpenProbation { id, against, .. } = probation;
        let instead = against.generation;
        record.reject(Rejection { digest: failed, generation, faults, at_ms });
        record.end_probation(id, true);
        record.serve(against, BuildPhase::Passed);
        record.previous = None;
        // A rollout that is being prepared goes on: its build is another one, and begins a probation of its own.
        self.note(name, DecisionEvent::RolledBack { generation, instead, faults });
    }

    /// Refuses rollouts, and switches those that all nodes have prepared. Several of them are tried together first, because two plugins may
    /// exchange topics.
    fn review_rollouts(&mut self, facts: &Facts<'_>) {
        let mut ready = Vec::new();
        let rollouts = self.records.iter().filter_map(|(name, record)| Some((name.clone(), record.rollout.clone()?)));
        for (name, rollout) in rollouts.collect::<Vec<_>>() {
            match readiness(&name, &rollout, facts) {
                Readiness::Waiting => {}
                Readiness::Refused(why) => self.refuse(&name, &rollout, why),
                Readiness::Ready(build) if self.would_open(&name, &build) => {
                    let why = format!(
                        "it is not a gatekeeper, but `{name}` was one, so mounts would be open to everyone; if you want this, run \
                         `bennu plugins unload {name}` and `bennu plugins forget {name}`"
                    );
                    self.refuse(&name, &rollout, why);
                }
                Readiness::Ready(build) if !facts.reads_all && self.gains_topics(&name, &build.topics) => {
                    // A node of a later version may be able to read all records, and decides then.
                    if is_late(&name, &rollout, facts) {
                        let why = "the record of another plugin can't be read, so nobody knows whether that one has the topics which this \
                                   build adds";
                        self.refuse(&name, &rollout, why.to_owned());
                    }
                }
                Readiness::Ready(build) => ready.push((name, rollout, build)),
            }
        }
        let all: BTreeSet<&str> = ready.iter().map(|(name, ..)| name.as_str()).collect();
        let fit_together = !overlap(&ready)
            && ready
                .iter()
                .all(|(name, _, build)| TopicConflict::find(&self.records, name, &build.topics, &all).is_none());
        for (name, rollout, build) in &ready {
            match TopicConflict::find(&self.records, name, &build.topics, &BTreeSet::new()) {
                Some(conflict) if !fit_together => {
                    // The owner's next build may give the topic up.
                    let may_change = self.records.get(&conflict.owner).is_some_and(|owner| owner.rollout.is_some());
                    if !may_change || is_late(name, rollout, facts) {
                        self.refuse(name, rollout, conflict.to_string());
                    }
                }
                _ => self.switch(name, rollout, build, facts.terms),
            }
        }
    }

    fn would_open(&self, name: &str, build: &LoadedBuild) -> bool {
        !build.is_gatekeeper && self.records.get(name).is_some_and(|record| record.is_gatekeeper)
    }

    /// Whether the plugin doesn't serve all of these topics now.
    fn gains_topics(&self, name: &str, topics: &[String]) -> bool {
        self.records.get(name).is_none_or(|record| record.gains_topics(topics))
    }

    fn refuse(&mut self, name: &str, rollout: &Rollout, why: String) {
        if let Some(record) = self.records.get_mut(name) {
            record.end_rollout(OutcomeResult::Refused(why.clone()));
            self.note(name, DecisionEvent::Refused { number: rollout.number, why });
        }
    }

    fn switch(&mut self, name: &str, rollout: &Rollout, loaded: &LoadedBuild, terms: RecordedTerms) {
        let Some(record) = self.records.get_mut(name) else { return };
        let (generation, digest) = (rollout.generation, rollout.digest);
        let LoadedBuild { topics, is_gatekeeper } = loaded.clone();
        let build = Build { generation, digest, topics, is_gatekeeper };
        let phase = phase_of(record, rollout, &build, terms);
        let open = record.probation().map(|open| (open.id, open.against.digest == digest));
        let continues = matches!(&phase, BuildPhase::OnProbation(next) if open.is_some_and(|(id, _)| id == next.id));
        if let Some((id, is_rolled_back)) = open.filter(|_| !continues) {
            record.end_probation(id, is_rolled_back);
        }
        if rollout.purpose == Purpose::Rollback || open.is_some_and(|(_, is_rolled_back)| is_rolled_back) {
            // A build that was rolled back can't be the target of another rollback.
            record.previous = None;
        } else if open.is_none()
            && let Some(before) = record.serving.take().filter(|before| before.build.digest != digest)
        {
            record.previous = Some(before.build);
        }
        record.rejected.retain(|rejected| rejected.digest != digest);
        record.end_rollout(OutcomeResult::Switched);
        record.serve(build, phase);
        self.note(name, DecisionEvent::Switched(generation));
    }
}

/// Whether two of these builds have the same pattern.
fn overlap(ready: &[(String, Rollout, LoadedBuild)]) -> bool {
    let mut seen = BTreeSet::new();
    ready.iter().flat_map(|(_, _, build)| &build.topics).any(|topic| !seen.insert(topic))
}

/// The phase with which a build begins to serve.
fn phase_of(record: &PluginRecord, rollout: &Rollout, build: &Build, terms: RecordedTerms) -> BuildPhase {
    if build.is_gatekeeper || rollout.purpose == Purpose::Rollback {
        return BuildPhase::Passed;
    }
    let first = || if record.known.contains(&build.digest) { BuildPhase::Passed } else { BuildPhase::Unproved };
    let Some(before) = &record.serving else { return first() };
    match &before.phase {
        // The build from before the probation: its states are still there.
        BuildPhase::OnProbation(open) if open.against.digest == build.digest => BuildPhase::Passed,
        BuildPhase::OnProbation(open) => BuildPhase::OnProbation(open.clone()),
        phase if before.build.digest == build.digest => phase.clone(),
        _ if terms.time_ms == 0 || before.build.is_gatekeeper => first(),
        _ => BuildPhase::OnProbation(OpenProbation { id: rollout.number, against: before.build.clone(), terms }),
    }
}

/// The answered calls and the counted faults of a generation during its probation, at all nodes together. Those of dead nodes count: a
/// build that ends its host is no better for it.
#[must_use]
pub fn probation_counts(plugin: &str, generation: u32, reports: &[NodeReport]) -> (u64, u32) {
    let its = reports.iter().filter(|report| report.plugin == plugin && report.report.serving == Some(generation));
    its.fold((0, 0), |(calls, faults), NodeReport { report, .. }| {
        (report.calls.saturating_add(calls), report.faults.saturating_add(faults))
    })
}

fn is_late(name: &str, rollout: &Rollout, facts: &Facts<'_>) -> bool {
    facts.seen.lasts(name, SeenFact::Rollout(rollout.number), facts.now) >= PREPARED_WITHIN
}

fn readiness(name: &str, rollout: &Rollout, facts: &Facts<'_>) -> Readiness {
    let of_node = |node: &LivingNode| -> Option<&PreparedReport> {
        let report = facts.reports.iter().find(|report| report.plugin == name && report.epoch == node.epoch)?;
        report.report.prepared.as_ref().filter(|prepared| prepared.number == rollout.number)
    };
    let mut builds: Vec<(&LivingNode, &LoadedBuild)> = Vec::new();
    let mut missing = Vec::new();
    for node in facts.nodes {
        match of_node(node).map(|prepared| &prepared.result) {
            Some(Ok(build)) => builds.push((node, build)),
            Some(Err(why)) => return Readiness::Refused(format!("the node {} can't load it: {why}", node.name)),
            None => missing.push(node.name.as_str()),
        }
    }
    if let [(first, build), rest @ ..] = &builds[..]
        && let Some((other, _)) = rest.iter().find(|(_, other)| other != build)
    {
        return Readiness::Refused(format!(
            "the nodes {} and {} read other topics from it; give all nodes the same version and the same configuration",
            first.name, other.name
        ));
    }
    match &builds[..] {
        [(_, build), ..] if missing.is_empty() => Readiness::Ready((*build).clone()),
        _ if is_late(name, rollout, facts) => Readiness::Refused(format!(
            "after {} s, it isn't prepared at {}",
            PREPARED_WITHIN.as_secs(),
            named(&missing)
        )),
        _ => Readiness::Waiting,
    }
}
