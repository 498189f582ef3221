//! The SDK in Python: its own tests, the blocks of its page, and the templates. They need Python, and nothing of PyPI.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use bennu_tests::places;

#[test]
fn the_tests_of_the_sdk_in_python_pass() -> Result<()> {
    let workspace = places::workspace()?;
    let mut python = Command::new("python3");
    python.args(["-B", "-m", "unittest", "discover", "sdk/python/tests"]).current_dir(workspace);
    python.env("PYTHONPATH", workspace.join("sdk/python")).env("BENNU", places::binary()?);
    let tested = python.output().context("this test needs Python 3.11 or later as `python3`")?;
    ensure!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    Ok(())
}
