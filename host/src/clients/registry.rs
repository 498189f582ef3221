//! All clients, with the accounts of their users and addresses.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use dashmap::DashMap;

use super::account::{Account, OF_ADDRESS, OF_USER};
use super::address::{AddressKey, ClientAddress};
use super::faults::nanos;
use super::hits::{Hits, Limit};
use super::limits::ClientLimits;
use super::plugins::Plugins;

/// How often accounts that limit nothing any more are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// The most accounts, of users and of addresses, that aren't those of open sockets. If there are more, all that refuse nobody
/// are removed. So a client with many addresses can shorten the memory of the host, but not fill it.
const IDLE_MAX: usize = 1 << 16;

/// The most sockets without a user that are shown as refused.
const SOCKETS_SHOWN: usize = 100;

/// The clients of a host.
#[derive(Debug)]
pub struct Clients {
    started: Instant,
    /// The limits. They may be exchanged at any time, and the next message is checked by the new ones.
    limits: ArcSwap<ClientLimits>,
    // The two values of `is_limiting`. They are relaxed: a message that is handled at the moment at which they change may be
    // checked or not.
    has_rates: AtomicBool,
    /// Until when somebody is refused, in nanoseconds since `started`; 0 if nobody is.
    refused_until: AtomicU64,
    sockets: AtomicUsize,
    addresses: DashMap<AddressKey, AddressEntry>,
    users: DashMap<Box<str>, Arc<Account>>,
    /// A lock, because faults are rare.
    plugins: Mutex<Plugins>,
    refused_sockets: Mutex<VecDeque<(ClientAddress, Weak<Account>)>>,
    pub(super) hits: Hits,
}

/// An address. Most have no account, because they only count their sockets.
#[derive(Debug, Default)]
struct AddressEntry {
    open: u64,
    account: Option<Arc<Account>>,
}

/// Somebody who is refused now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    /// `user`, `address`, `socket` or `plugin`.
    pub by: &'static str,
    /// The user, the address, the address of the socket, or the name of the plugin.
    pub who: String,
    /// The limit.
    pub limit: Limit,
    /// The plugin that refuses it, if it is one.
    pub plugin: Option<Arc<str>>,
    /// For how long it is still refused. Zero if it is refused message by message.
    pub rest: Duration,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            limits: ArcSwap::default(),
            has_rates: AtomicBool::new(false),
            refused_until: AtomicU64::new(0),
            sockets: AtomicUsize::new(0),
            addresses: DashMap::new(),
            users: DashMap::new(),
            plugins: Mutex::default(),
            refused_sockets: Mutex::default(),
            hits: Hits::default(),
        }
    }
}

impl Clients {
    /// Sets the limits. This may be done at any time. Sockets that have connected while there was no limit of their user's
    /// connections don't count for a later one.
    pub fn set_limits(&self, limits: ClientLimits) {
        self.has_rates.store(limits.has_rates(), Ordering::Relaxed);
        self.limits.store(Arc::new(limits));
    }

    /// Whether a limit may concern the next message.
    #[must_use]
    pub fn is_limiting(&self) -> bool {
        self.has_rates() || self.refused_until.load(Ordering::Relaxed) != 0
    }

    /// Returns how often each limit was reached.
    pub fn counts(&self) -> impl Iterator<Item = (Limit, u64)> {
        self.hits.counts()
    }

