//! Keys that are replaced while they verify tokens: those of an identity provider, which publishes them at a URL.
//!
//! Nothing here fetches them. A token that names a key that isn't known asks for newer ones, and is refused at once: no client waits
//! for the network. A client that connects again soon after is accepted.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::KeySet;

/// The keys of this moment, which can be replaced.
#[derive(Debug)]
pub struct LiveKeys {
    now: watch::Sender<Option<Arc<KeySet>>>,
    /// Notified when a token names an unknown key, and when these keys are dropped.
    wanted: Arc<Notify>,
}

impl LiveKeys {
    /// Makes a place for keys, without any.
    #[must_use]
    pub fn empty() -> Arc<Self> {
        Arc::new(Self { now: watch::channel(None).0, wanted: Arc::default() })
    }

    /// Replaces the keys. Without keys, no token is accepted.
    pub fn replace(&self, keys: Option<KeySet>) {
        self.now.send_replace(keys.map(Arc::new));
    }

    /// Returns the keys of this moment, if there are any.
    pub fn now(&self) -> Option<Arc<KeySet>> {
        self.now.borrow().clone()
    }

    /// Waits until there are keys.
    pub async fn present(&self) {
        // The sender is in `self`, so this can't fail.
        let _ = self.now.subscribe().wait_for(Option::is_some).await;
    }

    /// Asks for newer keys. Many calls ask once.
    pub(super) fn want(&self) {
        self.wanted.notify_one();
    }

    /// Returns what is notified when newer keys are asked for.
    #[must_use]
    pub fn wanted(&self) -> Arc<Notify> {
        Arc::clone(&self.wanted)
    }
}

impl Drop for LiveKeys {
    /// Lets the task that fetches the keys end.
    fn drop(&mut self) {
        self.wanted.notify_one();
    }
}
