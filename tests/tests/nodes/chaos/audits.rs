//! Audits read all accounts at once. Each must have read what was there at one moment.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

/// When a stored payment can have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Not before it and all that come before it in its account had begun.
    pub(crate) earliest: Instant,
    /// Not after it, or one that comes after it in its account, was told. None if none of them was.
    pub(crate) latest: Option<Instant>,
}

/// An audit that was told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Audit {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    /// The sum of all accounts. Each payment is of one, so it is the number of payments that came before the audit.
    pub(crate) sum: u64,
}

/// Puts payments of all accounts and audits into one order, in which each audit comes after exactly as many payments as it has read.
///
/// An audit with a lower sum comes first. Each gets the earliest moment that it can have, because at a later one, more payments must have
/// happened. Before it come the payments that must happen soonest. If any order is possible, this one is: any other one can be changed into it by
/// exchanging two payments at a time.
///
/// # Errors
/// If there is none, with the reason.
pub(crate) fn order(spans: &mut [Span], audits: &[Audit]) -> Result<()> {
    spans.sort_by_key(|span| span.earliest);
    let mut audits = audits.to_vec();
    audits.sort_by_key(|audit| (audit.sum, audit.began));
    // A payment that may happen at any time after its earliest moment is the last one to choose.
    let (mut waiting, mut open, mut spans) = (BinaryHeap::new(), 0_u64, spans.iter().peekable());
    let (mut happened, mut now) = (0, None::<Instant>);
    for audit in audits {
        let mut at = now.map_or(audit.began, |now| now.max(audit.began));
        loop {
            while let Some(span) = spans.next_if(|span| span.earliest <= at) {
                match span.latest {
                    Some(latest) => waiting.push(Reverse(latest)),
                    None => open += 1,
                }
            }
            if happened + waiting.len() as u64 + open >= audit.sum {
                break;
            }
            let next = spans.peek().with_context(|| format!("an audit has read {}, which is too much", audit.sum))?;
            at = next.earliest;
        }
        ensure!(at <= audit.ended, "an audit has read {}, which can't have been there yet when it ended", audit.sum);
        while happened < audit.sum {
            if waiting.pop().is_none() {
                open -= 1;
            }
            happened += 1;
        }
        let is_late = waiting.peek().is_some_and(|Reverse(latest)| *latest < at);
        ensure!(!is_late, "an audit has read {}, without a payment that had ended when it began", audit.sum);
        now = Some(at);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Checks payments with their first and last moments, and audits with their beginnings, ends and sums.
    fn refusal(payments: &[(u64, Option<u64>)], audits: &[(u64, u64, u64)]) -> String {
        let zero = Instant::now();
        let at = |seconds| zero + Duration::from_secs(seconds);
        let mut spans: Vec<Span> = payments
            .iter()
            .map(|(earliest, latest)| Span { earliest: at(*earliest), latest: latest.map(at) })
            .collect();
        let audits: Vec<Audit> = audits
            .iter()
            .map(|(began, ended, sum)| Audit { began: at(*began), ended: at(*ended), sum: *sum })
            .collect();
        order(&mut spans, &audits).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn an_audit_reads_what_was_there_at_one_moment() {
        let payments = [(0, Some(1)), (2, Some(9)), (3, Some(8)), (10, None)];
        for sum in 1..=3 {
            assert_eq!(refusal(&payments, &[(4, 7, sum)]), "");
        }
        assert!(refusal(&payments, &[(4, 7, 0)]).contains("without a payment that had ended"));
        assert!(refusal(&payments, &[(4, 7, 4)]).contains("can't have been there yet"));
        assert!(refusal(&payments, &[(4, 20, 5)]).contains("too much"));
    }

    #[test]
    fn a_payment_of_which_nobody_was_told_may_happen_late() {
        let payments = [(0, None), (1, Some(2))];
        assert_eq!(refusal(&payments, &[(3, 4, 1), (5, 6, 2)]), "");
        assert_eq!(refusal(&payments, &[(3, 4, 1), (3, 4, 1)]), "");
        assert!(refusal(&payments, &[(3, 4, 2), (5, 6, 1)]).contains("can't have been there yet"));
    }

    #[test]
    fn audits_are_in_one_order() {
        // The second audit began after the first one had ended, and has read less.
        assert!(refusal(&[(0, Some(9)), (0, Some(9))], &[(1, 2, 2), (3, 4, 1)]).contains("can't have been there yet"));
        assert_eq!(refusal(&[(0, Some(9)), (0, Some(9))], &[(1, 2, 1), (1, 4, 2), (3, 4, 2)]), "");
        // Of two payments that could have been read, the one that ended must have been.
        assert_eq!(refusal(&[(0, Some(9)), (0, Some(2))], &[(3, 4, 1)]), "");
        assert!(refusal(&[(0, Some(2)), (0, Some(2))], &[(3, 4, 1)]).contains("without a payment"));
    }
}
