//! The CPU time and memory of a process, and the memory of the kernel.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// A running process.
#[derive(Clone, Copy)]
pub(crate) struct Process(u32);

/// The unit of the memory of TCP's buffers in `/proc/net/sockstat`.
const PAGE_BYTES: u64 = 4_096;

impl Process {
    pub(crate) fn new(id: u32) -> Self {
        Self(id)
    }

    /// Its id, for signals.
    pub(crate) fn pid(self) -> Result<rustix::process::Pid> {
        rustix::process::Pid::from_raw(self.0.try_into()?).context("a process has an id")
    }

    /// This process, which runs the clients.
    pub(crate) fn this() -> Self {
        Self(std::process::id())
    }

    /// The CPU time that the process has used, in user and system mode together, to the nanosecond.
    ///
    /// It is the time of the kernel's scheduler. The times in `/proc/PID/stat` are no substitute: most kernels find them by
    /// samples, a hundred in a second, which is far too few for a process that often sleeps.
    pub(crate) fn cpu(self) -> Result<Duration> {
        let clock = clock_getcpuclockid(Pid::from_raw(self.0.try_into()?)).context("the CPU clock of a process")?;
        Ok(clock_gettime(clock)?.into())
    }

    /// The number of open files.
    pub(crate) fn files(self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.0))?.count())
    }

    /// The limit of the number of open files.
    pub(crate) fn files_max(self) -> Result<usize> {
        let limits = fs::read_to_string(format!("/proc/{}/limits", self.0))?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let soft = line.and_then(|line| line.split_whitespace().next()).context("no limit of open files")?;
        Ok(soft.parse()?)
    }

    /// The resident memory, in bytes.
    pub(crate) fn memory(self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        kilobytes(&status, "VmRSS:")
    }

    /// The resident memory without pages of files and shared pages, in bytes. Instances share the pages of their first memory that they
    /// don't write to, and the resident memory counts such a page once for each of them.
    pub(crate) fn own_memory(self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        kilobytes(&status, "RssAnon:")
    }
}

/// The kernel's memory for the whole machine. It includes both ends of each connection, and all other programs.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    /// TCP's buffers, in bytes.
    pub(crate) buffers: u64,
    /// The kernel's own records (`Slab`), in bytes. Each connection has some.
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

/// Returns the value after a name, in bytes. The text gives it in KiB.
fn kilobytes(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()).with_context(|| format!("no {name}"))?;
    Ok(number.parse::<u64>()? << 10)
}

/// Raises the limit of open files to the maximum, for this process and the processes that it starts.
pub(crate) fn open_many_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let most = getrlimit(Resource::Nofile).maximum;
        // If this fails, opening too many files gives an error later.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use super::*;

    #[test]
    fn cpu_time_and_memory_of_this_process_are_read() -> Result<()> {
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
