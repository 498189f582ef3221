//! Who is online in a topic: what a member says of itself, and the list.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::words;
use crate::host::presence;
use crate::{Error, Payload, Socket, Value, check};

/// Who is online in a topic: for each key (for example a user's name) the metas of the members that are tracked under
/// it. As JSON it has the format of `presence_state`.
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

/// The metas of a key.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
struct Entry {
    metas: Vec<Meta>,
}

/// A meta as JSON text. It is decoded on demand, so that one meta that can't be decoded doesn't make the others
/// unreadable.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
struct Meta(Box<RawValue>);

/// Two metas are equal if their texts are equal, or if the texts have the same JSON value.
impl PartialEq for Meta {
    fn eq(&self, other: &Self) -> bool {
        let value = |meta: &Self| serde_json::from_str::<Value>(meta.0.get()).ok();
        self.0.get() == other.0.get() || value(self).is_some_and(|it| value(other) == Some(it))
    }
}

impl Presences {
    /// Returns who is online in a topic. The topic must match one of this plugin's routes, or be granted in the host's
    /// configuration (`plugins.NAME.read`); otherwise this is a fault `failed`.
    pub fn of(topic: &str) -> Self {
        Self(serde_json::from_str(&presence::list(topic)).unwrap_or_default())
    }

    /// Returns the keys in their order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether nobody is online.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether somebody is online under a key.
    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Returns the metas of a key, one for each member that is tracked under it. The list is empty if there is none.
    /// The host adds a `phx_ref` to each meta.
    ///
    /// # Errors
    ///
    /// One of the metas isn't a `T`. That is the plugin's mistake; with `?`, it is a fault `failed`.
    pub fn metas<T: DeserializeOwned>(&self, key: &str) -> Result<Vec<T>, Error> {
        let metas = self.0.get(key).map(|entry| &entry.metas[..]).unwrap_or_default();
        let read = |Meta(meta): &Meta| {
            let failed = |error| Error::Failed(format!("a meta of {key}: {}", words(&error)));
            serde_json::from_str(meta.get()).map_err(failed)
        };
        metas.iter().map(read).collect()
    }
}

/// Returns the metas of one key of a topic, `{"metas": [..]}`, or none if nobody is online under it. It doesn't read
/// the other keys. The same topics as for [`Presences::of`] are allowed.
pub fn presence(topic: &str, key: &str) -> Option<Payload> {
    presence::get(topic, key).map(Payload::Json)
}

/// Presence: who is online in the topic. See [`Presences`].
impl<R: 'static> Socket<R> {
    /// Tracks this member under a key, for example the user's name, until the member ends or calls
    /// [`untrack`](Socket::untrack). The host sends the change to all members of the topic as `presence_diff`. `meta`
    /// is data about the member that the others may see.
    ///
    /// ```
    /// # use bennu_guest::prelude::*;
    /// # fn join(socket: &mut Socket, params: Payload) -> Result<(), Error> {
    /// let user: String = params.field("user")?;
    /// socket.push_presence();
    /// socket.track(&user, json!({ "online_at": now_ms() }));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Faults
    ///
    /// - `trap`: the meta isn't a JSON object, or the key has more than 255 bytes.
    /// - `failed`: the member is tracked under this key already.
    /// - `oversize`: the meta has more than 4 KiB (`presence_bytes`), or the member already has 16 presences
    ///   (`presences_per_member`).
    #[track_caller]
    pub fn track(&mut self, key: &str, meta: impl Serialize) {
        presence::track(check::name("a presence's key", key), &check::object("a presence's meta", &meta));
    }

    /// Replaces the meta of this member under a key.
    ///
    /// # Faults
    ///
    /// `failed`: the member isn't tracked under this key. The meta has the same limits as for [`track`](Socket::track).
    #[track_caller]
    pub fn update_presence(&mut self, key: &str, meta: impl Serialize) {
        presence::update(key, &check::object("a presence's meta", &meta));
    }

    /// Ends the presence of this member under a key. If there is none, nothing happens.
    pub fn untrack(&mut self, key: &str) {
        presence::untrack(key);
    }

    /// Pushes `presence_state`, the list of who is online, to this member's client. phoenix.js's `Presence` needs it
    /// first. If this call comes before [`track`](Socket::track), the member's own presence follows as a
    /// `presence_diff`.
    pub fn push_presence(&mut self) {
        presence::push_state();
    }

    /// Returns who is online in the topic. Changes of the running callback aren't in this list yet.
    pub fn presences(&self) -> Presences {
        Presences::of(&self.topic)
    }
}
