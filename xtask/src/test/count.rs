//! Counts a program's tests: reads the numbers from its output, while it passes the output on, and which tests skip themselves.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::ops::AddAssign;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::failures::Failures;
use crate::process;

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
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
        for (why, tests) in other.reasons {
            self.reasons.entry(why).or_default().extend(tests);
        }
    }
}

impl Counts {
    /// Counts the tests that skipped themselves: the test runner has counted them as passed. Each line has a name, a tab and a reason.
    fn skip(&mut self, lines: &str) {
        for (test, why) in lines.lines().filter_map(|line| line.split_once('\t')) {
            self.passed = self.passed.saturating_sub(1);
            self.skipped += 1;
            self.reasons.entry(why.to_owned()).or_default().push(test.to_owned());
        }
    }
}

/// Runs a program, passes its output on, and adds its numbers of tests to `counts`. Its tests write to the file `skipped` if they skip
/// themselves.
pub(super) fn run(command: &mut Command, skipped: &Path, counts: &mut Counts) -> Result<()> {
    if let Err(error) = fs::remove_file(skipped)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error).with_context(|| format!("removing {}", skipped.display()));
    }
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| process::cannot_start(command))?;
    let output = child.stdout.take().context("the program's output is a pipe")?;
    let mut own = std::io::stdout().lock();
    let mut failures = Failures::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let text = String::from_utf8_lossy(&line);
        *counts += of_line(&text);
        failures.read(&text);
        own.write_all(&line)?;
        own.write_all(b"\n")?;
    }
    counts.failures.extend(failures.found());
    let status = child.wait()?;
    // Without the file, no test has skipped itself.
    counts.skip(&fs::read_to_string(skipped).unwrap_or_default());
    if !status.success() {
        bail!("`{}` failed ({status})", process::line(command));
    }
    Ok(())
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
    fn other_lines_count_nothing() {
        for line in ["test a ... ok", "ℹ tests 9", "ℹ duration_ms 12", "5 passed", "ℹ passing 4", ""] {
            assert_eq!(of_line(line), Counts::default(), "{line}");
        }
    }
}
