//! What a plugin says of its routes, read and checked.

use std::fmt;
use std::time::Duration;

use crate::protocol::{NAME_BYTES_MAX, Pattern, PatternError};

/// Whose callbacks run one after another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turns {
    /// Each member's.
    #[default]
    Member,
    /// Those of all members of a topic.
    Topic,
}

/// Whether the topics of a route have shared state, and for how long it is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomKind {
    /// They have none.
    #[default]
    None,
    /// It is there for as long as somebody is in the topic, and a while longer.
    Memory,
    /// It is stored besides, and outlives the host.
    Durable,
}

/// What a fault in a callback of a member leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFault {
    /// The member ends, and its client joins again.
    #[default]
    End,
    /// The member lives on with the state that it had, and the client that sent the event gets an error.
    Keep,
}

/// One kind of topic, as a plugin describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// Its topics.
    pub pattern: Pattern,
    /// Events that `handle_out` sees first.
    pub intercepts: Vec<String>,
    /// The version of the assigns that this build writes.
    pub assigns_version: u32,
    /// The version of the room that this build writes.
    pub room_version: u32,
    /// Whose callbacks run one after another.
    pub turns: Turns,
    /// What a fault leads to.
    pub on_fault: OnFault,
    /// Whether its topics have a room. With one, turns are the topic's.
    pub room: RoomKind,
    /// For how long a room outlives its last member.
    pub linger: Duration,
    /// How many faults of `handle_tick` in a row end a topic; none end it if it is 0.
    pub tick_faults: u32,
}

/// What a route has that says nothing of it.
const LINGER: Duration = Duration::from_secs(10);
const TICK_FAULTS: u32 = 10;

/// The longest that a room outlives its last member.
const LINGER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The options that a route may have, each with what it may be set to.
const OPTIONS: [(&str, &str); 5] = [
    ("turns", "`member` and `topic`"),
    ("on-fault", "`end` and `keep`"),
    ("room", "`none`, `memory` and `durable`"),
    ("linger-ms", "0 to 86400000, a day"),
    ("tick-faults", "0 (never) to 4294967295"),
];

/// The most routes of a plugin, and the most events that one of them intercepts.
const ROUTES_MAX: usize = 256;
const INTERCEPTS_MAX: usize = 64;

/// Why a description is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// It names no route.
    Empty,
    /// It names too many routes.
    TooMany(usize),
    /// A route intercepts too many events.
    TooManyIntercepts(Pattern, usize),
    /// A pattern is none.
    Pattern(String, PatternError),
    /// The same pattern stands twice.
    Twice(Pattern),
    /// An intercepted event's name is too long.
    LongEvent(Pattern, String),
    /// An option that this host doesn't know.
    UnknownOption(Pattern, String),
    /// An option's value that isn't one of its values.
    BadOption(Pattern, String, String),
    /// It intercepts events, and the component has no `handle-out`.
    NoHandleOut(Pattern),
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "`describe` names no route; give at least one pattern, such as `room:*`"),
            Self::TooMany(count) => write!(f, "`describe` names {count} routes; at most {ROUTES_MAX}"),
            Self::TooManyIntercepts(pattern, count) => {
                write!(f, "route `{pattern}` intercepts {count} events; at most {INTERCEPTS_MAX}")
            }
            Self::Pattern(text, error) => write!(f, "`describe` gives the pattern `{text}`: {error}"),
            Self::Twice(pattern) => write!(f, "`describe` gives the pattern `{pattern}` twice"),
            Self::LongEvent(pattern, event) => {
                write!(f, "route `{pattern}` intercepts an event of {} bytes; at most {NAME_BYTES_MAX}", event.len())
            }
            Self::UnknownOption(pattern, name) => {
                let known: Vec<String> = OPTIONS.iter().map(|(name, _)| format!("`{name}`")).collect();
                let known = known.join(", ");
                write!(f, "route `{pattern}` has the option `{name}`, which this host doesn't know; it knows {known}")
            }
            Self::BadOption(pattern, name, value) => {
                let allowed = OPTIONS.iter().find(|(option, _)| option == name).map_or("", |(_, allowed)| *allowed);
                write!(f, "route `{pattern}` sets `{name}` to `{value}`; allowed are {allowed}")
            }
            Self::NoHandleOut(pattern) => {
                write!(f, "route `{pattern}` intercepts events, but the component doesn't export `handle-out`")
            }
        }
    }
}

