//! What the configuration says of plugins.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Result, bail};

use super::super::guest::{Grants, Origin};
use crate::store::{Owner, QUOTA_BYTES};

/// What the configuration says of one plugin.
#[derive(Clone, Debug)]
pub struct PluginSettings {
    /// What the plugin reads as its configuration, a JSON object.
    pub configuration: Arc<str>,
    /// Where it may publish and send beyond its own topics, and whom it may disconnect.
    pub publish: Grants,
    /// Which topics it may hear and read about beyond its own.
    pub read: Grants,
    /// Under which name its data is kept; none is the plugin's own name.
    pub store: Option<String>,
    /// Bytes that it may have in the store.
    pub store_bytes: u64,
}

impl Default for PluginSettings {
    fn default() -> Self {
        Self {
            configuration: "{}".into(),
            publish: Grants::default(),
            read: Grants::default(),
            store: None,
            store_bytes: QUOTA_BYTES,
        }
    }
}

/// What the configuration says of plugins.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Of single ones, by name.
    pub named: HashMap<String, PluginSettings>,
    /// Of all others.
    pub others: PluginSettings,
}

impl Settings {
    /// What it says of this one.
    #[must_use]
    pub fn of(&self, name: &str) -> PluginSettings {
        self.named.get(name).unwrap_or(&self.others).clone()
    }

    /// Under which name a plugin's data is kept. Nothing that a component says of itself counts here.
    ///
    /// # Errors
    /// Where the configuration gives that name to another plugin. It goes to that one also while it isn't loaded, so that no file
    /// gets at its data by its own name alone.
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

    /// Where a load of a plugin comes from, and what it is told and granted.
    ///
    /// # Errors
    /// As [`Settings::store_of`], and where a name is too long for the store.
    pub fn origin(&self, name: &str, generation: u32) -> Result<Origin> {
        let PluginSettings { configuration, publish, read, store_bytes, .. } = self.of(name);
        let owner = Owner::new(&self.store_of(name)?, store_bytes)?;
        Ok(Origin { name: name.into(), generation, configuration, publish, read, owner })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_given_to_one_plugin_is_refused_to_others() -> Result<()> {
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
