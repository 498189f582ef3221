//! The identity of a delivery, and where it goes.

use std::fmt;
use std::sync::Arc;

/// The identity of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    /// The name under which the data of its plugin is stored. Usually it is the plugin's name.
    pub plugin: Arc<str>,
    /// Its id, which the receiver gets in the header `webhook-id`. Ids sort in the order in which they were drawn.
    pub id: Box<str>,
}

/// A server that gets deliveries of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// The name under which the data of the plugin is stored.
    pub plugin: Arc<str>,
    /// The scheme, the host and the port of the URL, as the plugin wrote them.
    pub origin: Arc<str>,
}

impl DeliveryId {
    /// Reads a name of the store. `None` if it is damaged.
    #[must_use]
    pub fn read(plugin: Arc<str>, name: &[u8]) -> Option<Self> {
        Some(Self { plugin, id: std::str::from_utf8(name).ok()?.into() })
    }
}

impl Destination {
    /// The server of a URL.
    #[must_use]
    pub fn of(plugin: Arc<str>, url: &str) -> Self {
        let after_scheme = url.find("://").map_or(0, |at| at + "://".len());
        let end = url[after_scheme..].find(['/', '?', '#']).map_or(url.len(), |at| after_scheme + at);
        Self { plugin, origin: url[..end].into() }
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the delivery {} of the plugin {:?}", self.id, self.plugin)
    }
}
