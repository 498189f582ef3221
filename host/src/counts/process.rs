//! What the kernel counts for the process.

use std::time::Duration;

/// The CPU time and the memory of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessUse {
    /// The CPU time of all threads since the start.
    pub cpu: Duration,
    /// The memory that is resident.
    pub resident_bytes: u64,
}

impl ProcessUse {
    /// Reads `/proc/self/stat`, which the kernel makes in a few microseconds. None on another system.
    #[must_use]
    pub fn read() -> Option<Self> {
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
        let process = ProcessUse::parse(stat, 100, 4096).expect("a line of proc(5)");
        assert_eq!((process.cpu, process.resident_bytes), (Duration::from_secs(2), 321 * 4096));
        assert!(ProcessUse::parse("7 (a) S 1", 100, 4096).is_none());
    }
}
