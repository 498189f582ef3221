//! The process: its version, its memory and its log.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};

use super::Page;
use crate::api::Api;
use crate::counts::HighWater;

pub(super) fn write(api: &Api, page: &mut Page<'_>) -> fmt::Result {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.gauges("bennu_build_info", "The version of the host; always 1.")?.gauge(&version, 1u64)?;
    page.gauge("bennu_start_time_seconds", "When the host started, in seconds since 1970.", started(api))?;
    if let Some(process) = Process::read() {
        page.counter("process_cpu_seconds", "CPU time of the process.", process.cpu.as_secs_f64())?;
        page.gauge("process_resident_memory_bytes", "Resident memory of the process.", process.resident_bytes)?;
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        page.gauge("process_max_fds", "The limit of open files of the process.", most)?;
    }
    let lost = (api.log_lines_lost)();
    page.counter("bennu_log_lines_lost", "Lines of the log that could not be written.", lost)?;
    let (name, waiting) = ("bennu_log_waiting_bytes_max", HighWater::LogBytes.value());
    page.gauge(name, "The most bytes that waited to be written to the log in the last minutes.", waiting)
}

/// The time of the start. It is computed once, so that it stays the same if the clock is set.
fn started(api: &Api) -> f64 {
    static STARTED: OnceLock<f64> = OnceLock::new();
    *STARTED.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(api.started.elapsed()).as_secs_f64()
    })
}

/// What the kernel counts for the process.
struct Process {
    cpu: Duration,
    resident_bytes: u64,
}

impl Process {
    /// Reads `/proc/self/stat`, which the kernel makes in a few microseconds. None on another system.
    fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        Self::parse(&stat, rustix::param::clock_ticks_per_second(), rustix::param::page_size() as u64)
    }

    fn parse(stat: &str, ticks_per_second: u64, page_bytes: u64) -> Option<Self> {
        // The name of the program comes in parentheses, and may contain spaces and parentheses itself.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        // proc(5) counts the fields from 1, and these begin with the third one.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let ticks = number(14)? + number(15)?;
        let cpu = Duration::from_secs_f64(ticks as f64 / ticks_per_second.max(1) as f64);
        Some(Self { cpu, resident_bytes: number(24)? * page_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read() {
        let stat =
            "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 9 0 12345 9000000 321 18446744073709551615 1 1";
        let process = Process::parse(stat, 100, 4096).expect("a line of proc(5)");
        assert_eq!((process.cpu, process.resident_bytes), (Duration::from_secs(2), 321 * 4096));
        assert!(Process::parse("7 (a) S 1", 100, 4096).is_none());
    }
}
