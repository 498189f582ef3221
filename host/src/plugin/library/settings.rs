//! The part of the configuration that is about plugins.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Result, bail};

use super::super::PluginLimits;
use super::super::guest::{Grants, Origin};
use crate::store::{Owner, QUOTA_BYTES};

/// The configuration of one plugin.
#[derive(Clone, Debug)]
pub struct PluginSettings {
    /// The configuration that the plugin can read, a JSON object.
    pub configuration: Arc<str>,
    /// The topics to which the plugin may publish and send, in addition to its own, and the socket ids that it may
    /// disconnect.
    pub publish: Grants,
    /// The topics that the plugin may subscribe to and read about, in addition to its own.
    pub read: Grants,
    /// The name under which its data is stored; `None` means the plugin's own name.
    pub store: Option<String>,
    /// The plugin's quota in the store, in bytes.
    pub store_bytes: u64,
    /// The plugin's own limits.
    pub limits: PluginLimits,
}

impl Default for PluginSettings {
    fn default() -> Self {
        Self {
            configuration: "{}".into(),
            publish: Grants::default(),
            read: Grants::default(),
            store: None,
            store_bytes: QUOTA_BYTES,
            limits: PluginLimits::default(),
        }
    }
}

/// The configuration of all plugins.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The configuration of single plugins, by name.
    pub named: HashMap<String, PluginSettings>,
    /// The configuration of all other plugins.
    pub others: PluginSettings,
}

impl Settings {
    /// Returns the configuration of a plugin.
    #[must_use]
    pub fn of(&self, name: &str) -> PluginSettings {
        self.named.get(name).unwrap_or(&self.others).clone()
    }

    /// Returns the name under which a plugin's data is stored. It depends only on the configuration and the file's
    /// name, never on the component.
    ///
    /// # Errors
    /// Returns an error if the configuration gives that name to another plugin. This holds even while the other
    /// plugin isn't loaded, so that no file can get at its data by having its name.
    pub fn store_of(&self, name: &str) -> Result<String> {
        if let Some(store) = self.named.get(name).and_then(|settings| settings.store.as_ref()) {
            return Ok(store.clone());
        }
        let other = self.named.iter().find(|(_, settings)| settings.store.as_deref() == Some(name));
        if let Some((other, _)) = other {
            bail!(
                "its data would be kept under the name `{name}`, which the configuration gives to the plugin `{other}` \
                 (`plugins.{other}.store`); rename one of the files, or set `plugins.{name}.store`"
            );
        }
        Ok(name.to_owned())
    }

    /// Returns the origin of a generation of a plugin: its name, configuration and grants.
    ///
    /// # Errors
    /// Returns an error as [`Settings::store_of`] does, and if the name is too long for the store.
    pub fn origin(&self, name: &str, generation: u32) -> Result<Origin> {
        let PluginSettings { configuration, publish, read, store_bytes, limits, .. } = self.of(name);
        let owner = Owner::new(&self.store_of(name)?, store_bytes)?;
        let (name, usage) = (name.into(), Arc::default());
        Ok(Origin { name, generation, configuration, publish, read, owner, limits, usage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_name_that_one_plugin_has_is_refused_to_others() -> Result<()> {
        let with_store = |store: &str| PluginSettings { store: Some(store.into()), ..PluginSettings::default() };
        let named = [("chat-1.2".to_owned(), with_store("chat")), ("plain".to_owned(), PluginSettings::default())];
        let settings = Settings { named: named.into(), others: PluginSettings::default() };
        assert_eq!(settings.origin("chat-1.2", 1)?.owner.name(), "chat");
        assert_eq!((settings.store_of("plain")?, settings.store_of("new")?), ("plain".into(), "new".into()));
        let refused = settings.store_of("chat").map_err(|error| error.to_string());
        assert!(refused.is_err_and(|error| error.contains("`plugins.chat-1.2.store`")));
        Ok(())
    }
}
