//! Whether the host is as it was before: its counts and its memory.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use anyhow::Result;

use crate::attack::Neighbours;
use crate::host::Host;
use crate::statistics::{Spread, shown};

/// How long the host may take to close what the attackers have left: `idle_ms`, and a few seconds.
const SETTLED: Duration = Duration::from_secs(30);

/// Files that a host may have open in addition to those at its start: connections of the checks, and files of the store.
const FILES_MORE: usize = 8;

/// Growth of the memory in the second half that isn't counted, as a share and in bytes.
const GROWTH_SHARE: f64 = 1.05;
const GROWTH_BYTES: f64 = 8.0 * 1024.0 * 1024.0;

/// The gauges that must be zero when only the neighbours are left, or as many as the neighbours.
const COUNTS: [(&str, &str, bool); 7] = [
    ("bennu_sockets", "", true),
    ("bennu_channels", "", true),
    ("bennu_topics", "", true),
    ("bennu_plugin_instances", "state=\"busy\"", false),
    ("bennu_http_requests_under_way", "", false),
    ("bennu_entries_bytes", "kind=\"memory\"", false),
    ("bennu_history_topics", "", false),
];

/// Waits until only the neighbours are left, and then until nobody is. Returns what isn't as it must be.
pub(super) async fn settle(host: &Host, neighbours: &mut Neighbours, files: usize) -> Result<Vec<String>> {
    let mut failures = wait(host, neighbours).await?;
    *neighbours = Neighbours::none();
    failures.extend(wait(host, neighbours).await?);
    for (metric, expected) in [("bennu_store_up", 1.0), ("bennu_self_test_up", 4.0)] {
        let found = host.metric(metric, "")?;
        if found != expected {
            failures.push(format!("{metric} is {found}, and must be {expected}"));
        }
    }
    let open = host.process().files()?;
    if open > files + FILES_MORE {
        failures.push(format!("the host has {open} files open, and had {files} at its start"));
    }
    Ok(failures)
}

/// Waits until the counts are right. The neighbours go on meanwhile, because a silent one would be closed.
async fn wait(host: &Host, neighbours: &mut Neighbours) -> Result<Vec<String>> {
    let ends = std::time::Instant::now() + SETTLED;
    loop {
        neighbours.talk(Duration::from_millis(500)).await?;
        let wrong = wrong_counts(host, neighbours.len())?;
        if wrong.is_empty() || std::time::Instant::now() > ends {
            return Ok(wrong);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn wrong_counts(host: &Host, neighbours: usize) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (metric, label, is_for_each) in COUNTS {
        let expected = if is_for_each { neighbours as f64 } else { 0.0 };
        let found = host.metric(metric, label)?;
        if found != expected {
            wrong.push(format!("{metric} is {found}, and must be {expected} with {neighbours} clients"));
        }
    }
    Ok(wrong)
}

/// The resident memory of the host, once a second.
#[derive(Default)]
pub(super) struct Memory(Vec<f64>);

impl Memory {
    pub(super) fn add(&mut self, bytes: u64) {
        self.0.push(bytes as f64);
    }

    /// The median of the quarter with this number, which counts from 0.
    fn quarter(&self, number: usize) -> f64 {
        let length = self.0.len();
        let part = &self.0[length * number / 4..length * (number + 1) / 4];
        Spread::of(part.iter().copied()).map_or(0.0, |spread| spread.median)
    }

    /// Says so if the memory has grown in the second half.
    pub(super) fn growth(&self) -> Option<String> {
        let (third, last) = (self.quarter(2), self.quarter(3));
        (last > third * GROWTH_SHARE + GROWTH_BYTES).then(|| format!("the memory grows in the second half: {self} MB"))
    }
}

/// The medians of the four quarters, in MB.
impl Display for Memory {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let quarters = [0, 1, 2, 3].map(|number| shown(self.quarter(number) / f64::from(1 << 20)));
        write!(out, "{}", quarters.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_grows_in_the_second_half_is_found() {
        let of = |mb: [u64; 8]| {
            let mut memory = Memory::default();
            mb.iter().for_each(|mb| memory.add(mb << 20));
            memory
        };
        assert_eq!(of([50, 80, 100, 101, 102, 103, 104, 104]).growth(), None);
        assert!(of([50, 80, 100, 101, 102, 103, 130, 150]).growth().is_some());
        assert_eq!(of([50, 50, 100, 100, 102, 102, 104, 104]).to_string(), "50.0, 100, 102, 104");
    }
}
