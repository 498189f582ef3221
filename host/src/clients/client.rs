//! A connected client, as far as the limits of its user and address need it.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::account::{Account, OF_ADDRESS, OF_SOCKET, OF_USER, RateBuckets};
use super::address::ClientAddress;
use super::hits::{Limit, OverLimit};
use super::registry::Clients;

/// A message of a client, for its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It asks to join a topic.
    Join {
        /// The bytes of the message.
        bytes: usize,
    },
    /// Any other message.
    Message {
        /// The bytes of the message.
        bytes: usize,
    },
}

impl Act {
    pub(super) fn bytes(self) -> u64 {
        match self {
            Self::Join { bytes } | Self::Message { bytes } => bytes as u64,
        }
    }
}

/// A client, from its attempt to connect on. It counts as connected until it is dropped.
pub struct Client {
    clients: Arc<Clients>,
    address: ClientAddress,
    /// Whether it counts among the sockets of its user, too.
    is_counted: bool,
    /// Looked up when they are first needed, because most sockets never need them.
    accounts: OnceLock<Box<Accounts>>,
}

struct Accounts {
    socket: RateBuckets,
    /// A client without a user has an account of its own.
    user: Arc<Account>,
    address: Arc<Account>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.address.get()).finish_non_exhaustive()
    }
}

impl Clients {
    /// Counts an attempt to connect. The user isn't known yet, so it counts for the address only.
    ///
    /// # Errors
    /// If the address is over a limit.
    pub fn arrive(self: &Arc<Self>, address: SocketAddr) -> Result<Client, OverLimit> {
        let address = ClientAddress::from(address);
        let open = self.open(address.key());
        // From here on it is counted, and its drop corrects that.
        let client = Client { clients: Arc::clone(self), address, is_counted: false, accounts: OnceLock::new() };
        let limits = self.limits().address;
        if limits.connections == 0 && limits.connects.per_second == 0 {
            return Ok(client);
        }
        let (now, account) = (self.now(), self.account_of_address(address.key()));
        let over = |limit, wait| client.note(now, &account, OverLimit::new(limit, wait), None);
        if limits.connections > 0 && open > limits.connections {
            return Err(over(OF_ADDRESS.connections, CONNECTIONS_RETRY));
        }
        account.connects.take(now, 1, limits.connects).map_err(|wait| over(OF_ADDRESS.connects, wait))?;
        Ok(client)
    }
}

/// When a client that has too many connections may try again. When one of them ends isn't known.
const CONNECTIONS_RETRY: Duration = Duration::from_secs(10);