    /// Returns those who are refused now, at most `most` users, addresses, sockets and plugins each.
    #[must_use]
    pub fn limited(&self, most: usize) -> Vec<Limited> {
        let now = self.now();
        let plugins: Vec<_> = self.plugins().all(now).take(most).collect();
        let mut found: Vec<_> = plugins
            .into_iter()
            .map(|(plugin, rest)| {
                let (who, limit) = (plugin.to_string(), Limit::PluginSetAside);
                Limited { by: "plugin", who, limit, plugin: Some(plugin), rest }
            })
            .collect();
        let users =
            self.users.iter().filter_map(|entry| of_account(now, "user", OF_USER.faults, entry.key(), entry.value()));
        found.extend(users.take(most));
        let addresses = self.addresses.iter().filter_map(|entry| {
            of_account(now, "address", OF_ADDRESS.faults, &entry.key().to_string(), entry.account.as_ref()?)
        });
        found.extend(addresses.take(most));
        let sockets: Vec<_> = self.refused_sockets().iter().cloned().collect();
        let sockets = sockets.into_iter().filter_map(|(address, account)| {
            of_account(now, "socket", OF_USER.faults, &address.get().to_string(), &*account.upgrade()?)
        });
        found.extend(sockets.take(most));
        found
    }

    /// Removes accounts that limit nothing any more, repeatedly.
    pub async fn keep_sweeping(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let now = self.now();
            self.sweep(|account| account.is_at_rest(now));
        }
    }

    pub(super) fn limits(&self) -> Guard<Arc<ClientLimits>> {
        self.limits.load()
    }

    pub(super) fn has_rates(&self) -> bool {
        self.has_rates.load(Ordering::Relaxed)
    }

    /// The time of now, in nanoseconds since the start. Never 0.
    pub(super) fn now(&self) -> u64 {
        nanos(self.started.elapsed()).max(1)
    }

    /// The time of now, if somebody is refused.
    pub(super) fn refusing(&self) -> Option<u64> {
        let until = self.refused_until.load(Ordering::Relaxed);
        if until == 0 {
            return None;
        }
        let now = self.now();
        if now < until {
            return Some(now);
        }
        // It fails if another refusal has begun meanwhile, or another thread has done this.
        let _ = self.refused_until.compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
        None
    }

    /// Somebody is refused from now on.
    pub(super) fn refuse_until(&self, until: u64) {
        self.refused_until.fetch_max(until, Ordering::Relaxed);
    }

    pub(super) fn plugins(&self) -> MutexGuard<'_, Plugins> {
        // Nothing that is half changed can do harm.
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused_sockets(&self) -> MutexGuard<'_, VecDeque<(ClientAddress, Weak<Account>)>> {
        self.refused_sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a socket without a user that is refused, so that it can be shown.
    pub(super) fn remember_socket(&self, address: ClientAddress, account: &Arc<Account>) {
        let mut sockets = self.refused_sockets();
        sockets.retain(|(_, account)| account.strong_count() > 0);
        if sockets.len() >= SOCKETS_SHOWN {
            sockets.pop_front();
        }
        sockets.push_back((address, Arc::downgrade(account)));
    }

    /// Counts a socket. Returns how many its address has.
    pub(super) fn open(&self, key: AddressKey) -> u64 {
        self.sockets.fetch_add(1, Ordering::Relaxed);
        let mut entry = self.addresses.entry(key).or_default();
        entry.open += 1;
        entry.open
    }

    /// Returns how many sockets an address has.
    pub(super) fn open_at(&self, key: AddressKey) -> u64 {
        self.addresses.get(&key).map_or(0, |entry| entry.open)
    }

    /// A socket has ended.
    pub(super) fn close(&self, key: AddressKey) {
        self.sockets.fetch_sub(1, Ordering::Relaxed);
        let is_over = self.addresses.get_mut(&key).is_some_and(|mut entry| {
            entry.open = entry.open.saturating_sub(1);
            entry.open == 0 && entry.account.is_none()
        });
        if is_over {
            // Another socket may have come meanwhile.
            self.addresses.remove_if(&key, |_, entry| entry.open == 0 && entry.account.is_none());
        }
    }

    pub(super) fn account_of_address(&self, key: AddressKey) -> Arc<Account> {
        if let Some(entry) = self.addresses.get(&key)
            && let Some(account) = &entry.account
        {
            return Arc::clone(account);
        }
        if !self.make_room(self.addresses.len()) {
            return Arc::default();
        }
        let mut entry = self.addresses.entry(key).or_default();
        Arc::clone(entry.account.get_or_insert_default())
    }

    pub(super) fn account_of_user(&self, user: &str) -> Arc<Account> {
        if let Some(account) = self.users.get(user) {
            return Arc::clone(&account);
        }
        if !self.make_room(self.users.len()) {
            return Arc::default();
        }
        Arc::clone(&self.users.entry(user.into()).or_default())
    }

    /// Makes room for one more account. Returns false if there is none, because all accounts refuse somebody. The account
    /// is then that of one socket only.
    fn make_room(&self, accounts: usize) -> bool {
        let most = self.sockets.load(Ordering::Relaxed) + IDLE_MAX;
        if accounts < most {
            return true;
        }
        let now = self.now();
        self.sweep(|account| account.faults().refusals(now).next().is_none());
        self.users.len().max(self.addresses.len()) < most
    }

    /// Removes the accounts that no socket has, and that may be forgotten.
    fn sweep(&self, may_go: impl Fn(&Account) -> bool) {
        // A socket that needs the account next to a removal makes a new one, as if it had come a moment later.
        let may_go = |account: &Arc<Account>| Arc::strong_count(account) == 1 && may_go(account);
        self.users.retain(|_, account| !may_go(account));
        self.addresses.retain(|_, entry| {
            if entry.account.as_ref().is_some_and(&may_go) {
                entry.account = None;
            }
            entry.open > 0 || entry.account.is_some()
        });
    }
}

