//! The routes that a plugin describes: reads and checks them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::limits::ENTRY_KEY_BYTES_MAX;
use crate::{Effect, Fault, NAME_BYTES_MAX, Need, Pattern, PatternError, Topic};

/// Which callbacks run one after another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turns {
    /// Those of one member.
    #[default]
    Member,
    /// Those of all members of a topic.
    Topic,
}

/// Whether the topics of a route have shared state, and where it is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomKind {
    /// They have no shared state.
    #[default]
    None,
    /// The state is in memory. It exists while the topic has a member, and for the linger time afterwards.
    Memory,
    /// The state is also stored, and survives a restart of the host.
    Durable,
}

/// The effect of a fault in a member's callback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFault {
    /// The member ends, and its client joins again.
    #[default]
    End,
    /// The member stays with its previous state, and the client that sent the event gets an error.
    Keep,
}

/// One kind of topic, as a plugin describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// The topics that it serves.
    pub pattern: Pattern,
    /// The events that `handle_out` decides about.
    pub intercepts: Vec<String>,
    /// The version of the assigns that this build writes.
    pub assigns_version: u32,
    /// The version of the room that this build writes.
    pub room_version: u32,
    /// Which callbacks run one after another.
    pub turns: Turns,
    /// The effect of a fault in a member's callback.
    pub on_fault: OnFault,
    /// Whether its topics have a room. With a room, all callbacks of a topic run one after another.
    pub room: RoomKind,
    /// The version of the entries that this build writes.
    pub entries_version: u32,
    /// How long a room exists after its last member has left. At most 24 hours.
    pub linger: Duration,
    /// The number of consecutive faults of `handle_tick` that ends a topic: its members and its room. 0 means that
    /// faults never end it.
    pub tick_faults: u32,
    /// The topics that are told when a generation begins to serve.
    pub start_topics: Vec<Topic>,
    /// The prefixes of the entries that its topics publish, in their order. No prefix begins with another one.
    pub publishes: Arc<[Box<str>]>,
    /// The broadcasts that are kept for clients that join again. None if no broadcast is kept.
    pub history: Option<HistorySpec>,
}

/// How many of a topic's broadcasts are kept, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistorySpec {
    /// The most broadcasts of a topic. At least 1.
    pub count: u32,
    /// How long a broadcast is kept. At least 1 ms and at most 24 hours.
    pub age: Duration,
}

/// The values of a route that doesn't set these options.
const LINGER: Duration = Duration::from_secs(10);
const TICK_FAULTS: u32 = 10;
const HISTORY_AGE: Duration = Duration::from_secs(5 * 60);

/// The most topics that are told when a generation begins to serve.
const START_TOPICS_MAX: usize = 64;

/// The most prefixes of published entries.
const PUBLISHES_MAX: usize = 16;

/// The maximum of `linger-ms`.
const LINGER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The maxima of `history-count` and `history-ms`.
const HISTORY_COUNT_MAX: u32 = 10_000;
const HISTORY_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The options of a route, each with its allowed values.
const OPTIONS: [(&str, &str); 10] = [
    ("turns", "`member` and `topic`"),
    ("on-fault", "`end` and `keep`"),
    ("room", "`none`, `memory` and `durable`"),
    ("entries-version", "0 to 4294967295"),
    ("linger-ms", "0 to 86400000 (a day)"),
    ("tick-faults", "0 (never) to 4294967295"),
    ("start-topics", "at most 64 topics, each once, which the pattern matches"),
    ("publishes", "at most 16 prefixes of 1 to 255 bytes, of which none begins with another one"),
    ("history-count", "0 (no history) to 10000"),
    ("history-ms", "1 to 86400000 (a day)"),
];

/// The most routes of a plugin, and the most events that one route may intercept.
const ROUTES_MAX: usize = 256;
const INTERCEPTS_MAX: usize = 64;

