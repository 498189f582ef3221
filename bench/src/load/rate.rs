//! A constant rate: computes when the next message is due, whether or not the server keeps up.

/// A number of messages a second.
pub(crate) struct Rate {
    /// Nanoseconds between two messages.
    each: u64,
    /// The time at which the next message is due; `None` before the first call of [`Rate::is_due`].
    due: Option<u64>,
}

impl Rate {
    /// Creates a rate of `a_second` messages a second. With 0, no message is ever due.
    pub(crate) fn new(a_second: u64) -> Self {
        Self { each: 1_000_000_000_u64.checked_div(a_second).unwrap_or(u64::MAX), due: None }
    }

    /// Whether another message is due at the time `now`. Each message that is due makes one call return true.
    pub(crate) fn is_due(&mut self, now: u64) -> bool {
        let due = *self.due.get_or_insert(now.saturating_add(self.each));
        let is_due = due <= now;
        if is_due {
            self.due = Some(due.saturating_add(self.each));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept() {
        let mut rate = Rate::new(1_000);
        assert!(!rate.is_due(5), "the first call starts the rate");
        let mut count = |now| std::iter::from_fn(|| rate.is_due(now).then_some(())).count();
        assert_eq!(count(1_000_004), 0);
        assert_eq!(count(1_000_005), 1);
        // After a delay, all messages that were due meanwhile are due.
        assert_eq!(count(11_000_005), 10);
        assert!(!Rate::new(0).is_due(u64::MAX - 1));
    }
}
