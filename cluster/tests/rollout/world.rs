//! A cluster in a model: the registry, and nodes that read it, act, report and decide, each at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bennu_cluster::Epoch;
use bennu_cluster::rollout::{
    BuildDigest, BuildPhase, ChangeResult, Decision, DecisionEvent, Facts, LivingNode, LoadState, LoadedBuild,
    LocalPlugin, LocalStep, NodeReport, Offer, OfferResult, RecordedTerms, Records, RecordsChange, RegistrySnapshot,
    Report, SeenSince, decide, next_step, offer,
};

pub(crate) const TERMS: RecordedTerms = RecordedTerms { time_ms: 60_000, calls: 1, faults: 3 };

/// A build by a number. Its topics are given by the test.
pub(crate) fn digest(number: u8) -> BuildDigest {
    BuildDigest([number; 32])
}

/// A node.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Node {
    /// What it has read last.
    pub(crate) view: Option<RegistrySnapshot>,
    pub(crate) plugins: BTreeMap<String, LocalPlugin>,
    seen: SeenSince,
    /// The calls and faults that it counts for a generation.
    pub(crate) counts: BTreeMap<(String, u32), (u64, u32)>,
}

/// The cluster.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct World {
    pub(crate) revision: u64,
    pub(crate) records: Records,
    /// The generation whose calls may write, by the store's name.
    pub(crate) writes: BTreeMap<String, u32>,
    pub(crate) reports: BTreeMap<(String, u64), Report>,
    pub(crate) nodes: BTreeMap<u64, Node>,
    pub(crate) now: Duration,
    /// The topics of builds.
    pub(crate) topics: BTreeMap<BuildDigest, Vec<String>>,
    /// The builds that are gatekeepers.
    pub(crate) gatekeepers: BTreeSet<BuildDigest>,
    /// The builds that an operator has asked for.
    pub(crate) asked: BTreeSet<BuildDigest>,
    pub(crate) events: Vec<DecisionEvent>,
}

impl World {
    /// A world with nodes that have read the registry.
    pub(crate) fn of_nodes(count: u64) -> Self {
        let mut world = Self::default();
        (1..=count).for_each(|epoch| world.join(epoch));
        world
    }

    pub(crate) fn join(&mut self, epoch: u64) {
        self.nodes.insert(epoch, Node::default());
        self.look(epoch);
    }

    pub(crate) fn die(&mut self, epoch: u64) {
        self.nodes.remove(&epoch);
    }

    fn read(&self) -> RegistrySnapshot {
        RegistrySnapshot {
            revision: self.revision,
            records: Some(self.records.clone()),
            nodes: self.nodes.keys().map(|epoch| living(*epoch)).collect(),
            reports: self.reports.iter().map(|((plugin, epoch), report)| report_of(plugin, *epoch, report)).collect(),
            unread: BTreeMap::new(),
            unread_reports: Vec::new(),
            unread_report_count: 0,
        }
    }

    /// A node reads the registry. Returns whether it has read anything new.
    pub(crate) fn look(&mut self, epoch: u64) -> bool {
        let (look, now) = (self.read(), self.now);
        let Some(node) = self.nodes.get_mut(&epoch) else { return false };
        let before = node.seen.clone();
        node.seen.note(look.records.as_ref().expect("all records"), &look.reports, now);
        let is_new = node.view.as_ref() != Some(&look) || before != node.seen;
        node.view = Some(look);
        is_new
    }

    /// Writes records, as the registry does. The invariants hold after each change.
    fn change(&mut self, change: RecordsChange) -> ChangeResult {
        if change.former != self.revision {
            return ChangeResult::Outdated;
        }
        self.revision += 1;
        for (name, record) in change.changed {
            let record = record.expect("no record is removed");
            let before = self.records.insert(name.clone(), record);
            self.check_outcomes(&name, before.as_ref());
        }
        for (store, generation) in change.generations {
            match generation {
                Some(generation) => drop(self.writes.insert(store, generation)),
                None => drop(self.writes.remove(&store)),
            }
        }
        for record in self.records.values() {
            assert_eq!(self.writes.get(&record.store).copied(), record.generation(), "{record:?}");
            if let Some(serving) = &record.serving {
                let rejected = record.rejection(serving.build.digest);
                assert!(rejected.is_none() || self.asked.contains(&serving.build.digest), "{record:?}");
            }
            assert!(record.builds().all(|build| change.builds.contains(&build)), "{record:?}");
        }
        self.check_topics();
        ChangeResult::Done
    }

    /// A rollout has one outcome, and what was written of it stays.
    fn check_outcomes(&self, name: &str, before: Option<&bennu_cluster::rollout::PluginRecord>) {
        let record = &self.records[name];
        let numbers: Vec<u32> = record.outcomes.iter().map(|outcome| outcome.number).collect();
        assert!(numbers.windows(2).all(|two| two[0] < two[1]), "{record:?}");
        for outcome in before.iter().flat_map(|before| &before.outcomes) {
            let after = record.outcome(outcome.number);
            assert!(after.is_none_or(|after| *after == outcome.result), "{before:?} {record:?}");
        }
    }

