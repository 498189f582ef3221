//! Counts a program's tests: reads the numbers from its output, while it passes the output on. Reads what the tests note: which ones skip
//! themselves, and what they have measured.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::ops::AddAssign;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use bennu_test_tiers::{FIGURES, SKIPPED};

use super::failures::Failures;
use crate::{places, process};

/// Numbers of tests by result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
    /// The names of tests that say why they were skipped, by the reason.
    pub(super) reasons: BTreeMap<String, Vec<String>>,
    /// The messages of the tests that failed.
    pub(super) failures: Vec<String>,
    /// What tests have measured, a line for each, with the name of the test.
    pub(super) figures: Vec<String>,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
        self.figures.extend(other.figures);
        for (why, tests) in other.reasons {
            self.reasons.entry(why).or_default().extend(tests);
        }
    }
}

impl Counts {
    /// Counts the tests that skipped themselves: the test runner has counted them as passed. Each line has a name, a tab and a reason.
    fn skip(&mut self, lines: &str) {
        for (test, why) in notes(lines) {
            self.passed = self.passed.saturating_sub(1);
            self.skipped += 1;
            self.explain(test, why);
        }
    }

    /// Counts a group of tests that isn't begun, because the machine lacks something. Nobody has counted its tests, so it counts as one.
    pub(super) fn leave_out(&mut self, group: &str, why: &str) {
        self.skipped += 1;
        self.explain(group, why);
    }

    /// Takes the reason from a line about a skipped test: of Rust's test runner, about one with `#[ignore]`, or of Node's, about one with
    /// the option `skip`. Their number is in the summary line.
    fn read_ignored(&mut self, line: &str) {
        let line = line.trim();
        let in_rust = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ignored"));
        let in_node = line.strip_prefix('﹣').and_then(|rest| rest.trim_start().split_once("ms) # "));
        if let Some((test, why)) = in_rust {
            self.explain(test, why.strip_prefix(", ").unwrap_or("`#[ignore]` without a reason"));
        } else if let Some((test, why)) = in_node {
            // Between the name and the unit is the time that the test took.
            let test = test.rsplit_once(" (").map_or(test, |(name, _)| name);
            self.explain(test, if why == "SKIP" { "`skip` without a reason" } else { why });
        }
    }

    fn explain(&mut self, test: &str, why: &str) {
        self.reasons.entry(why.to_owned()).or_default().push(test.to_owned());
    }
}

/// The lines of a file of notes: the name of a test, and a text.
fn notes(lines: &str) -> impl Iterator<Item = (&str, &str)> {
    lines.lines().filter_map(|line| line.split_once('\t'))
}

/// Runs a program, passes its output on, and adds its numbers of tests to `counts`. Its tests write to two files: if they skip themselves,
/// and what they have measured.
pub(super) fn run(command: &mut Command, counts: &mut Counts) -> Result<()> {
    let [skipped, figures] = ["skipped-tests", "test-figures"].map(|name| places::target().join(name));
    remove(&skipped)?;
    remove(&figures)?;
    command.env(SKIPPED, &skipped).env(FIGURES, &figures);
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| process::cannot_start(command))?;
    let output = child.stdout.take().context("the program's output is a pipe")?;
    let mut own = std::io::stdout().lock();
    let mut failures = Failures::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let text = String::from_utf8_lossy(&line);
        *counts += of_line(&text);
        counts.read_ignored(&text);
        failures.read(&text);
        own.write_all(&line)?;
        own.write_all(b"\n")?;
    }
    counts.failures.extend(failures.found());
    let status = child.wait()?;
    // Without a file, no test has noted anything.
    counts.skip(&fs::read_to_string(skipped).unwrap_or_default());
    let figures = fs::read_to_string(figures).unwrap_or_default();
    counts.figures.extend(notes(&figures).map(|(test, text)| format!("{test}: {text}")));
    if !status.success() {
        bail!("`{}` failed ({status})", process::line(command));
    }
    Ok(())
}

