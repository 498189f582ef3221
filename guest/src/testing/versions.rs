//! A state of another version, given to a channel.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Fault;
use super::facts::Facts;
use super::saved::{Saved, StateSnapshot};
use super::terms::RouteTerms;
use crate::plugin::Route;
use crate::{Channel, state};

/// A topic of no name in particular.
const TOPIC: &str = "topic";

/// What becomes of a member's state that another version wrote.
///
/// # Errors
///
/// It is refused, or can't be read afterwards.
///
/// # Panics
///
/// The old state can't be encoded.
#[track_caller]
pub fn upgrade<C: Channel>(version: u32, old: impl Serialize) -> Result<C, Fault> {
    let standing = StateSnapshot { assigns: Some(saved(version, &old)), room: None };
    read(&fit::<C>(&standing)?.into_bytes().0)
}

/// What becomes of a topic's shared state that another version wrote. As for [`upgrade`].
///
/// # Errors
///
/// It is refused, or can't be read afterwards.
///
/// # Panics
///
/// The old state can't be encoded.
#[track_caller]
pub fn upgrade_room<C: Channel>(version: u32, old: impl Serialize) -> Result<C::Room, Fault> {
    let standing = StateSnapshot { assigns: None, room: Some(saved(version, &old)) };
    read(&fit::<C>(&standing)?.into_bytes().1.unwrap_or_default())
}

#[track_caller]
fn saved(version: u32, old: &impl Serialize) -> Saved {
    let bytes = state::encode(old).unwrap_or_else(|why| panic!("{why}"));
    Saved { bytes, version }
}

fn fit<C: Channel>(standing: &StateSnapshot) -> Result<StateSnapshot, Fault> {
    standing.upgraded(&RouteTerms::of(&Route::to::<C>("*")), TOPIC, &mut Facts::default())
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    state::decode(bytes).map_err(Fault::failed)
}
