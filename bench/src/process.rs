//! What a process takes, and what the kernel holds, as `/proc` says it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// A process that runs.
#[derive(Clone, Copy)]
pub(crate) struct Process(u32);

/// What the operating system counts CPU time in.
const TICKS_PER_SECOND: u64 = 100;

/// What the kernel counts the memory of its buffers in.
const PAGE_BYTES: u64 = 4_096;

impl Process {
    pub(crate) fn new(id: u32) -> Self {
        Self(id)
    }

    /// The clients.
    pub(crate) fn this() -> Self {
        Self(std::process::id())
    }

    /// CPU time that it has taken, in user and in system mode together.
    ///
    /// Of the threads that there are it is known to the nanosecond; of all that there were, in ticks that are cut off. What is
    /// more is nearer to the truth.
    pub(crate) fn cpu(self) -> Result<Duration> {
        Ok(self.cpu_in_ticks()?.max(self.cpu_of_threads().unwrap_or_default()))
    }

    fn cpu_in_ticks(self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // What comes after the command's name, which may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')').context("a process's stat")?.1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    fn cpu_of_threads(self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0))? {
            // One that has just ended.
            let Ok(stat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            nanoseconds += stat.split_whitespace().next().context("a thread's schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Bytes of memory that it holds.
    pub(crate) fn memory(self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        kilobytes(&status, "VmRSS:")
    }
}

/// What the kernel holds for everybody: both ends of each connection, and whatever else runs on the machine.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    /// Bytes of what TCP has buffered.
    pub(crate) buffers: u64,
    /// Bytes of its own records, of which each connection has some.
    pub(crate) records: u64,
}

impl Kernel {
    pub(crate) fn look() -> Result<Self> {
        let sockets = fs::read_to_string("/proc/net/sockstat")?;
        let tcp = sockets.lines().find(|line| line.starts_with("TCP:")).context("no TCP in sockstat")?;
        let pages = tcp.split_whitespace().skip_while(|word| *word != "mem").nth(1).context("no mem in sockstat")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        Ok(Self { buffers: pages.parse::<u64>()? * PAGE_BYTES, records: kilobytes(&memory, "Slab:")? })
    }
}

/// What stands behind a name, in bytes.
fn kilobytes(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()).with_context(|| format!("no {name}"))?;
    Ok(number.parse::<u64>()? << 10)
}

/// Lets this process and those that it starts open as many files as the system allows.
pub(crate) fn open_many_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let most = getrlimit(Resource::Nofile).maximum;
        // Where it may not, opening one too many says so.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use super::*;

    #[test]
    fn this_process_takes_what_it_takes() -> Result<()> {
        let before = Process::this().cpu()?;
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(100) {
            black_box(began);
        }
        assert!(Process::this().cpu()? > before);
        assert!(Process::this().memory()? > 100_000);
        assert!(Kernel::look()?.records > 0);
        Ok(())
    }
}
