//! The laws of merges, tested by random operations of three replicas.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::presence::Delta;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three replicas that know one another, and the list that a client of each has from its diffs.
struct Cluster {
    states: Vec<State>,
    told: Vec<BTreeMap<Topic, BTreeSet<String>>>,
    /// The deltas in transit: sender, receiver, delta.
    under_way: Vec<(usize, usize, Delta)>,
    /// Pairs of replicas that can't reach each other.
    split: BTreeSet<(usize, usize)>,
}

impl Cluster {
    fn new() -> Self {
        let mut states: Vec<State> = NAMES.map(|name| State::new(replica(name))).into();
        for state in &mut states {
            NAMES.iter().for_each(|name| drop(state.up(&replica(name))));
        }
        Self { states, told: vec![BTreeMap::new(); 3], under_way: Vec::new(), split: BTreeSet::new() }
    }

    fn step(&mut self, random: &mut Random) {
        let (from, to) = (random.below(3), random.below(3));
        match random.below(20) {
            0..10 => {
                let Change { diffs, delta } = operate(&mut self.states[from], random);
                self.tell(from, &diffs);
                self.under_way.extend((0..3).filter(|to| *to != from).map(|to| (from, to, delta.clone())));
            }
            10..16 => self.deliver(random),
            16 if from != to => self.under_way.push((from, to, self.states[from].full())),
            17 if from != to => {
                self.split.insert((from.min(to), from.max(to)));
                for (one, other) in [(from, to), (to, from)] {
                    let diffs = self.states[one].down(&replica(NAMES[other]));
                    self.tell(one, &diffs);
                }
            }
            18 => self.heal(from, to),
            _ => {}
        }
    }

    /// Takes one delta in transit. It arrives, or is lost, or arrives and is sent again.
    fn deliver(&mut self, random: &mut Random) {
        if self.under_way.is_empty() {
            return;
        }
        let (from, to, delta) = self.under_way.swap_remove(random.below(self.under_way.len()));
        if random.one_in(4) {
            self.under_way.push((from, to, delta.clone()));
        }
        if !random.one_in(4) && !self.split.contains(&(from.min(to), from.max(to))) {
            let diffs = self.states[to].merge(&delta);
            self.tell(to, &diffs);
        }
    }

    fn heal(&mut self, one: usize, other: usize) {
        self.split.remove(&(one.min(other), one.max(other)));
        for (one, other) in [(one, other), (other, one)] {
            let diffs = self.states[one].up(&replica(NAMES[other]));
            self.tell(one, &diffs);
        }
    }

    /// Checks that a replica has exactly the entries of another one whose writes it doesn't lack.
    fn check_complete(&self) {
        for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            let writer = replica(NAMES[from]);
            if !self.states[to].lacks(&writer, self.states[from].clock()) {
                let entries =
                    |at: usize| self.states[at].full().shares()[&writer].entries().cloned().collect::<Vec<_>>();
                assert_eq!(entries(to), entries(from));
            }
        }
    }

    /// Applies diffs to the client's list. Diffs must contain exactly the changes: afterwards the client's list is the
    /// replica's list.
    fn tell(&mut self, at: usize, diffs: &Diffs) {
        for (topic, diff) in diffs {
            assert!(!diff.is_empty());
            let told = self.told[at].entry(topic.clone()).or_default();
            for join in diff.joins() {
                assert!(told.insert(format!("{} {}", join.key, join.phx_ref())));
            }
            for leave in diff.leaves() {
                assert!(told.remove(&format!("{} {}", leave.key, leave.phx_ref())));
            }
        }
        for (topic, told) in &self.told[at] {
            let mut seen = seen(&self.states[at], topic);
            seen.sort();
            assert_eq!(&seen, &told.iter().cloned().collect::<Vec<_>>());
        }
    }
}

