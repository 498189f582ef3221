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
/// An audit that has read 7 comes between the seventh and the eighth payment. So the seventh one happened before the audit ended, and the
/// eighth one after it began. That gives each place in the order a first and a last moment, and both only grow from place to place. A payment
/// can have each place whose moments meet its own. These places are consecutive, so it is enough to give each place, from the first one on,
/// to the payment that must have one soonest (a matching in a convex graph). Of two payments that then have places against the time, each
/// can have the place of the other.
///
/// # Errors
/// If there is no such order, with the reason.
pub(crate) fn order(spans: &mut [Span], audits: &[Audit]) -> Result<()> {
    let places = Places::between(audits, spans.len())?;
    spans.sort_by_key(|span| span.earliest);
    let (mut spans, mut waiting) = (spans.iter().peekable(), BinaryHeap::new());
    for (place, (first, last)) in places.first.iter().zip(&places.last).enumerate() {
        let is_possible = last.is_none_or(|last| *first <= Some(last));
        ensure!(is_possible, "an audit has read more than {place}, and one that began after it had ended has not");
        while let Some(span) = spans.next_if(|span| last.is_none_or(|last| span.earliest <= last)) {
            waiting.push(Reverse(places.open_to(span)));
        }
        let soonest = waiting.pop();
        let Reverse(open) = soonest.with_context(|| {
            format!("an audit has read more than {place}, which can't have been there yet when it ended")
        })?;
        ensure!(place < open, "an audit has read {open}, without a payment that had ended when it began");
    }
    Ok(())
}

/// The places of payments in an order with audits.
struct Places {
    /// The moment of each place, at the earliest: when the last audit began that has read no more than what comes before the place.
    first: Vec<Option<Instant>>,
    /// The moment of each place, at the latest: when the first audit ended that has read more than that.
    last: Vec<Option<Instant>>,
}

impl Places {
    /// # Errors
    /// If an audit has read more than so many payments.
    fn between(audits: &[Audit], count: usize) -> Result<Self> {
        let (mut first, mut last) = (vec![None; count], vec![None; count]);
        for audit in audits {
            let sum = usize::try_from(audit.sum)?;
            ensure!(sum <= count, "an audit has read {sum}, which is too much");
            if let Some(first) = first.get_mut(sum) {
                *first = Some(audit.began).max(*first);
            }
            if let Some(last) = sum.checked_sub(1).map(|before| &mut last[before]) {
                *last = last.map_or(Some(audit.ended), |last: Instant| Some(last.min(audit.ended)));
            }
        }
        for place in 1..count {
            first[place] = first[place].max(first[place - 1]);
        }
        for place in (1..count).rev() {
            last[place - 1] = last[place - 1].into_iter().chain(last[place]).min();
        }
        Ok(Self { first, last })
    }

    /// The number of places, from the first one, that don't come too late for a payment.
    fn open_to(&self, span: &Span) -> usize {
        span.latest.map_or(self.first.len(), |latest| self.first.partition_point(|first| *first <= Some(latest)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bennu_test_tiers::Noise;

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
        assert!(refusal(&payments, &[(3, 4, 2), (5, 6, 1)]).contains("began after it had ended"));
    }

    #[test]
    fn audits_are_in_one_order() {
        // The second audit began after the first one had ended, and has read less.
        assert!(refusal(&[(0, Some(9)), (0, Some(9))], &[(1, 2, 2), (3, 4, 1)]).contains("began after it had ended"));
        assert_eq!(refusal(&[(0, Some(9)), (0, Some(9))], &[(1, 2, 1), (1, 4, 2), (3, 4, 2)]), "");
        // Of two payments that could have been read, the one that ended must have been.
        assert_eq!(refusal(&[(0, Some(9)), (0, Some(2))], &[(3, 4, 1)]), "");
        assert!(refusal(&[(0, Some(2)), (0, Some(2))], &[(3, 4, 1)]).contains("without a payment"));
    }

    #[test]
    fn an_audit_may_wait_for_a_payment_that_must_come_before_the_next_audit() {
        // Both audits have read the second payment: it ended before the second one began.
        assert_eq!(refusal(&[(0, Some(9)), (4, Some(5))], &[(1, 8, 1), (6, 7, 1)]), "");
    }

    /// Whether these payments, in this order, and the audits can have happened one after another.
    fn is_possible(payments: &[(u64, Option<u64>)], audits: &[(u64, u64, u64)]) -> bool {
        let mut now = 0;
        for happened in 0..=payments.len() {
            let read = audits.iter().filter(|(.., sum)| *sum == happened as u64);
            let moments: Vec<(u64, u64)> = read.map(|(began, ended, _)| (now.max(*began), *ended)).collect();
            now = moments.iter().map(|(at, _)| *at).max().unwrap_or(now);
            if let Some((earliest, _)) = payments.get(happened) {
                now = now.max(*earliest);
            }
            let is_late = payments.get(happened).is_some_and(|(_, latest)| latest.is_some_and(|latest| latest < now));
            if is_late || moments.iter().any(|(at, ended)| at > ended) {
                return false;
            }
        }
        audits.iter().all(|(.., sum)| *sum <= payments.len() as u64)
    }

    /// Whether any order is possible, with those after the first `fixed` payments in any order.
    fn any_is_possible(payments: &mut [(u64, Option<u64>)], fixed: usize, audits: &[(u64, u64, u64)]) -> bool {
        if fixed == payments.len() {
            return is_possible(payments, audits);
        }
        (fixed..payments.len()).any(|next| {
            payments.swap(fixed, next);
            let found = any_is_possible(payments, fixed + 1, audits);
            payments.swap(fixed, next);
            found
        })
    }

    #[test]
    fn an_order_is_found_if_one_of_all_orders_is_possible() {
        let mut noise = Noise::new(1);
        let mut counts = [0, 0];
        for _ in 0..10_000 {
            let moments = |noise: &mut Noise| {
                let began = noise.below(8) as u64;
                (began, began + noise.below(5) as u64)
            };
            let mut payments: Vec<_> = (0..noise.below(5))
                .map(|_| {
                    let (earliest, latest) = moments(&mut noise);
                    (earliest, (noise.below(4) > 0).then_some(latest))
                })
                .collect();
            let audits: Vec<_> = (0..noise.below(4))
                .map(|_| {
                    let (began, ended) = moments(&mut noise);
                    (began, ended, noise.below(payments.len() + 1) as u64)
                })
                .collect();
            let found = refusal(&payments, &audits).is_empty();
            assert_eq!(found, any_is_possible(&mut payments, 0, &audits), "{payments:?} {audits:?}");
            counts[usize::from(found)] += 1;
        }
        assert!(counts.iter().all(|count| *count > 1_000), "{counts:?} of each outcome");
    }
}