/// Why a plugin's description is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// It has no route.
    Empty,
    /// It has too many routes.
    TooMany(usize),
    /// A route intercepts too many events.
    TooManyIntercepts(Pattern, usize),
    /// A pattern is invalid.
    Pattern(String, PatternError),
    /// The same pattern occurs twice.
    Twice(Pattern),
    /// The name of an intercepted event is too long.
    LongEvent(Pattern, String),
    /// This host doesn't know an option.
    UnknownOption(Pattern, String),
    /// An option has a value that isn't allowed.
    BadOption(Pattern, String, String),
    /// A route intercepts events, but the component has no `handle-out`.
    NoHandleOut(Pattern),
    /// A route publishes entries, but its topics have no room.
    PublishesWithoutRoom(Pattern),
    /// A route says how long broadcasts are kept, but not how many.
    HistoryWithoutCount(Pattern),
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "`describe` names no route; give at least one pattern, such as `room:*`"),
            Self::TooMany(count) => write!(f, "`describe` names {count} routes; at most {ROUTES_MAX} are allowed"),
            Self::TooManyIntercepts(pattern, count) => {
                write!(f, "route `{pattern}` intercepts {count} events; at most {INTERCEPTS_MAX} are allowed")
            }
            Self::Pattern(text, error) => write!(f, "`describe` gives the pattern `{text}`: {error}"),
            Self::Twice(pattern) => write!(f, "`describe` gives the pattern `{pattern}` twice"),
            Self::LongEvent(pattern, event) => {
                let bytes = event.len();
                write!(
                    f,
                    "route `{pattern}` intercepts an event of {bytes} bytes; at most {NAME_BYTES_MAX} are allowed"
                )
            }
            Self::UnknownOption(pattern, name) => {
                let known: Vec<String> = OPTIONS.iter().map(|(name, _)| format!("`{name}`")).collect();
                let known = known.join(", ");
                write!(
                    f,
                    "this host doesn't know the option `{name}` of route `{pattern}`; the known options are {known}"
                )
            }
            Self::BadOption(pattern, name, value) => {
                let allowed = OPTIONS.iter().find(|(option, _)| option == name).map_or("", |(_, allowed)| *allowed);
                write!(f, "route `{pattern}` sets `{name}` to `{value}`; the allowed values are {allowed}")
            }
            Self::NoHandleOut(pattern) => {
                write!(f, "route `{pattern}` intercepts events, but the component doesn't export `handle-out`")
            }
            Self::PublishesWithoutRoom(pattern) => {
                write!(f, "route `{pattern}` sets `publishes`, but its topics have no room; set `room` too")
            }
            Self::HistoryWithoutCount(pattern) => {
                write!(f, "route `{pattern}` sets `history-ms`, but keeps no broadcasts; set `history-count` too")
            }
        }
    }
}

impl std::error::Error for ManifestError {}

impl RouteSpec {
    /// Reads and checks one route.
    ///
    /// # Errors
    /// If the pattern, the intercepted events or an option are invalid.
    pub fn read(
        pattern: &str,
        intercepts: Vec<String>,
        (assigns_version, room_version): (u32, u32),
        options: &[(String, String)],
    ) -> Result<Self, ManifestError> {
        let pattern = Pattern::parse(pattern).map_err(|error| ManifestError::Pattern(pattern.into(), error))?;
        if let Some(event) = intercepts.iter().find(|event| event.len() > NAME_BYTES_MAX) {
            return Err(ManifestError::LongEvent(pattern, event.clone()));
        }
        if intercepts.len() > INTERCEPTS_MAX {
            return Err(ManifestError::TooManyIntercepts(pattern, intercepts.len()));
        }
        let mut route = Self {
            pattern,
            intercepts,
            assigns_version,
            room_version,
            turns: Turns::default(),
            on_fault: OnFault::default(),
            room: RoomKind::default(),
            entries_version: 0,
            linger: LINGER,
            tick_faults: TICK_FAULTS,
            start_topics: Vec::new(),
            publishes: Arc::default(),
            history: None,
        };
        for (name, value) in options {
            if !OPTIONS.iter().any(|(known, _)| known == name) {
                return Err(ManifestError::UnknownOption(route.pattern, name.clone()));
            }
            if route.set(name, value).is_none() {
                return Err(ManifestError::BadOption(route.pattern, name.clone(), value.clone()));
            }
        }
        route.history = match route.history {
            Some(HistorySpec { count: 0, .. }) if options.iter().any(|(name, _)| name == "history-count") => None,
            Some(HistorySpec { count: 0, .. }) => return Err(ManifestError::HistoryWithoutCount(route.pattern)),
            history => history,
        };
        if route.has_room() {
            route.turns = Turns::Topic;
        } else if !route.publishes.is_empty() {
            return Err(ManifestError::PublishesWithoutRoom(route.pattern));
        }
        Ok(route)
    }

