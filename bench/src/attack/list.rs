//! The attacks, with the settings of the host that they need.

use std::time::Duration;

use anyhow::Result;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tokio::task::JoinSet;

use super::attackers::{self, Attackers, Place};
use crate::host::{Host, HostLog, Surroundings};
use crate::statistics::shown;

/// An attack.
pub(super) struct Attack {
    /// The name on the command line.
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// The configuration of the host.
    pub(super) config: &'static str,
    pub(super) plugins: [&'static str; 2],
    pub(super) surroundings: fn() -> Surroundings,
    pub(super) begin: fn(&Host, &Place) -> Result<Attackers>,
    /// Ends what doesn't end with the attackers.
    pub(super) end: fn(&Host) -> Result<()>,
    /// A count of the host that shows the effect of the attack.
    pub(super) count: fn(&Host) -> Result<f64>,
    /// Describes what the host has held.
    pub(super) held: fn(&Effect) -> String,
    /// Whether it takes seconds until the host closes a connection.
    pub(super) is_slow: bool,
}

impl Attack {
    /// The first cell of its row.
    pub(super) fn cell(&self) -> String {
        format!("| `{}`: {} |", self.name, self.what)
    }
}

/// What an attack has achieved.
#[derive(Default)]
pub(super) struct Effect {
    pub(super) open_max: usize,
    /// Seconds.
    pub(super) held_max: f64,
    pub(super) closed: usize,
    pub(super) sent: usize,
    pub(super) answered: usize,
    /// The increase of [`Attack::count`] in all measured seconds.
    pub(super) count: f64,
    pub(super) seconds: f64,
}

impl Effect {
    fn connections(&self) -> String {
        format!(
            "{} connections at once, each for at most {} s; {} were closed or refused",
            self.open_max,
            shown(self.held_max),
            self.closed
        )
    }

