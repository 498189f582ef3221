//! Plugins that are set aside because of their faults.
//!
//! A client that causes faults is refused alone. Only if the faults don't come from a few clients is it the plugin itself
//! that fails: it gets no calls from clients then, because each of them would cost an instance.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::address::AddressKey;
use super::client::Client;
use super::faults::{MINUTE, Pause, nanos};
use super::hits::{Limit, OverLimit};
use super::registry::Clients;

/// The number of addresses from which more faults must come, and the number of faults without a client that must be
/// exceeded.
const ADDRESSES: usize = 20;
const WITHOUT_CLIENT: u64 = 20;

/// The most plugins whose faults are remembered. The host serves fewer.
const PLUGINS_MAX: usize = 4_096;

/// A fault, and where it comes from.
pub struct FaultCause<'a> {
    /// The plugin that failed.
    pub plugin: &'a Arc<str>,
    /// Its generation.
    pub generation: u32,
    /// The calls that the generation has had, if they are counted.
    pub calls: Option<u64>,
    /// The client in whose callback it failed, with its user. None for a callback of a topic.
    pub client: Option<(&'a Client, Option<&'a str>)>,
    /// Whether a message of this client has caused the call.
    pub is_caused_by_client: bool,
    /// Whether a call of `terminate` follows.
    pub ends_member: bool,
}

/// The faults of all plugins.
#[derive(Debug, Default)]
pub(super) struct Plugins(HashMap<Arc<str>, PluginFaults>);

/// The faults of a generation in the current minute.
#[derive(Debug, Default)]
struct PluginFaults {
    generation: u32,
    /// The time of the first fault, and the number of calls before it.
    began: u64,
    calls_before: u64,
    faults: u64,
    /// The faults that ended a member, whose `terminate` was another call.
    ended: u64,
    without_client: u64,
    /// At most one more than the limit.
    addresses: HashSet<AddressKey>,
    pause: Pause,
}

/// Why a plugin is set aside.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SetAside {
    pause: Duration,
    until: u64,
    faults: u64,
    calls: u64,
}

impl Plugins {
    /// Counts a fault. Returns whether it sets the plugin aside.
    fn add(&mut self, now: u64, cause: &FaultCause<'_>) -> Option<SetAside> {
        let calls = cause.calls?;
        if self.0.len() >= PLUGINS_MAX && !self.0.contains_key(cause.plugin) {
            self.0.clear();
        }
        let faults = self.0.entry(Arc::clone(cause.plugin)).or_default();
        if faults.generation != cause.generation {
            *faults = PluginFaults { generation: cause.generation, ..PluginFaults::default() };
        }
        if faults.faults == 0 || now.saturating_sub(faults.began) > nanos(MINUTE) {
            let (generation, pause) = (faults.generation, faults.pause);
            // The call of this fault is counted already.
            let calls_before = calls.saturating_sub(1);
            *faults = PluginFaults { generation, began: now, calls_before, pause, ..PluginFaults::default() };
        }
        faults.faults += 1;
        faults.ended += u64::from(cause.ends_member);
        match cause.client {
            Some((client, _)) if faults.addresses.len() <= ADDRESSES => drop(faults.addresses.insert(client.key())),
            Some(_) => {}
            None => faults.without_client += 1,
        }
        faults.judge(now, calls)
    }

    fn rest(&self, now: u64, plugin: &str, generation: u32) -> Option<Duration> {
        self.0.get(plugin).filter(|faults| faults.generation == generation)?.pause.rest(now)
    }

    /// The plugins that are set aside, and for how long they still are.
    pub(super) fn all(&self, now: u64) -> impl Iterator<Item = (Arc<str>, Duration)> {
        self.0.iter().filter_map(move |(plugin, faults)| Some((Arc::clone(plugin), faults.pause.rest(now)?)))
    }
}

impl PluginFaults {
    fn judge(&mut self, now: u64, calls: u64) -> Option<SetAside> {
        let is_everywhere = self.addresses.len() > ADDRESSES || self.without_client > WITHOUT_CLIENT;
        let calls = calls.saturating_sub(self.calls_before).saturating_sub(self.ended).max(self.faults);
        if !is_everywhere || self.faults * 2 <= calls || self.pause.rest(now).is_some() {
            return None;
        }
        let set_aside =
            SetAside { pause: self.pause.begin(now), until: self.pause.until(), faults: self.faults, calls };
        // It is judged anew when it comes back.
        let (generation, pause) = (self.generation, self.pause);
        *self = Self { generation, pause, ..Self::default() };
        Some(set_aside)
    }
}

