//! Watches all hosts, and finds what must never be.

use std::collections::{BTreeMap, BTreeSet};

use bennu_cluster::core::CoreOutput;
use bennu_cluster::{ClusterEvent, Epoch, Lane, NodeId};
use bytes::Bytes;

/// What happened in runs, so that a test can say that it has tested something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) starts: u64,
    pub(crate) refused: u64,
    pub(crate) messages: u64,
    pub(crate) full: u64,
    pub(crate) losses: u64,
    pub(crate) ups: u64,
    pub(crate) silences: u64,
    pub(crate) returns: u64,
    pub(crate) deaths: u64,
    pub(crate) declared_dead: u64,
    pub(crate) suspensions: u64,
    pub(crate) resumptions: u64,
    pub(crate) fences: u64,
    pub(crate) commits: u64,
    pub(crate) refused_commits: u64,
    pub(crate) nacks: u64,
    pub(crate) repeats: u64,
    pub(crate) duplicates: u64,
    pub(crate) dead_flushes: u64,
    pub(crate) pauses: u64,
    pub(crate) jumps: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in self.fields().into_iter().zip(other.clone().fields()) {
            *sum += *more;
        }
    }

    fn fields(&mut self) -> [&mut u64; 21] {
        [
            &mut self.starts,
            &mut self.refused,
            &mut self.messages,
            &mut self.full,
            &mut self.losses,
            &mut self.ups,
            &mut self.silences,
            &mut self.returns,
            &mut self.deaths,
            &mut self.declared_dead,
            &mut self.suspensions,
            &mut self.resumptions,
            &mut self.fences,
            &mut self.commits,
            &mut self.refused_commits,
            &mut self.nacks,
            &mut self.repeats,
            &mut self.duplicates,
            &mut self.dead_flushes,
            &mut self.pauses,
            &mut self.jumps,
        ]
    }

    /// The names of what never happened.
    pub(crate) fn missing(mut self) -> usize {
        self.fields().into_iter().filter(|count| **count == 0).count()
    }
}

/// What one host was told.
#[derive(Default)]
struct Host {
    up: BTreeSet<Epoch>,
    silent: BTreeSet<Epoch>,
    dead: BTreeSet<Epoch>,
    is_suspended: bool,
    is_fenced: bool,
    /// The last number of a sender to all, and to this node, and whether a loss was told since.
    heard: BTreeMap<(Epoch, Lane), Numbers>,
}

#[derive(Clone, Copy, Default)]
struct Numbers {
    last: u64,
    is_lost: bool,
}

/// Watches all hosts.
#[derive(Default)]
pub(crate) struct Witness {
    hosts: BTreeMap<Epoch, Host>,
    /// How many messages each node has sent to each lane.
    sent: BTreeMap<(Epoch, Lane), u64>,
    /// Nodes of which some host was told that they are dead.
    dead: BTreeSet<Epoch>,
    /// The last epoch of each name that has committed.
    committed: BTreeMap<String, Epoch>,
    pub(crate) tally: Tally,
    pub(crate) findings: Vec<String>,
}

impl Witness {
    /// The next message of a node to a lane, with so many bytes more.
    pub(crate) fn message(&self, from: Epoch, lane: Lane, more: usize) -> Bytes {
        let number = self.sent.get(&(from, lane)).copied().unwrap_or(0) + 1;
        let to = match lane {
            Lane::All => 0,
            Lane::Node(epoch) => epoch.0,
        };
        let mut bytes = [from.0, to, number].map(u64::to_be_bytes).concat();
        bytes.resize(bytes.len() + more, 0);
        bytes.into()
    }

    /// The node's queue has taken that message.
    pub(crate) fn sent(&mut self, from: Epoch, lane: Lane) {
        *self.sent.entry((from, lane)).or_default() += 1;
    }

    /// The nodes that a host was told are up.
    pub(crate) fn up(&self, me: Epoch) -> Vec<Epoch> {
        self.hosts.get(&me).map(|host| host.up.iter().copied().collect()).unwrap_or_default()
    }

    /// A host is told something.
    pub(crate) fn told(&mut self, me: NodeId, output: CoreOutput) {
        match output {
            CoreOutput::Messages(from, messages) => {
                for message in messages {
                    self.tally.messages += 1;
                    self.message_told(me.epoch, from, &message);
                }
            }
            CoreOutput::Event(event) => {
                if self.hosts.entry(me.epoch).or_default().is_fenced {
                    self.findings.push(format!("{} was told {event:?} after it was told that it is fenced", me.epoch));
                }
                self.count(&event);
                if let Some(why) = self.hosts.entry(me.epoch).or_default().told(me.epoch, &event) {
                    self.findings.push(format!("{} was told {event:?}: {why}", me.epoch));
                }
                if let ClusterEvent::Dead(node) = event {
                    self.dead.insert(node);
                }
            }
        }
    }

