//! The text of an error with its causes.

use std::error::Error;

/// Returns the error with its causes: the clients of the engines leave them out of their own texts. A cause that the text already has
/// isn't repeated.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Outer(&'static str, io::Error);

    impl std::fmt::Display for Outer {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn a_cause_is_said_once() {
        let text = |outer| with_causes(&Outer(outer, io::Error::other("no route")));
        assert_eq!(text("connecting failed"), "connecting failed: no route");
        assert_eq!(text("connecting failed: no route"), "connecting failed: no route");
    }
}