    /// Sets an option. Returns `None` if the value isn't allowed.
    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match (name, value) {
            ("turns", "member") => self.turns = Turns::Member,
            ("turns", "topic") => self.turns = Turns::Topic,
            ("on-fault", "end") => self.on_fault = OnFault::End,
            ("on-fault", "keep") => self.on_fault = OnFault::Keep,
            ("room", "none") => self.room = RoomKind::None,
            ("room", "memory") => self.room = RoomKind::Memory,
            ("room", "durable") => self.room = RoomKind::Durable,
            ("entries-version", value) => self.entries_version = value.parse().ok()?,
            ("linger-ms", value) => {
                let linger = Duration::from_millis(value.parse().ok()?);
                self.linger = (linger <= LINGER_MAX).then_some(linger)?;
            }
            ("tick-faults", value) => self.tick_faults = value.parse().ok()?,
            ("start-topics", topic) => {
                let is_allowed = self.pattern.matches(topic)
                    && self.start_topics.len() < START_TOPICS_MAX
                    && !self.start_topics.iter().any(|other| other.as_str() == topic)
                    && topic.len() <= NAME_BYTES_MAX;
                self.start_topics.push(is_allowed.then(|| Topic::new(topic))?);
            }
            ("publishes", prefix) => self.publishes = self.publishing(prefix)?,
            ("history-count", value) => {
                let count = value.parse().ok().filter(|count| *count <= HISTORY_COUNT_MAX)?;
                self.history_mut().count = count;
            }
            ("history-ms", value) => {
                let age = Duration::from_millis(value.parse().ok()?);
                self.history_mut().age = (!age.is_zero() && age <= HISTORY_AGE_MAX).then_some(age)?;
            }
            _ => return None,
        }
        Some(())
    }

    /// The history, for the options that set its parts in any order. Until its count is set, it has the count 0.
    fn history_mut(&mut self) -> &mut HistorySpec {
        self.history.get_or_insert(HistorySpec { count: 0, age: HISTORY_AGE })
    }

    /// The published prefixes with one more. Returns `None` if it isn't allowed.
    fn publishing(&self, prefix: &str) -> Option<Arc<[Box<str>]>> {
        let overlaps = |other: &str| other.starts_with(prefix) || prefix.starts_with(other);
        let is_allowed = (1..=ENTRY_KEY_BYTES_MAX).contains(&prefix.len()) && self.publishes.len() < PUBLISHES_MAX;
        if !is_allowed || self.publishes.iter().any(|other| overlaps(other)) {
            return None;
        }
        let mut prefixes = self.publishes.to_vec();
        prefixes.push(prefix.into());
        prefixes.sort_unstable();
        Some(prefixes.into())
    }

    /// The route of a topic: the one with exactly that name, or else the one with the longest prefix.
    #[must_use]
    pub fn find<'a>(routes: &'a [Self], topic: &str) -> Option<&'a Self> {
        let prefix = |route: &&Self| matches!(&route.pattern, Pattern::Prefix(_)) && route.pattern.matches(topic);
        let length = |route: &&Self| if let Pattern::Prefix(prefix) = &route.pattern { prefix.len() } else { 0 };
        let exact = routes.iter().find(|route| matches!(&route.pattern, Pattern::Exact(name) if **name == *topic));
        exact.or_else(|| routes.iter().filter(prefix).max_by_key(length))
    }

    /// Whether its topics have shared state.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.room != RoomKind::None
    }

    /// Checks the result and the effects of a call: a route without a room has none that need one, and a route that
    /// publishes entries publishes no other state.
    ///
    /// # Errors
    /// Fault: failed.
    pub fn check_room(&self, gives_room: bool, effects: &[Effect]) -> Result<(), Fault> {
        if self.has_room() {
            let publishes_state = |effect: &Effect| matches!(effect, Effect::PublishState { .. });
            if !self.publishes.is_empty() && effects.iter().any(publishes_state) {
                return Err(Fault::failed(
                    "the call published a state, but its route publishes entries (the route's option `publishes`); a topic has one or the other",
                ));
            }
            return Ok(());
        }
        if gives_room {
            return Err(Fault::failed(
                "the call returned a room state, but its route has no room; set the route's option `room` (`type Room` in Rust)",
            ));
        }
        if effects.iter().any(|effect| matches!(effect.need(), Need::Room)) {
            return Err(Fault::failed(
                "the call used a tick, a seat or a published state, but its route has no room; set the route's option `room` (`type Room` in Rust)",
            ));
        }
        Ok(())
    }

    /// Checks the rules that concern all routes of a plugin together.
    ///
    /// # Errors
    /// If there is no route, there are too many, a pattern occurs twice, or a route intercepts events without
    /// `handle-out`.
    pub fn check_all(routes: &[Self], has_handle_out: bool) -> Result<(), ManifestError> {
        if routes.is_empty() {
            return Err(ManifestError::Empty);
        }
        if routes.len() > ROUTES_MAX {
            return Err(ManifestError::TooMany(routes.len()));
        }
        for (at, route) in routes.iter().enumerate() {
            if routes[..at].iter().any(|earlier| earlier.pattern == route.pattern) {
                return Err(ManifestError::Twice(route.pattern.clone()));
            }
            if !route.intercepts.is_empty() && !has_handle_out {
                return Err(ManifestError::NoHandleOut(route.pattern.clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pattern: &str, options: &[(&str, &str)]) -> Result<RouteSpec, ManifestError> {
        let options: Vec<_> = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        RouteSpec::read(pattern, vec![], (0, 0), &options)
    }

    #[test]
    fn unknown_options_and_values_are_refused() {
        assert_eq!(read("a", &[("turns", "topic")]).map(|route| route.turns), Ok(Turns::Topic));
        assert!(matches!(read("a", &[("turns", "mine")]), Err(ManifestError::BadOption(..))));
        assert_eq!(read("a", &[("on-fault", "keep")]).map(|route| route.on_fault), Ok(OnFault::Keep));
        assert!(matches!(read("a", &[("on-fault", "cry")]), Err(ManifestError::BadOption(..))));
        assert!(matches!(read("a", &[("room", "large")]), Err(ManifestError::BadOption(..))));
        assert!(matches!(read("a", &[("linger-ms", "86400001")]), Err(ManifestError::BadOption(..))));
        assert!(matches!(read("a", &[("tick-faults", "-1")]), Err(ManifestError::BadOption(..))));
        assert_eq!(read("a", &[("entries-version", "4294967295")]).map(|route| route.entries_version), Ok(u32::MAX));
        assert!(matches!(read("a", &[("entries-version", "4294967296")]), Err(ManifestError::BadOption(..))));
        assert!(matches!(read("a", &[("speed", "high")]), Err(ManifestError::UnknownOption(..))));
    }

    #[test]
    fn a_history_has_a_count_and_an_age() {
        let history = |options: &[(&str, &str)]| read("a", options).map(|route| route.history);
        let kept = |count, seconds| Ok(Some(HistorySpec { count, age: Duration::from_secs(seconds) }));
        assert_eq!(history(&[]), Ok(None));
        assert_eq!(history(&[("history-count", "100")]), kept(100, 300));
        // The order of the options doesn't matter.
        assert_eq!(history(&[("history-ms", "1000"), ("history-count", "10000")]), kept(10_000, 1));
        assert_eq!(history(&[("history-count", "0")]), Ok(None));
        assert_eq!(history(&[("history-ms", "1000"), ("history-count", "0")]), Ok(None));
        assert!(matches!(history(&[("history-ms", "1000")]), Err(ManifestError::HistoryWithoutCount(_))));
        for refused in
            [("history-count", "10001"), ("history-count", "-1"), ("history-ms", "0"), ("history-ms", "86400001")]
        {
            assert!(
                matches!(history(&[("history-count", "1"), refused]), Err(ManifestError::BadOption(..))),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_route_with_a_room_has_the_topic_s_turns() -> Result<(), ManifestError> {
        let plain = read("a", &[])?;
        assert_eq!((plain.room, plain.turns), (RoomKind::None, Turns::Member));
        let room = read("a", &[("room", "durable"), ("turns", "member"), ("linger-ms", "0"), ("tick-faults", "3")])?;
        assert_eq!((room.room, room.turns), (RoomKind::Durable, Turns::Topic));
        assert_eq!((room.linger, room.tick_faults), (Duration::ZERO, 3));
        Ok(())
    }

    #[test]
    fn published_prefixes_do_not_overlap() {
        let publishing = |prefixes: &[&str]| {
            let options: Vec<_> = prefixes.iter().map(|prefix| ("publishes", *prefix)).collect();
            read("a", &[&[("room", "memory")], &*options].concat())
        };
        let prefixes = |route: RouteSpec| route.publishes.iter().map(|prefix| prefix.to_string()).collect::<Vec<_>>();
        assert_eq!(publishing(&["stroke/", "hand/"]).map(prefixes), Ok(vec!["hand/".into(), "stroke/".into()]));
        let long = "x".repeat(256);
        for refused in [&["a", "ab"][..], &["ab", "a"], &["a", "a"], &[""], &[&long]] {
            assert!(matches!(publishing(refused), Err(ManifestError::BadOption(..))), "{refused:?}");
        }
        let many: Vec<String> = (10..27).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(|prefix| &**prefix).collect();
        assert!(publishing(&many[1..]).is_ok() && publishing(&many).is_err(), "at most 16");
        let roomless = read("a", &[("publishes", "p")]);
        assert!(matches!(roomless, Err(ManifestError::PublishesWithoutRoom(_))));
        // The order of the options doesn't matter.
        assert!(read("a", &[("publishes", "p"), ("room", "durable")]).is_ok());
    }

    #[test]
    fn entries_and_a_state_are_not_published_in_one_topic() -> Result<(), ManifestError> {
        let effects = [Effect::PublishState { state: "{}".into() }];
        let (plain, entries) =
            (read("a", &[("room", "memory")])?, read("a", &[("room", "memory"), ("publishes", "p")])?);
        assert!(plain.check_room(true, &effects).is_ok() && entries.check_room(true, &[]).is_ok());
        assert!(entries.check_room(true, &effects).is_err());
        Ok(())
    }

    #[test]
    fn the_exact_topic_comes_first_and_then_the_longest_prefix() -> Result<(), ManifestError> {
        let routes = [read("room:*", &[])?, read("room:vip:*", &[])?, read("room:vip:1", &[])?];
        let found = |topic| RouteSpec::find(&routes, topic).map(|route| route.pattern.to_string());
        assert_eq!(found("room:1").as_deref(), Some("room:*"));
        assert_eq!(found("room:vip:12").as_deref(), Some("room:vip:*"));
        assert_eq!(found("room:vip:1").as_deref(), Some("room:vip:1"));
        assert_eq!(found("lobby"), None);
        Ok(())
    }

    #[test]
    fn a_plugin_has_routes_and_no_pattern_twice() -> Result<(), ManifestError> {
        let (room, lobby) = (read("room:*", &[])?, read("lobby", &[])?);
        assert_eq!(RouteSpec::check_all(&[], true), Err(ManifestError::Empty));
        assert_eq!(RouteSpec::check_all(&[room.clone(), lobby.clone()], false), Ok(()));
        let twice = [room.clone(), lobby, room.clone()];
        assert_eq!(RouteSpec::check_all(&twice, false), Err(ManifestError::Twice(room.pattern.clone())));
        let many: Vec<_> = (0..=ROUTES_MAX).map(|_| room.clone()).collect();
        assert_eq!(RouteSpec::check_all(&many, false), Err(ManifestError::TooMany(ROUTES_MAX + 1)));
        let listening = RouteSpec { intercepts: vec!["secret".into()], ..room };
        assert!(matches!(RouteSpec::check_all(&[listening], false), Err(ManifestError::NoHandleOut(_))));
        Ok(())
    }
}
