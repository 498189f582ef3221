//! The table of routes.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{Gatekeepers, Probation, RouteSpec, Turns};
use crate::contract::{Behaviour, HttpJournal};
use crate::protocol::Pattern;
use crate::store::Owner;

/// The parts of the contract that a plugin uses for its topics: the exported callbacks that concern no member, and the
/// entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// `handle_message`.
    pub messages: bool,
    /// `handle_topic_info`.
    pub infos: bool,
    /// `handle_tick`.
    pub ticks: bool,
    /// `handle_seat`.
    pub seats: bool,
    /// The interface `entries`.
    pub entries: bool,
    /// Whether its calls may wait for answers by HTTP.
    pub http: bool,
}

/// A pattern and the plugin that serves it.
pub struct Route {
    /// The plugin's description of the route.
    pub spec: RouteSpec,
    /// The plugin's name.
    pub plugin: Arc<str>,
    /// The plugin's generation.
    pub generation: u32,
    /// The parts of the contract that the plugin uses for its topics.
    pub takes: Takes,
    /// The owner of the plugin's data in the store.
    pub owner: Owner,
    /// Runs its callbacks.
    pub behaviour: Arc<dyn Behaviour>,
    /// While its generation has not passed: its probation, and the route of the same pattern in the generation that
    /// passed last, if there is one.
    pub probation: Option<(Arc<Probation>, Option<Arc<Self>>)>,
}

impl Route {
    /// Returns the probation of its generation unless the generation has passed, and the route of the generation that
    /// passed last. A rollback during a call changes nothing for that call: it is handled as if the probation were
    /// open.
    #[must_use]
    pub fn trial(&self) -> Option<(&Arc<Probation>, Option<&Arc<Self>>)> {
        let (probation, before) = self.probation.as_ref()?;
        (!probation.has_passed()).then_some((probation, before.as_ref()))
    }

    /// The journal for the answers by HTTP of one call, if calls may wait for some.
    #[must_use]
    pub fn http_journal(&self) -> Option<Arc<HttpJournal>> {
        self.takes.http.then(Arc::default)
    }

    /// Whether its topics have entries.
    #[must_use]
    pub fn has_entries(&self) -> bool {
        (self.takes.entries || !self.spec.publishes.is_empty()) && self.spec.has_room()
    }
}

/// Two plugins have the same pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The pattern.
    pub pattern: Pattern,
    /// The plugin that it belongs to.
    pub owner: Arc<str>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pattern, owner } = self;
        write!(f, "the pattern `{pattern}` already belongs to the plugin `{owner}`; give one of them another topic")
    }
}

impl std::error::Error for Conflict {}

/// All routes of all plugins. An exact pattern has precedence over every prefix, and a longer prefix over a shorter
/// one.
#[derive(Default)]
pub struct Routes {
    exact: HashMap<Box<str>, Arc<Route>>,
    /// Sorted by length, the longest first.
    prefixes: Vec<(Box<str>, Arc<Route>)>,
    gatekeepers: Gatekeepers,
    /// The ended probations that stored states may still refer to, by plugin.
    past: HashMap<Arc<str>, Vec<Arc<Probation>>>,
}

impl Routes {
    /// Creates the table of these routes of one or more plugins.
    ///
    /// # Errors
    /// If a pattern occurs twice. The owner in the error is the plugin that came first.
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

    /// Sets the gatekeepers.
    #[must_use]
    pub fn with_gatekeepers(self, gatekeepers: Gatekeepers) -> Self {
        Self { gatekeepers, ..self }
    }

    /// Sets the ended probations that stored states may still refer to, by plugin.
    #[must_use]
    pub fn with_past_probations(self, past: HashMap<Arc<str>, Vec<Arc<Probation>>>) -> Self {
        Self { past, ..self }
    }

    /// Returns a plugin's ended probation with this number, if stored states may still refer to it.
    #[must_use]
    pub fn past_probation(&self, plugin: &str, id: u64) -> Option<&Arc<Probation>> {
        self.past.get(plugin)?.iter().find(|probation| probation.id() == Some(id))
    }