impl Clients {
    /// Counts a fault: for the client that has caused it, and for the plugin.
    pub fn on_fault(&self, cause: &FaultCause<'_>) {
        let now = self.now();
        if let Some((client, user)) = cause.client.filter(|_| cause.is_caused_by_client) {
            client.on_fault(now, user, cause.plugin);
        }
        let set_aside = self.plugins().add(now, cause);
        if let Some(SetAside { pause, until, faults, calls }) = set_aside {
            self.refuse_until(until);
            let (plugin, generation, seconds) = (&**cause.plugin, cause.generation, pause.as_secs());
            tracing::error!(
                plugin,
                generation,
                "the plugin is set aside for {seconds} s: {faults} of its last {calls} calls failed, and not because of \
                 a few clients"
            );
        }
    }

    /// The refusal of messages to a plugin that is set aside.
    pub(super) fn set_aside(&self, now: u64, plugin: &str, generation: u32) -> Option<OverLimit> {
        let rest = self.plugins().rest(now, plugin, generation)?;
        Some(OverLimit::new(Limit::PluginSetAside, rest))
    }

    /// Whether a plugin is set aside, for calls that no client makes.
    ///
    /// # Errors
    /// If so.
    pub fn may_be_called(&self, plugin: &str, generation: u32) -> Result<(), OverLimit> {
        let Some(now) = self.refusing() else { return Ok(()) };
        let Some(refusal) = self.set_aside(now, plugin, generation) else { return Ok(()) };
        self.hits.note(refusal.limit, now, None, None);
        Err(refusal)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    struct Host {
        clients: Arc<Clients>,
        plugin: Arc<str>,
        plugins: Plugins,
        calls: u64,
    }

    impl Host {
        fn new() -> Self {
            let (clients, plugin) = (Arc::new(Clients::default()), Arc::from("chat"));
            Self { clients, plugin, plugins: Plugins::default(), calls: 1000 }
        }

        /// A fault at this time, from this address.
        fn fault(&mut self, now: u64, address: Option<u8>, generation: u32) -> Option<SetAside> {
            self.calls += 1;
            let client = address.map(|last| {
                let address = SocketAddr::from((Ipv4Addr::new(203, 0, 113, last), 1));
                self.clients.arrive(address).expect("no limit")
            });
            let client = client.as_ref().map(|client| (client, None));
            let (plugin, calls) = (&self.plugin, Some(self.calls));
            let (is_caused_by_client, ends_member) = (true, false);
            let cause = FaultCause { plugin, generation, calls, client, is_caused_by_client, ends_member };
            self.plugins.add(now, &cause)
        }
    }

    #[test]
    fn faults_of_few_addresses_set_no_plugin_aside() {
        let mut host = Host::new();
        assert!((0..1000).all(|n| host.fault(SECOND, Some((n % 20) as u8), 1).is_none()));
    }

    #[test]
    fn faults_of_many_addresses_set_it_aside_if_they_are_more_than_half_of_its_calls() {
        let mut host = Host::new();
        // Twenty-one faults among forty-two calls are half of them.
        host.calls += 0;
        assert!((0..20).all(|n| host.fault(SECOND, Some(n), 1).is_none()));
        host.calls += 21;
        assert_eq!(host.fault(SECOND, Some(20), 1), None);
        let set_aside = host.fault(SECOND, Some(20), 1).expect("one more is more than half");
        assert_eq!((set_aside.pause.as_secs(), set_aside.faults, set_aside.calls), (10, 22, 43));
        assert!(host.plugins.rest(2 * SECOND, "chat", 1).is_some());
        assert!(host.plugins.rest(2 * SECOND, "chat", 2).is_none(), "a new build gets calls");
        assert!(host.plugins.rest(12 * SECOND, "chat", 1).is_none(), "it comes back by itself");
        // It fails again, and the pause is longer.
        let again: Vec<_> = (0..21).filter_map(|n| host.fault(20 * SECOND, Some(n), 1)).collect();
        assert_eq!(again.iter().map(|aside| aside.pause.as_secs()).collect::<Vec<_>>(), [20]);
        assert!((0..20).all(|n| host.fault(21 * SECOND, Some(n), 2).is_none()), "a new build begins anew");
    }

    #[test]
    fn faults_without_a_client_set_it_aside() {
        let mut host = Host::new();
        assert!((0..20).all(|_| host.fault(SECOND, None, 1).is_none()));
        assert!(host.fault(SECOND, None, 1).is_some());
    }

    #[test]
    fn faults_of_an_earlier_minute_do_not_count() {
        let mut host = Host::new();
        assert!((0..20).all(|_| host.fault(SECOND, None, 1).is_none()));
        assert!((0..20).all(|_| host.fault(70 * SECOND, None, 1).is_none()));
    }
}