/// The refusal of an account, if there is one.
fn of_account(now: u64, by: &'static str, faults: Limit, who: &str, account: &Account) -> Option<Limited> {
    let who = || who.to_owned();
    let refusal = account.faults().refusals(now).next();
    if let Some((plugin, rest)) = refusal {
        return Some(Limited { by, who: who(), limit: faults, plugin: Some(plugin), rest });
    }
    let limit = account.limited_by(now)?;
    Some(Limited { by, who: who(), limit, plugin: None, rest: Duration::ZERO })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::RateLimit;
    use super::*;

    #[test]
    fn accounts_that_limit_nothing_are_removed() {
        let clients = Arc::new(Clients::default());
        let mut limits = ClientLimits::default();
        limits.address.connects = RateLimit { per_second: 1_000_000, burst: 1 };
        limits.user.connections = 1;
        clients.set_limits(limits);
        let address = |n: u8| SocketAddr::from(([203, 0, 113, n], 1));
        let mut open = clients.arrive(address(1)).expect("the first one");
        open.identify(Some("ada")).expect("the first one");
        drop(clients.arrive(address(2)));
        assert_eq!((clients.addresses.len(), clients.users.len()), (2, 1));
        clients.sweep(|account| account.is_at_rest(u64::MAX));
        assert_eq!((clients.addresses.len(), clients.users.len()), (1, 1), "those of an open socket stay");
        drop(open);
        clients.sweep(|account| account.is_at_rest(u64::MAX));
        assert_eq!((clients.addresses.len(), clients.users.len()), (0, 0));
        assert_eq!(clients.sockets.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_number_of_accounts_is_bounded() {
        let clients = Clients::default();
        for n in 0..2 * IDLE_MAX as u64 {
            drop(clients.account_of_address(AddressKey::V6(n)));
        }
        assert!(clients.addresses.len() <= IDLE_MAX, "{}", clients.addresses.len());
        // If all of them refuse somebody, further ones aren't kept.
        let plugin = Arc::from("chat");
        for entry in &clients.addresses {
            let mut faults = entry.account.as_ref().map(|account| account.faults()).expect("an account");
            (0..3).for_each(|_| _ = faults.add(clients.now(), &plugin, 1));
        }
        for n in 0..IDLE_MAX as u64 {
            let account = clients.account_of_address(AddressKey::V6(1 << 40 | n));
            (0..3).for_each(|_| _ = account.faults().add(clients.now(), &plugin, 1));
        }
        assert!(clients.addresses.len() <= IDLE_MAX, "{}", clients.addresses.len());
    }
}