    fn a_second(&self) -> String {
        shown(self.count / self.seconds)
    }
}

/// The attack by which the others differ.
const PLAIN: Attack = Attack {
    name: "",
    what: "",
    config: "",
    plugins: ["echo", "naughty"],
    surroundings: || limited(None),
    begin: |_, _| Ok(JoinSet::new()),
    end: |_| Ok(()),
    count: |_| Ok(0.0),
    held: Effect::connections,
    is_slow: false,
};

/// Messages that reached the plugin of the attackers.
fn calls(host: &Host) -> Result<f64> {
    host.calls("naughty")
}

fn faults(host: &Host) -> Result<f64> {
    host.metric("bennu_plugin_faults_total", "plugin=\"naughty\"")
}

/// What a plugin that fails has cost.
fn failed(effect: &Effect) -> String {
    format!("{} faults a second", effect.a_second())
}

/// The surroundings of a host whose process has a limit, and whose log goes nowhere.
fn limited(limit: Option<&str>) -> Surroundings {
    Surroundings { limit: limit.map(str::to_owned), log: HostLog::Discarded }
}

/// Without these settings, the attackers are refused after 20 faults, as in the attack `faults`.
const ANY_FAULTS: &str = "[limits.user]\nfaults_per_minute = 0\n[limits.address]\nfaults_per_minute = 0\n";

/// The limit of the reconnecting floods.
const LIMITED: &str = "[limits.address]\nmessages_per_second = 500\nmessages_burst = 500\nconnects_per_second = 100\n";
const LIMIT: f64 = 500.0;

/// Keeps silent sockets for five seconds only, so that the table is made in minutes.
const SHORT_IDLE: &str = "[limits]\nidle_ms = 5000\n";

/// The files that the attack `files-run-out` leaves.
const FILES_LEFT: u64 = 20;

/// All attacks.
pub(super) static ATTACKS: [Attack; 18] = [
    Attack {
        name: "slow-handshakes",
        what: "200 clients send a request byte by byte, and never end it",
        begin: |_, place| Ok(attackers::slow_handshakes(place)),
        is_slow: true,
        ..PLAIN
    },
    Attack {
        name: "slow-frames",
        what: "200 sockets send a message byte by byte (`idle_ms = 5000`)",
        config: SHORT_IDLE,
        begin: |_, place| Ok(attackers::slow_frames(place)),
        is_slow: true,
        ..PLAIN
    },
    Attack {
        name: "silent",
        what: "500 sockets whose client has vanished, or says nothing (`idle_ms = 5000`)",
        config: SHORT_IDLE,
        begin: |_, place| Ok(attackers::silent(place)),
        is_slow: true,
        ..PLAIN
    },
    Attack {
        name: "deaf",
        what: "50 members that read nothing, of a topic with 800 KB/s (`idle_ms = 5000`)",
        config: SHORT_IDLE,
        begin: |_, place| Ok(attackers::deaf(place)),
        is_slow: true,
        ..PLAIN
    },
    Attack {
        name: "floods",
        what: "8 sockets send as fast as they can",
        begin: |_, place| Ok(attackers::floods(place)),
        count: |host| host.calls("echo"),
        held: |effect| format!("{} messages a second were handled, with those of the neighbours", effect.a_second()),
        ..PLAIN
    },
    Attack {
        name: "reconnecting-floods",
        what: "200 clients send 200 messages a second each, and connect again each half second (`limits.address`: 500 messages, 100 connects a second)",
        config: LIMITED,
        begin: |_, place| Ok(attackers::reconnecting_floods(place)),
        count: calls,
        held: |effect| {
            let ratio = effect.count / effect.seconds / LIMIT;
            format!("{} calls a second reached the plugin: {} times the limit", effect.a_second(), shown(ratio))
        },
        ..PLAIN
    },
    Attack {
        name: "bombs",
        what: "16 sockets send messages of 8 KB that inflate to 8 MB",
        begin: |_, place| Ok(attackers::bombs(place)),
        held: |effect| {
            format!("1 MiB of each of {} messages, then 1009; {} sockets at once", effect.sent, effect.open_max)
        },
        ..PLAIN
    },
    Attack {
        name: "stopped",
        what: "the host is stopped for two seconds (SIGSTOP), and goes on before each measurement",
        begin: |host, _| {
            stop_for(host, Duration::from_secs(2))?;
            Ok(JoinSet::new())
        },
        held: |_| "all sockets: time in which the host doesn't run isn't counted".to_owned(),
        ..PLAIN
    },
    Attack {
        name: "log-stalls",
        what: "nobody reads the log, at level `debug`, while 16 clients cause lines",
        surroundings: || Surroundings { log: HostLog::Stalled, ..Surroundings::default() },
        begin: |_, place| Ok(attackers::garbage(place)),
        count: |host| host.metric("bennu_log_lines_lost_total", ""),
        held: |effect| format!("2 MiB of lines; {} lines a second were lost, and counted", effect.a_second()),
        ..PLAIN
    },
    Attack {
        name: "no-files",
        what: "500 silent sockets, and the process may have 200 files (`ulimit -n 200`)",
        surroundings: || limited(Some("ulimit -n 200")),
        begin: |_, place| Ok(attackers::silent(place)),
        ..PLAIN
    },
    Attack {
        name: "files-run-out",
        what: "500 silent sockets, and the process may open only 20 files more than it has open (`prlimit`)",
        begin: |host, place| {
            limit_files(host, Some(host.process().files()? as u64 + FILES_LEFT))?;
            Ok(attackers::silent(place))
        },
        end: |host| limit_files(host, None),
        count: files_have_run_out,
        held: |effect| {
            format!(
                "{} connections at once, for which the host had at most {FILES_LEFT} files; the others waited",
                effect.open_max
            )
        },
        ..PLAIN
    },
    Attack {
        name: "disk-full",
        what: "8 members store rows of 4 KB, and files may have 16 MiB (`ulimit -f`, as on a full disk)",
        surroundings: || limited(Some("trap '' XFSZ; ulimit -f 32768")),
        begin: |_, place| Ok(attackers::stores(place)),
        end: |_| Ok(()),
        count: faults,
        held: |effect| {
            format!(
                "{} rows were stored, and {} faults a second: the store refuses",
                effect.answered,
                effect.a_second()
            )
        },
        ..PLAIN
    },
    Attack {
        name: "disk-full-then-free",
        what: "the same, and after each attack the files may grow again",
        surroundings: || limited(Some("trap '' XFSZ; ulimit -S -f 32768")),
        begin: |_, place| Ok(attackers::stores(place)),
        end: free_disk,
        held: |effect| format!("{} rows were stored; the store works again by itself", effect.answered),
        ..PLAIN
    },
    Attack {
        name: "faults",
        what: "8 members send a message whose callback panics, with the default limits of faults",
        begin: |_, place| Ok(attackers::naughty(place, "panic")),
        count: faults,
        held: |effect| format!("{} messages, of which each was a fault; then the clients are refused", effect.sent),
        ..PLAIN
    },
    Attack {
        name: "plugin-loops",
        what: "8 members send a message whose callback never ends",
        config: ANY_FAULTS,
        begin: |_, place| Ok(attackers::naughty(place, "loop")),
        count: faults,
        held: failed,
        ..PLAIN
    },
    Attack {
        name: "plugin-grows",
        what: "8 members send a message whose callback allocates without end",
        config: ANY_FAULTS,
        begin: |_, place| Ok(attackers::naughty(place, "grow")),
        count: faults,
        held: failed,
        ..PLAIN
    },
    Attack {
        name: "plugin-floods",
        what: "8 members send a message whose callback asks for a million effects",
        config: ANY_FAULTS,
        begin: |_, place| Ok(attackers::naughty(place, "effects")),
        count: faults,
        held: failed,
        ..PLAIN
    },
    Attack {
        name: "plugin-panics",
        what: "8 members send a message whose callback panics",
        config: ANY_FAULTS,
        begin: |_, place| Ok(attackers::naughty(place, "panic")),
        count: faults,
        held: failed,
        ..PLAIN
    },
];

fn pid(host: &Host) -> Result<Pid> {
    host.process().pid()
}

fn stop_for(host: &Host, time: Duration) -> Result<()> {
    let pid = pid(host)?;
    kill_process(pid, Signal::STOP)?;
    std::thread::sleep(time);
    Ok(kill_process(pid, Signal::CONT)?)
}

/// Lets files grow without a limit, until the store works again.
fn free_disk(host: &Host) -> Result<()> {
    prlimit(Some(pid(host)?), Resource::Fsize, Rlimit { current: None, maximum: None })?;
    let works = || Ok::<_, anyhow::Error>(host.metric("bennu_store_up", "")? == 1.0);
    for _ in 0..600 {
        if works()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("the store doesn't work again after 30 s")
}

/// Limits the number of files that the host may have open. None removes the limit, as far as the system allows: a host that starts does
/// that, too.
fn limit_files(host: &Host, files: Option<u64>) -> Result<()> {
    // The host has got it from this process.
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(Some(pid(host)?), Resource::Nofile, Rlimit { current: files.or(maximum), maximum })?;
    Ok(())
}

/// Waits until the host can't open a file.
fn files_have_run_out(host: &Host) -> Result<f64> {
    for _ in 0..600 {
        if host.process().files()? >= host.process().files_max()? {
            return Ok(0.0);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("the host has files left after 30 s")
}