/// Removes a file that an earlier program may have left.
fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// The numbers in a summary line of Rust's test runner, or in one of the summary lines of Node's.
fn of_line(line: &str) -> Counts {
    let line = line.trim();
    if let Some(sums) = line.strip_prefix("test result: ") {
        let sums = sums.split_once(". ").map_or("", |(_, sums)| sums);
        let (passed, failed, skipped) = (sum(sums, "passed"), sum(sums, "failed"), sum(sums, "ignored"));
        return Counts { passed, failed, skipped, ..Counts::default() };
    }
    let number = |name: &str| {
        let number = line.strip_prefix('ℹ')?.trim().strip_prefix(name)?;
        number.strip_prefix(' ')?.parse().ok()
    };
    Counts {
        passed: number("pass").unwrap_or(0),
        failed: number("fail").unwrap_or(0),
        skipped: number("skipped").unwrap_or(0),
        ..Counts::default()
    }
}

/// The number before `name` in text such as `3 passed; 0 failed`.
fn sum(text: &str, name: &str) -> usize {
    let words = text.split(';').find_map(|part| part.trim().strip_suffix(name));
    words.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_lines_of_both_test_runners_are_counted() {
        let rust = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.1s";
        assert_eq!(of_line(rust), Counts { passed: 12, failed: 1, skipped: 2, ..Counts::default() });
        assert_eq!(of_line("ℹ pass 7"), Counts { passed: 7, ..Counts::default() });
        assert_eq!(of_line("ℹ fail 3"), Counts { failed: 3, ..Counts::default() });
        assert_eq!(of_line("ℹ skipped 1"), Counts { skipped: 1, ..Counts::default() });
    }

    #[test]
    fn tests_that_skip_themselves_are_not_passed() {
        let mut counts = Counts { passed: 5, ..Counts::default() };
        counts.skip("a::one\ttoo slow\nb::two\tno disk\na::three\ttoo slow\n");
        assert_eq!((counts.passed, counts.skipped), (2, 3));
        let reasons: Vec<_> = counts.reasons.into_iter().collect();
        let expected = [("no disk", vec!["b::two"]), ("too slow", vec!["a::one", "a::three"])];
        assert_eq!(
            reasons,
            expected.map(|(why, tests)| (why.to_owned(), tests.into_iter().map(str::to_owned).collect::<Vec<_>>()))
        );
    }

    #[test]
    fn ignored_tests_and_groups_that_are_not_begun_have_their_reasons() {
        let mut counts = Counts::default();
        for line in [
            "test a::one ... ignored, needs Spin",
            "test b::two ... ignored",
            "test c ... ok",
            "test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out",
        ] {
            counts += of_line(line);
            counts.read_ignored(line);
        }
        counts.leave_out("the tests of nodes", "no server");
        assert_eq!((counts.passed, counts.skipped), (1, 3));
        let reasons: Vec<_> = counts.reasons.iter().map(|(why, tests)| (&**why, tests.join(" "))).collect();
        let expected =
            [("`#[ignore]` without a reason", "b::two"), ("needs Spin", "a::one"), ("no server", "the tests of nodes")];
        assert_eq!(reasons, expected.map(|(why, tests)| (why, tests.to_owned())));
    }

    #[test]
    fn skipped_tests_in_node_have_their_reasons() {
        let mut counts = Counts::default();
        for line in [
            "﹣ one (twice) (0.9ms) # needs # Spin",
            "  ﹣ inner (0.106613ms) # no server",
            "﹣ two (0.1ms) # SKIP",
            "✔ three (0.1ms) # later",
            "✖ four (1ms)",
        ] {
            counts.read_ignored(line);
        }
        let reasons: Vec<_> = counts.reasons.iter().map(|(why, tests)| (&**why, tests.join(" "))).collect();
        let expected = [("`skip` without a reason", "two"), ("needs # Spin", "one (twice)"), ("no server", "inner")];
        assert_eq!(reasons, expected.map(|(why, tests)| (why, tests.to_owned())));
    }

    #[test]
    fn other_lines_count_nothing() {
        for line in ["test a ... ok", "ℹ tests 9", "ℹ duration_ms 12", "5 passed", "ℹ passing 4", ""] {
            assert_eq!(of_line(line), Counts::default(), "{line}");
        }
    }
}
