//! The limits of deliveries.

/// The limits of a plugin's deliveries. A callback that exceeds one ends in a fault: oversize.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryLimits {
    /// Deliveries of a plugin, with those that are given up.
    pub per_plugin: u64,
    /// Bytes of the rows of a plugin's deliveries. They don't count for the plugin's quota of the store.
    pub bytes_per_plugin: u64,
}

impl Default for DeliveryLimits {
    fn default() -> Self {
        Self { per_plugin: 100_000, bytes_per_plugin: 64 << 20 }
    }
}
