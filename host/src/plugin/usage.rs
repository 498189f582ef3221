//! What a plugin uses: its instances, their memory, its calls and their CPU time.
//!
//! The counts must not slow calls down. A call is counted under the lock of its pool's unused instances, which it holds
//! anyway. The CPU time is sampled: at each epoch, every guest that runs stops for a moment, and is counted as if it had run
//! since the epoch before. A call of 10 µs is counted once in a hundred calls, and then as a millisecond, so the sum is right.
//! Reading the clock before and after each call would cost one percent of a short call. So only some of the short calls are
//! timed, and count for the others ([`GenerationUsage::is_timed`]). A call that waits is always timed, from its first wait on:
//! it sets a timer anyway.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::call_kind::CallKind;
use super::capacity::Idle;
use crate::counts::{Histogram, HistogramCounts};

/// The bounds of the histogram of calls. A call also counts the time in which it waits for an instance, for the store and for
/// answers by HTTP.
pub const CALL_BOUNDS: [Duration; 8] = [
    Duration::from_micros(10),
    Duration::from_micros(30),
    Duration::from_micros(100),
    Duration::from_micros(300),
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
];

/// How many calls of each kind are all timed. After them, one of [`TIMED_ONE_OF`] is, and counts as often.
const TIMED_FIRST: u64 = 1_000;
const TIMED_ONE_OF: u64 = 16;

/// What the instances of one generation use.
///
/// All operations are relaxed: the numbers are only read by people.
#[derive(Debug, Default)]
pub(super) struct GenerationUsage {
    instances: AtomicUsize,
    memory_bytes: AtomicUsize,
    /// The calls of each kind that have ended, except those whose wall time was over.
    calls: [AtomicU64; CallKind::COUNT],
    /// The calls whose wall time was over.
    calls_too_long: [AtomicU64; CallKind::COUNT],
    durations: Histogram<{ CALL_BOUNDS.len() }>,
    /// The calls that had to wait for an instance, and how long.
    waits: AtomicU64,
    waits_ns: AtomicU64,
    cpu_ns: AtomicU64,
    faults: AtomicU64,
    idle: OnceLock<Weak<Idle>>,
}

/// What a plugin uses, in all its generations since the host's start.
#[derive(Debug, Default)]
pub struct PluginUsage {
    /// The lock is held only to read or change the list, never during a call.
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    /// Those that may still have instances.
    live: Vec<Arc<GenerationUsage>>,
    /// The sums of the others.
    ended: UsageCounts,
}

/// The numbers of a plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageCounts {
    /// The instances that exist.
    pub instances: usize,
    /// Those of them that no call uses.
    pub idle: usize,
    /// The linear memory of the instances, in bytes.
    pub memory_bytes: usize,
    /// The calls that have ended, by kind.
    pub calls: [u64; CallKind::COUNT],
    /// How long the calls took.
    pub durations: HistogramCounts<{ CALL_BOUNDS.len() }>,
    /// The calls that had to wait for an instance.
    pub waits: u64,
    /// How long they waited.
    pub waited: Duration,
    /// The CPU time of all calls, and of the evaluations of a script. It is sampled each millisecond.
    pub cpu: Duration,
    /// The calls that have ended in a fault.
    pub faults: u64,
}

