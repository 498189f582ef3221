//! Deliveries: requests by HTTP that are stored, and sent until the server accepts them.
//!
//! A delivery is a row of the store ([`DeliveryRow`]) under its [`DeliveryId`]. The callback's own transaction writes the row, so
//! the delivery exists exactly if the callback was committed. The [`DeliveryQueue`] says which delivery is sent next, and
//! [`DeliveryRow::after`] is the only place that decides what follows from an attempt.

mod id;
mod queue;
mod request;
mod row;
mod tally;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use id::{DeliveryId, Destination};
pub use queue::{
    DeliveryCounts, DeliveryPhase, DeliveryQueue, DeliverySlot, DeliveryUsage, SENDING_MAX, SENDING_MAX_OF_PLUGIN,
    SENDING_MAX_TO_ORIGIN,
};
pub use request::{DELIVERY_EXPIRES_MAX, DELIVERY_EXPIRES_MS, Delivery, PushSubscription};
pub use row::{
    Attempt, DELIVERY_RETRY_LONGEST, DeliveryRow, NextStep, RETRY_AFTER_MAX, delivery_delay, read_retry_after,
};
pub use tally::{DeliveriesFull, DeliveryTally};
