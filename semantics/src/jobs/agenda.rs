//! Which jobs are due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::JobId;
use crate::Topic;

/// What happens with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waits for its time.
    Waiting,
    /// It is being tried.
    Running,
    /// Its time has passed, but nobody serves it.
    Held,
    /// It was tried too often.
    GivenUp,
}

/// A job in the agenda.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// What happens with it.
    pub phase: Phase,
    /// When it is tried next. `None` if it is given up.
    pub next_ms: Option<u64>,
    /// The bytes of its row.
    pub bytes: u64,
}

/// The number of jobs, and the bytes of their rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobUsage {
    /// How many there are.
    pub count: u64,
    /// The bytes of their rows.
    pub bytes: u64,
}

/// All stored jobs, in the order in which they are due. It is an index of the store's rows: whoever writes a row calls
/// [`put`](Self::put) or [`remove`](Self::remove), in the order of the commits.
#[derive(Debug, Default)]
pub struct Agenda {
    slots: BTreeMap<Arc<JobId>, Slot>,
    /// The waiting ones of each plugin, so that one with many due jobs doesn't hide those of another.
    due: BTreeMap<Arc<str>, BTreeSet<(u64, Arc<JobId>)>>,
    /// Those that nobody serves.
    held: BTreeSet<Arc<JobId>>,
    plugins: BTreeMap<Arc<str>, JobUsage>,
    topics: BTreeMap<(Arc<str>, Topic), u64>,
}

impl Agenda {
    /// A row was written: the job is tried at `next_ms`, or is given up if that is `None`. A job that is being tried stays so
    /// until [`ended`](Self::ended).
    pub fn put(&mut self, id: JobId, next_ms: Option<u64>, bytes: u64) {
        let (id, is_running) = match self.slots.get_key_value(&id) {
            Some((known, slot)) => (Arc::clone(known), slot.phase == Phase::Running),
            None => (Arc::new(id), false),
        };
        self.remove(&id);
        let usage = self.plugins.entry(Arc::clone(&id.plugin)).or_default();
        *usage = JobUsage { count: usage.count + 1, bytes: usage.bytes + bytes };
        *self.topics.entry((Arc::clone(&id.plugin), id.topic.clone())).or_default() += 1;
        let phase = if is_running { Phase::Running } else { resting(next_ms) };
        self.slots.insert(Arc::clone(&id), Slot { phase, next_ms, bytes });
        self.await_due(&id);
    }

    /// A row was removed.
    pub fn remove(&mut self, id: &JobId) {
        let Some((id, slot)) = self.slots.remove_entry(id) else { return };
        if let Some(next_ms) = slot.next_ms {
            self.remove_due(&id, next_ms);
        }
        self.held.remove(&id);
        if let Some(usage) = self.plugins.get_mut(&id.plugin) {
            *usage = JobUsage { count: usage.count - 1, bytes: usage.bytes.saturating_sub(slot.bytes) };
            if usage.count == 0 {
                self.plugins.remove(&id.plugin);
            }
        }
        let topic = (Arc::clone(&id.plugin), id.topic.clone());
        if let Some(count) = self.topics.get_mut(&topic) {
            *count -= 1;
            if *count == 0 {
                self.topics.remove(&topic);
            }
        }
    }

    /// Takes the job that has been due for the longest time, if its time has come by `now_ms`. It is being tried from now on.
    /// Jobs of plugins for which `is_free` is false are left out.
    pub fn take_due(&mut self, now_ms: u64, is_free: impl Fn(&str) -> bool) -> Option<Arc<JobId>> {
        let (next_ms, id) = self.first_due(is_free).filter(|(next_ms, _)| *next_ms <= now_ms)?;
        self.remove_due(&id, next_ms);
        self.set_phase(&id, Phase::Running);
        Some(id)
    }

    /// A try has ended. If the job still has a row, it is tried again at its time, but not before `not_before_ms`.
    pub fn ended(&mut self, id: &JobId, not_before_ms: u64) {
        let Some((id, slot)) = self.running(id) else { return };
        slot.next_ms = slot.next_ms.map(|next_ms| next_ms.max(not_before_ms));
        slot.phase = resting(slot.next_ms);
        self.await_due(&id);
    }

