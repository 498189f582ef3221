//! State that another version of a channel wrote, and what becomes of it.

use serde::de::DeserializeOwned;

use crate::{Error, state};

/// What `upgrade` gives. An [`Error`] of either kind refuses the state, which is a fault.
pub type Upgraded<S> = Result<Upgrade<S>, Error>;

/// What becomes of a state of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade<S> {
    /// This takes its place.
    New(S),
    /// It can be read as it is.
    AsItIs,
}

/// Puts a state of this version in place of the old one.
pub fn upgraded<S>(state: S) -> Upgraded<S> {
    Ok(Upgrade::New(state))
}

/// Hands the old state over as it is: serde can read it.
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

    /// The topic that it belongs to.
    pub fn topic(&self) -> &str {
        self.topic
    }

    /// The version that wrote it, earlier or later than this one.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The state, as that version had it.
    ///
    /// # Errors
    ///
    /// It isn't a `T`: with `?` that refuses it.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        state::decode(self.state).map_err(|why| Error::Failed(format!("version {}: {why}", self.version)))
    }
}
