//! The deliveries of a world, and those that one callback asks for.

use std::sync::Arc;

use bennu_semantics::deliveries::{Attempt, DeliveryRow, NextStep, read_retry_after};
use bennu_semantics::jobs::JobRow;
use bennu_semantics::{Fault, HttpResult, HttpTable, Topic};

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is sent again, or for the first time, as the clock advances.
    Waiting,
    /// The server has accepted it.
    Accepted,
    /// The server wants it no more.
    Refused,
    /// Its time is over.
    GivenUp,
}

/// A delivery. A host forgets one that was accepted or refused; a test can look at it.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// Its id.
    pub id: Box<str>,
    /// Its row.
    pub row: DeliveryRow,
    /// What became of it.
    pub state: DeliveryState,
}

/// All deliveries, in the order in which they were asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deliveries(Arc<Vec<Delivered>>);

impl Delivered {
    pub(crate) fn new(id: String, row: DeliveryRow) -> Self {
        Self { id: id.into(), row, state: DeliveryState::Waiting }
    }
}

impl DeliveryState {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::GivenUp => "given-up",
        }
    }
}

impl Deliveries {
    /// All deliveries.
    pub(crate) fn all(&self) -> &[Delivered] {
        &self.0
    }

    /// Commits those of a callback.
    pub(crate) fn add(&mut self, added: Vec<Delivered>) {
        if !added.is_empty() {
            Arc::make_mut(&mut self.0).extend(added);
        }
    }

    /// The delivery that is sent next: when, and its place.
    pub(crate) fn next(&self) -> Option<(u64, usize)> {
        let is_waiting = |delivered: &&Delivered| delivered.state == DeliveryState::Waiting;
        let is_behind = |at: usize, order: &Option<Arc<str>>| {
            order.is_some() && self.0[..at].iter().filter(is_waiting).any(|earlier| earlier.row.order == *order)
        };
        let waiting = self.0.iter().enumerate().filter(|(_, delivered)| is_waiting(delivered));
        let free = waiting.filter(|(at, delivered)| !is_behind(*at, &delivered.row.order));
        free.filter_map(|(at, delivered)| Some((delivered.row.next_ms?, at))).min()
    }

    /// Sends a delivery to the servers of a test. Returns what its topic is told, if it has failed.
    pub(crate) fn send(&mut self, at: usize, servers: &HttpTable, now_ms: u64) -> Option<(Topic, JobRow)> {
        let delivered = Arc::make_mut(&mut self.0).get_mut(at)?;
        let attempt = attempt(&servers.answer("POST", &delivered.row.url));
        let step = delivered.row.after(&attempt, now_ms, None);
        let told = delivered.row.failure_job(&delivered.id, &attempt, &step, now_ms);
        let told = told.map(|job| (delivered.row.topic.clone(), job));
        match step {
            NextStep::Accepted => delivered.state = DeliveryState::Accepted,
            NextStep::Refused => delivered.state = DeliveryState::Refused,
            NextStep::Retry(row) => delivered.row = *row,
            NextStep::GivenUp(row) => (delivered.row, delivered.state) = (*row, DeliveryState::GivenUp),
        }
        told
    }
}

fn attempt(result: &HttpResult) -> Attempt {
    match result {
        Ok(response) => {
            let header = response.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("retry-after"));
            let retry_after_ms = header.and_then(|(_, value)| read_retry_after(value));
            Attempt::Answered { status: response.status, retry_after_ms }
        }
        Err(failure) => Attempt::Failed(format!("{}: {}", failure.kind, failure.detail)),
    }
}

/// The limit of a host, as its commit would check it.
pub(crate) fn check_count(stored: &Deliveries, added: usize, most: u64) -> Result<(), Fault> {
    let kept = |delivered: &&Delivered| matches!(delivered.state, DeliveryState::Waiting | DeliveryState::GivenUp);
    let count = stored.0.iter().filter(kept).count() + added;
    if count as u64 > most {
        let full = bennu_semantics::deliveries::DeliveriesFull::Count { limit: most };
        return Err(Fault::oversize(full.to_string()));
    }
    Ok(())
}
