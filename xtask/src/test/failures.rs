//! The messages of failed tests, for the end of a run's output: a log that is cut in the middle still has them.

/// The most lines of a message.
const LINES_MAX: usize = 20;

/// The most bytes of a line.
const LINE_BYTES_MAX: usize = 300;

/// Finds the messages of failed tests in the output of Rust's test runner, without their backtraces, or of Node's.
#[derive(Debug, Default)]
pub(super) struct Failures {
    found: Vec<String>,
    /// The lines that the message which is being read may still have. `None` outside of a message.
    room: Option<usize>,
    /// Whether the messages at the end of Node's output are being read. Each begins with the place of its test.
    is_node: bool,
}

impl Failures {
    /// Reads the next line.
    pub(super) fn read(&mut self, line: &str) {
        self.is_node |= line.starts_with("✖ failing tests:");
        let name = if self.is_node {
            line.starts_with("test at ").then_some(line)
        } else {
            line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"))
        };
        if let Some(name) = name {
            self.found.push(name.to_owned());
            self.room = Some(LINES_MAX);
        } else if line == "failures:"
            || line.starts_with("test result: ")
            || line.eq_ignore_ascii_case("stack backtrace:")
        {
            self.room = None;
        } else if let Some(room @ 1..) = self.room
            && let Some(message) = self.found.last_mut()
            && !line.trim().is_empty()
            && !(self.is_node && line.trim_start().starts_with("at "))
        {
            message.push_str("\n    ");
            message.push_str(&line[..line.floor_char_boundary(LINE_BYTES_MAX)]);
            self.room = Some(room - 1);
        }
    }

    /// The messages, each of which begins with the test's name.
    pub(super) fn found(self) -> Vec<String> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(output: &str) -> Vec<String> {
        let mut failures = Failures::default();
        output.lines().for_each(|line| failures.read(line));
        failures.found()
    }

    #[test]
    fn messages_of_rust_have_the_tests_name_and_end_before_the_list_of_names() {
        let output = "test a::b ... FAILED\n\nfailures:\n\n---- a::b stdout ----\nError: no\n\nCaused by:\n    x\n\n\
             ---- c stdout ----\nthread 'c' panicked\nstack backtrace:\n   0: f\n\n\nfailures:\n    a::b\n    c\n\ntest result: FAILED. 0 passed\nmore\n";
        assert_eq!(found(output), ["a::b\n    Error: no\n    Caused by:\n        x", "c\n    thread 'c' panicked"]);
    }

    #[test]
    fn each_failed_test_at_the_end_of_nodes_output_is_a_message_without_its_stack() {
        let long = "  a line\n".repeat(100);
        let output = format!(
            "✔ one (1ms)\n✖ two (3ms)\n  Error: no\nℹ fail 2\n\n✖ failing tests:\n\n\
             test at a.mjs:1:1\n✖ two (3ms)\n  Error: no\n      at a.mjs:2:3\n      at async f (a.mjs:9:9)\n{long}\n\
             test at b.mjs:4:1\n✖ three (1ms)\n  Error: never\n      at b.mjs:5:6\n"
        );
        let found = found(&output);
        assert!(
            found[0].starts_with("test at a.mjs:1:1\n    ✖ two (3ms)\n      Error: no\n      a line\n"),
            "{found:?}"
        );
        assert_eq!(found[0].lines().count(), 1 + LINES_MAX);
        assert_eq!(found[1..], ["test at b.mjs:4:1\n    ✖ three (1ms)\n      Error: never"]);
    }

    #[test]
    fn long_messages_are_cut() {
        let output = format!("---- a stdout ----\n{}", format!("{}\n", "é".repeat(1000)).repeat(100));
        let found = found(&output);
        assert_eq!(found[0].lines().count(), 1 + LINES_MAX);
        assert!(found[0].lines().all(|line| line.len() <= 4 + LINE_BYTES_MAX));
    }

    #[test]
    fn output_without_failures_has_no_messages() {
        assert_eq!(found("running 1 test\ntest a ... ok\n\ntest result: ok. 1 passed\n"), [""; 0]);
    }
}
