//! Lines of the configuration that name times: `[[plugins.NAME.cron]]`.
//!
//! The next time of a line is a job. When it fires, the time after it takes its place, in the same transaction. So times that
//! were missed while the host didn't run become one, and a restart neither repeats a time nor skips it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytestring::ByteString;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds};

use crate::contract::jobs::{JobId, JobKind, JobRow};
use crate::protocol::{Payload, Topic};

/// A line of the configuration.
#[derive(Clone, Debug)]
pub struct CronLine {
    topic: Topic,
    event: ByteString,
    /// The text of the schedule, with its zone: it identifies the line, so that a changed line begins anew.
    text: String,
    schedule: Cron,
    timezone: Tz,
}

/// Why a line can't be used.
#[derive(Debug)]
pub enum CronError {
    /// The schedule can't be read.
    Schedule(String),
    /// It names no time.
    Never(String),
    /// There is no such zone.
    Timezone(String),
}

impl CronLine {
    /// Reads a line.
    ///
    /// # Errors
    /// If the schedule has another form than five fields, never comes, or the zone isn't known.
    pub fn read(topic: &str, event: &str, schedule: &str, timezone: Option<&str>) -> Result<Self, CronError> {
        let zone = timezone.unwrap_or("UTC");
        let timezone = Tz::from_str(zone).map_err(|_| CronError::Timezone(zone.to_owned()))?;
        // No seconds: a line is for people, and a job that runs more often is a tick or a schedule.
        let parser = CronParser::builder().seconds(Seconds::Disallowed).build();
        let cron = parser.parse(schedule).map_err(|error| CronError::Schedule(format!("`{schedule}`: {error}")))?;
        let text = format!("{schedule} {zone}");
        let line = Self { topic: topic.into(), event: event.into(), text, schedule: cron, timezone };
        match line.next_ms(0) {
            Some(_) => Ok(line),
            None => Err(CronError::Never(schedule.to_owned())),
        }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The identity of its job. `store` is the name under which the data of its plugin is stored.
    #[must_use]
    pub fn job(&self, store: &Arc<str>) -> JobId {
        let key = format!("{} {}", self.event, self.text).into();
        JobId { plugin: Arc::clone(store), kind: JobKind::Cron, topic: self.topic.clone(), key }
    }

    /// Its first time after this one, in milliseconds since 1970.
    #[must_use]
    pub fn next_ms(&self, after_ms: u64) -> Option<u64> {
        // In whole seconds: the parser steps by a second, and would pass a time that is less than a second away.
        let after = DateTime::<Utc>::from_timestamp(i64::try_from(after_ms / 1000).ok()?, 0)?;
        let next = self.schedule.find_next_occurrence(&after.with_timezone(&self.timezone), false).ok()?;
        u64::try_from(next.timestamp_millis()).ok()
    }
}

/// The job of the line's first time after this one.
pub(super) fn next_row(line: &CronLine, after_ms: u64) -> Option<JobRow> {
    Some(JobRow::new(line.next_ms(after_ms)?, line.event.clone(), Payload::EMPTY))
}

impl fmt::Display for CronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schedule(why) => write!(
                f,
                "the schedule {why}; write five fields, such as `0 9 * * 1-5`: minute, hour, day of month, month, day of week"
            ),
            Self::Never(schedule) => write!(f, "the schedule `{schedule}` names a time that never comes"),
            Self::Timezone(zone) => {
                write!(f, "the time zone `{zone}` isn't known; write `UTC`, or a name such as `Europe/Berlin`")
            }
        }
    }
}

impl std::error::Error for CronError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ms(time: &str) -> u64 {
        u64::try_from(DateTime::parse_from_rfc3339(time).unwrap().timestamp_millis()).unwrap()
    }

    fn times(schedule: &str, zone: Option<&str>, after: &str, count: usize) -> Vec<String> {
        let line = CronLine::read("t", "e", schedule, zone).unwrap();
        let mut at = ms(after);
        let time = |at: u64| DateTime::<Utc>::from_timestamp_millis(i64::try_from(at).unwrap()).unwrap();
        (0..count)
            .map(|_| {
                at = line.next_ms(at).unwrap();
                time(at).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
            })
            .collect()
    }

    #[test]
    fn a_line_names_times_in_utc_or_in_its_zone() {
        let weekdays = times("0 9 * * 1-5", None, "2026-11-27T09:00:00Z", 2);
        assert_eq!(weekdays, ["2026-11-30T09:00:00Z", "2026-12-01T09:00:00Z"]);
        let berlin = times("30 8 1 * *", Some("Europe/Berlin"), "2026-03-15T00:00:00Z", 2);
        assert_eq!(berlin, ["2026-04-01T06:30:00Z", "2026-05-01T06:30:00Z"]);
        let names = times("0 0 * jan sun", None, "2026-11-29T00:00:00Z", 1);
        assert_eq!(names, ["2027-01-03T00:00:00Z"]);
    }

    #[test]
    fn a_time_that_is_a_moment_away_is_not_passed_over() {
        let line = CronLine::read("t", "e", "0 * * * *", None).unwrap();
        let nine = ms("2026-11-27T09:00:00Z");
        assert_eq!((line.next_ms(nine - 1), line.next_ms(nine), line.next_ms(nine + 1)), {
            let ten = ms("2026-11-27T10:00:00Z");
            (Some(nine), Some(ten), Some(ten))
        });
    }

    /// On 2026-03-29 the clocks of Berlin go from 2:00 to 3:00, and on 2026-10-25 from 3:00 back to 2:00.
    #[test]
    fn a_daily_time_comes_once_on_the_days_on_which_the_clock_changes() {
        let spring = times("30 2 * * *", Some("Europe/Berlin"), "2026-03-28T12:00:00Z", 2);
        assert_eq!(spring.len(), 2);
        assert!(spring[0].starts_with("2026-03-29T01:"), "{spring:?}");
        assert_eq!(spring[1], "2026-03-30T00:30:00Z");
        let autumn = times("30 2 * * *", Some("Europe/Berlin"), "2026-10-24T12:00:00Z", 2);
        assert!(autumn[0].starts_with("2026-10-25T0"), "{autumn:?}");
        assert_eq!(autumn[1], "2026-10-26T01:30:00Z", "{autumn:?}");
    }

    #[test]
    fn an_invalid_line_is_refused_with_the_reason() {
        let refused = |schedule, zone| CronLine::read("t", "e", schedule, zone).unwrap_err().to_string();
        for schedule in ["", "0 9 * *", "61 * * * *", "0 0 9 * * 1-5", "every day"] {
            assert!(refused(schedule, None).contains("five fields"), "{schedule}");
        }
        assert!(refused("0 0 30 2 *", None).contains("never comes"));
        assert!(refused("0 9 * * *", Some("Mars/Base")).contains("`Mars/Base` isn't known"));
    }

    #[test]
    fn lines_with_other_texts_are_other_jobs() {
        let job = |event, schedule, zone| CronLine::read("t", event, schedule, zone).unwrap().job(&"p".into());
        let line = job("e", "0 9 * * *", None);
        assert_eq!(line, job("e", "0 9 * * *", Some("UTC")));
        for other in
            [job("f", "0 9 * * *", None), job("e", "1 9 * * *", None), job("e", "0 9 * * *", Some("Asia/Tokyo"))]
        {
            assert_ne!(line, other);
        }
    }
}
