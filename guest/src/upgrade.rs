//! The types of `upgrade` and `upgrade_room`: states that another version of a channel wrote.

use serde::de::DeserializeOwned;

use crate::{Error, state};

/// The result of [`Channel::upgrade`](crate::Channel::upgrade). An [`Error`] of either kind refuses the state, which is
/// a fault.
pub type Upgraded<S> = Result<Upgrade<S>, Error>;

/// What `upgrade` does with a state of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade<S> {
    /// Replaces the old state.
    New(S),
    /// Keeps the old bytes, which serde can read.
    AsItIs,
}

/// Replaces the old state with a state of this version.
pub fn upgraded<S>(state: S) -> Upgraded<S> {
    Ok(Upgrade::New(state))
}

/// Keeps the old bytes: serde reads them as a state of this version. If serde can't read them, the next callback is a
/// fault `failed`.
pub fn as_it_is<S>() -> Upgraded<S> {
    Ok(Upgrade::AsItIs)
}

/// A state that another version wrote.
#[derive(Clone, Copy, Debug)]
pub struct Old<'a> {
    topic: &'a str,
    version: u32,
    state: &'a [u8],
}

impl<'a> Old<'a> {
    pub(crate) fn new(topic: &'a str, version: u32, state: &'a [u8]) -> Self {
        Self { topic, version, state }
    }

    /// Returns the topic that the state belongs to.
    pub fn topic(&self) -> &str {
        self.topic
    }

    /// Returns the version of the state. It may be earlier or later than this build's version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Decodes the state as the type that the other version used.
    ///
    /// # Errors
    ///
    /// The state isn't a `T`. With `?`, this refuses the state, which is a fault `failed`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        state::decode(self.state).map_err(|why| Error::Failed(format!("version {}: {why}", self.version)))
    }
}
