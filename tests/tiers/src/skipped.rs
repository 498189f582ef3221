//! Tests that don't run: those of the tier `full`, and those for which a machine lacks something.
//!
//! Rust's test runner counts a test that returns at once as passed. So each of them says that it was skipped, and `cargo xtask test`
//! counts it so.

use crate::Tier;
use crate::notes::add_line;

/// The environment variable with the path of the file to which tests add a line when they are skipped. `cargo xtask test` sets it.
pub const SKIPPED: &str = "BENNU_TEST_SKIPPED";

/// A test that only the tier `full` runs.
struct OnlyInFull {
    test: &'static str,
    why: &'static str,
}

/// All tests that only the tier `full` runs, of suites that the usual tier runs as well.
const ONLY_IN_FULL: [OnlyInFull; 9] = [
    OnlyInFull { test: "client_limits::a_neighbour_is_answered_during_a_limited_flood", why: FLOODS },
    OnlyInFull { test: "http::hostile_servers_do_not_slow_a_neighbour_down", why: FLOODS },
    OnlyInFull { test: "jwks::the_keys_of_before_serve", why: "waits for two minutes" },
    OnlyInFull { test: "schedule_states::a_cron_line_fires", why: "waits for up to a minute" },
    OnlyInFull {
        test: "schedule_states::a_schedule_that_was_given_up_is_kept_and_can_be_retried",
        why: "waits for three minutes",
    },
    OnlyInFull { test: "projects::templates_in_rust", why: "compiles all crates for each template" },
    OnlyInFull { test: "conformance::nats_silent", why: SILENT },
    OnlyInFull { test: "conformance::postgres_silent", why: SILENT },
    OnlyInFull { test: "conformance::postgres_quiet", why: SILENT },
];

const FLOODS: &str = "uses all processors for some seconds, which would slow other tests down";
const SILENT: &str = "waits for a server that is silent for some seconds";

/// Whether a test runs in the current tier. If it doesn't, that is noted.
///
/// # Panics
/// If no such test is listed here.
#[must_use]
pub fn runs(test: &str) -> bool {
    let found = ONLY_IN_FULL.iter().find(|only| only.test == test);
    let OnlyInFull { why, .. } = found.unwrap_or_else(|| panic!("tests/tiers doesn't list `{test}`"));
    let runs = Tier::current() == Tier::Full;
    if !runs {
        note_skipped(&format!("only in `cargo xtask test full`: {why}"));
    }
    runs
}

/// Notes that the current test is skipped, and why. The test then returns.
///
/// # Panics
/// If the note can't be written.
pub fn note_skipped(why: &str) {
    eprintln!("skipped: {why}");
    add_line(SKIPPED, why);
}
