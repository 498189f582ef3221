//! A route: a pattern with the callbacks of its channel.

use std::time::Duration;

use crate::bindings::bennu::channel::types::{self, Admission, Membership, Outcome, Setting};
use crate::bindings::exports::bennu::channel::handle_message as message;
use crate::bindings::exports::bennu::channel::handle_out::Recipient;
use crate::bindings::exports::bennu::channel::upgrade::Part;
use crate::callbacks::{self, Called, Room};
use crate::room::Shared;
use crate::{Channel, Decision, Ending, Message, OnFault, Payload, SeatChange, Tick, Turns};

/// The type of the callback `handle_out`.
type HandleOut = fn(&str, &str, &Payload, &[Recipient]) -> Called<Vec<Decision>>;

/// The type of the callback `handle_message`.
type HandleMessage = fn(String, &str, Payload, Room) -> Called<message::Outcome>;

/// The type of the callback `upgrade`.
pub(crate) type UpgradeState = fn(&str, Part, u32, Vec<u8>) -> Called<Vec<u8>>;

/// The type of the callback `upgrade_entry`.
pub(crate) type UpgradeEntry = fn(&str, &[u8], u32, Vec<u8>) -> Called<Vec<u8>>;

/// The longest time that a room remains after its last member.
const LINGER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest time that a broadcast is kept.
const HISTORY_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A pattern and the callbacks of its channel. The callbacks are function pointers, so that channels of different types
/// fit in one table.
pub struct Route {
    pattern: &'static str,
    describe: fn(&str) -> types::Route,
    pub(crate) join: fn(u64, String, Payload, Room) -> Called<Admission>,
    pub(crate) handle_in: fn(Membership, &str, Payload, Option<String>) -> Called<Outcome>,
    pub(crate) handle_info: fn(Membership, Message) -> Called<Outcome>,
    pub(crate) handle_out: HandleOut,
    pub(crate) handle_message: HandleMessage,
    pub(crate) handle_topic_info: fn(String, Message, Room) -> Called<Room>,
    pub(crate) handle_tick: fn(String, &Tick, Room) -> Called<Room>,
    pub(crate) handle_seat: fn(String, &str, SeatChange, Room) -> Called<Room>,
    pub(crate) upgrade: UpgradeState,
    pub(crate) upgrade_entry: UpgradeEntry,
    pub(crate) terminate: fn(Membership, Ending) -> Called<Room>,
}

impl Route {
    /// Returns a route to a channel.
    pub const fn to<C: Channel>(pattern: &'static str) -> Self {
        const { check_room::<C>() };
        const { assert!(C::START_TOPICS.len() <= 64, "START_TOPICS has at most 64 topics") };
        Self {
            pattern,
            describe: describe::<C>,
            join: callbacks::join::<C>,
            handle_in: callbacks::handle_in::<C>,
            handle_info: callbacks::handle_info::<C>,
            handle_out: callbacks::handle_out::<C>,
            handle_message: callbacks::handle_message::<C>,
            handle_topic_info: callbacks::handle_topic_info::<C>,
            handle_tick: callbacks::handle_tick::<C>,
            handle_seat: callbacks::handle_seat::<C>,
            upgrade: callbacks::upgrade::<C>,
            upgrade_entry: callbacks::upgrade_entry::<C>,
            terminate: callbacks::terminate::<C>,
        }
    }

    /// Returns the description for the host.
    pub(crate) fn describe(&self) -> types::Route {
        (self.describe)(self.pattern)
    }
}

