//! When the keys at a URL are fetched. Pure: the time is a parameter.

use std::time::Duration;

use tokio::time::Instant;

/// The minimum time between two requests for the same keys, whatever tokens ask for.
const BETWEEN_MIN: Duration = Duration::from_secs(60);

/// The time after the first failed request while there are no keys at all, so that a host that is started together with its identity
/// provider soon has them. It doubles with each failure, up to [`BETWEEN_MIN`].
const FIRST_RETRY: Duration = Duration::from_secs(5);

/// The time after which keys are fetched again if the server says nothing about it.
const FRESH_USUAL: Duration = Duration::from_secs(600);

/// The bounds of what a server may say about it, by `Cache-Control`.
const FRESH_MIN: Duration = BETWEEN_MIN;
const FRESH_MAX: Duration = Duration::from_secs(3600);

/// The time after the last successful request in which its keys are used although the URL fails.
const STALE_MAX: Duration = Duration::from_secs(24 * 3600);

/// When the keys at one URL are fetched.
#[derive(Debug, Default)]
pub(super) struct JwksSchedule {
    /// The last request.
    last: Option<Instant>,
    /// The last request that succeeded, and how long its keys are fresh.
    success: Option<(Instant, Duration)>,
    /// The number of failures since then.
    failures: u32,
    /// Whether a token has named an unknown key since the last request.
    is_wanted: bool,
}

impl JwksSchedule {
    /// Notes that a token has named an unknown key.
    pub(super) fn want(&mut self) {
        self.is_wanted = true;
    }

    /// Returns when the next request is due.
    pub(super) fn due(&self, now: Instant) -> Instant {
        let Some(last) = self.last else { return now };
        match self.success {
            Some((success, fresh)) if self.failures == 0 && !self.is_wanted => success + fresh,
            Some(_) => last + BETWEEN_MIN,
            None => last + FIRST_RETRY.saturating_mul(1 << self.failures.saturating_sub(1).min(8)).min(BETWEEN_MIN),
        }
    }

    /// Notes that a request begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.last = Some(now);
        self.is_wanted = false;
    }

    /// Notes that the request has succeeded. `cache_control` is the header of the answer.
    pub(super) fn succeed(&mut self, now: Instant, cache_control: Option<&str>) {
        self.success = Some((now, fresh_for(cache_control)));
        self.failures = 0;
    }

    /// Notes that the request has failed. Returns whether the keys of the last success may still be used.
    pub(super) fn fail(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let is_usable = self.success.is_some_and(|(success, _)| now < success + STALE_MAX);
        if !is_usable {
            self.success = None;
        }
        is_usable
    }
}

/// Returns how long keys are fresh, within the bounds.
fn fresh_for(cache_control: Option<&str>) -> Duration {
    let mut fresh = FRESH_USUAL;
    for directive in cache_control.unwrap_or_default().split(',').map(str::trim) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return FRESH_MIN;
        }
        if name.eq_ignore_ascii_case("max-age") {
            // A number that is too large, or isn't one, counts as the largest or the usual.
            let seconds = value.trim().trim_matches('"');
            if !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit()) {
                fresh = Duration::from_secs(seconds.parse().unwrap_or(u64::MAX));
            }
        }
    }
    fresh.clamp(FRESH_MIN, FRESH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn unknown_keys_cause_one_request_a_minute() {
        let (start, mut schedule) = (Instant::now(), JwksSchedule::default());
        assert_eq!(schedule.due(start), start);
        let (mut now, mut requests) = (start, 0);
        // A token with an unknown key each 100 ms, for ten minutes.
        while now < start + seconds(600) {
            schedule.want();
            if schedule.due(now) <= now {
                schedule.begin(now);
                schedule.succeed(now, None);
                requests += 1;
            }
            now += Duration::from_millis(100);
        }
        assert_eq!(requests, 10);
    }

    #[test]
    fn keys_are_fetched_again_when_they_are_not_fresh_any_more() {
        let (start, mut schedule) = (Instant::now(), JwksSchedule::default());
        let mut after = |cache_control| {
            schedule.begin(start);
            schedule.succeed(start, cache_control);
            schedule.due(start) - start
        };
        for (cache_control, expected) in [
            (None, 600),
            (Some("public, max-age=300"), 300),
            (Some("MAX-AGE=300, must-revalidate"), 300),
            (Some("max-age=1"), 60),
            (Some("max-age=0"), 60),
            (Some("no-cache"), 60),
            (Some("max-age=300, no-store"), 60),
            (Some("max-age=86400"), 3600),
            (Some("max-age=99999999999999999999999"), 3600),
            (Some("max-age=soon"), 600),
            (Some("max-age=-1"), 600),
            (Some("private"), 600),
        ] {
            assert_eq!(after(cache_control), seconds(expected), "{cache_control:?}");
        }
    }

    #[test]
    fn failures_keep_the_old_keys_for_a_day() {
        let (start, mut schedule) = (Instant::now(), JwksSchedule::default());
        schedule.begin(start);
        schedule.succeed(start, None);
        let mut now = start + seconds(600);
        let mut requests = 0;
        loop {
            assert!(schedule.due(now) <= now);
            schedule.begin(now);
            requests += 1;
            if !schedule.fail(now) {
                break;
            }
            assert_eq!(schedule.due(now), now + BETWEEN_MIN);
            now += BETWEEN_MIN;
        }
        assert_eq!(now - start, STALE_MAX);
        assert_eq!(requests, (STALE_MAX - seconds(600)).as_secs() / 60 + 1);
    }

    #[test]
    fn without_keys_it_is_tried_again_sooner() {
        let (start, mut schedule) = (Instant::now(), JwksSchedule::default());
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..7 {
            schedule.begin(now);
            assert!(!schedule.fail(now));
            // Tokens can't make it sooner.
            schedule.want();
            waits.push((schedule.due(now) - now).as_secs());
            now = schedule.due(now);
        }
        assert_eq!(waits, [5, 10, 20, 40, 60, 60, 60]);
    }
}
