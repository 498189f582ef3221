//! A network namespace: a machine of its own, as far as its network is concerned.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

/// The most namespaces of a process, so that processes with near numbers have different addresses.
const NAMESPACES: u32 = 8;

/// A network namespace with two cables to the main one, of which a test can cut the first. Dropping the value removes both.
pub struct Namespace {
    name: String,
    cables: [Cable; 2],
}

/// A pair of interfaces.
struct Cable {
    /// The interface of the main namespace.
    here: String,
    /// The interface of the namespace.
    there: String,
    /// The first three numbers of the addresses. Here is 1, and there is 2.
    net: String,
}

impl Namespace {
    /// Makes a namespace.
    ///
    /// # Errors
    /// If the machine doesn't let this user make one, or has no `ip` and no `nsenter`.
    pub fn create() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Other processes make namespaces, too.
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let net = process.wrapping_mul(NAMESPACES).wrapping_add(number) % (1 << 14);
        let cable = |of: char, at: u32| Cable {
            here: format!("bn{process}{of}{number}h"),
            there: format!("bn{process}{of}{number}t"),
            net: format!("10.{}.{}", 64 + net / 128, net % 128 * 2 + at),
        };
        let namespace = Self { name: format!("bennu-{process}-{number}"), cables: [cable('a', 0), cable('b', 1)] };
        run("ip", &["netns", "add", &namespace.name])?;
        namespace.inside(&["link", "set", "lo", "up"])?;
        for Cable { here, there, net } in &namespace.cables {
            run("ip", &["link", "add", here, "type", "veth", "peer", "name", there, "netns", &namespace.name])?;
            run("ip", &["address", "add", &format!("{net}.1/24"), "dev", here])?;
            run("ip", &["link", "set", here, "up"])?;
            namespace.inside(&["address", "add", &format!("{net}.2/24"), "dev", there])?;
            namespace.inside(&["link", "set", there, "up"])?;
        }
        // What starts a process in it must work as well.
        run("nsenter", &[&format!("--net={}", namespace.path()), "true"])?;
        Ok(namespace)
    }

    fn inside(&self, arguments: &[&str]) -> Result<()> {
        run("ip", &[&["-netns", self.name.as_str()][..], arguments].concat())
    }

    /// The file of the namespace, for `nsenter --net=FILE`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// The address of the main namespace at the end of the cable that can be cut.
    #[must_use]
    pub fn outside(&self) -> String {
        format!("{}.1", self.cables[0].net)
    }

    /// The address of the namespace at the end of the cable that stays.
    #[must_use]
    pub fn own(&self) -> String {
        format!("{}.2", self.cables[1].net)
    }

    /// Cuts the first cable, or mends it. All packets are lost meanwhile, and no connection ends.
    ///
    /// # Errors
    /// If the interface is gone.
    pub fn cut(&self, is_cut: bool) -> Result<()> {
        run("ip", &["link", "set", &self.cables[0].here, if is_cut { "down" } else { "up" }])
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // With its interfaces, the other ends of the cables go.
        let _ = run("ip", &["netns", "delete", &self.name]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let ended = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let ended = ended.with_context(|| format!("starting {program}"))?;
    let errors = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "{program} {}: {}", arguments.join(" "), errors.trim_end());
    Ok(())
}