fn describe<C: Channel>(pattern: &str) -> types::Route {
    let setting = |name: &str, value: &str| Setting { name: name.into(), value: value.into() };
    let turns = (C::TURNS == Turns::Topic).then(|| setting("turns", "topic"));
    let on_fault = (C::ON_FAULT == OnFault::Keep).then(|| setting("on-fault", "keep"));
    let kind = if C::DURABLE { "durable" } else { "memory" };
    let room = (Shared::<C::Room>::IS_SHARED || C::ENTRIES).then(|| setting("room", kind));
    let version = C::ENTRIES_VERSION;
    let entries_version = (version > 0).then(|| setting("entries-version", &version.to_string()));
    let linger = C::LINGER.map(|linger| setting("linger-ms", &linger.as_millis().to_string()));
    let publishes = C::PUBLISHES.iter().map(|prefix| setting("publishes", prefix));
    let start_topics = C::START_TOPICS.iter().map(|topic| setting("start-topics", topic));
    let history_count = (C::HISTORY_COUNT > 0).then(|| setting("history-count", &C::HISTORY_COUNT.to_string()));
    let history_age = C::HISTORY_AGE.map(|age| setting("history-ms", &age.as_millis().to_string()));
    let tick_faults = C::TICK_FAULTS.map(|most| setting("tick-faults", &most.to_string()));
    types::Route {
        pattern: pattern.into(),
        intercepts: C::INTERCEPTS.iter().map(|&event| event.into()).collect(),
        assigns_version: C::ASSIGNS_VERSION,
        room_version: C::ROOM_VERSION,
        options: [turns, on_fault, room, entries_version, linger, tick_faults, history_count, history_age]
            .into_iter()
            .flatten()
            .chain(publishes)
            .chain(start_topics)
            .collect(),
    }
}

/// Checks at compile time what the host checks at load time.
pub const fn check(routes: &[Route]) {
    let mut i = 0;
    while i < routes.len() {
        check_pattern(routes[i].pattern.as_bytes());
        let mut j = 0;
        while j < i {
            assert!(!same(routes[i].pattern.as_bytes(), routes[j].pattern.as_bytes()), "a pattern occurs twice");
            j += 1;
        }
        i += 1;
    }
}

const fn check_room<C: Channel>() {
    let has_room = Shared::<C::Room>::IS_SHARED || C::ENTRIES;
    assert!(!C::DURABLE || has_room, "a DURABLE channel needs a `type Room` with data, or ENTRIES");
    assert!(C::ENTRIES || C::ENTRIES_VERSION == 0, "a channel without ENTRIES has no ENTRIES_VERSION");
    assert!(C::PUBLISHES.is_empty() || C::ENTRIES, "a channel that PUBLISHES entries needs ENTRIES");
    check_published(C::PUBLISHES);
    if let Some(linger) = C::LINGER {
        assert!(linger.as_millis() <= LINGER_MAX.as_millis(), "LINGER is at most a day");
    }
    assert!(C::HISTORY_COUNT <= 10_000, "HISTORY_COUNT is at most 10,000");
    if let Some(age) = C::HISTORY_AGE {
        assert!(C::HISTORY_COUNT > 0, "a channel without HISTORY_COUNT has no HISTORY_AGE");
        assert!(age.as_millis() > 0 && age.as_millis() <= HISTORY_AGE_MAX.as_millis(), "HISTORY_AGE is 1 ms to a day");
    }
}

const fn check_published(prefixes: &[&str]) {
    assert!(prefixes.len() <= 16, "PUBLISHES has at most 16 prefixes");
    let mut i = 0;
    while i < prefixes.len() {
        let length = prefixes[i].len();
        assert!(length > 0 && length <= 255, "a prefix in PUBLISHES has 1 to 255 bytes");
        let mut j = 0;
        while j < prefixes.len() {
            let begins = i != j && begins_with(prefixes[j].as_bytes(), prefixes[i].as_bytes());
            assert!(!begins, "a prefix in PUBLISHES begins with another one");
            j += 1;
        }
        i += 1;
    }
}

const fn begins_with(text: &[u8], prefix: &[u8]) -> bool {
    match text.split_at_checked(prefix.len()) {
        Some((start, _)) => same(start, prefix),
        None => false,
    }
}

