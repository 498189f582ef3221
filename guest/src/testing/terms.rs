//! What a route says of its topics, for a test to hold to it as the host does.

use std::time::Duration;

use crate::bindings::bennu::channel::types;
use crate::bindings::exports::bennu::channel::upgrade::Part;
use crate::route::{Route, TakeOver};

/// What the host does of which a route says nothing.
const LINGER: Duration = Duration::from_secs(10);
const TICK_FAULTS: u32 = 10;

/// The terms of a route.
#[derive(Clone, Debug)]
pub(super) struct RouteTerms {
    pub(super) assigns_version: u32,
    pub(super) room_version: u32,
    pub(super) upgrade: TakeOver,
    /// Whether a member outlives its faults.
    pub(super) keeps_members: bool,
    /// Whether all members of a topic take their turns in one queue.
    pub(super) has_topic_turns: bool,
    /// None where its topics have no room.
    pub(super) room: Option<RoomTerms>,
}

/// What becomes of its topics' rooms.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoomTerms {
    pub(super) is_durable: bool,
    pub(super) linger: Duration,
    /// How many faults of `handle_tick` in a row end a topic; none do if it is 0.
    pub(super) tick_faults: u32,
}

impl RouteTerms {
    pub(super) fn of(route: &Route) -> Self {
        let described = route.describe();
        let room = setting(&described, "room").map(|kind| RoomTerms {
            is_durable: kind == "durable",
            linger: number(&described, "linger-ms").map_or(LINGER, Duration::from_millis),
            tick_faults: number(&described, "tick-faults").unwrap_or(TICK_FAULTS),
        });
        Self {
            assigns_version: described.assigns_version,
            room_version: described.room_version,
            upgrade: route.upgrade,
            keeps_members: setting(&described, "on-fault") == Some("keep"),
            has_topic_turns: room.is_some() || setting(&described, "turns") == Some("topic"),
            room,
        }
    }

    /// The version in which it writes a state.
    pub(super) fn version(&self, part: Part) -> u32 {
        match part {
            Part::Assigns => self.assigns_version,
            Part::Room => self.room_version,
        }
    }
}

fn setting<'a>(route: &'a types::Route, name: &str) -> Option<&'a str> {
    route.options.iter().find(|option| option.name == name).map(|option| option.value.as_str())
}

fn number<T: std::str::FromStr>(route: &types::Route, name: &str) -> Option<T> {
    setting(route, name).and_then(|value| value.parse().ok())
}
