//! The table itself.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{Gatekeepers, Probation, RouteSpec, Turns};
use crate::contract::Behaviour;
use crate::protocol::Pattern;
use crate::store::Owner;

/// Which callbacks of topics, without a member, a plugin has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// `handle_message`.
    pub messages: bool,
    /// `handle_tick`.
    pub ticks: bool,
    /// `handle_seat`.
    pub seats: bool,
}

/// One pattern with what serves it.
pub struct Route {
    /// What the plugin says of it.
    pub spec: RouteSpec,
    /// The plugin's name.
    pub plugin: Arc<str>,
    /// The plugin's generation.
    pub generation: u32,
    /// Which callbacks of topics the plugin has.
    pub takes: Takes,
    /// Whose storage is the plugin's.
    pub owner: Owner,
    /// What runs its callbacks.
    pub behaviour: Arc<dyn Behaviour>,
    /// While its generation isn't proved: its probation, and the route of the same pattern in the generation that proved itself
    /// last, if there is one.
    pub probation: Option<(Arc<Probation>, Option<Arc<Self>>)>,
}

impl Route {
    /// The probation that its generation is on, unless it has passed, and what served before it. A call under way while the
    /// generation is taken back is judged as before.
    #[must_use]
    pub fn trial(&self) -> Option<(&Arc<Probation>, Option<&Arc<Self>>)> {
        let (probation, before) = self.probation.as_ref()?;
        (!probation.has_passed()).then_some((probation, before.as_ref()))
    }
}

/// Two plugins claim one pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The pattern.
    pub pattern: Pattern,
    /// Who has it.
    pub owner: Arc<str>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pattern, owner } = self;
        write!(f, "the pattern `{pattern}` belongs to the plugin `{owner}` already; give one of the two another topic")
    }
}

impl std::error::Error for Conflict {}

/// All routes of all plugins. An exact topic comes before every prefix, and a longer prefix before a shorter.
#[derive(Default)]
pub struct Routes {
    exact: HashMap<Box<str>, Arc<Route>>,
    /// The longest first.
    prefixes: Vec<(Box<str>, Arc<Route>)>,
    gatekeepers: Gatekeepers,
    past: HashMap<Arc<str>, Vec<Arc<Probation>>>,
}

impl Routes {
    /// Puts routes of several plugins together.
    ///
    /// # Errors
    /// Where two plugins claim one pattern; the owner is the one that came first.
    pub fn new(routes: impl IntoIterator<Item = Arc<Route>>) -> Result<Self, Conflict> {
        let mut table = Self::default();
        for route in routes {
            let taken = match &route.spec.pattern {
                Pattern::Exact(topic) => table.exact.insert(topic.clone(), Arc::clone(&route)),
                Pattern::Prefix(prefix) => {
                    let taken = table.prefixes.iter().find(|(other, _)| other == prefix);
                    let taken = taken.map(|(_, owner)| Arc::clone(owner));
                    table.prefixes.push((prefix.clone(), Arc::clone(&route)));
                    taken
                }
            };
            if let Some(owner) = taken {
                return Err(Conflict { pattern: route.spec.pattern.clone(), owner: Arc::clone(&owner.plugin) });
            }
        }
        table.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(table)
    }

    /// The same with these gatekeepers.
    #[must_use]
    pub fn with_gatekeepers(self, gatekeepers: Gatekeepers) -> Self {
        Self { gatekeepers, ..self }
    }

    /// The same, with the probations of plugins that have ended and may still hold bytes of stored states.
    #[must_use]
    pub fn with_past_probations(self, past: HashMap<Arc<str>, Vec<Arc<Probation>>>) -> Self {
        Self { past, ..self }
    }

    /// The probation of that number that a plugin was on, if stored states may still know it.
    #[must_use]
    pub fn past_probation(&self, plugin: &str, id: u64) -> Option<&Arc<Probation>> {
        self.past.get(plugin)?.iter().find(|probation| probation.id() == Some(id))
    }

    /// All of those, by plugins.
    #[must_use]
    pub fn past_probations(&self) -> &HashMap<Arc<str>, Vec<Arc<Probation>>> {
        &self.past
    }

    /// The gatekeepers that decide about who connects.
    #[must_use]
    pub fn gatekeepers(&self) -> &Gatekeepers {
        &self.gatekeepers
    }

    /// The route that serves a topic.
    #[must_use]
    pub fn find(&self, topic: &str) -> Option<&Arc<Route>> {
        self.exact
            .get(topic)
            .or_else(|| self.prefixes.iter().find(|(prefix, _)| topic.starts_with(&**prefix)).map(|(_, route)| route))
    }
}