    /// Nobody serves a job that was taken: it waits for [`release`](Self::release).
    pub fn hold(&mut self, id: &JobId) {
        let Some((id, slot)) = self.running(id) else { return };
        if slot.next_ms.is_none() {
            slot.phase = Phase::GivenUp;
            return;
        }
        slot.phase = Phase::Held;
        self.held.insert(id);
    }

    /// Makes the held jobs for which this is true wait again: somebody may serve them now.
    pub fn release(&mut self, mut is_served: impl FnMut(&JobId) -> bool) {
        let released: Vec<_> = self.held.extract_if(.., |id| is_served(id)).collect();
        for id in released {
            self.set_phase(&id, Phase::Waiting);
            self.await_due(&id);
        }
    }

    /// When the next job is due, of those plugins for which `is_free` is true. `None` if none waits.
    #[must_use]
    pub fn next_due_ms(&self, is_free: impl Fn(&str) -> bool) -> Option<u64> {
        self.first_due(is_free).map(|(next_ms, _)| next_ms)
    }

    /// Whether a job waits until somebody serves it.
    #[must_use]
    pub fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// A job.
    #[must_use]
    pub fn get(&self, id: &JobId) -> Option<Slot> {
        self.slots.get(id).copied()
    }

    /// The jobs after one in the order of their ids, or from the first one.
    pub fn after(&self, id: Option<&JobId>) -> impl Iterator<Item = (&Arc<JobId>, Slot)> {
        use std::ops::Bound;
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.slots.range::<JobId, _>((from, Bound::Unbounded)).map(|(id, slot)| (id, *slot))
    }

    /// The jobs of a plugin.
    #[must_use]
    pub fn usage(&self, plugin: &str) -> JobUsage {
        self.plugins.get(plugin).copied().unwrap_or_default()
    }

    /// The number of a plugin's jobs about a topic.
    #[must_use]
    pub fn count_of_topic(&self, id: &JobId) -> u64 {
        self.topics.get(&(Arc::clone(&id.plugin), id.topic.clone())).copied().unwrap_or_default()
    }

    /// How many jobs there are, and how many of them are given up, and held.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let given_up = self.slots.values().filter(|slot| slot.phase == Phase::GivenUp).count();
        (self.slots.len(), given_up, self.held.len())
    }

    /// The shared name of a plugin, if the agenda has one of its jobs.
    #[must_use]
    pub fn plugin_name(&self, plugin: &str) -> Option<Arc<str>> {
        self.plugins.get_key_value(plugin).map(|(name, _)| Arc::clone(name))
    }

    fn first_due(&self, is_free: impl Fn(&str) -> bool) -> Option<(u64, Arc<JobId>)> {
        let free = self.due.iter().filter(|(plugin, _)| is_free(plugin));
        free.filter_map(|(_, due)| due.first()).min().cloned()
    }

    fn remove_due(&mut self, id: &Arc<JobId>, next_ms: u64) {
        if let Some(due) = self.due.get_mut(&id.plugin) {
            due.remove(&(next_ms, Arc::clone(id)));
            if due.is_empty() {
                self.due.remove(&id.plugin);
            }
        }
    }

    fn running(&mut self, id: &JobId) -> Option<(Arc<JobId>, &mut Slot)> {
        let known = Arc::clone(self.slots.get_key_value(id)?.0);
        let slot = self.slots.get_mut(id).filter(|slot| slot.phase == Phase::Running)?;
        Some((known, slot))
    }

    fn set_phase(&mut self, id: &JobId, phase: Phase) {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.phase = phase;
        }
    }

    /// Adds a waiting job to those that are due at their time.
    fn await_due(&mut self, id: &Arc<JobId>) {
        if let Some(Slot { phase: Phase::Waiting, next_ms: Some(next_ms), .. }) = self.slots.get(id) {
            self.due.entry(Arc::clone(&id.plugin)).or_default().insert((*next_ms, Arc::clone(id)));
        }
    }
}

/// The phase of a job that isn't being tried.
fn resting(next_ms: Option<u64>) -> Phase {
    if next_ms.is_some() { Phase::Waiting } else { Phase::GivenUp }
}
