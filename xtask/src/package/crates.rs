//! Checks that the crates can be published: each is packed, and built from its package alone.

use anyhow::Result;

use super::contract;
use crate::places;
use crate::process::{cargo, run};
use crate::step::step;

/// The crates that a registry would have, each after those that it depends on.
const CRATES: [&str; 8] = [
    "bennu-semantics",
    "bennu-world",
    "bennu-guest",
    "bennu-outbound",
    "bennu-engine",
    "bennu-templates",
    "bennu-cluster",
    "bennu",
];

/// Packs all crates and builds the packages. They find each other in the packages, and not in the workspace.
pub(crate) fn verify() -> Result<()> {
    contract::check()?;
    step("the archive of the templates", || {
        run(cargo(places::root()).args(["run", "--quiet", "--package", "bennu-templates", "--example", "package"]))
    })?;
    step("the packages for crates.io", || {
        let mut command = cargo(places::root());
        // The archive is a file that isn't committed.
        command.args(["package", "--allow-dirty", "--quiet"]);
        CRATES.iter().for_each(|name| {
            command.args(["--package", name]);
        });
        run(&mut command)
    })
}
