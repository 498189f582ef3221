//! The faults that one user or address has caused.

use std::sync::Arc;
use std::time::Duration;

/// The first time for which somebody is refused, or a plugin is set aside. It doubles each time, up to the maximum.
const PAUSE_FIRST: Duration = Duration::from_secs(10);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// After this time without a further refusal, the time begins at the first one again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// The time in which faults are counted.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// The most plugins for which an account has faults. One that caused faults in more of them is remembered for the last ones.
const PLUGINS_MAX: usize = 8;

/// A pause that grows each time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pause {
    /// When it ends, in nanoseconds.
    until: u64,
    step: u32,
}

/// Converts a duration to nanoseconds.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Pause {
    /// Begins a pause, longer than the one before. Returns its duration.
    pub(super) fn begin(&mut self, now: u64) -> Duration {
        self.step = if self.is_forgotten(now) { 0 } else { self.step + 1 };
        let pause = PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(self.step)).min(PAUSE_MAX);
        self.until = now.saturating_add(nanos(pause));
        pause
    }

    /// How long it still lasts; none if it is over.
    pub(super) fn rest(&self, now: u64) -> Option<Duration> {
        self.until.checked_sub(now).filter(|rest| *rest > 0).map(Duration::from_nanos)
    }

    pub(super) fn until(&self) -> u64 {
        self.until
    }

    /// Whether the next one begins at the first duration again.
    pub(super) fn is_forgotten(&self, now: u64) -> bool {
        self.until == 0 || now > self.until.saturating_add(nanos(FORGOTTEN_AFTER))
    }
}

/// The faults of an account, by plugin.
#[derive(Debug, Default)]
pub(super) struct AccountFaults(Vec<PluginFaults>);

#[derive(Debug)]
struct PluginFaults {
    plugin: Arc<str>,
    /// A bucket of the faults of a minute: when it is full again.
    full_at: u64,
    pause: Pause,
}

impl AccountFaults {
    /// Counts a fault of a plugin, of which `most` are allowed in a minute. Returns for how long the account is refused, if
    /// the refusal begins with this fault.
    pub(super) fn add(&mut self, now: u64, plugin: &Arc<str>, most: u64) -> Option<(Duration, u64)> {
        if most == 0 {
            return None;
        }
        let faults = self.of(now, plugin);
        let full_at = faults.full_at.max(now).saturating_add(nanos(MINUTE) / most);
        if full_at - now <= nanos(MINUTE) {
            faults.full_at = full_at;
            return None;
        }
        // Calls that had begun before the refusal may still fail.
        faults.pause.rest(now).is_none().then(|| (faults.pause.begin(now), faults.pause.until()))
    }

    /// How long the account is still refused by a plugin.
    pub(super) fn rest(&self, now: u64, plugin: &str) -> Option<Duration> {
        self.0.iter().find(|faults| &*faults.plugin == plugin).and_then(|faults| faults.pause.rest(now))
    }

    /// The plugins that refuse the account, and how long they still do.
    pub(super) fn refusals(&self, now: u64) -> impl Iterator<Item = (Arc<str>, Duration)> {
        self.0.iter().filter_map(move |faults| Some((Arc::clone(&faults.plugin), faults.pause.rest(now)?)))
    }

    /// Whether nothing needs to be remembered.
    pub(super) fn is_forgotten(&self, now: u64) -> bool {
        self.0.iter().all(|faults| faults.full_at <= now && faults.pause.is_forgotten(now))
    }

    fn of(&mut self, now: u64, plugin: &Arc<str>) -> &mut PluginFaults {
        let place = self.0.iter().position(|faults| faults.plugin == *plugin).unwrap_or_else(|| {
            let fresh = PluginFaults { plugin: Arc::clone(plugin), full_at: now, pause: Pause::default() };
            if self.0.len() < PLUGINS_MAX {
                self.0.push(fresh);
                return self.0.len() - 1;
            }
            let oldest = self.0.iter().enumerate().min_by_key(|(_, faults)| faults.full_at.max(faults.pause.until()));
            let place = oldest.map_or(0, |(place, _)| place);
            self.0[place] = fresh;
            place
        });
        &mut self.0[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn more_faults_than_allowed_cause_growing_pauses() {
        let (mut faults, plugin) = (AccountFaults::default(), Arc::<str>::from("chat"));
        let mut now = SECOND;
        let mut add = |now| faults.add(now, &plugin, 5).map(|(pause, _)| pause.as_secs());
        assert!((0..5).all(|_| add(now).is_none()));
        assert_eq!(add(now), Some(10));
        assert_eq!(add(now), None, "it is refused already");
        let mut pauses = Vec::new();
        for _ in 0..7 {
            // Within the pause, the bucket fills a little. So each time, fewer are allowed than at first.
            now += 400 * SECOND;
            pauses.extend((0..6).filter_map(|_| add(now)));
        }
        assert_eq!(pauses, [20, 40, 80, 160, 300, 300, 300]);
        now += 1000 * SECOND;
        assert_eq!((0..6).filter_map(|_| add(now)).collect::<Vec<_>>(), [10], "it is forgotten after a while");
        assert!(faults.rest(now, "chat").is_some() && faults.rest(now, "other").is_none());
        assert!(!faults.is_forgotten(now) && faults.is_forgotten(now + 1000 * SECOND));
    }

    #[test]
    fn faults_at_the_allowed_rate_refuse_nobody() {
        let (mut faults, plugin) = (AccountFaults::default(), Arc::<str>::from("chat"));
        assert!((1..1000).all(|n| faults.add(n * 12 * SECOND, &plugin, 5).is_none()));
        assert!((1..1000).all(|n| faults.add(n, &plugin, 0).is_none()), "0 means no limit");
    }

    #[test]
    fn the_number_of_plugins_is_bounded() {
        let mut faults = AccountFaults::default();
        for n in 0..100 {
            faults.add(n, &Arc::from(format!("plugin{n}")), 5);
        }
        assert_eq!(faults.0.len(), PLUGINS_MAX);
    }
}
