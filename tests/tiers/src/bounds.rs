//! What tests require of a measurement: more in the full tier than in the usual one, in which other tests take the processors, too.

use crate::Tier;

/// The bound of a measurement. None if the usual tier has none.
struct Bound {
    test: &'static str,
    usual: Option<u64>,
    full: u64,
}

/// All bounds that depend on the tier.
const BOUNDS: [Bound; 7] = [
    // The CPU time that a message of the maximum size may take, in defaults of `call_cpu_ms`. A processor that others use takes several
    // times as long for the same work. In the full tier, these tests run alone.
    Bound { test: "large_messages::call_cpu", usual: Some(10), full: 1 },
    // The milliseconds after which the slowest client must be back when its host is replaced. The tests' host isn't optimized: 2,000
    // clients took up to 10 seconds with it. `BENNU_BIN=target/release/bennu` runs the tests with one that is.
    Bound { test: "replacements::back_ms", usual: None, full: 20_000 },
    // The transfers of the plugin `ledger` that must be stored in a second while a backup is made.
    Bound { test: "backup::transfers_a_second", usual: None, full: 1_000 },
    // The seconds from the first command to changed code under two open windows. In the full tier, these tests run alone. That of Python
    // includes a download of its compiler from PyPI.
    // Measured on two processors, beside other work: 1 second in TypeScript, 42 in Rust, 142 in Go.
    Bound { test: "first_change::ts", usual: None, full: 60 },
    Bound { test: "first_change::rust", usual: None, full: 300 },
    Bound { test: "first_change::go", usual: None, full: 300 },
    Bound { test: "first_change::python", usual: None, full: 300 },
];

/// What the test called `test` requires in the current tier, if it requires anything.
///
/// # Panics
/// If no such test is listed here.
#[must_use]
pub fn bound(test: &str) -> Option<u64> {
    let found = BOUNDS.iter().find(|bound| bound.test == test);
    let Bound { usual, full, .. } = found.unwrap_or_else(|| panic!("tests/tiers lists no bound for `{test}`"));
    match Tier::current() {
        Tier::Usual => *usual,
        Tier::Full => Some(*full),
    }
}
