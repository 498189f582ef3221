//! What an operator sees and does: deliveries with their states, retried or dropped.

use std::sync::Arc;

use anyhow::Result;

use super::courier::{DeliveryTotals, Totals};
use crate::contract::NowMs;
use crate::contract::deliveries::{DeliveryCounts, DeliveryId, DeliveryPhase, DeliveryRow};
use crate::store::{DeliveryChange, Store};

/// The most deliveries of one answer.
pub const LISTED_MAX: usize = 1000;

/// The deliveries of a host.
pub struct Deliveries {
    store: Store,
    clock: NowMs,
    totals: Arc<DeliveryTotals>,
}

/// What happens with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It waits for its time, or for an earlier one with the same order.
    Waiting,
    /// It is being sent.
    Sending,
    /// It has failed, and is sent again.
    Retrying,
    /// Its time is over.
    GivenUp,
}

/// A delivery.
#[derive(Clone, Debug)]
pub struct DeliveryView {
    /// Its identity.
    pub id: Arc<DeliveryId>,
    /// What happens with it.
    pub state: DeliveryState,
    /// Its row.
    pub row: DeliveryRow,
    /// The bytes of its body. The body itself isn't in `row`, so that a list of large ones needs little memory.
    pub body_bytes: usize,
}

/// Why a delivery wasn't changed.
#[derive(Debug)]
pub enum DeliveryNotChanged {
    /// There is no such delivery.
    Unknown,
    /// The store failed, or the delivery changed meanwhile.
    Failed(anyhow::Error),
}

impl Deliveries {
    /// The deliveries of a store.
    #[must_use]
    pub fn new(store: Store, clock: NowMs, totals: Arc<DeliveryTotals>) -> Self {
        Self { store, clock, totals }
    }

    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> DeliveryCounts {
        self.store.deliveries().with(|queue| queue.counts())
    }

    /// What has happened so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals.read()
    }

    /// Up to `most` deliveries after one of them, in the order of their plugins and ids; of one plugin, if it is named. Also returns
    /// whether there are more.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn list(
        &self,
        plugin: Option<&str>,
        after: Option<&DeliveryId>,
        most: usize,
    ) -> Result<(Vec<DeliveryView>, bool)> {
        let mut found: Vec<_> = self.store.deliveries().with(|queue| {
            let all = queue.list_after(after);
            let of_plugin = all.filter(|(id, _)| plugin.is_none_or(|plugin| *id.plugin == *plugin));
            of_plugin.take(most + 1).map(|(id, slot)| (Arc::clone(id), slot.phase)).collect()
        });
        let has_more = found.len() > most;
        found.truncate(most);
        let mut views = Vec::new();
        for (id, phase) in found {
            // It may have been accepted meanwhile.
            let Some(mut row) = self.store.read_delivery(&id).await? else { continue };
            let state = match phase {
                DeliveryPhase::Sending => DeliveryState::Sending,
                DeliveryPhase::GivenUp => DeliveryState::GivenUp,
                DeliveryPhase::Waiting if row.failures > 0 => DeliveryState::Retrying,
                DeliveryPhase::Waiting => DeliveryState::Waiting,
            };
            let body_bytes = std::mem::take(&mut row.body).len();
            views.push(DeliveryView { id, state, row, body_bytes });
        }
        Ok((views, has_more))
    }

    /// Sends a delivery again at once, and then for as long as a new one.
    ///
    /// # Errors
    /// If there is no such delivery, or the store fails.
    pub async fn retry(&self, id: &DeliveryId) -> Result<(), DeliveryNotChanged> {
        self.change(id, |row| Some(row.retried((self.clock)()))).await
    }

    /// Removes a delivery. It isn't sent any more, except by an attempt that has begun.
    ///
    /// # Errors
    /// If there is no such delivery, or the store fails.
    pub async fn drop_delivery(&self, id: &DeliveryId) -> Result<(), DeliveryNotChanged> {
        self.change(id, |_| None).await
    }

    async fn change(
        &self,
        id: &DeliveryId,
        change: impl Fn(DeliveryRow) -> Option<DeliveryRow>,
    ) -> Result<(), DeliveryNotChanged> {
        let change = |row| DeliveryChange { row: change(row), failure: None };
        let found = self.store.change_delivery(id, change).await.map_err(DeliveryNotChanged::Failed)?;
        if found { Ok(()) } else { Err(DeliveryNotChanged::Unknown) }
    }
}

impl DeliveryState {
    /// Its name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Retrying => "retrying",
            Self::GivenUp => "given-up",
        }
    }
}