    fn count(&mut self, event: &ClusterEvent) {
        let tally = &mut self.tally;
        let count = match event {
            ClusterEvent::Message { .. } => return,
            ClusterEvent::Up(_) => &mut tally.ups,
            ClusterEvent::Silent(_) => &mut tally.silences,
            ClusterEvent::Heard(_) => &mut tally.returns,
            ClusterEvent::Dead(_) => &mut tally.deaths,
            ClusterEvent::Lost { .. } => &mut tally.losses,
            ClusterEvent::Suspended => &mut tally.suspensions,
            ClusterEvent::Resumed => &mut tally.resumptions,
            ClusterEvent::Fenced => &mut tally.fences,
        };
        *count += 1;
    }

    fn message_told(&mut self, me: Epoch, from: Epoch, message: &[u8]) {
        let word = |at: usize| u64::from_be_bytes(message[at * 8..at * 8 + 8].try_into().expect("eight bytes"));
        let (lane, number) = (if word(1) == 0 { Lane::All } else { Lane::Node(Epoch(word(1))) }, word(2));
        let shown = format!("message {number} of {from} to {lane:?} at {me}");
        let host = self.hosts.entry(me).or_default();
        let mut find = |why: &str| self.findings.push(format!("{shown}: {why}"));
        if word(0) != from.0 || (lane != Lane::All && lane != Lane::Node(me)) {
            find("it is of another node, or for another one");
        }
        if host.is_fenced || !host.up.contains(&from) || host.dead.contains(&from) {
            find("its sender isn't up, or its receiver is fenced");
        }
        let is_first = !host.heard.contains_key(&(from, lane));
        let numbers = host.heard.entry((from, lane)).or_default();
        if number <= numbers.last {
            find("it came before, or too late");
        }
        // What a node sent to all before it was heard first isn't known.
        let is_begin = is_first && lane == Lane::All;
        if number > numbers.last + 1 && !numbers.is_lost && !is_begin {
            find(&format!("it follows {}, and no loss was told", numbers.last));
        }
        *numbers = Numbers { last: number, is_lost: false };
    }

    /// A node commits, as the table decides.
    pub(crate) fn committed(&mut self, id: NodeId, name: &str, is_taken: bool) {
        if !is_taken {
            self.tally.refused_commits += 1;
            return;
        }
        self.tally.commits += 1;
        if self.dead.contains(&id.epoch) {
            self.findings.push(format!("{} has committed after somebody was told that it is dead", id.epoch));
        }
        let last = self.committed.entry(name.to_owned()).or_insert(id.epoch);
        if id.epoch < *last {
            self.findings.push(format!("{} has committed as {name} after {last} did", id.epoch));
        }
        *last = id.epoch.max(*last);
    }

    /// What a host knows at the end, compared with who runs.
    pub(crate) fn check_end(&mut self, me: Epoch, running: &BTreeSet<Epoch>) {
        let host = self.hosts.entry(me).or_default();
        let others: BTreeSet<Epoch> = running.iter().copied().filter(|node| *node != me).collect();
        if host.up != others {
            self.findings.push(format!("{me} calls {:?} up at the end, and {others:?} are", host.up));
        }
        if !host.silent.is_empty() || host.is_suspended || host.is_fenced {
            let (silent, is_suspended) = (&host.silent, host.is_suspended);
            self.findings.push(format!("{me} at the end: silent {silent:?}, suspended {is_suspended}"));
        }
        for from in &others {
            for lane in [Lane::All, Lane::Node(me)] {
                let sent = self.sent.get(&(*from, lane)).copied().unwrap_or(0);
                let heard = host.heard.get(&(*from, lane)).map_or(0, |numbers| numbers.last);
                if sent != heard {
                    self.findings.push(format!("{me} has heard {heard} of {sent} messages of {from} to {lane:?}"));
                }
            }
        }
    }
}

impl Host {
    /// Takes an event. Returns why it can't be.
    fn told(&mut self, me: Epoch, event: &ClusterEvent) -> Option<&'static str> {
        let is_possible = match event {
            ClusterEvent::Message { .. } => true,
            ClusterEvent::Up(node) => !self.dead.contains(node) && self.up.insert(*node),
            ClusterEvent::Silent(node) => self.up.contains(node) && self.silent.insert(*node),
            ClusterEvent::Heard(node) => self.up.contains(node) && self.silent.remove(node),
            ClusterEvent::Dead(node) => {
                self.up.remove(node);
                self.silent.remove(node);
                self.dead.insert(*node)
            }
            ClusterEvent::Lost { from } => {
                for lane in [Lane::All, Lane::Node(me)] {
                    self.heard.entry((*from, lane)).or_default().is_lost = true;
                }
                self.up.contains(from)
            }
            ClusterEvent::Suspended => !std::mem::replace(&mut self.is_suspended, true),
            ClusterEvent::Resumed => std::mem::replace(&mut self.is_suspended, false),
            ClusterEvent::Fenced => !std::mem::replace(&mut self.is_fenced, true),
        };
        (!is_possible).then_some("that can't be now")
    }
}
