//! Deliveries: requests that callbacks have stored, and that are sent until a server accepts them.
//!
//! The rows are in the store, and `store::DeliveryBoard` has them in the order in which they are sent. The courier sends those that
//! are due, with the grants and secrets of their plugins, and stores what follows from each attempt. The operator sees, retries
//! and drops them.

mod courier;
mod view;

pub use courier::{Courier, DeliveryTotals, Totals};
pub use view::{Deliveries, DeliveryNotChanged, DeliveryState, DeliveryView, LISTED_MAX};
