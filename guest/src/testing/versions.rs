//! A state of another version, given to a channel.

use serde::Serialize;
use serde::de::DeserializeOwned;

use bennu_semantics::Topic;
use bennu_world::{Callbacks, HostFacts, Saved, StateSnapshot};

use super::Fault;
use super::native::NativeRoutes;
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
    read(&upgraded::<C>(&standing)?.bytes().0)
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
    read(&upgraded::<C>(&standing)?.bytes().1.unwrap_or_default())
}

#[track_caller]
fn saved(version: u32, old: &impl Serialize) -> Saved {
    let bytes = state::encode(old).unwrap_or_else(|why| panic!("{why}"));
    Saved { bytes: bytes.into(), version }
}

fn upgraded<C: Channel>(standing: &StateSnapshot) -> Result<StateSnapshot, Fault> {
    let mut routes = NativeRoutes::of(Route::to::<C>("*"));
    let spec = routes.routes()[0].clone();
    Ok(standing.upgraded(&mut routes, &mut HostFacts::default(), (&spec, &Topic::new(TOPIC)))?)
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    Ok(state::decode(bytes).map_err(bennu_semantics::Fault::failed)?)
}
