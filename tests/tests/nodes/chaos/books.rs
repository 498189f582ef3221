//! The clients that pay and audit, and what they were told: each operation is ok, failed or unknown.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bennu_tests::{Reply, TestClient};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::audits::{Audit, order};
use super::clients::{Clients, PATIENCE, lock};
use super::history::{Explained, Payment, explain};

/// The accounts into which the clients pay.
pub(crate) const ACCOUNTS: [&str; 3] = ["a", "b", "c"];

/// The account that never has any money.
const EMPTY: &str = "empty";

/// One in so many operations of a payer must fail.
const FAILING: usize = 5;

/// All operations so far.
#[derive(Clone, Default)]
pub(crate) struct Books {
    payments: [Vec<Payment>; ACCOUNTS.len()],
    audits: Vec<Audit>,
    /// Transfers that were refused.
    failed: u64,
    /// Transfers that must be refused, and of which nobody was told what became of them.
    failed_unknown: u64,
}

impl Books {
    /// Finds one order in which everything that was told happened once, nothing that failed happened, and each unknown operation happened at
    /// most once. `balances` are those of the end.
    ///
    /// The orders of the accounts are found first. Each operation but an audit is about one account, so orders that hold to the time for each
    /// account alone can be merged into one that does for all of them (linearizability is local). An audit reads all accounts, so it must find
    /// a place in the merged order.
    ///
    /// # Errors
    /// If there is none, with the reason.
    pub(crate) fn explain(&self, balances: &[u64]) -> Result<Explained> {
        let (mut sum, mut spans) = (Explained::default(), Vec::new());
        for ((account, payments), balance) in ACCOUNTS.iter().zip(&self.payments).zip(balances) {
            let (explained, own) = explain(payments, *balance).with_context(|| format!("the account {account}"))?;
            sum.add(explained);
            spans.extend(own);
        }
        order(&mut spans, &self.audits)?;
        sum.audits = self.audits.len() as u64;
        sum.failed = self.failed;
        sum.unknown += self.failed_unknown;
        Ok(sum)
    }

    /// Damages the books of a run that could be explained, as broken promises would, and checks that none of them can be explained.
    /// Returns how many violations were found.
    ///
    /// # Errors
    /// If one of them isn't noticed.
    pub(crate) fn find_planted(&self, balances: &[u64]) -> Result<u64> {
        let mut lost = balances.to_vec();
        lost[0] = lost[0].saturating_sub(1 + self.unknown(0));
        let mut invented = balances.to_vec();
        invented[0] += 1 + self.unknown(0);
        let (mut twice, mut early, mut stale, mut torn) = (self.clone(), self.clone(), self.clone(), self.clone());
        let last = self.payments[0].iter().rposition(|payment| payment.told.is_some());
        let last = last.context("nobody was told of a payment")?;
        twice.payments[0].push(self.payments[0][last]);
        // Whoever was told of the last payment is said to have been told before any other one began.
        let first = self.payments[0].iter().map(|payment| payment.began).min().context("a payment")?;
        let before = first.checked_sub(Duration::from_secs(1)).context("a time")?;
        let payment = &mut early.payments[0][last];
        (payment.began, payment.told) = (before, payment.told.map(|(balance, _)| (balance, before)));
        stale.audits.last_mut().context("nobody has audited")?.sum = 0;
        torn.audits.last_mut().context("nobody has audited")?.sum += 1 + balances.iter().sum::<u64>();
        let planted: [(&str, &Self, &[u64]); 6] = [
            ("a lost payment", self, &lost),
            ("a payment that nobody has made", self, &invented),
            ("a payment that is stored twice", &twice, balances),
            ("an order against the time", &early, balances),
            ("an audit without what had been paid", &stale, balances),
            ("an audit with what nobody has paid", &torn, balances),
        ];
        for (what, books, balances) in planted {
            ensure!(books.explain(balances).is_err(), "the check doesn't notice {what}");
        }
        Ok(planted.len() as u64)
    }

    /// The payments into an account of which nobody was told.
    fn unknown(&self, account: usize) -> u64 {
        self.payments[account].iter().filter(|payment| payment.told.is_none()).count() as u64
    }
}

impl Clients {
    /// Pays into the accounts in turn.
    pub(super) async fn pay(&self, number: usize) -> Result<()> {
        let topic = format!("ledger:{number}");
        let mut client = self.join(&topic).await?;
        for turn in number.. {
            self.waits_for_auditors().await;
            if self.rests().await {
                return Ok(());
            }
            if turn % FAILING == FAILING - 1 {
                self.works(self.fail_once(&mut client, &topic)).await?;
            } else {
                self.works(self.pay_once(&mut client, &topic, turn % ACCOUNTS.len())).await?;
            }
        }
        Ok(())
    }

    async fn pay_once(&self, client: &mut TestClient, topic: &str, account: usize) -> Result<()> {
        let began = Instant::now();
        let told = answer(client, topic, "deposit", &json!({ "to": ACCOUNTS[account], "n": 1 })).await;
        let told = told.and_then(|reply| {
            ensure!(reply.status == "ok", "{reply:?}");
            reply.response["balance"].as_u64().context("a balance")
        });
        let payment = Payment { began, told: told.as_ref().ok().map(|balance| (*balance, Instant::now())) };
        lock(&self.books).payments[account].push(payment);
        told.map(drop)
    }

    /// Tries to take money from an account that has none. That must fail, and leave nothing behind: no entry, and no money anywhere.
    async fn fail_once(&self, client: &mut TestClient, topic: &str) -> Result<()> {
        let told = answer(client, topic, "transfer", &json!({ "from": EMPTY, "to": ACCOUNTS[0], "n": 1 })).await;
        match &told {
            Ok(reply) if reply.status == "ok" => self.breaks(format!("money was taken that isn't there: {reply:?}")),
            Ok(_) => lock(&self.books).failed += 1,
            Err(_) => lock(&self.books).failed_unknown += 1,
        }
        told.map(drop)
    }

    /// Reads all accounts at once, again and again.
    pub(super) async fn audit(&self, number: usize) -> Result<()> {
        let topic = format!("ledger:audit-{number}");
        let mut client = self.join(&topic).await?;
        while !self.rests().await {
            self.works(self.audit_once(&mut client, &topic)).await?;
        }
        Ok(())
    }

    async fn audit_once(&self, client: &mut TestClient, topic: &str) -> Result<()> {
        let began = Instant::now();
        let told = answer(client, topic, "audit", &json!({})).await?;
        let ended = Instant::now();
        ensure!(told.status == "ok", "{told:?}");
        let count = |name: &str| told.response[name].as_u64().with_context(|| format!("{name} in {told:?}"));
        let (sum, accounts, entries) = (count("sum")?, count("accounts")?, count("entries")?);
        if entries > 0 || accounts > ACCOUNTS.len() as u64 {
            self.breaks(format!("a transfer that failed is stored: {told:?}"));
        }
        lock(&self.books).audits.push(Audit { began, ended, sum });
        Ok(())
    }
}

/// The answer to a call.
///
/// # Errors
/// If the outcome is unknown.
async fn answer(client: &mut TestClient, topic: &str, event: &str, payload: &Value) -> Result<Reply> {
    timeout(PATIENCE, client.ask(topic, event, payload)).await.context("no answer")?
}
