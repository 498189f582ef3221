//! The interface to the host. On wasm it is the component's imports. Natively it is the recorder of the test kit, with
//! generated functions for the effects. Both have the same functions, so no other module depends on the target.

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::bennu::channel::{
    droppable, entries, host, http, member, presence, schedule, socket, store, token, topics,
};
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::bindings::effects::droppable;
#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::request;
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::recorder::{host, http, member, request, store, token, topics};

#[cfg(not(target_family = "wasm"))]
pub(crate) mod socket {
    pub(crate) use crate::bindings::effects::socket::*;
    pub(crate) use crate::testing::recorder::socket::discard;
}

#[cfg(not(target_family = "wasm"))]
pub(crate) mod presence {
    pub(crate) use crate::bindings::effects::presence::*;
    pub(crate) use crate::testing::recorder::presence::{get, list};
}

#[cfg(not(target_family = "wasm"))]
pub(crate) mod entries {
    pub(crate) use crate::bindings::effects::entries::*;
    pub(crate) use crate::testing::recorder::entries::*;
}

#[cfg(not(target_family = "wasm"))]
pub(crate) mod schedule {
    pub(crate) use crate::bindings::effects::schedule::*;
    pub(crate) use crate::testing::recorder::schedule::*;
}

use serde::de::DeserializeOwned;

use crate::Error;
use crate::error::words;

/// Returns the current time in milliseconds since 1970-01-01 UTC.
pub fn now_ms() -> u64 {
    host::now()
}

/// Returns an id that no other call gets, on this host or on any node of its cluster. It has 20 characters of `0-9a-v`. Ids
/// sort in the order in which they were created, also after a restart of the host. Two ids that two nodes create at about the
/// same time may sort in either order.
pub fn unique_id() -> String {
    host::unique_id()
}

/// Returns a random number from the operating system's generator.
pub fn random() -> u64 {
    host::random()
}

/// Returns this plugin's configuration: the table `plugins.NAME.config` of the host's configuration file, or `{}` if
/// there is no such table.
///
/// ```
/// # use bennu_guest::prelude::*;
/// #[derive(Deserialize)]
/// struct Config {
///     #[serde(default = "longest")]
///     longest_message: usize,
/// }
/// # fn longest() -> usize { 2000 }
/// fn longest_message() -> Result<usize, Error> {
///     let Config { longest_message } = config()?;
///     Ok(longest_message)
/// }
/// ```
///
/// # Errors
///
/// The configuration isn't a `T`. That is the operator's mistake. With `?`, it is a fault `failed` whose text says so.
pub fn config<T: DeserializeOwned>() -> Result<T, Error> {
    serde_json::from_str(&host::configuration())
        .map_err(|error| Error::Failed(format!("the plugin's configuration: {}", words(&error))))
}
