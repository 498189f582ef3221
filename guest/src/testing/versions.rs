//! Upgrades of a state, and of an entry, from another version.

use serde::Serialize;
use serde::de::DeserializeOwned;

use bennu_semantics::{EntryUpgrade, Topic};
use bennu_world::{CallContext, Callbacks, HostFacts, Saved, StateSnapshot};

use super::Fault;
use super::native::NativeRoutes;
use crate::entries::Encoding;
use crate::plugin::Route;
use crate::{Channel, callbacks, state};

/// The name of the topic. Upgrades seldom depend on it.
const TOPIC: &str = "topic";

/// Upgrades a member's state that another version wrote.
///
/// # Errors
///
/// If the upgrade is refused, or its result can't be read.
///
/// # Panics
///
/// If the old state can't be encoded.
#[track_caller]
pub fn upgrade<C: Channel>(version: u32, old: impl Serialize) -> Result<C, Fault> {
    let standing = StateSnapshot { assigns: Some(saved(version, &old)), ..StateSnapshot::default() };
    read(&upgraded::<C>(&standing)?.bytes().0)
}

/// Upgrades a topic's shared state that another version wrote.
///
/// # Errors
///
/// If the upgrade is refused, or its result can't be read.
///
/// # Panics
///
/// If the old state can't be encoded.
#[track_caller]
pub fn upgrade_room<C: Channel>(version: u32, old: impl Serialize) -> Result<C::Room, Fault> {
    let standing = StateSnapshot { room: Some(saved(version, &old)), ..StateSnapshot::default() };
    read(&upgraded::<C>(&standing)?.bytes().1.unwrap_or_default())
}

/// Upgrades an entry that another version wrote. `key` is the prefix of the entry's map and its name.
///
/// # Errors
///
/// If the upgrade is refused, or its result can't be read.
///
/// # Panics
///
/// If the old value can't be encoded.
#[track_caller]
pub fn upgrade_entry<C: Channel, T: DeserializeOwned>(
    key: impl AsRef<[u8]>,
    version: u32,
    old: impl Serialize,
) -> Result<T, Fault> {
    let (key, encoding) = (key.as_ref(), Encoding::of::<C>(key.as_ref()));
    let value = encoding.encoded(&old);
    let upgrade = EntryUpgrade { topic: Topic::new(TOPIC), key: key.into(), version, value: value.clone().into() };
    let mut context = CallContext::upgrading(HostFacts::default());
    let upgraded = NativeRoutes::of(Route::to::<C>("*")).upgrade_entry(upgrade, &mut context)?;
    let read = encoding.read(key, &upgraded.unwrap_or(value)).map_err(callbacks::text);
    Ok(read.map_err(bennu_semantics::Fault::failed)?)
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
