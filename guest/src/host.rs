//! The seam to the host: on wasm it is the component's imports, natively the test kit's recorder. Both have the same
//! functions, and nothing else in this crate knows which one it talks to.

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::bennu::channel::{host, member, presence, socket, store, token, topics};
#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::request;
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::recorder::{host, member, presence, request, socket, store, token, topics};

use serde::de::DeserializeOwned;

use crate::Error;
use crate::error::words;

/// Milliseconds since 1970-01-01 UTC.
pub fn now_ms() -> u64 {
    host::now()
}

/// An id that no other call on this host gets: 20 characters of `0-9a-v` that sort in the order in which they were
/// drawn.
pub fn unique_id() -> String {
    host::unique_id()
}

/// A random number.
pub fn random() -> u64 {
    host::random()
}

/// This plugin's configuration: what stands under `plugins.NAME.config` in the host's configuration file, `{}` where
/// nothing does.
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
/// A configuration that isn't a `T` is the operator's mistake, and with `?` a fault that says so.
pub fn config<T: DeserializeOwned>() -> Result<T, Error> {
    serde_json::from_str(&host::configuration())
        .map_err(|error| Error::Failed(format!("the plugin's configuration: {}", words(&error))))
}
