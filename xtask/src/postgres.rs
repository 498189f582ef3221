//! The database server of the tests.

use std::env;
use std::path::PathBuf;

use crate::step::note;
use crate::{debian, process};

/// The environment variable with the directory of the server's programs, for `cargo xtask test` and for the tests.
pub(crate) const VARIABLE: &str = "BENNU_POSTGRES_BIN";

/// Debian's packages: the server with its client, and the pooler.
const PACKAGES: [&str; 2] = ["postgresql", "pgbouncer"];

/// Finds the server, or installs it. Without one, the tests of the store on PostgreSQL don't run.
pub(crate) fn find() -> Option<PathBuf> {
    if let Some(named) = env::var_os(VARIABLE) {
        return Some(named.into());
    }
    let has_pooler = || PathBuf::from("/usr/sbin/pgbouncer").is_file();
    if debian::can_install()
        && (installed().is_none() || !has_pooler())
        && let Err(error) = debian::install("installing PostgreSQL and PgBouncer (about 60 MB)", &PACKAGES)
    {
        note(&format!("PostgreSQL can't be installed: {error}"));
    }
    installed()
}

/// Returns the directory of the newest server here. Debian doesn't have the servers' directories in anybody's PATH.
fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let of_debian = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    let on_path = process::on_path("initdb").and_then(|initdb| Some(initdb.parent()?.to_owned()));
    of_debian.filter(|bin| bin.join("initdb").is_file()).max().or(on_path)
}
