//! The name of a topic message that may be answered later.

use std::fmt;
use std::str::FromStr;

/// Names a topic message for a later answer. Only the plugin that got the message, and whom it tells, can know the seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AnswerRef {
    /// The number of the message on its host.
    pub number: u64,
    /// A number that nobody can guess.
    pub seal: u64,
}

impl fmt::Display for AnswerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:016x}", self.number, self.seal)
    }
}

impl FromStr for AnswerRef {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (number, seal) = text.split_once('.').ok_or(())?;
        let read = |text| u64::from_str_radix(text, 16).map_err(|_| ());
        Ok(Self { number: read(number)?, seal: read(seal)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_is_read_as_it_was_written() {
        for answer_ref in [AnswerRef { number: 0, seal: 0 }, AnswerRef { number: 300, seal: u64::MAX }] {
            assert_eq!(answer_ref.to_string().parse(), Ok(answer_ref));
        }
        for other in ["", "1", "1.", ".1", "1.g", "1.1.1", "10000000000000000.1"] {
            assert_eq!(other.parse::<AnswerRef>(), Err(()), "{other}");
        }
    }
}
