//! The process: its version, its memory and its log.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};

use super::Page;
use crate::api::Api;
use crate::counts::{HighWater, Limit, ProcessUse};

pub(super) fn write(api: &Api, page: &mut Page<'_>) -> fmt::Result {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.gauges("bennu_build_info", "The version of the host; always 1.")?.gauge(&version, 1u64)?;
    page.gauge("bennu_start_time_seconds", "When the host started, in seconds since 1970.", started(api))?;
    if let Some(process) = ProcessUse::read() {
        page.counter("process_cpu_seconds", "CPU time of the process.", process.cpu.as_secs_f64())?;
        page.gauge("process_resident_memory_bytes", "Resident memory of the process.", process.resident_bytes)?;
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        page.gauge("process_max_fds", "The limit of open files of the process.", most)?;
    }
    let mut checks = page.gauges("bennu_self_test_up", "Whether the last self-test of a part succeeded.")?;
    for (check, state) in api.health.checks(Instant::now()) {
        checks.gauge(&[("check", check.as_str())], u64::from(state.is_up()))?;
    }
    let lost = (api.log_lines_lost)();
    page.counter("bennu_log_lines_lost", "Lines of the log that could not be written.", lost)?;
    let (name, help) = ("bennu_log_lines_left_out", "Lines that were left out because of a limit for their kind.");
    let mut left_out = page.counters(name, help)?;
    for (kind, limit) in
        [("client", Limit::LogLinesOfClients), ("fault", Limit::LogLinesOfFaults), ("plugin", Limit::LogLinesOfPlugins)]
    {
        left_out.counter(&[("kind", kind)], limit.hits())?;
    }
    let (name, waiting) = ("bennu_log_waiting_bytes_max", HighWater::LogBytes.value());
    page.gauge(name, "The most bytes that waited to be written to the log in the last one to two minutes.", waiting)
}

/// The time of the start. It is computed once, so that it stays the same if the clock is set.
fn started(api: &Api) -> f64 {
    static STARTED: OnceLock<f64> = OnceLock::new();
    *STARTED.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(api.started.elapsed()).as_secs_f64()
    })
}
