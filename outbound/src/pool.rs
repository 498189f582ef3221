//! Connections that wait for a next request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use crate::address::AddressRule;
use crate::connection::Connection;
use crate::limits::{IDLE, IDLE_CONNECTIONS_MAX, IDLE_PER_ORIGIN_MAX};
use crate::target::Target;

/// The server of a connection. The rule is a part of it: a connection to a private address is used again only by grants that
/// allow private addresses.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    is_https: bool,
    authority: Box<str>,
    rule: AddressRule,
}

/// Idle connections, the oldest first.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    connections: VecDeque<(Origin, Connection, Instant)>,
    /// Whether a task runs that closes old connections.
    is_swept: bool,
}

impl Origin {
    pub(crate) fn new(target: &Target, rule: AddressRule) -> Self {
        Self { is_https: target.is_https(), authority: target.authority().into(), rule }
    }

    pub(crate) fn rule(&self) -> AddressRule {
        self.rule
    }
}

impl Pool {
    /// Takes the newest idle connection to a server.
    pub(crate) fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let at = idle.connections.iter().rposition(|(other, ..)| other == origin)?;
            let (_, connection, since) = idle.connections.remove(at)?;
            if connection.is_ready() && since.elapsed() < IDLE {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for a next request. Past the limits, the oldest one is closed.
    pub(crate) fn put(self: &Arc<Self>, origin: Origin, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let same = idle.connections.iter().filter(|(other, ..)| *other == origin).count();
        if same >= IDLE_PER_ORIGIN_MAX {
            let oldest = idle.connections.iter().position(|(other, ..)| *other == origin);
            oldest.and_then(|oldest| idle.connections.remove(oldest));
        } else if idle.connections.len() >= IDLE_CONNECTIONS_MAX {
            idle.connections.pop_front();
        }
        idle.connections.push_back((origin, connection, Instant::now()));
        if !idle.is_swept {
            idle.is_swept = true;
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// The number of idle connections.
    pub(crate) fn len(&self) -> usize {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).connections.len()
    }

    /// Closes old connections. Returns false if none is left.
    fn close_old(&self) -> bool {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while idle.connections.front().is_some_and(|(_, _, since)| since.elapsed() >= IDLE) {
            idle.connections.pop_front();
        }
        idle.is_swept = !idle.connections.is_empty();
        idle.is_swept
    }
}

/// Closes old connections until none is left. It runs only while there are idle connections, so an idle host has no timer.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.close_old() {
            return;
        }
    }
}
