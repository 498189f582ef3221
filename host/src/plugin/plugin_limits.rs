//! The limits of one plugin that differ from the limits of all plugins.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::pool::PoolLimits;
use crate::contract::limits::keys;
use crate::contract::{CallLimits, limit_key};

/// The limits of one plugin, from its table of the configuration. `None` means the limit of all plugins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PluginLimits {
    /// CPU time of a call: [`CallLimits::cpu`].
    pub cpu: Option<Duration>,
    /// CPU time of the evaluation of the plugin's script: [`CallLimits::init_cpu`].
    pub init_cpu: Option<Duration>,
    /// Linear memory of an instance: [`CallLimits::memory_bytes`]. The engine must have been made for as much.
    pub memory_bytes: Option<usize>,
    /// Instances of the plugin: [`PoolLimits::instances`].
    pub instances: Option<usize>,
}

impl PluginLimits {
    /// Returns the limits of the plugin's calls. `others` are those of all plugins.
    pub(super) fn of_calls(&self, others: &Arc<CallLimits>) -> Arc<CallLimits> {
        if *self == Self::default() {
            return Arc::clone(others);
        }
        Arc::new(CallLimits {
            cpu: self.cpu.unwrap_or(others.cpu),
            init_cpu: self.init_cpu.unwrap_or(others.init_cpu),
            memory_bytes: self.memory_bytes.unwrap_or(others.memory_bytes),
            ..(**others).clone()
        })
    }

    /// Returns the limits of the plugin's instances. `others` are those of all plugins.
    pub(super) fn of_pool(&self, others: PoolLimits) -> PoolLimits {
        PoolLimits { instances: self.instances.unwrap_or(others.instances), ..others }
    }

    /// Returns the key that sets a limit of this plugin, with its value: the end of an error text.
    pub(super) fn key(&self, plugin: &str, key: &str, limit: impl fmt::Display) -> String {
        let is_own = match key {
            keys::CALL_CPU_MS => self.cpu.is_some(),
            keys::INIT_CPU_MS => self.init_cpu.is_some(),
            keys::MEMORY_BYTES => self.memory_bytes.is_some(),
            _ => false,
        };
        if is_own { format!(" (`plugins.{plugin}.{key} = {limit}`)") } else { limit_key(key, limit) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_a_plugin_replace_those_of_all_plugins() {
        let others = Arc::new(CallLimits::default());
        let none = PluginLimits::default();
        assert!(Arc::ptr_eq(&none.of_calls(&others), &others));
        assert_eq!(none.key("chat", keys::CALL_CPU_MS, 200), " (`limits.call_cpu_ms = 200`)");
        let own = PluginLimits { cpu: Some(Duration::from_millis(7)), instances: Some(2), ..none };
        assert_eq!(*own.of_calls(&others), CallLimits { cpu: Duration::from_millis(7), ..CallLimits::default() });
        assert_eq!(own.of_pool(PoolLimits::default()), PoolLimits { instances: 2, ..PoolLimits::default() });
        assert_eq!(own.key("chat", keys::CALL_CPU_MS, 7), " (`plugins.chat.call_cpu_ms = 7`)");
        assert_eq!(own.key("chat", keys::MEMORY_BYTES, 9), " (`limits.memory_bytes = 9`)");
    }
}
