//! Checks the model of the lease, `model/lease.pml`, with Spin: all orders in which the steps can happen.
//!
//! The tests need Spin and a C compiler, so only the suite `models` runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What Spin found.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// All orders were looked at, and nothing was found.
    Nothing,
    /// This assertion doesn't hold.
    Assertion(String),
    /// Somebody waits for ever.
    Deadlock,
}

/// Checks the model with some of its macros.
fn check(macros: &[&str]) -> Finding {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("lease-{}", macros.join("-")));
    fs::create_dir_all(&folder).expect("the folder of the build can be written to");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("model").join("lease.pml");
    let macros = macros.iter().map(|name| format!("-D{name}"));
    run(Command::new("spin").current_dir(&folder).args(macros).arg("-a").arg(model));
    // By breadth, so that a finding comes early.
    let options = ["-O2", "-DSAFETY", "-DBFS", "-DMEMLIM=4096", "-o", "pan", "pan.c"];
    run(Command::new("cc").current_dir(&folder).args(options));
    let found = run(Command::new(folder.join("pan")).current_dir(&folder));
    let error = |what| found.lines().find_map(|line| line.strip_prefix("pan:1: ")?.strip_prefix(what));
    if let Some(rest) = error("assertion violated ") {
        let assertion = rest.split_once(" (at depth").map_or(rest, |(assertion, _)| assertion);
        return Finding::Assertion(assertion.trim().to_owned());
    }
    if error("invalid end state").is_some() {
        return Finding::Deadlock;
    }
    assert!(found.contains("errors: 0") && !found.contains("not completed"), "{found}");
    Finding::Nothing
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} can't be started: {error}"));
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_lease_and_the_fence_hold_in_all_orders() {
    assert_eq!(check(&[]), Finding::Nothing);
    assert_eq!(check(&["ENDS"]), Finding::Nothing);
}

#[test]
fn each_way_to_break_the_protocol_is_found() {
    let cases: [(&str, &[&str]); 5] = [
        ("NO_FENCE", &["taken"]),
        ("NO_LOCK", &["taken"]),
        ("NO_BEAT", &["was_stopped", "lease<4"]),
        ("NO_BREAKS", &["was_stopped"]),
        ("FROM_ANSWER", &["lease<4"]),
    ];
    for (broken, assertions) in cases {
        let found = check(&[broken]);
        let is_expected =
            matches!(&found, Finding::Assertion(found) if assertions.iter().any(|part| found.contains(part)));
        assert!(is_expected, "{broken}: {found:?}");
    }
    assert_eq!(check(&["ENDS", "SPANS"]), Finding::Deadlock);
}