impl GenerationUsage {
    /// Counts an instance that is created.
    pub(super) fn begin_instance(&self) {
        self.instances.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the end of an instance with this memory.
    pub(super) fn end_instance(&self, memory_bytes: usize) {
        self.instances.fetch_sub(1, Ordering::Relaxed);
        self.memory_bytes.fetch_sub(memory_bytes, Ordering::Relaxed);
    }

    /// Counts memory by which an instance has grown.
    pub(super) fn grow(&self, bytes: usize) {
        self.memory_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a call that has ended. The caller holds the lock of the pool's unused instances, so no other thread writes the
    /// number, and no atomic addition is necessary.
    pub(super) fn count_call(&self, kind: CallKind) {
        let calls = &self.calls[kind as usize];
        calls.store(calls.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Whether the next call of this kind is timed, if it doesn't wait.
    pub(super) fn is_timed(&self, kind: CallKind) -> bool {
        let calls = self.calls[kind as usize].load(Ordering::Relaxed);
        calls.is_multiple_of(TIMED_ONE_OF) || calls < TIMED_FIRST
    }

    /// Counts the duration of a call that was timed and has not waited.
    pub(super) fn add_short(&self, kind: CallKind, took: Duration) {
        let calls = self.calls[kind as usize].load(Ordering::Relaxed);
        // The call itself is counted already.
        let weight = if calls <= TIMED_FIRST { 1 } else { TIMED_ONE_OF };
        self.durations.add(&CALL_BOUNDS, took, weight);
    }

    /// Counts the duration of a call that has waited.
    pub(super) fn add_waited(&self, took: Duration) {
        self.durations.add(&CALL_BOUNDS, took, 1);
    }

    /// Counts the wait of a call for an instance.
    pub(super) fn count_wait(&self, waited: Duration) {
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.waits_ns.fetch_add(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Returns the number of calls that have ended.
    pub(super) fn calls(&self) -> u64 {
        let counts = self.calls.iter().chain(&self.calls_too_long);
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Counts a fault.
    pub(super) fn count_fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that has ended in a fault because its wall time was over.
    pub(super) fn count_too_long(&self, kind: CallKind) {
        self.calls_too_long[kind as usize].fetch_add(1, Ordering::Relaxed);
        self.count_fault();
    }

    /// Counts CPU time. It is called at most once for each epoch of a running guest.
    pub(super) fn add_cpu(&self, nanoseconds: u64) {
        self.cpu_ns.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Returns the number of instances.
    pub(super) fn instances(&self) -> usize {
        self.instances.load(Ordering::Relaxed)
    }

    /// Sets the list of the unused instances.
    pub(super) fn set_idle(&self, idle: &Arc<Idle>) {
        let _ = self.idle.set(Arc::downgrade(idle));
    }

    fn counts(&self) -> UsageCounts {
        let idle = self.idle.get().and_then(Weak::upgrade).map_or(0, |idle| idle.lock().len());
        UsageCounts {
            // An instance may have been created between the two reads.
            instances: self.instances().max(idle),
            idle,
            memory_bytes: self.memory_bytes.load(Ordering::Relaxed),
            calls: std::array::from_fn(|kind| {
                self.calls[kind].load(Ordering::Relaxed) + self.calls_too_long[kind].load(Ordering::Relaxed)
            }),
            durations: self.durations.counts(),
            waits: self.waits.load(Ordering::Relaxed),
            waited: Duration::from_nanos(self.waits_ns.load(Ordering::Relaxed)),
            cpu: Duration::from_nanos(self.cpu_ns.load(Ordering::Relaxed)),
            faults: self.faults.load(Ordering::Relaxed),
        }
    }
}

impl PluginUsage {
    /// Returns the counts of a new generation.
    pub(super) fn begin_generation(&self) -> Arc<GenerationUsage> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let generations = &mut *generations;
        generations.live.retain(|usage| {
            // The instances of a generation hold its usage too.
            let is_live = Arc::strong_count(usage) > 1;
            if !is_live {
                generations.ended.add(&usage.counts());
            }
            is_live
        });
        let usage = Arc::<GenerationUsage>::default();
        generations.live.push(Arc::clone(&usage));
        usage
    }

    /// Returns the numbers of now.
    #[must_use]
    pub fn counts(&self) -> UsageCounts {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = generations.ended;
        generations.live.iter().for_each(|usage| counts.add(&usage.counts()));
        counts
    }
}

impl UsageCounts {
    /// Returns the calls of all kinds.
    #[must_use]
    pub fn all_calls(&self) -> u64 {
        self.calls.iter().sum()
    }

    fn add(&mut self, other: &Self) {
        self.instances += other.instances;
        self.idle += other.idle;
        self.memory_bytes += other.memory_bytes;
        self.calls.iter_mut().zip(other.calls).for_each(|(calls, more)| *calls += more);
        self.durations.add(&other.durations);
        self.waits += other.waits;
        self.waited += other.waited;
        self.cpu += other.cpu;
        self.faults += other.faults;
    }
}

impl Serialize for PluginUsage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counts = self.counts();
        let UsageCounts { instances, idle, memory_bytes, cpu, faults, .. } = counts;
        let mut fields = serializer.serialize_struct("PluginUsage", 6)?;
        fields.serialize_field("instances", &instances)?;
        fields.serialize_field("instances_idle", &idle)?;
        fields.serialize_field("memory_bytes", &memory_bytes)?;
        fields.serialize_field("calls", &counts.all_calls())?;
        fields.serialize_field("cpu_ms", &u64::try_from(cpu.as_millis()).unwrap_or(u64::MAX))?;
        fields.serialize_field("faults", &faults)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_a_generation_remain_when_its_instances_are_gone() {
        let plugin = PluginUsage::default();
        let first = plugin.begin_generation();
        first.begin_instance();
        first.grow(100);
        first.count_call(CallKind::Join);
        first.count_too_long(CallKind::HandleIn);
        first.add_cpu(3_000_000);
        first.add_waited(Duration::from_millis(2));
        first.count_wait(Duration::from_millis(1));
        let second = plugin.begin_generation();
        second.count_call(CallKind::Join);
        let mut both = UsageCounts {
            instances: 1,
            memory_bytes: 100,
            cpu: Duration::from_millis(3),
            waits: 1,
            waited: Duration::from_millis(1),
            faults: 1,
            ..UsageCounts::default()
        };
        (both.calls[CallKind::Join as usize], both.calls[CallKind::HandleIn as usize]) = (2, 1);
        (both.durations.buckets[5], both.durations.nanoseconds) = (1, 2_000_000);
        assert_eq!(plugin.counts(), both);
        first.end_instance(100);
        drop(first);
        drop(plugin.begin_generation());
        assert_eq!(plugin.generations.lock().expect("no panic").live.len(), 2, "the first one is a sum now");
        assert_eq!(plugin.counts(), UsageCounts { instances: 0, memory_bytes: 0, ..both });
    }

    #[test]
    fn all_of_the_first_short_calls_are_timed_and_then_some_of_them_for_the_others() {
        let usage = GenerationUsage::default();
        let mut timed = 0;
        for _ in 0..TIMED_FIRST + 160 {
            let is_timed = usage.is_timed(CallKind::HandleIn);
            usage.count_call(CallKind::HandleIn);
            if is_timed {
                timed += 1;
                usage.add_short(CallKind::HandleIn, Duration::from_micros(20));
            }
        }
        assert_eq!(timed, TIMED_FIRST + 10);
        assert_eq!(usage.counts().durations.count(), TIMED_FIRST + 160);
        assert!(usage.is_timed(CallKind::Join), "each kind has its own count");
    }
}
