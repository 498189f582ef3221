//! A steady pace: when the next one is due, whether or not the server keeps up.

/// So many a second.
pub(crate) struct Pace {
    /// Nanoseconds from one to the next.
    each: u64,
    /// When the next one is due; none before the first look.
    due: Option<u64>,
}

impl Pace {
    /// None is ever due of none a second.
    pub(crate) fn new(a_second: u64) -> Self {
        Self { each: 1_000_000_000_u64.checked_div(a_second).unwrap_or(u64::MAX), due: None }
    }

    /// Whether another one is due by now. Each that was is told once.
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
    fn as_many_are_due_as_were_asked_for() {
        let mut pace = Pace::new(1_000);
        assert!(!pace.is_due(5), "the first look begins it");
        let mut count = |now| std::iter::from_fn(|| pace.is_due(now).then_some(())).count();
        assert_eq!(count(1_000_004), 0);
        assert_eq!(count(1_000_005), 1);
        // Who was away for a while does what was due then.
        assert_eq!(count(11_000_005), 10);
        assert!(!Pace::new(0).is_due(u64::MAX - 1));
    }
}