const fn check_pattern(pattern: &[u8]) {
    assert!(!pattern.is_empty(), "a pattern is a topic, or a prefix with a star at its end: it can't be empty");
    assert!(pattern.len() <= 255, "a pattern has at most 255 bytes");
    assert!(!same(pattern, b"phoenix"), "the topic `phoenix` belongs to the protocol's heartbeat");
    let mut i = 0;
    while i + 1 < pattern.len() {
        assert!(pattern[i] != b'*', "a star is only allowed at the end of a pattern, as in `room:*`");
        i += 1;
    }
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// Returns the route of a topic, by the same rule as the host: the exact topic, or the longest prefix.
pub(crate) fn find<'a>(routes: &'a [Route], topic: &str) -> Called<&'a Route> {
    let prefix = |route: &&Route| route.pattern.strip_suffix('*').is_some_and(|prefix| topic.starts_with(prefix));
    let exact = routes.iter().find(|route| route.pattern == topic);
    exact
        .or_else(|| routes.iter().filter(prefix).max_by_key(|route| route.pattern.len()))
        .ok_or_else(|| format!("no channel of this plugin serves {topic:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[derive(Serialize, Deserialize)]
    struct Plain;

    impl Channel for Plain {
        type Room = ();

        fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
            Ok(Plain)
        }
    }

    #[derive(Serialize, Deserialize)]
    struct Fancy;

    impl Channel for Fancy {
        type Room = ();
        const INTERCEPTS: &'static [&'static str] = &["secret"];
        const TURNS: Turns = Turns::Topic;
        const ON_FAULT: OnFault = OnFault::Keep;
        const ASSIGNS_VERSION: u32 = 3;
        const ROOM_VERSION: u32 = 4;

        fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
            Ok(Fancy)
        }
    }

    #[derive(Serialize, Deserialize)]
    struct Roomy;

    impl Channel for Roomy {
        type Room = Vec<u32>;
        const DURABLE: bool = true;
        const LINGER: Option<Duration> = Some(Duration::from_secs(60));
        const TICK_FAULTS: Option<u32> = Some(0);
        const HISTORY_COUNT: u32 = 50;
        const HISTORY_AGE: Option<Duration> = Some(Duration::from_secs(1));

        fn join(_socket: &mut Socket<Vec<u32>>, _params: Payload) -> Join<Self> {
            Ok(Roomy)
        }
    }

    #[derive(Serialize, Deserialize)]
    struct Keyed;

    impl Channel for Keyed {
        type Room = ();
        const ENTRIES: bool = true;
        const ENTRIES_VERSION: u32 = 2;
        const PUBLISHES: &'static [&'static str] = &["stroke/", "hand/"];

        fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
            Ok(Keyed)
        }
    }

    const ROUTES: &[Route] =
        &[Route::to::<Plain>("room:*"), Route::to::<Fancy>("room:vip:*"), Route::to::<Plain>("room:vip:1")];

    #[test]
    fn an_exact_topic_has_priority_over_the_longest_prefix() {
        for (topic, pattern) in [
            ("room:1", Some("room:*")),
            ("room:", Some("room:*")),
            ("room:vip", Some("room:*")),
            ("room:vip:1", Some("room:vip:1")),
            ("room:vip:12", Some("room:vip:*")),
            ("lobby", None),
        ] {
            assert_eq!(find(ROUTES, topic).ok().map(|route| route.pattern), pattern, "{topic}");
        }
    }

    #[test]
    fn a_route_is_described_by_its_channel() {
        let plain = ROUTES[0].describe();
        assert_eq!((plain.pattern.as_str(), plain.options.len()), ("room:*", 0));
        let fancy = types::Route {
            pattern: "room:vip:*".into(),
            intercepts: vec!["secret".into()],
            assigns_version: 3,
            room_version: 4,
            options: vec![
                Setting { name: "turns".into(), value: "topic".into() },
                Setting { name: "on-fault".into(), value: "keep".into() },
            ],
        };
        assert_eq!(ROUTES[1].describe(), fancy);
        let options = |route: Route| -> Vec<(String, String)> {
            route.describe().options.into_iter().map(|option| (option.name, option.value)).collect()
        };
        let expected = |options: &[(&str, &str)]| -> Vec<(String, String)> {
            options.iter().map(|&(name, value)| (name.into(), value.into())).collect()
        };
        let roomy = expected(&[
            ("room", "durable"),
            ("linger-ms", "60000"),
            ("tick-faults", "0"),
            ("history-count", "50"),
            ("history-ms", "1000"),
        ]);
        assert_eq!(options(Route::to::<Roomy>("table:*")), roomy);
        let keyed = [("room", "memory"), ("entries-version", "2"), ("publishes", "stroke/"), ("publishes", "hand/")];
        assert_eq!(options(Route::to::<Keyed>("keyed:*")), expected(&keyed));
    }
}
