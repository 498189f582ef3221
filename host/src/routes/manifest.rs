//! What a plugin says of its routes, read and checked.

use std::fmt;

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
}

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
                write!(
                    f,
                    "route `{pattern}` has the option `{name}`, which this host doesn't know; it knows `turns` and `on-fault`"
                )
            }
            Self::BadOption(pattern, name, value) => {
                let allowed = if name == "turns" { "`member` and `topic`" } else { "`end` and `keep`" };
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
        let (mut turns, mut on_fault) = (Turns::default(), OnFault::default());
        for (name, value) in options {
            match (name.as_str(), value.as_str()) {
                ("turns", "member") => turns = Turns::Member,
                ("turns", "topic") => turns = Turns::Topic,
                ("on-fault", "end") => on_fault = OnFault::End,
                ("on-fault", "keep") => on_fault = OnFault::Keep,
                ("turns" | "on-fault", _) => {
                    return Err(ManifestError::BadOption(pattern, name.clone(), value.clone()));
                }
                _ => return Err(ManifestError::UnknownOption(pattern, name.clone())),
            }
        }
        Ok(Self { pattern, intercepts, assigns_version, room_version, turns, on_fault })
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
        assert!(matches!(read("a", &[("speed", "high")]), Err(ManifestError::UnknownOption(..))));
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
