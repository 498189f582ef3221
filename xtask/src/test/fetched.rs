//! Fetches the tests' dependencies from outside the repository. A thread fetches them while the first suites compile,
//! because fetching mostly waits for the network.

use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use bennu_test_tiers::Suite;

use crate::compilers::Compilers;
use crate::toolchain::Toolchain;
use crate::{chromium, nats, node, places, postgres, proxies, python, spin};

/// The fetched dependencies of the selected suites.
pub(super) struct Fetched {
    /// The compiler for plugins.
    pub(super) toolchain: Option<Toolchain>,
    /// The browser.
    pub(super) chromium: Option<PathBuf>,
    /// The programs of the database server. None if there is no server here, and none can be installed.
    pub(super) postgres: Option<PathBuf>,
    /// The NATS server. None if there is none here, and none can be installed.
    pub(super) nats: Option<PathBuf>,
    /// Whether Spin is there.
    pub(super) has_spin: bool,
    /// The compilers of other languages.
    pub(super) compilers: Option<Compilers>,
}

/// The state of the thread that fetches.
pub(super) enum Fetching {
    Running(JoinHandle<Result<Fetched>>),
    Done(Fetched),
    Failed,
}

impl Fetching {
    /// Starts to fetch the dependencies of these suites.
    pub(super) fn begin(suites: &[Suite]) -> Self {
        let suites = suites.to_vec();
        Self::Running(thread::spawn(move || fetch(&suites)))
    }

    /// Waits until everything is fetched.
    pub(super) fn wait(&mut self) -> Result<&Fetched> {
        if let Self::Running(_) = self {
            let Self::Running(thread) = std::mem::replace(self, Self::Failed) else { unreachable!("it was running") };
            let fetched = thread.join().map_err(|_| anyhow!("the thread that fetches panicked"))?;
            *self = Self::Done(fetched.context("cannot fetch what the tests need")?);
        }
        match self {
            Self::Done(fetched) => Ok(fetched),
            _ => Err(anyhow!("what the tests need could not be fetched")),
        }
    }
}

/// Fetches one dependency after another, because Debian's package manager runs only once at a time.
fn fetch(suites: &[Suite]) -> Result<Fetched> {
    let wants = |some: &[Suite]| suites.iter().any(|suite| some.contains(suite));
    let toolchain = wants(&Suite::WITH_PLUGINS).then(Toolchain::find).transpose()?;
    const IN_NODE: [Suite; 7] = [
        Suite::Phoenix,
        Suite::Clients,
        Suite::Browser,
        Suite::Packages,
        Suite::Postgres,
        Suite::Proxies,
        Suite::Languages,
    ];
    if wants(&IN_NODE) {
        node::install(&places::root().join("tests"))?;
    }
    if wants(&[Suite::Clients]) {
        let requirements = places::client_sources().join("python").join("requirements.txt");
        python::environment(&places::clients().join("python"), &requirements)?;
    }
    if wants(&[Suite::Proxies]) {
        proxies::find()?;
    }
    let postgres = if wants(&[Suite::Chaos, Suite::Postgres, Suite::Nats]) { postgres::find() } else { None };
    let nats = if wants(&[Suite::Nats]) { nats::find() } else { None };
    let chromium = wants(&[Suite::Browser, Suite::Languages]).then(chromium::find).transpose()?;
    let has_spin = wants(&[Suite::Models]) && spin::find();
    let compilers = wants(&[Suite::Languages]).then(Compilers::find).transpose()?;
    Ok(Fetched { toolchain, chromium, compilers, postgres, nats, has_spin })
}