impl std::error::Error for ManifestError {}

impl RouteSpec {
    /// Reads one route.
    ///
    /// # Errors
    /// What is wrong with it.
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
            linger: LINGER,
            tick_faults: TICK_FAULTS,
        };
        for (name, value) in options {
            if !OPTIONS.iter().any(|(known, _)| known == name) {
                return Err(ManifestError::UnknownOption(route.pattern, name.clone()));
            }
            if route.set(name, value).is_none() {
                return Err(ManifestError::BadOption(route.pattern, name.clone(), value.clone()));
            }
        }
        if route.has_room() {
            route.turns = Turns::Topic;
        }
        Ok(route)
    }

    /// Sets an option, unless the value is none of its.
    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match (name, value) {
            ("turns", "member") => self.turns = Turns::Member,
            ("turns", "topic") => self.turns = Turns::Topic,
            ("on-fault", "end") => self.on_fault = OnFault::End,
            ("on-fault", "keep") => self.on_fault = OnFault::Keep,
            ("room", "none") => self.room = RoomKind::None,
            ("room", "memory") => self.room = RoomKind::Memory,
            ("room", "durable") => self.room = RoomKind::Durable,
            ("linger-ms", value) => {
                let linger = Duration::from_millis(value.parse().ok()?);
                self.linger = (linger <= LINGER_MAX).then_some(linger)?;
            }
            ("tick-faults", value) => self.tick_faults = value.parse().ok()?,
            _ => return None,
        }
        Some(())
    }

    /// Whether its topics have shared state.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.room != RoomKind::None
    }

    /// Checks what can be said only of all routes of a plugin together.
    ///
    /// # Errors
    /// What is wrong with them.
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
    fn options_are_known_or_refused() {
        assert_eq!(read("a", &[("turns", "topic")]).map(|route| route.turns), Ok(Turns::Topic));
        assert!(matches!(read("a", &[("turns", "mine")]), Err(ManifestError::BadOption(..))));
        assert_eq!(read("a", &[("on-fault", "keep")]).map(|route| route.on_fault), Ok(OnFault::Keep));
        assert!(matches!(read("a", &[("on-fault", "cry")]), Err(ManifestError::BadOption(..))));
        assert!(matches!(read("a", &[("room", "large")]), Err(ManifestError::BadOption(..))));
        assert!(matches!(read("a", &[("linger-ms", "86400001")]), Err(ManifestError::BadOption(..))));
        assert!(matches!(read("a", &[("tick-faults", "-1")]), Err(ManifestError::BadOption(..))));
        assert!(matches!(read("a", &[("speed", "high")]), Err(ManifestError::UnknownOption(..))));
    }

    #[test]
    fn a_room_comes_with_the_topics_turns() -> Result<(), ManifestError> {
        let plain = read("a", &[])?;
        assert_eq!((plain.room, plain.turns), (RoomKind::None, Turns::Member));
        let room = read("a", &[("room", "durable"), ("turns", "member"), ("linger-ms", "0"), ("tick-faults", "3")])?;
        assert_eq!((room.room, room.turns), (RoomKind::Durable, Turns::Topic));
        assert_eq!((room.linger, room.tick_faults), (Duration::ZERO, 3));
        Ok(())
    }

    #[test]
    fn a_plugin_has_routes_each_once() -> Result<(), ManifestError> {
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
