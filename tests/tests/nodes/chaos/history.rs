//! What clients paid into one account and were told, and whether one order of it explains everything.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::audits::Span;

/// A payment of one into an account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payment {
    /// When it was sent.
    pub(crate) began: Instant,
    /// The balance with it, and when the client was told. None if it was never told: the payment may be stored or not.
    pub(crate) told: Option<(u64, Instant)>,
}

/// The counts of a history that can be explained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Explained {
    /// Payments that clients were told of.
    pub(crate) told: u64,
    /// Payments of which nobody was told what became of them.
    pub(crate) unknown: u64,
    /// Those of them that are stored.
    pub(crate) stored_unknown: u64,
    /// Operations that failed, and left nothing behind.
    pub(crate) failed: u64,
    /// Audits of all accounts.
    pub(crate) audits: u64,
}

impl Explained {
    pub(crate) fn add(&mut self, other: Self) {
        self.told += other.told;
        self.unknown += other.unknown;
        self.stored_unknown += other.stored_unknown;
        self.failed += other.failed;
        self.audits += other.audits;
    }
}

/// Finds an order in which each payment that was told happened once, and each unknown one at most once, in which the balances are those
/// that were told, and in which no payment comes before one that had ended when it began. Returns when each stored payment can have happened,
/// in that order.
///
/// The balances give the order of what was told. A balance that nobody was told belongs to an unknown payment. Which one is all the same, so it
/// is the one that began first: if any choice is possible, this one is.
///
/// # Errors
/// If there is none, with the reason.
pub(crate) fn explain(payments: &[Payment], balance: u64) -> Result<(Explained, Vec<Span>)> {
    let (mut by_balance, mut unknown) = (BTreeMap::new(), Vec::new());
    for payment in payments {
        match payment.told {
            Some((told, ended)) => {
                let before = by_balance.insert(told, (payment.began, ended));
                ensure!(before.is_none(), "two payments were told the balance {told}");
            }
            None => unknown.push(payment.began),
        }
    }
    if let Some((highest, _)) = by_balance.last_key_value() {
        ensure!(*highest <= balance, "a payment was told the balance {highest}, and the balance is {balance}");
    }
    ensure!(!by_balance.contains_key(&0), "a payment was told the balance 0");
    unknown.sort_unstable();
    let mut explained =
        Explained { told: by_balance.len() as u64, unknown: unknown.len() as u64, ..Explained::default() };
    let (mut unknown, mut spans) = (unknown.into_iter(), Vec::new());
    // Everything up to here began before this moment, so what follows hadn't ended then.
    let mut earliest: Option<Instant> = None;
    for value in 1..=balance {
        let (began, latest) = match by_balance.get(&value) {
            Some((began, ended)) => {
                if earliest.is_some_and(|earliest| *ended < earliest) {
                    bail!("the payment with the balance {value} ended before an earlier one began");
                }
                (*began, Some(*ended))
            }
            None => {
                explained.stored_unknown += 1;
                (unknown.next().with_context(|| format!("nobody has paid what made the balance {value}"))?, None)
            }
        };
        let moment = earliest.map_or(began, |earliest| earliest.max(began));
        earliest = Some(moment);
        spans.push(Span { earliest: moment, latest });
    }
    // What comes before a payment hadn't happened later than it.
    let mut latest: Option<Instant> = None;
    for span in spans.iter_mut().rev() {
        latest = span.latest.into_iter().chain(latest).min();
        span.latest = latest;
    }
    Ok((explained, spans))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Payments with the times at which they began and were told a balance.
    fn history(payments: &[(u64, Option<(u64, u64)>)]) -> Vec<Payment> {
        let zero = Instant::now();
        let at = |seconds| zero + Duration::from_secs(seconds);
        let payment = |(began, told): &(u64, Option<(u64, u64)>)| Payment {
            began: at(*began),
            told: told.map(|(balance, ended)| (balance, at(ended))),
        };
        payments.iter().map(payment).collect()
    }

    fn refusal(payments: &[(u64, Option<(u64, u64)>)], balance: u64) -> String {
        explain(&history(payments), balance).map_or_else(|error| error.to_string(), |(found, _)| format!("{found:?}"))
    }

    #[test]
    fn payments_at_the_same_time_may_have_any_order() {
        let payments = history(&[(0, Some((2, 9))), (1, Some((1, 8))), (2, Some((3, 9)))]);
        let found = explain(&payments, 3).map(|(found, _)| found);
        assert_eq!(found.ok(), Some(Explained { told: 3, ..Explained::default() }));
    }

    #[test]
    fn an_unknown_payment_is_stored_or_not() {
        let payments = history(&[(0, Some((1, 1))), (2, None), (3, None), (4, Some((3, 5)))]);
        let found = explain(&payments, 3).map(|(found, _)| found);
        let expected = Explained { told: 2, unknown: 2, stored_unknown: 1, ..Explained::default() };
        assert_eq!(found.ok(), Some(expected));
        assert!(explain(&payments, 4).is_ok(), "the other one may be stored, too");
        assert!(refusal(&[(0, None)], 2).contains("nobody has paid what made the balance 2"));
    }

    #[test]
    fn a_payment_happened_after_those_before_it_had_begun_and_before_those_after_it_were_told() {
        let payments = history(&[(4, Some((1, 9))), (2, Some((2, 8))), (5, None)]);
        let at = |seconds| payments[1].began + Duration::from_secs(seconds) - Duration::from_secs(2);
        let spans = explain(&payments, 3).map(|(_, spans)| spans).ok();
        let span = |earliest, latest: Option<u64>| Span { earliest: at(earliest), latest: latest.map(at) };
        assert_eq!(spans, Some(vec![span(4, Some(8)), span(4, Some(8)), span(5, None)]));
    }

    #[test]
    fn what_was_told_and_is_lost_is_found() {
        assert!(
            refusal(&[(0, Some((1, 1))), (2, Some((2, 3)))], 1).contains("told the balance 2, and the balance is 1")
        );
    }

    #[test]
    fn a_payment_that_is_stored_twice_is_found() {
        assert!(refusal(&[(0, Some((1, 1))), (2, Some((3, 3)))], 3).contains("nobody has paid"));
        assert!(refusal(&[(0, Some((1, 1))), (2, Some((1, 3)))], 1).contains("two payments"));
    }

    #[test]
    fn an_order_against_the_time_is_found() {
        assert!(refusal(&[(5, Some((1, 6))), (0, Some((2, 1)))], 2).contains("ended before an earlier one began"));
        // The unknown payment began after the one that must follow it had ended.
        assert!(refusal(&[(5, None), (0, Some((2, 1)))], 2).contains("ended before an earlier one began"));
        assert!(refusal(&[(0, Some((0, 1)))], 1).contains("the balance 0"));
    }
}
