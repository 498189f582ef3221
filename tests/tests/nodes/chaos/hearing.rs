//! What a client hears of all senders, and whether it is complete or the client was told that it isn't.

use std::collections::HashMap;

use anyhow::{Result, bail};

/// The numbers that a client expects.
#[derive(Debug, Default)]
pub(crate) struct Hearing {
    next: HashMap<u64, u64>,
    /// The first gap since the client joined.
    gap: Option<String>,
    pub(crate) heard: u64,
}

impl Hearing {
    /// The client hears a broadcast. The first one of a sender may have any number.
    ///
    /// # Errors
    /// If it comes twice, or out of order.
    pub(crate) fn hear(&mut self, sender: u64, number: u64) -> Result<()> {
        self.heard += 1;
        match self.next.insert(sender, number + 1) {
            Some(next) if number < next => bail!("the broadcast {number} of {sender} came when {next} was expected"),
            Some(next) if number > next => {
                self.gap.get_or_insert_with(|| format!("broadcast {next} to {} of {sender}", number - 1));
            }
            _ => {}
        }
        Ok(())
    }

    /// The client joins again, because it was told to or because its connection has ended. It may have missed anything.
    pub(crate) fn joins_again(&mut self) {
        self.next.clear();
        self.gap = None;
    }

    /// What the client lacks without having been told: in the middle, or at the end of what the senders have said. A client that has heard
    /// nothing of a sender may have joined after it.
    pub(crate) fn gap(&self, said: &HashMap<u64, u64>) -> Option<String> {
        let at_end = || {
            said.iter().find_map(|(sender, last)| {
                let next = self.next.get(sender).filter(|next| *next <= last)?;
                Some(format!("broadcast {next} to {last} of {sender}"))
            })
        };
        self.gap.clone().or_else(at_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_must_be_told() {
        let (mut hearing, nothing) = (Hearing::default(), HashMap::new());
        for (sender, number) in [(1, 7), (2, 0), (1, 8), (2, 1)] {
            assert!(hearing.hear(sender, number).is_ok());
        }
        assert_eq!(hearing.gap(&nothing), None);
        assert!(hearing.hear(1, 11).is_ok());
        assert_eq!(hearing.gap(&nothing).as_deref(), Some("broadcast 9 to 10 of 1"));
        hearing.joins_again();
        assert!(hearing.hear(1, 13).is_ok());
        assert_eq!((hearing.gap(&nothing), hearing.heard), (None, 6));
    }

    #[test]
    fn a_gap_at_the_end_is_found() {
        let mut hearing = Hearing::default();
        assert!(hearing.hear(1, 4).is_ok());
        assert_eq!(hearing.gap(&HashMap::from([(1, 4), (2, 9)])), None);
        assert_eq!(hearing.gap(&HashMap::from([(1, 6)])).as_deref(), Some("broadcast 5 to 6 of 1"));
    }

    #[test]
    fn a_broadcast_that_comes_twice_or_late_is_an_error() {
        let mut hearing = Hearing::default();
        assert!(hearing.hear(1, 4).is_ok());
        assert!(hearing.hear(1, 4).is_err());
        assert!(hearing.hear(1, 2).is_err());
    }
}
