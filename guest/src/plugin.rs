//! The exports of a plugin's component, as [`channels!`](crate::channels) makes them from a table of routes.

use crate::bindings::bennu::channel::types::{self, Admission, Membership, Outcome};
use crate::bindings::exports::bennu::channel::{
    channel, handle_message, handle_out, handle_seat, handle_tick, handle_topic_info, upgrade, upgrade_entry,
};
use crate::callbacks::{Called, Room};
use crate::route::find;
use crate::{Decision, Ending, Message, Payload, SeatChange, Tick, panics};

pub use crate::route::{Route, check};

/// Makes a crate a plugin: says which channel serves which topics.
///
/// A pattern is a topic, or a prefix with a star at its end, of at most 255 bytes. An exact topic has priority over a
/// prefix, and a longer prefix over a shorter one. The order of the lines doesn't matter. A plugin has at most 256
/// patterns.
///
/// ```
/// # use bennu_guest::prelude::*;
/// # #[derive(Serialize, Deserialize)] struct Lobby;
/// # #[derive(Serialize, Deserialize)] struct Chat;
/// # impl Channel for Lobby { type Room = (); fn join(_: &mut Socket, _: Payload) -> Join<Self> { Ok(Lobby) } }
/// # impl Channel for Chat { type Room = (); fn join(_: &mut Socket, _: Payload) -> Join<Self> { Ok(Chat) } }
/// channels! {
///     "lobby" => Lobby,
///     "room:*" => Chat,
/// }
/// ```
///
/// An invalid pattern doesn't compile:
///
/// ```compile_fail
/// # use bennu_guest::prelude::*;
/// # #[derive(Serialize, Deserialize)] struct Chat;
/// # impl Channel for Chat { type Room = (); fn join(_: &mut Socket, _: Payload) -> Join<Self> { Ok(Chat) } }
/// channels! { "room:*:eu" => Chat }
/// ```
///
/// A durable channel without a room and without entries doesn't compile either:
///
/// ```compile_fail
/// # use bennu_guest::prelude::*;
/// # #[derive(Serialize, Deserialize)] struct Chat;
/// impl Channel for Chat {
///     type Room = ();
///     const DURABLE: bool = true;
/// #   fn join(_: &mut Socket, _: Payload) -> Join<Self> { Ok(Chat) }
/// }
/// channels! { "room:*" => Chat }
/// ```
#[macro_export]
macro_rules! channels {
    ($($pattern:expr => $channel:ty),+ $(,)?) => {
        const _: () = {
            struct BennuPlugin;

            impl $crate::plugin::Plugin for BennuPlugin {
                const ROUTES: &'static [$crate::plugin::Route] =
                    &[$($crate::plugin::Route::to::<$channel>($pattern)),+];
            }

            $crate::plugin::check(<BennuPlugin as $crate::plugin::Plugin>::ROUTES);

            #[cfg(target_family = "wasm")]
            $crate::bindings::plugin::export_plugin!(BennuPlugin with_types_in $crate::bindings::plugin);

            $crate::name_sdk!();
        };
    };
}

/// What a build says about its SDK. The host shows it.
pub const SDK: &str = concat!("bennu-guest ", env!("CARGO_PKG_VERSION"));

/// [`SDK`], for a section of the module.
#[must_use]
pub const fn sdk() -> [u8; SDK.len()] {
    let mut bytes = [0; SDK.len()];
    bytes.copy_from_slice(SDK.as_bytes());
    bytes
}

/// Writes [`SDK`] into the module, in a section of its own: the linker writes the section `producers` without asking the crates.
#[doc(hidden)]
#[macro_export]
macro_rules! name_sdk {
    () => {
        #[cfg(target_family = "wasm")]
        #[used]
        #[unsafe(link_section = "bennu-sdk")]
        static SDK: [u8; $crate::plugin::SDK.len()] = $crate::plugin::sdk();
    };
}

/// The channels of a crate.
pub trait Plugin {
    /// The routes, in the order of the source.
    const ROUTES: &'static [Route];
}

impl<P: Plugin> channel::Guest for P {
    fn describe() -> Vec<types::Route> {
        panics::write_to_log();
        P::ROUTES.iter().map(Route::describe).collect()
    }

    fn join(member: u64, topic: String, params: Payload, room: Room) -> Called<Admission> {
        panics::write_to_log();
        (find(P::ROUTES, &topic)?.join)(member, topic, params, room)
    }

    fn handle_in(member: Membership, event: String, payload: Payload, reply_ref: Option<String>) -> Called<Outcome> {
        panics::write_to_log();
        (find(P::ROUTES, &member.topic)?.handle_in)(member, &event, payload, reply_ref)
    }

    fn handle_info(member: Membership, message: Message) -> Called<Outcome> {
        panics::write_to_log();
        (find(P::ROUTES, &member.topic)?.handle_info)(member, message)
    }

    fn terminate(member: Membership, ending: Ending) -> Called<Room> {
        panics::write_to_log();
        (find(P::ROUTES, &member.topic)?.terminate)(member, ending)
    }
}

impl<P: Plugin> handle_out::Guest for P {
    fn handle_out(
        topic: String,
        event: String,
        payload: Payload,
        recipients: Vec<handle_out::Recipient>,
    ) -> Called<Vec<Decision>> {
        panics::write_to_log();
        (find(P::ROUTES, &topic)?.handle_out)(&topic, &event, &payload, &recipients)
    }
}

impl<P: Plugin> handle_message::Guest for P {
    fn handle_message(topic: String, event: String, payload: Payload, room: Room) -> Called<handle_message::Outcome> {
        panics::write_to_log();
        (find(P::ROUTES, &topic)?.handle_message)(topic, &event, payload, room)
    }
}

impl<P: Plugin> handle_topic_info::Guest for P {
    fn handle_topic_info(topic: String, message: Message, room: Room) -> Called<Room> {
        panics::write_to_log();
        (find(P::ROUTES, &topic)?.handle_topic_info)(topic, message, room)
    }
}

impl<P: Plugin> handle_tick::Guest for P {
    fn handle_tick(topic: String, tick: Tick, room: Room) -> Called<Room> {
        panics::write_to_log();
        (find(P::ROUTES, &topic)?.handle_tick)(topic, &tick, room)
    }
}

impl<P: Plugin> handle_seat::Guest for P {
    fn handle_seat(topic: String, seat: String, change: SeatChange, room: Room) -> Called<Room> {
        panics::write_to_log();
        (find(P::ROUTES, &topic)?.handle_seat)(topic, &seat, change, room)
    }
}

impl<P: Plugin> upgrade::Guest for P {
    fn upgrade(topic: String, part: upgrade::Part, version: u32, state: Vec<u8>) -> Called<Vec<u8>> {
        panics::write_to_log();
        (find(P::ROUTES, &topic)?.upgrade)(&topic, part, version, state)
    }
}

impl<P: Plugin> upgrade_entry::Guest for P {
    fn upgrade_entry(topic: String, key: Vec<u8>, version: u32, value: Vec<u8>) -> Called<Vec<u8>> {
        panics::write_to_log();
        (find(P::ROUTES, &topic)?.upgrade_entry)(&topic, &key, version, value)
    }
}