#[test]
fn replicas_agree_after_deltas_were_lost_repeated_or_late() {
    for mut random in Random::runs(60) {
        let mut cluster = Cluster::new();
        for _ in 0..200 {
            cluster.step(&mut random);
            cluster.check_complete();
        }
        cluster.under_way.clear();
        for (one, other) in [(0, 1), (1, 2), (0, 2)] {
            cluster.heal(one, other);
        }
        for (from, to) in [(0, 1), (1, 2), (2, 1), (1, 0)] {
            let full = cluster.states[from].full();
            let diffs = cluster.states[to].merge(&full);
            cluster.tell(to, &diffs);
        }
        let full = cluster.states[0].full();
        assert!(cluster.states.iter().all(|state| state.full() == full));
        for topic in [Topic::new("room:a"), Topic::new("room:b")] {
            let lists: BTreeSet<_> = cluster.states.iter_mut().map(|state| text(state.payload(&topic))).collect();
            assert_eq!(lists.len(), 1);
        }
        // Each replica's writes have consecutive clocks, so no gap is left.
        assert!(full.shares().values().all(|share| share.seen().beyond().is_empty()));
    }
}

/// Deltas, merged deltas, and full states at some times.
fn some_deltas(random: &mut Random) -> Vec<Delta> {
    let mut states = NAMES.map(|name| State::new(replica(name)));
    let mut deltas = Vec::new();
    for _ in 0..40 {
        let at = random.below(3);
        let Change { delta, .. } = operate(&mut states[at], random);
        deltas.push(delta);
        if random.one_in(4) {
            deltas.push(states[at].full());
        }
        if random.one_in(4) {
            let (mut one, other) = (random.pick(&deltas), random.pick(&deltas));
            one.merge(&other);
            deltas.push(one);
        }
    }
    deltas
}

fn merged(deltas: &[&Delta]) -> Delta {
    let mut all = Delta::default();
    deltas.iter().for_each(|delta| all.merge(delta));
    all
}

#[test]
fn merging_is_idempotent_commutative_and_associative() {
    for mut random in Random::runs(40) {
        let deltas = some_deltas(&mut random);
        for _ in 0..50 {
            let (x, y, z) = (random.pick(&deltas), random.pick(&deltas), random.pick(&deltas));
            assert_eq!(merged(&[&x, &x]), x);
            assert_eq!(merged(&[&x, &y]), merged(&[&y, &x]));
            assert_eq!(merged(&[&merged(&[&x, &y]), &z]), merged(&[&x, &merged(&[&y, &z])]));
        }
    }
}

#[test]
fn a_state_is_the_same_for_every_order_of_merges() {
    for mut random in Random::runs(40) {
        let mut deltas = some_deltas(&mut random);
        let mut observers = [1, 2, 3].map(|start| State::new(Replica::new("z", 0, start)));
        for observer in &mut observers {
            NAMES.iter().for_each(|name| drop(observer.up(&replica(name))));
        }
        deltas.iter().for_each(|delta| drop(observers[0].merge(delta)));
        observers[1].merge(&merged(&deltas.iter().collect::<Vec<_>>()));
        for left in (1..=deltas.len()).rev() {
            let delta = deltas.swap_remove(random.below(left));
            observers[2].merge(&delta);
            assert!(observers[2].merge(&delta).is_empty(), "a repeated delta changes nothing");
        }
        for topic in [Topic::new("room:a"), Topic::new("room:b")] {
            assert_eq!(seen(&observers[0], &topic), seen(&observers[1], &topic));
            assert_eq!(seen(&observers[0], &topic), seen(&observers[2], &topic));
        }
    }
}

#[test]
fn a_written_delta_reads_back_as_the_same() {
    for mut random in Random::runs(10) {
        for delta in some_deltas(&mut random) {
            let text = serde_json::to_string(&delta).unwrap();
            assert_eq!(serde_json::from_str::<Delta>(&text).unwrap(), delta, "{text}");
        }
    }
}
