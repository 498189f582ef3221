//! Counts the new deliveries of transactions that are committed together, against their limits.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{DeliveryQueue, DeliveryUsage};
use crate::limits::{DeliveryLimits, keys, limit_key};

/// A plugin would have too many deliveries. Nothing of the transaction is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveriesFull {
    /// Too many.
    Count {
        /// The most deliveries of a plugin.
        limit: u64,
    },
    /// Their rows are too large together.
    Bytes {
        /// The most bytes.
        limit: u64,
    },
}

/// The new deliveries of the transactions of a batch, by plugin, on top of a queue.
#[derive(Debug, Default)]
pub struct DeliveryTally(BTreeMap<Arc<str>, DeliveryUsage>);

impl DeliveryTally {
    /// Adds the new deliveries of one transaction. Their ids are new, so they replace none.
    ///
    /// # Errors
    /// If the plugin would have too many. Then nothing is added.
    pub fn admit(
        &mut self,
        queue: &DeliveryQueue,
        limits: &DeliveryLimits,
        plugin: &str,
        added: DeliveryUsage,
    ) -> Result<(), DeliveriesFull> {
        let before = self.0.get(plugin).copied().unwrap_or_default();
        let sum = before.plus(added);
        let all = queue.usage(plugin).plus(sum);
        if all.count > limits.per_plugin {
            return Err(DeliveriesFull::Count { limit: limits.per_plugin });
        }
        if all.bytes > limits.bytes_per_plugin {
            return Err(DeliveriesFull::Bytes { limit: limits.bytes_per_plugin });
        }
        self.0.insert(plugin.into(), sum);
        Ok(())
    }
}

impl fmt::Display for DeliveriesFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { limit } => {
                let key = limit_key(keys::DELIVERIES_PER_PLUGIN, limit);
                write!(f, "a plugin has at most {limit} deliveries{key}; `bennu deliveries` shows them")
            }
            Self::Bytes { limit } => {
                let key = limit_key(keys::DELIVERY_BYTES_PER_PLUGIN, limit);
                write!(
                    f,
                    "the deliveries of a plugin have at most {limit} bytes together{key}; `bennu deliveries` shows them"
                )
            }
        }
    }
}

impl std::error::Error for DeliveriesFull {}
