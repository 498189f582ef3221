//! Which routes a node of a cluster may serve.

use std::fmt;
use std::sync::Arc;

use super::{RoomKind, RouteSpec, Turns};
use crate::protocol::Pattern;

/// Which routes a host may serve. All callbacks of a topic with turns run one after another, and the nodes of a cluster don't agree
/// on a node for them. So such a topic must have all its clients at one node, which a balancer has to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// The host is alone, so it may serve all routes.
    #[default]
    Alone,
    /// The host is a node of a cluster. A balancer keeps the clients of a topic that matches one of these patterns at one node.
    InCluster {
        /// The patterns.
        sticky: Arc<[Pattern]>,
    },
}

/// Why a node may not serve a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// It has turns of the topic, and isn't sticky.
    Turns(Pattern),
    /// It has durable rooms.
    Durable(Pattern),
}

impl Placement {
    /// Checks that a host may serve these routes.
    ///
    /// # Errors
    /// The first one that it may not serve.
    pub fn check(&self, routes: &[RouteSpec]) -> Result<(), Misplaced> {
        let Self::InCluster { sticky } = self else { return Ok(()) };
        for route in routes {
            if route.room == RoomKind::Durable {
                return Err(Misplaced::Durable(route.pattern.clone()));
            }
            let is_sticky = sticky.iter().any(|sticky| sticky.includes(&route.pattern));
            if route.turns == Turns::Topic && !is_sticky {
                return Err(Misplaced::Turns(route.pattern.clone()));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Turns(pattern) => write!(
                f,
                "its route `{pattern}` has a room or `turns = topic`, so in a cluster all clients of a topic must be at one node; \
                 if a balancer does that, name the pattern in `cluster.sticky`"
            ),
            Self::Durable(pattern) => write!(
                f,
                "its route `{pattern}` has durable rooms, which a host in a cluster can't store, because two nodes could write \
                 the same room; use `room = memory` with a sticky route, or a host without `[cluster]`"
            ),
        }
    }
}

impl std::error::Error for Misplaced {}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(pattern: &str, options: &[(&str, &str)]) -> RouteSpec {
        let options: Vec<_> = options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        RouteSpec::read(pattern, Vec::new(), (0, 0), &options).expect("a route")
    }

    #[test]
    fn a_node_serves_topics_with_turns_only_if_they_are_sticky() {
        let pattern = |text| Pattern::parse(text).expect("a pattern");
        let node = Placement::InCluster { sticky: [pattern("game:*"), pattern("hall")].into() };
        let (room, turns): (&[_], &[_]) = (&[("room", "memory")], &[("turns", "topic")]);
        let turns_of = |text| Err(Misplaced::Turns(pattern(text)));
        let cases = [
            (route("chat:*", &[]), Ok(())),
            (route("game:*", room), Ok(())),
            (route("game:chess:*", room), Ok(())),
            (route("game:1", turns), Ok(())),
            (route("hall", room), Ok(())),
            (route("hall:*", turns), turns_of("hall:*")),
            (route("*", room), turns_of("*")),
            (route("game:*", &[("room", "durable")]), Err(Misplaced::Durable(pattern("game:*")))),
        ];
        for (route, expected) in cases {
            assert_eq!(node.check(std::slice::from_ref(&route)), expected, "{}", route.pattern);
            assert_eq!(Placement::Alone.check(&[route]), Ok(()));
        }
        let why = node.check(&[route("hall:*", turns)]).expect_err("refused").to_string();
        assert!(why.contains("`hall:*`") && why.contains("cluster.sticky"), "{why}");
    }
}