    /// Returns the ended probations that stored states may still refer to, by plugin.
    #[must_use]
    pub fn past_probations(&self) -> &HashMap<Arc<str>, Vec<Arc<Probation>>> {
        &self.past
    }

    /// Returns the gatekeepers.
    #[must_use]
    pub fn gatekeepers(&self) -> &Gatekeepers {
        &self.gatekeepers
    }

    /// Returns the route that serves a topic.
    #[must_use]
    pub fn find(&self, topic: &str) -> Option<&Arc<Route>> {
        self.exact
            .get(topic)
            .or_else(|| self.prefixes.iter().find(|(prefix, _)| topic.starts_with(&**prefix)).map(|(_, route)| route))
    }
}

impl Routes {
    /// Returns all routes.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.exact.values().chain(self.prefixes.iter().map(|(_, route)| route))
    }

    /// Whether each pattern belongs to the same plugin as in `other`, with the same turns.
    fn owns_as(&self, other: &Self) -> bool {
        let owners = |table: &Self| -> HashMap<Pattern, (Arc<str>, Turns)> {
            let owner = |route: &Arc<Route>| (Arc::clone(&route.plugin), route.spec.turns);
            table.all().map(|route| (route.spec.pattern.clone(), owner(route))).collect()
        };
        owners(self) == owners(other)
    }
}

/// The current table. Readers load it without a lock, and the library replaces it.
pub struct RouteTable {
    current: ArcSwap<Routes>,
    owners_changed: watch::Sender<u64>,
    published: watch::Sender<u64>,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self { current: ArcSwap::default(), owners_changed: watch::Sender::new(0), published: watch::Sender::new(0) }
    }
}

impl RouteTable {
    /// Returns the current table.
    pub fn current(&self) -> arc_swap::Guard<Arc<Routes>> {
        self.current.load()
    }

    /// Returns the route that serves a topic now.
    #[must_use]
    pub fn find(&self, topic: &str) -> Option<Arc<Route>> {
        self.current.load().find(topic).map(Arc::clone)
    }

    /// Replaces the table. Every later lookup uses the new one.
    pub fn publish(&self, routes: Routes) {
        let before = self.current.swap(Arc::new(routes));
        if !self.current.load().owns_as(&before) {
            self.owners_changed.send_modify(|count| *count += 1);
        }
        self.published.send_modify(|count| *count += 1);
    }

    /// Returns a receiver that is notified of each published table.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// Notifies the watchers that a probation has ended. They look through the members, so that each state is rolled
    /// back or drops its copy from before the upgrade.
    pub fn notify_probation_end(&self) {
        self.owners_changed.send_modify(|count| *count += 1);
    }

    /// Returns a receiver that is notified when a table is published in which a pattern was added or removed, has other
    /// turns, or belongs to another plugin. It is also notified [when a probation ends](Self::notify_probation_end),
    /// but not by a reload that serves the same patterns.
    #[must_use]
    pub fn watch_owners(&self) -> watch::Receiver<u64> {
        self.owners_changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    use crate::contract::{Call, CallFuture, CallInput, Decision, Fault, Outcome, Passing, TopicCall, Upgrade};

    struct Nothing;

    impl Behaviour for Nothing {
        fn call<'a>(&'a self, _: &'a Call, _: CallInput<'a>) -> CallFuture<'a, Outcome> {
            Box::pin(async { Err(Fault::failed("this test makes no calls")) })
        }

        fn call_topic<'a>(&'a self, _: &'a TopicCall, _: CallInput<'a>) -> CallFuture<'a, Outcome> {
            Box::pin(async { Err(Fault::failed("this test makes no calls")) })
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
    fn an_exact_pattern_comes_before_prefixes_and_a_longer_prefix_before_a_shorter() -> Result<(), Conflict> {
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
    fn watchers_are_notified_only_if_an_owner_changes() -> Result<(), Conflict> {
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
    fn a_pattern_has_only_one_owner() {
        let conflict = Routes::new([route("room:*", "first"), route("room:*", "second")]).err();
        assert_eq!(conflict.map(|conflict| conflict.owner.to_string()), Some("first".into()));
    }
}