    /// No two plugins serve the same topics.
    fn check_topics(&self) {
        let serving = self.records.values().filter_map(|record| record.serving.as_ref());
        let topics: Vec<&String> = serving.flat_map(|serving| &serving.build.topics).collect();
        let distinct: BTreeSet<&&String> = topics.iter().collect();
        assert_eq!(distinct.len(), topics.len(), "{topics:?}");
    }

    /// A node offers the build of a file, by what the registry says now.
    pub(crate) fn offer(&mut self, epoch: u64, plugin: &str, number: u8, is_asked: bool) -> OfferResult {
        let mut records = self.records.clone();
        let (digest, store, by) = (digest(number), plugin.to_owned(), name(epoch));
        if is_asked {
            self.asked.insert(digest);
        }
        let result = offer(&mut records, &Offer { plugin: plugin.to_owned(), digest, store, is_asked, by });
        self.write(&records);
        result
    }

    /// Changes the records by a command.
    pub(crate) fn write(&mut self, records: &Records) {
        if *records != self.records {
            let change = RecordsChange::between(self.revision, &self.records, records);
            assert_eq!(self.change(change), ChangeResult::Done);
        }
    }

    /// What a node decides by what it has read.
    pub(crate) fn decision(&self, epoch: u64) -> Option<Decision> {
        let node = self.nodes.get(&epoch)?;
        let view = node.view.as_ref()?;
        let facts = Facts {
            me: Epoch(epoch),
            nodes: &view.nodes,
            reports: &view.reports,
            reads_all: view.unread.is_empty(),
            seen: &node.seen,
            now: self.now,
            terms: TERMS,
            now_ms: 0,
        };
        decide(view.records.as_ref()?, &facts)
    }

    /// A node decides, and writes. Returns false if there was nothing to decide.
    pub(crate) fn decide(&mut self, epoch: u64) -> bool {
        let Some(decision) = self.decision(epoch) else { return false };
        let Some(view) = self.nodes[&epoch].view.clone() else { return false };
        let before = view.records.expect("all records");
        if self.change(RecordsChange::between(view.revision, &before, &decision.records)) == ChangeResult::Done {
            for (name, event) in decision.events {
                self.check_event(&name, &event, &view.nodes);
                self.events.push(event);
            }
        }
        true
    }

    /// Nobody switches to a build that a living node doesn't have, and nobody passes with too many faults.
    fn check_event(&self, name: &str, event: &DecisionEvent, seen: &[LivingNode]) {
        match event {
            DecisionEvent::Switched(generation) => {
                for node in seen.iter().filter_map(|node| self.nodes.get(&node.epoch.0)) {
                    let load = node.plugins.get(name).and_then(|plugin| plugin.loads.get(generation));
                    assert!(matches!(load, Some((_, LoadState::Loaded(_)))), "{generation} {node:?}");
                }
            }
            DecisionEvent::RolledBack { generation, faults, .. } => {
                let record = &self.records[name];
                assert!(*faults > TERMS.faults && record.generation() != Some(*generation), "{record:?}");
            }
            DecisionEvent::Passed(_) | DecisionEvent::Refused { .. } | DecisionEvent::NotRolledBack { .. } => {}
        }
    }

    /// The next step of a node, by what it has read.
    pub(crate) fn next(&self, epoch: u64) -> Option<(String, LocalStep)> {
        let node = self.nodes.get(&epoch)?;
        let records = node.view.as_ref()?.records.as_ref()?;
        let names: BTreeSet<&String> = records.keys().chain(node.plugins.keys()).collect();
        let none = LocalPlugin::default();
        names.into_iter().find_map(|name| {
            let step = next_step(records.get(name), node.plugins.get(name).unwrap_or(&none))?;
            Some((name.clone(), step))
        })
    }

    /// A node does its next step. A load fails if `fails` says so. Returns false if there was nothing to do.
    pub(crate) fn step(&mut self, epoch: u64, fails: bool) -> bool {
        let Some((name, step)) = self.next(epoch) else { return self.report(epoch) };
        let (topics, gatekeepers) = (self.topics.clone(), self.gatekeepers.clone());
        let Some(node) = self.nodes.get_mut(&epoch) else { return false };
        let plugin = node.plugins.entry(name.clone()).or_default();
        match step {
            LocalStep::Load(build) => {
                let topics = topics.get(&build.digest).cloned().unwrap_or_default();
                let loaded =
                    LoadState::Loaded(LoadedBuild { topics, is_gatekeeper: gatekeepers.contains(&build.digest) });
                let state = if fails { LoadState::Failed("no such import".into()) } else { loaded };
                plugin.loads.insert(build.generation, (build.digest, state));
            }
            LocalStep::Serve(step) => {
                let generation = step.build.generation;
                assert!(matches!(plugin.loads.get(&generation), Some((_, LoadState::Loaded(_)))), "{plugin:?}");
                if plugin.serving.as_ref().map(|(generation, _)| *generation) != Some(generation) {
                    // It answers a call at once.
                    node.counts.insert((name, generation), (1, 0));
                }
                plugin.serving = Some((generation, step.phase));
            }
            LocalStep::Withdraw => plugin.serving = None,
            LocalStep::Drop(generation) => drop(plugin.loads.remove(&generation)),
        }
        self.report(epoch);
        true
    }

