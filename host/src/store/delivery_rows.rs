//! Deliveries in a draft: the rows of requests that are sent until a server accepts them. The rows are those of
//! `bennu_semantics::deliveries`.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bennu_semantics::deliveries::{DeliveryId, DeliveryRow, DeliveryUsage};
use bennu_semantics::jobs::{JobId, JobKind, JobRow};
use bennu_semantics::limits::Oversize;
use bytes::Bytes;

use super::batch::CommitError;
use super::draft::Draft;
use super::handle::Store;
use super::space::{Kind, Owner, Place};
use crate::counts::Limit;

/// What a change makes of a delivery.
#[derive(Clone, Debug, Default)]
pub struct DeliveryChange {
    /// The delivery from now on. `None` removes it.
    pub row: Option<DeliveryRow>,
    /// The job that tells the topic of the delivery's failure. It is stored in the same commit.
    pub failure: Option<JobRow>,
}

/// How often a change of a delivery is tried again after a conflict.
const CHANGES_MAX: usize = 16;

impl Draft {
    /// Adds a delivery for a call. It counts as a write of the call.
    ///
    /// # Errors
    /// If the call writes too much.
    pub fn add_delivery(&mut self, id: &str, row: &DeliveryRow) -> std::result::Result<(), Oversize> {
        let place = self.owner.place(Kind::Deliveries, id.as_bytes());
        self.write_own(place, Some(row.encode()))
    }

    /// Returns the number of deliveries that the draft writes, and the bytes of their rows.
    pub(super) fn delivery_usage(&self) -> DeliveryUsage {
        let span = self.owner.span(Kind::Deliveries);
        let rows = self.writes.range(span.from..span.until);
        let usage = |(place, row): (&Bytes, &Option<Bytes>)| {
            let bytes = row.as_ref().map_or(0, |row| row_bytes(place, row));
            DeliveryUsage { count: u64::from(row.is_some()), bytes }
        };
        rows.map(usage).fold(DeliveryUsage::default(), DeliveryUsage::plus)
    }
}

impl Store {
    /// Adds deliveries for the host, in one commit. The limits of a call's writes don't count, but those of the owner's deliveries do.
    ///
    /// # Errors
    /// Those of a commit.
    pub async fn add_deliveries(&self, owner: &Owner, rows: &[(String, DeliveryRow)]) -> Result<()> {
        let mut draft = self.begin(owner);
        for (id, row) in rows {
            let place = draft.owner.place(Kind::Deliveries, id.as_bytes());
            draft.writes.insert(place, Some(row.encode()));
        }
        self.commit(draft).await?;
        Ok(())
    }

    /// Returns a stored delivery.
    ///
    /// # Errors
    /// If the engine fails, or the row is damaged.
    pub async fn read_delivery(&self, id: &DeliveryId) -> Result<Option<DeliveryRow>> {
        let owner = host_owner(id)?;
        let stored = self.seen().value(&owner.place(Kind::Deliveries, id.id.as_bytes())).await?;
        stored.map(|stored| DeliveryRow::decode(stored).context("a delivery in the store is damaged")).transpose()
    }

    /// Replaces a delivery by what `change` makes of it, or removes it. Returns whether there is such a delivery.
    ///
    /// # Errors
    /// If the engine fails, or the delivery changes again and again meanwhile.
    pub async fn change_delivery(
        &self,
        id: &DeliveryId,
        mut change: impl FnMut(DeliveryRow) -> DeliveryChange,
    ) -> Result<bool> {
        let owner = host_owner(id)?;
        let place = owner.place(Kind::Deliveries, id.id.as_bytes());
        for _ in 0..CHANGES_MAX {
            let mut draft = self.begin(&owner);
            let Some(stored) = draft.value(&place).await? else { return Ok(false) };
            let row = DeliveryRow::decode(stored).context("a delivery in the store is damaged")?;
            let topic = row.topic.clone();
            let DeliveryChange { row, failure } = change(row);
            draft.writes.insert(place.clone(), row.map(|row| row.encode()));
            if let Some(job) = failure.filter(|_| self.has_room_for_a_job(id)) {
                let name = JobId::name_of(JobKind::Undelivered, topic.as_str(), &id.id);
                draft.writes.insert(owner.place(Kind::Jobs, &name), Some(job.encode()));
            }
            match self.commit(draft).await {
                Ok(_) => return Ok(true),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error).context("writing the store"),
            }
        }
        bail!("the delivery changed at each of {CHANGES_MAX} attempts; try again")
    }

    /// Whether the plugin of a delivery may have another job. The host's own commits have no limits, and a plugin that never takes what
    /// it is told must not fill the store.
    fn has_room_for_a_job(&self, id: &DeliveryId) -> bool {
        let (usage, limits) = (self.jobs().with(|agenda| agenda.usage(&id.plugin)), &self.limits().jobs);
        let has_room = usage.count < limits.per_plugin && usage.bytes < limits.bytes_per_plugin;
        if !has_room {
            let limit =
                if usage.count < limits.per_plugin { Limit::ScheduleBytesPerPlugin } else { Limit::SchedulesPerPlugin };
            limit.hit();
            tracing::warn!("the topic isn't told of the failure of {id}, because its plugin has too many schedules");
        }
        has_room
    }
}

/// The owner of a delivery, for the host: without a quota.
fn host_owner(id: &DeliveryId) -> Result<Owner> {
    Ok(Owner::new(&id.plugin, u64::MAX)?)
}

/// The bytes of a row that count for the plugin's limit.
pub(super) fn row_bytes(place: &Bytes, row: &Bytes) -> u64 {
    (place.len() + row.len()) as u64
}

/// Reads the place of a delivery.
pub(super) fn delivery_id(place: &Bytes) -> Option<DeliveryId> {
    let Place { plugin, kind, name } = Place::read(place)?;
    (kind == Kind::Deliveries).then(|| DeliveryId::read(Arc::from(plugin), &name)).flatten()
}