impl Client {
    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address.get()
    }

    /// Counts the attempt to connect for the user, who is known now.
    ///
    /// # Errors
    /// If the user is over a limit.
    pub fn identify(&mut self, user: Option<&str>) -> Result<(), OverLimit> {
        let limits = self.clients.limits().user;
        let Some(name) = user.filter(|_| limits.connections > 0 || limits.connects.per_second > 0) else {
            return Ok(());
        };
        let now = self.clients.now();
        let account = Arc::clone(&self.accounts(user).user);
        account
            .connects
            .take(now, 1, limits.connects)
            .map_err(|wait| self.note(now, &account, OverLimit::new(OF_USER.connects, wait), Some(name)))?;
        let open = account.open.fetch_add(1, Ordering::Relaxed) + 1;
        // Set before the check: a refused client is dropped, and no longer counted then.
        self.is_counted = true;
        if limits.connections > 0 && open > limits.connections {
            let refusal = OverLimit::new(OF_USER.connections, CONNECTIONS_RETRY);
            return Err(self.note(now, &account, refusal, Some(name)));
        }
        Ok(())
    }

    /// Counts a message.
    ///
    /// # Errors
    /// If the socket, the user or the address is over a limit. The message must be answered, and not handled.
    pub fn take(&self, user: Option<&str>, act: Act) -> Result<(), OverLimit> {
        if !self.clients.has_rates() {
            return Ok(());
        }
        let (now, limits, accounts) = (self.clients.now(), self.clients.limits(), self.accounts(user));
        // What the socket is refused for takes nothing from the neighbours of its address.
        let taken = accounts.socket.take(now, act, &limits.socket, OF_SOCKET);
        let taken = taken.and_then(|()| accounts.address.take(now, act, &limits.address, OF_ADDRESS));
        let taken = taken.and_then(|()| accounts.user.take(now, act, &limits.user, OF_USER));
        taken.inspect_err(|refusal| self.clients.hits.note(refusal.limit, now, user, Some(self.address())))
    }

    /// Whether a plugin gets no calls from this client now, because the client has caused too many faults, or because the
    /// plugin is set aside.
    ///
    /// # Errors
    /// If so. The message must be answered, and not handled.
    pub fn may_call(&self, user: Option<&str>, plugin: &str, generation: u32) -> Result<(), OverLimit> {
        let Some(now) = self.clients.refusing() else { return Ok(()) };
        let accounts = self.accounts(user);
        let rest =
            |account: &Account, limit| account.faults().rest(now, plugin).map(|rest| OverLimit::new(limit, rest));
        let refusal = rest(&accounts.address, Limit::AddressFaults)
            .or_else(|| rest(&accounts.user, Limit::UserFaults))
            .or_else(|| self.clients.set_aside(now, plugin, generation));
        let Some(refusal) = refusal else { return Ok(()) };
        self.clients.hits.note(refusal.limit, now, user, Some(self.address()));
        Err(refusal)
    }

    /// Counts a fault of a plugin that a message of this client has caused.
    pub(super) fn on_fault(&self, now: u64, user: Option<&str>, plugin: &Arc<str>) {
        let (limits, accounts) = (self.clients.limits(), self.accounts(user));
        let refused = accounts.user.faults().add(now, plugin, limits.user.faults_per_minute);
        if let Some((pause, until)) = refused {
            if user.is_none() {
                self.clients.remember_socket(self.address, &accounts.user);
            }
            self.refuse(Limit::UserFaults, plugin, user, (pause, until));
        }
        self.add_to_address(now, &accounts.address, plugin);
    }

    /// Whether a gatekeeper isn't asked about this client now, because its address has caused too many faults. The user isn't
    /// known yet, so the accounts can't be kept.
    ///
    /// # Errors
    /// If so.
    pub fn may_ask(&self, gatekeeper: &str) -> Result<(), OverLimit> {
        let Some(now) = self.clients.refusing() else { return Ok(()) };
        let account = self.clients.account_of_address(self.address.key());
        let rest = account.faults().rest(now, gatekeeper);
        let Some(rest) = rest else { return Ok(()) };
        Err(self.note(now, &account, OverLimit::new(Limit::AddressFaults, rest), None))
    }

    /// Counts a fault of a gatekeeper that was asked about this client.
    pub fn on_connect_fault(&self, gatekeeper: &str) {
        let account = self.clients.account_of_address(self.address.key());
        self.add_to_address(self.clients.now(), &account, &Arc::from(gatekeeper));
    }

    /// Counts a fault of a plugin for the address. An address may be that of many clients, for example behind a proxy. So it
    /// may cause as many as they together.
    fn add_to_address(&self, now: u64, account: &Account, plugin: &Arc<str>) {
        let limits = self.clients.limits();
        let (of_user, of_address) = (limits.user.faults_per_minute, limits.address.faults_per_minute);
        let open = self.clients.open_at(self.address.key());
        let most = if of_address == 0 { 0 } else { of_address.max(of_user.saturating_mul(open)) };
        let refused = account.faults().add(now, plugin, most);
        if let Some((pause, until)) = refused {
            self.refuse(Limit::AddressFaults, plugin, None, (pause, until));
        }
    }

    fn refuse(&self, limit: Limit, plugin: &str, user: Option<&str>, (pause, until): (Duration, u64)) {
        self.clients.refuse_until(until);
        let (limit, peer, seconds) = (limit.as_str(), self.address(), pause.as_secs());
        tracing::warn!(limit, plugin, user, %peer, "a client that causes faults is refused for {seconds} s");
    }

    pub(super) fn key(&self) -> super::address::AddressKey {
        self.address.key()
    }

    /// Counts a refusal, and remembers it for `bennu inspect`.
    fn note(&self, now: u64, account: &Account, refusal: OverLimit, user: Option<&str>) -> OverLimit {
        self.clients.hits.note(refusal.limit, now, user, Some(self.address()));
        account.over(now, refusal)
    }

    fn accounts(&self, user: Option<&str>) -> &Accounts {
        self.accounts.get_or_init(|| {
            let user = user.map_or_else(Arc::default, |user| self.clients.account_of_user(user));
            let address = self.clients.account_of_address(self.address.key());
            Box::new(Accounts { socket: RateBuckets::default(), user, address })
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(accounts) = self.accounts.get().filter(|_| self.is_counted) {
            accounts.user.open.fetch_sub(1, Ordering::Relaxed);
        }
        self.clients.close(self.address.key());
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClientLimits, MessageRates, RateLimit, ScopeLimits};
    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().expect("an address")
    }

    fn limited(change: impl FnOnce(&mut ClientLimits)) -> Arc<Clients> {
        let clients = Arc::new(Clients::default());
        let mut limits = ClientLimits::default();
        change(&mut limits);
        clients.set_limits(limits);
        clients
    }

    /// Each socket has one.
    #[test]
    fn a_client_is_small() {
        assert!(size_of::<Client>() <= 48, "{}", size_of::<Client>());
    }

    #[test]
    fn the_connections_of_an_address_are_limited_until_one_ends() {
        let clients = limited(|limits| limits.address.connections = 2);
        let (first, _second) = (clients.arrive(at("203.0.113.7:1")), clients.arrive(at("203.0.113.7:2")));
        let refused = clients.arrive(at("[::ffff:203.0.113.7]:3")).expect_err("the limit is reached");
        assert_eq!((refused.limit, refused.seconds()), (Limit::AddressConnections, 10));
        assert!(clients.arrive(at("203.0.113.8:1")).is_ok(), "another address");
        drop(first);
        assert!(clients.arrive(at("203.0.113.7:4")).is_ok());
        assert_eq!(clients.counts().filter(|(_, count)| *count > 0).collect::<Vec<_>>(), [(refused.limit, 1)]);
    }

    #[test]
    fn attempts_to_connect_count_although_nothing_stays_open() {
        let rate = RateLimit { per_second: 1, burst: 3 };
        let clients = limited(|limits| limits.address.connects = rate);
        let passed = (0..10).filter(|_| clients.arrive(at("[2001:db8::1]:1")).is_ok()).count();
        assert_eq!(passed, 3);
        let refused = clients.arrive(at("[2001:db8::ffff:9]:1")).expect_err("the same network");
        assert_eq!((refused.limit, refused.seconds()), (Limit::AddressConnects, 1));
        assert!(clients.arrive(at("[2001:db8:0:1::1]:1")).is_ok());
        let limited = clients.limited(10);
        assert_eq!((&*limited[0].who, limited[0].by), ("2001:db8::/64", "address"));
    }

    #[test]
    fn a_user_is_limited_at_all_addresses() {
        let clients = limited(|limits| {
            limits.user = ScopeLimits {
                connections: 1,
                rates: MessageRates { messages: RateLimit { per_second: 1, burst: 2 }, ..MessageRates::default() },
                ..ScopeLimits::default()
            };
        });
        let mut one = clients.arrive(at("203.0.113.7:1")).expect("no limit of addresses");
        assert!(one.identify(Some("ada")).is_ok());
        let mut other = clients.arrive(at("203.0.113.8:1")).expect("no limit of addresses");
        assert_eq!(other.identify(Some("ada")).map_err(|refusal| refusal.limit), Err(Limit::UserConnections));
        assert!(clients.arrive(at("203.0.113.8:1")).is_ok_and(|mut client| client.identify(Some("bob")).is_ok()));
        let message = Act::Message { bytes: 10 };
        assert!(one.take(Some("ada"), message).is_ok());
        drop((one, other));
        // The account outlives the connection.
        let mut again = clients.arrive(at("203.0.113.9:1")).expect("no limit of addresses");
        assert!(again.identify(Some("ada")).is_ok());
        assert!(again.take(Some("ada"), message).is_ok());
        assert_eq!(again.take(Some("ada"), message).map_err(|refusal| refusal.limit), Err(Limit::UserMessages));
        assert_eq!(clients.limited(10)[0].who, "ada");
    }

    #[test]
    fn clients_without_a_user_are_limited_by_their_socket_and_their_address() {
        let rate = |per_second| RateLimit { per_second, burst: per_second };
        let clients = limited(|limits| {
            limits.user.rates.joins = rate(1);
            limits.address.rates.bytes = rate(100);
        });
        let (one, other) = (clients.arrive(at("203.0.113.7:1")), clients.arrive(at("203.0.113.7:2")));
        let (one, other) = (one.expect("no limit"), other.expect("no limit"));
        let join = Act::Join { bytes: 40 };
        assert!(one.take(None, join).is_ok() && other.take(None, join).is_ok());
        assert_eq!(one.take(None, Act::Join { bytes: 1 }).map_err(|refusal| refusal.limit), Err(Limit::UserJoins));
        let message = Act::Message { bytes: 40 };
        assert_eq!(other.take(None, message).map_err(|refusal| refusal.limit), Err(Limit::AddressBytes));
    }

    #[test]
    fn each_socket_has_limits_of_its_own() {
        let rate = |per_second, burst| RateLimit { per_second, burst };
        let clients = limited(|limits| {
            limits.socket = MessageRates { joins: rate(1, 2), messages: rate(10, 5), bytes: rate(100, 1000) };
            limits.address.rates.messages = rate(1, 8);
        });
        assert!(clients.is_limiting());
        let (one, other) = (clients.arrive(at("203.0.113.7:1")), clients.arrive(at("203.0.113.7:2")));
        let (one, other) = (one.expect("no limit"), other.expect("no limit"));
        let why = |client: &Client, act| client.take(Some("ada"), act).map_err(|refusal| refusal.limit);
        let (join, message) = (Act::Join { bytes: 1 }, Act::Message { bytes: 1 });
        assert_eq!([join, join, join].map(|act| why(&one, act)), [Ok(()), Ok(()), Err(Limit::SocketJoins)]);
        assert_eq!([message; 3].map(|act| why(&one, act)), [Ok(()), Ok(()), Err(Limit::SocketMessages)]);
        // The messages that this socket was refused took nothing from the other one.
        assert_eq!([message; 4].map(|act| why(&other, act)), [Ok(()); 4]);
        assert_eq!(why(&other, message), Err(Limit::AddressMessages));
        let third = clients.arrive(at("203.0.113.8:1")).expect("no limit");
        assert_eq!(why(&third, Act::Message { bytes: 1000 }), Ok(()));
        assert_eq!(why(&third, Act::Message { bytes: 1 }), Err(Limit::SocketBytes));
    }

    #[test]
    fn limits_can_be_exchanged_while_clients_are_connected() {
        let clients = limited(|_| {});
        let client = clients.arrive(at("203.0.113.7:1")).expect("no limit");
        let message = Act::Message { bytes: 1 };
        assert!((0..100).all(|_| client.take(None, message).is_ok()) && !clients.is_limiting());
        let mut limits = ClientLimits::default();
        limits.address.rates.messages = RateLimit { per_second: 1, burst: 5 };
        clients.set_limits(limits);
        assert!(clients.is_limiting());
        assert_eq!((0..100).filter(|_| client.take(None, message).is_ok()).count(), 5);
        clients.set_limits(ClientLimits::default());
        assert!(client.take(None, message).is_ok());
    }
}
