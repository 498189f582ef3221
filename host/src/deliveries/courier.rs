//! The task that sends deliveries when they are due.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::contract::deliveries::{Attempt, DeliveryId, DeliveryRow, Destination, NextStep};
use crate::contract::{Http, NowMs, system_random};
use crate::store::{DeliveryChange, Store};

/// The longest sleep of the courier. The machine's clock may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// The pause after an attempt whose result couldn't be stored, or that the host's own limits prevented, in milliseconds.
const PAUSE_MS: u64 = 1000;

/// Sends deliveries that are due.
pub struct Courier {
    sender: Sender,
    sending: FuturesUnordered<BoxFuture<'static, Sent>>,
}

/// What an attempt needs.
#[derive(Clone)]
struct Sender {
    store: Store,
    http: Arc<Http>,
    clock: NowMs,
    totals: Arc<DeliveryTotals>,
}

/// What has happened to deliveries since the host started. The numbers are independent of one another, so relaxed operations are
/// enough.
#[derive(Debug, Default)]
pub struct DeliveryTotals {
    accepted: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
}

/// The numbers of [`DeliveryTotals`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Deliveries that a server has accepted.
    pub accepted: u64,
    /// Deliveries that a server wants no more.
    pub refused: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Deliveries whose time was over.
    pub given_up: u64,
}

/// An attempt that has ended.
struct Sent {
    id: Arc<DeliveryId>,
    destination: Arc<Destination>,
    has_failed: bool,
    not_before_ms: u64,
}

impl Courier {
    /// A courier for the deliveries of a store.
    #[must_use]
    pub fn new(store: Store, http: Arc<Http>, clock: NowMs, totals: Arc<DeliveryTotals>) -> Self {
        Self { sender: Sender { store, http, clock, totals }, sending: FuturesUnordered::new() }
    }

    /// Runs until the host stops.
    pub async fn run(mut self) {
        let board = Arc::clone(self.sender.store.deliveries());
        loop {
            self.begin_due();
            let pause = self.pause();
            tokio::select! {
                Some(sent) = self.sending.next(), if !self.sending.is_empty() => {
                    let Sent { id, destination, has_failed, not_before_ms } = sent;
                    board.with(|queue| queue.ended(&id, &destination, has_failed, not_before_ms));
                }
                () = board.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Begins to send all deliveries that are due, up to the limits of the queue.
    fn begin_due(&mut self) {
        let board = self.sender.store.deliveries();
        while let Some((id, destination)) = board.with(|queue| queue.take_due((self.sender.clock)())) {
            let sender = self.sender.clone();
            self.sending.push(Box::pin(async move { sender.send(id, destination).await }));
        }
    }

    /// How long the courier may sleep.
    fn pause(&self) -> Duration {
        let next_ms = self.sender.store.deliveries().with(|queue| queue.next_due_ms());
        let wait = next_ms.map(|next_ms| Duration::from_millis(next_ms.saturating_sub((self.sender.clock)())));
        wait.map_or(SLEEP_MAX, |wait| wait.min(SLEEP_MAX))
    }
}

impl Sender {
    /// One attempt. Its result is stored before it ends.
    async fn send(&self, id: Arc<DeliveryId>, destination: Arc<Destination>) -> Sent {
        let ended = |has_failed, not_before_ms| Sent { id: Arc::clone(&id), destination, has_failed, not_before_ms };
        let soon_ms = || (self.clock)().saturating_add(PAUSE_MS);
        let row = match self.store.read_delivery(&id).await {
            Ok(Some(row)) if row.next_ms.is_some() => row,
            // It was dropped meanwhile.
            Ok(_) => return ended(false, 0),
            Err(error) => {
                tracing::error!("{id} can't be read: {error:#}");
                return ended(false, soon_ms());
            }
        };
        let Some(attempt) = self.http.deliver(&row, &id.id, (self.clock)()).await else {
            return ended(false, soon_ms());
        };
        match self.store_result(&id, &attempt).await {
            Ok(has_failed) => ended(has_failed, 0),
            Err(error) => {
                tracing::error!("the result of {id} can't be stored, so it is sent again: {error:#}");
                ended(false, soon_ms())
            }
        }
    }

    /// Stores what follows from an attempt. Returns whether it has failed.
    async fn store_result(&self, id: &DeliveryId, attempt: &Attempt) -> anyhow::Result<bool> {
        let (now_ms, random) = ((self.clock)(), system_random()?);
        let mut step = None;
        let changed = self.store.change_delivery(id, |row| {
            let next = row.after(attempt, now_ms, Some(random));
            let failure = row.failure_job(&id.id, attempt, &next, now_ms);
            let row = match &next {
                NextStep::Accepted | NextStep::Refused => None,
                NextStep::Retry(row) | NextStep::GivenUp(row) => Some(DeliveryRow::clone(row)),
            };
            step = Some(next);
            DeliveryChange { row, failure }
        });
        let is_there = changed.await?;
        let Some(step) = step.filter(|_| is_there) else { return Ok(false) };
        self.totals.note(&step);
        log(id, attempt, &step);
        Ok(matches!(step, NextStep::Retry(_) | NextStep::GivenUp(_)))
    }
}

fn log(id: &DeliveryId, attempt: &Attempt, step: &NextStep) {
    match step {
        NextStep::Accepted => {}
        NextStep::Refused => {
            let status = if let Attempt::Answered { status, .. } = attempt { *status } else { 0 };
            tracing::warn!("{id} was refused by its receiver ({status}), and is dropped");
        }
        NextStep::Retry(row) => tracing::debug!("{id} has failed ({}), and is sent again later", row.failure),
        NextStep::GivenUp(row) => tracing::error!(
            topic = row.topic.as_str(),
            "{id} is given up after {} failures, the last one: {}; `bennu deliveries` shows it",
            row.failures,
            row.failure
        ),
    }
}

impl DeliveryTotals {
    fn note(&self, step: &NextStep) {
        let add = |count: &AtomicU64| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        match step {
            NextStep::Accepted => add(&self.accepted),
            NextStep::Refused => add(&self.refused),
            NextStep::Retry(_) => add(&self.failed),
            NextStep::GivenUp(_) => {
                add(&self.failed);
                add(&self.given_up);
            }
        }
    }

    /// The numbers.
    #[must_use]
    pub fn read(&self) -> Totals {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Totals {
            accepted: read(&self.accepted),
            refused: read(&self.refused),
            failed: read(&self.failed),
            given_up: read(&self.given_up),
        }
    }
}
