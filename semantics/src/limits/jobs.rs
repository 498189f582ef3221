//! The limits of jobs.

/// The limits of a plugin's jobs. A callback that exceeds one ends in a fault: oversize.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobLimits {
    /// Jobs of a plugin about one topic.
    pub per_topic: u64,
    /// Jobs of a plugin.
    pub per_plugin: u64,
    /// Bytes of the rows of a plugin's jobs. They don't count for the plugin's quota of the store.
    pub bytes_per_plugin: u64,
}

impl Default for JobLimits {
    fn default() -> Self {
        Self { per_topic: 1000, per_plugin: 100_000, bytes_per_plugin: 64 << 20 }
    }
}
