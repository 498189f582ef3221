//! Who is online.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::words;
use crate::host::presence;
use crate::{Error, Payload, Value};

/// Who is online in a topic: for each key (a user's name, say) the metas of the members that are tracked under it. Sent as
/// JSON it has the shape of a `presence_state`.
///
/// ```
/// # use bennu_guest::prelude::*;
/// #[derive(Deserialize)]
/// struct Online {
///     online_at: u64,
/// }
///
/// fn since_when(socket: &Socket, user: &str) -> Option<u64> {
///     let times: Vec<Online> = socket.presences().metas(user).ok()?;
///     times.iter().map(|online| online.online_at).min()
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Presences(BTreeMap<String, Entry>);

/// What stands under a key.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
struct Entry {
    metas: Vec<Meta>,
}

/// A meta, read when somebody asks for it: one that can't be read must not cost the plugin all the others.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
struct Meta(Box<RawValue>);

/// They are the same if their texts are, or if the texts say the same.
impl PartialEq for Meta {
    fn eq(&self, other: &Self) -> bool {
        let value = |meta: &Self| serde_json::from_str::<Value>(meta.0.get()).ok();
        self.0.get() == other.0.get() || value(self).is_some_and(|it| value(other) == Some(it))
    }
}

impl Presences {
    /// Who is online in a topic. One that none of this plugin's routes match must be granted in the host's configuration.
    pub fn of(topic: &str) -> Self {
        Self(serde_json::from_str(&presence::list(topic)).unwrap_or_default())
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is online.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether somebody is online under a key.
    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The metas of a key, one for each member that is tracked under it; none where there is nobody. Beside what was
    /// tracked, each has a `phx_ref`.
    ///
    /// # Errors
    ///
    /// One of them isn't a `T`, which is the plugin's mistake.
    pub fn metas<T: DeserializeOwned>(&self, key: &str) -> Result<Vec<T>, Error> {
        let metas = self.0.get(key).map(|entry| &entry.metas[..]).unwrap_or_default();
        let read = |Meta(meta): &Meta| {
            let failed = |error| Error::Failed(format!("a meta of {key}: {}", words(&error)));
            serde_json::from_str(meta.get()).map_err(failed)
        };
        metas.iter().map(read).collect()
    }
}

/// The metas of one key of a topic, without those of the others: `{"metas": [..]}`, or none where nobody is online under it.
pub fn presence(topic: &str, key: &str) -> Option<Payload> {
    presence::get(topic, key).map(Payload::Json)
}