    /// A node does what it can do without loading anything.
    pub(crate) fn follow(&mut self, epoch: u64) -> bool {
        let mut has_done = false;
        while self.next(epoch).is_some_and(|(_, step)| !matches!(step, LocalStep::Load(_))) {
            has_done |= self.step(epoch, false);
        }
        has_done | self.report(epoch)
    }

    /// A node loads a build, if it needs one.
    pub(crate) fn load(&mut self, epoch: u64, fails: bool) -> bool {
        let loads = self.next(epoch).is_some_and(|(_, step)| matches!(step, LocalStep::Load(_)));
        loads && (self.step(epoch, fails) | self.follow(epoch))
    }

    /// A node reports. Returns whether it says anything new.
    pub(crate) fn report(&mut self, epoch: u64) -> bool {
        let Some(node) = self.nodes.get(&epoch) else { return false };
        let Some(records) = node.view.as_ref().and_then(|view| view.records.as_ref()) else { return false };
        let mut is_new = false;
        for (name, plugin) in &node.plugins {
            let Some(record) = records.get(name) else { continue };
            let serving = plugin.serving.as_ref().map(|(generation, _)| *generation);
            let counts = serving.and_then(|serving| node.counts.get(&(name.clone(), serving)).copied());
            let report = plugin.report(record, counts.unwrap_or_default());
            is_new |= self.reports.insert((name.clone(), epoch), report.clone()) != Some(report);
        }
        is_new
    }

    /// Calls fail at a node, in the generation that serves there.
    pub(crate) fn fail(&mut self, epoch: u64, plugin: &str, faults: u32) -> bool {
        let Some(node) = self.nodes.get_mut(&epoch) else { return false };
        let serving = node.plugins.get(plugin).and_then(|plugin| plugin.serving.clone());
        let Some((generation, BuildPhase::OnProbation(_))) = serving else { return false };
        node.counts.entry((plugin.to_owned(), generation)).or_default().1 += faults;
        self.report(epoch);
        true
    }

    /// All nodes do what there is to do, and loads succeed. Returns whether anything was left after many rounds.
    pub(crate) fn settle(&mut self) -> bool {
        for _ in 0..100 {
            let mut is_busy = false;
            for epoch in self.nodes.keys().copied().collect::<Vec<_>>() {
                is_busy |= self.look(epoch) | self.step(epoch, false) | self.decide(epoch);
            }
            if !is_busy {
                return true;
            }
        }
        false
    }

    /// Whatever has happened, the cluster comes to rest: no rollout and no probation are left, and each node serves what the records say.
    pub(crate) fn must_come_to_rest(mut self) {
        let start = self.clone();
        for _ in 0..4 {
            assert!(self.settle(), "{start:#?}");
            self.now += Duration::from_secs(60);
        }
        for (name, record) in &self.records {
            assert!(record.rollout.is_none(), "{record:#?} {start:#?}");
            // A build that no living node can load answers no calls, so its probation may stay open.
            let is_served = self.nodes.values().any(|node| {
                let local = node.plugins.get(name).and_then(|local| local.serving.as_ref());
                local.map(|(generation, _)| *generation) == record.generation()
            });
            assert!(record.probation().is_none() || !is_served, "{record:#?} {start:#?}");
            for node in self.nodes.values() {
                let local = node.plugins.get(name).cloned().unwrap_or_default();
                let serving = local.serving.as_ref().map(|(generation, _)| *generation);
                let cant = |generation: u32| matches!(local.loads.get(&generation), Some((_, LoadState::Failed(_))));
                let expected = record.generation().filter(|generation| !cant(*generation));
                assert_eq!(serving, expected, "{record:#?} {local:#?} {start:#?}");
            }
        }
    }
}

pub(crate) fn name(epoch: u64) -> String {
    format!("host-{epoch}")
}

fn living(epoch: u64) -> LivingNode {
    LivingNode { epoch: Epoch(epoch), name: name(epoch) }
}

fn report_of(plugin: &str, epoch: u64, report: &Report) -> NodeReport {
    NodeReport { plugin: plugin.to_owned(), epoch: Epoch(epoch), report: report.clone() }
}