impl Routes {
    /// Whether each pattern belongs to the plugin that it belongs to in `other`, with the same turns.
    fn owns_as(&self, other: &Self) -> bool {
        let owners = |table: &Self| -> HashMap<Pattern, (Arc<str>, Turns)> {
            let routes = table.exact.values().chain(table.prefixes.iter().map(|(_, route)| route));
            let owner = |route: &Arc<Route>| (Arc::clone(&route.plugin), route.spec.turns);
            routes.map(|route| (route.spec.pattern.clone(), owner(route))).collect()
        };
        owners(self) == owners(other)
    }
}

/// The table in force.
pub struct RouteTable {
    current: ArcSwap<Routes>,
    owners_changed: watch::Sender<u64>,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self { current: ArcSwap::default(), owners_changed: watch::Sender::new(0) }
    }
}

impl RouteTable {
    /// The table in force now.
    pub fn current(&self) -> arc_swap::Guard<Arc<Routes>> {
        self.current.load()
    }

    /// The route that serves a topic now.
    #[must_use]
    pub fn find(&self, topic: &str) -> Option<Arc<Route>> {
        self.current.load().find(topic).map(Arc::clone)
    }

    /// Puts another table in force, at once and for all.
    pub fn publish(&self, routes: Routes) {
        let before = self.current.swap(Arc::new(routes));
        if !self.current.load().owns_as(&before) {
            self.owners_changed.send_modify(|count| *count += 1);
        }
    }

    /// Has those who watch look through the members: a probation has ended, and states return to what they were, or let go
    /// of it.
    pub fn notify_probation_end(&self) {
        self.owners_changed.send_modify(|count| *count += 1);
    }

    /// Sees every table published from now on in which a pattern has gone, come, changed its turns, or passed to another
    /// plugin, and every [verdict](Self::tell_verdict). A reload that serves what it served before is none.
    #[must_use]
    pub fn watch_owners(&self) -> watch::Receiver<u64> {
        self.owners_changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    use crate::contract::{Call, CallFuture, Decision, Fault, Outcome, Passing, TopicCall, Upgrade};

    struct Nothing;

    impl Behaviour for Nothing {
        fn call<'a>(&'a self, _: &'a Call) -> CallFuture<'a, Outcome> {
            Box::pin(async { Err(Fault::failed("no one calls")) })
        }

        fn call_topic<'a>(&'a self, _: &'a TopicCall) -> CallFuture<'a, Outcome> {
            Box::pin(async { Err(Fault::failed("no one calls")) })
        }

        fn filter<'a>(&'a self, _: &'a Passing) -> CallFuture<'a, Vec<Decision>> {
            Box::pin(async { Ok(vec![]) })
        }

        fn upgrade<'a>(&'a self, _: &'a Upgrade) -> CallFuture<'a, Option<Bytes>> {
            Box::pin(async { Ok(None) })
        }
    }

    fn route(pattern: &str, plugin: &str) -> Arc<Route> {
        let spec = RouteSpec::read(pattern, vec![], (0, 0), &[]).expect("a pattern");
        let owner = Owner::new(plugin, 0).expect("a name");
        let (plugin, behaviour) = (plugin.into(), Arc::new(Nothing));
        Arc::new(Route { spec, plugin, generation: 1, takes: Takes::default(), owner, behaviour, probation: None })
    }

    #[test]
    fn exact_comes_before_prefix_and_longer_before_shorter() -> Result<(), Conflict> {
        let table = Routes::new([
            route("*", "all"),
            route("room:*", "rooms"),
            route("room:vip:*", "vip"),
            route("room:a", "a"),
        ])?;
        let served = |topic| table.find(topic).map(|route| route.plugin.to_string());
        assert_eq!(served("room:a"), Some("a".into()));
        assert_eq!(served("room:ab"), Some("rooms".into()));
        assert_eq!(served("room:vip:1"), Some("vip".into()));
        assert_eq!(served("other"), Some("all".into()));
        assert!(Routes::default().find("room:a").is_none());
        Ok(())
    }

    #[test]
    fn only_a_change_of_owners_is_told() -> Result<(), Conflict> {
        let table = RouteTable::default();
        let owners = table.watch_owners();
        let mut told = Vec::new();
        for routes in [vec![route("a", "one")], vec![route("a", "one")], vec![route("a", "two")], vec![]] {
            table.publish(Routes::new(routes)?);
            told.push(*owners.borrow());
        }
        assert_eq!(told, [1, 1, 2, 3]);
        Ok(())
    }

    #[test]
    fn one_pattern_has_one_owner() {
        let conflict = Routes::new([route("room:*", "first"), route("room:*", "second")]).err();
        assert_eq!(conflict.map(|conflict| conflict.owner.to_string()), Some("first".into()));
    }
}
