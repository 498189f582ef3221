//! The dependencies of the product, the binary `bennu`.

use std::env;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bennu_tests::places;

/// The features of `tokio` if `package` is built alone, as a release is. Cargo unifies the features of packages that are built
/// together.
fn features_of_tokio(package: &str) -> Result<Vec<String>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tree = Command::new(cargo);
    tree.args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p} {f}"]);
    let ended = tree.args(["--package", package]).current_dir(places::workspace()?).output()?;
    ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let text = String::from_utf8(ended.stdout)?;
    let line = text.lines().find(|line| line.starts_with("tokio v")).context("the package has no tokio")?;
    let features = line.split(' ').nth(2).context("a line has a name, a version and features")?;
    Ok(features.split(',').map(str::to_owned).collect())
}

/// `test-util` gives every timer of the process a clock that can be paused.
#[test]
fn the_product_is_built_without_tokios_clock_for_tests() -> Result<()> {
    let product = features_of_tokio("bennu")?;
    ensure!(product.iter().any(|feature| feature == "time"), "{product:?}");
    ensure!(!product.iter().any(|feature| feature == "test-util"), "{product:?}");
    let kit = features_of_tokio("bennu-kit")?;
    ensure!(kit.iter().any(|feature| feature == "test-util"), "{kit:?}");
    Ok(())
}
