//! Every check and every test, from the cheap to the dear.

use std::env::consts::EXE_EXTENSION;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::process::{cargo, run as start};
use crate::step::step;
use crate::toolchain::Toolchain;
use crate::{bindings, chromium, guests, node, page, places, python};

/// How `cargo xtask test` was called.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these, with what they need; all of them if none is named
    suites: Vec<Suite>,
}

/// A group of tests that can be run alone.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Suite {
    /// Formatting, lints, generated code and documentation
    Lint,
    /// The plugins' own tests, run natively
    Guests,
    /// The host, alone and through real sockets
    Host,
    /// The official Phoenix client in Node
    Phoenix,
    /// Clients by other authors, from npm, PyPI and crates.io
    Clients,
    /// The example pages in Chromium
    Browser,
}

/// Runs the suites. The first that fails ends it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let wanted = |suite| options.suites.is_empty() || options.suites.contains(&suite);
    if wanted(Suite::Lint) {
        lint()?;
    }
    if wanted(Suite::Guests) {
        step("the plugins' tests", || start(guest_cargo().args(["test", "--workspace"])))?;
    }
    if [Suite::Host, Suite::Phoenix, Suite::Clients, Suite::Browser].into_iter().any(wanted) {
        let toolchain = step("compiler for plugins", Toolchain::find)?;
        step("plugins", || guests::build(&toolchain))?;
        step("plugins to reload to", || guests::build_variants(&toolchain))?;
        // With the tests, or cargo would build what they share with the host in two ways.
        step("host and its tests", || start(host_cargo("build").arg("--all-targets")))?;
    }
    if wanted(Suite::Host) {
        step("the host's tests", || start(&mut host_cargo("test")))?;
        step("the commands' tests", || {
            start(cargo(places::root()).args(["test", "--profile", "xtask", "--package", "xtask"]))
        })?;
    }
    if wanted(Suite::Phoenix) {
        step("packages for Node", || node::install(&places::root().join("tests")))?;
        step("pages", page::put_together)?;
        step("the Phoenix client's tests", || start(&mut node_tests("phoenix")?))?;
    }
    if wanted(Suite::Clients) {
        step("packages for Node", || node::install(&places::root().join("tests")))?;
        let requirements = places::client_sources().join("python").join("requirements.txt");
        step("packages for Python", || python::environment(&places::clients().join("python"), &requirements))?;
        step("a client in Rust", || start(client_cargo().arg("build")))?;
        step("the tests of other clients", || start(&mut node_tests("clients")?))?;
    }
    if wanted(Suite::Browser) {
        let chromium = step("Chromium", chromium::find)?;
        step("packages for Node", || node::install(&places::root().join("tests")))?;
        step("pages", page::put_together)?;
        step("the browser's tests", || start(node_tests("browser")?.env(chromium::VARIABLE, chromium)))?;
    }
    Ok(())
}

fn lint() -> Result<()> {
    const STRICT: [&str; 5] = ["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"];
    step("format", || {
        start(cargo(places::root()).args(["fmt", "--all", "--check"]))?;
        start(guest_cargo().args(["fmt", "--all", "--check"]))?;
        start(client_cargo().args(["fmt", "--all", "--check"]))?;
        start(cargo(&places::peer_sources()).args(["fmt", "--all", "--check"]))
    })?;
    step("generated bindings", || bindings::run(true))?;
    step("lints", || {
        start(cargo(places::root()).args(STRICT))?;
        start(guest_cargo().args(STRICT))?;
        start(client_cargo().args(STRICT))
    })?;
    step("documentation", || {
        start(cargo(places::root()).args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings"))
    })
}

/// Cargo for the plugins as native code, whose builds don't mix with the host's.
fn guest_cargo() -> Command {
    let mut command = cargo(&places::guest_sources());
    command.env("CARGO_TARGET_DIR", places::target().join("guest-native"));
    command
}

/// Cargo for the client in Rust, whose dependencies are not the host's.
fn client_cargo() -> Command {
    let mut command = cargo(&places::client_sources().join("rust"));
    command.env("CARGO_TARGET_DIR", places::clients().join("rust"));
    command
}

/// Cargo for everything in the workspace but this program, which is running.
fn host_cargo(verb: &str) -> Command {
    let mut command = cargo(places::root());
    command.args([verb, "--workspace", "--exclude", "xtask"]);
    with_the_built(&mut command);
    command
}

/// Node's test runner on the files of `tests/SUITE`.
fn node_tests(suite: &str) -> Result<Command> {
    let mut command = Command::new(node::find()?);
    command.args(["--test", "--test-reporter=spec"]);
    command.args(test_files(&places::root().join("tests").join(suite))?);
    with_the_built(&mut command);
    Ok(command)
}

/// Named one by one: what Node makes of a folder has changed between its versions.
fn test_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut tests: Vec<_> = files.into_iter().filter(|file| file.to_string_lossy().ends_with(".test.mjs")).collect();
    if tests.is_empty() {
        bail!("{} holds no test", folder.display());
    }
    tests.sort();
    Ok(tests)
}

/// Tells tests where to find what was built.
fn with_the_built(command: &mut Command) {
    let target = places::target();
    command.env("BENNU_BIN", target.join("debug").join("bennu").with_extension(EXE_EXTENSION));
    command.env("BENNU_GUESTS", places::guests());
    command.env("BENNU_CLIENTS", places::clients());
    command.env("BENNU_PAGES", places::pages());
    command.env("BENNU_SCREENSHOTS", target.join("screenshots"));
}
