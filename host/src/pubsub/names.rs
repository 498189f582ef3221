//! The open sockets by their ids, so that any part of the host can close them.
//!
//! As in Phoenix, a socket with the id `user_socket:42` is subscribed to the topic of that name. It handles one event:
//! `disconnect`, with any payload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use super::Outbox;
use crate::protocol::CloseCode;

/// The event that closes the sockets with an id.
pub(super) const DISCONNECT: &str = "disconnect";

/// The open sockets that have an id.
#[derive(Default)]
pub(super) struct Names {
    sockets: DashMap<Box<str>, Vec<(u64, Arc<Outbox>)>>,
    /// The number of the next socket. Relaxed, because it only has to be unique.
    next: AtomicU64,
}

/// A socket's registration under its id, removed when it is dropped.
pub struct Named {
    names: Arc<Names>,
    id: Box<str>,
    number: u64,
}

impl Names {
    pub(super) fn enter(self: &Arc<Self>, id: &str, outbox: &Arc<Outbox>) -> Named {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.sockets.entry(id.into()).or_default().push((number, Arc::clone(outbox)));
        Named { names: Arc::clone(self), id: id.into(), number }
    }

    /// Closes every socket with this id. Returns the number of sockets.
    pub(super) fn disconnect(&self, id: &str) -> usize {
        // `close` only wakes a socket's driver and runs none of its code. So nothing here is called again while the
        // entry is locked.
        let Some(sockets) = self.sockets.get(id) else { return 0 };
        sockets.iter().for_each(|(_, outbox)| outbox.close(CloseCode::GoingAway));
        sockets.len()
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.names.sockets.remove_if_mut(&self.id, |_, sockets| {
            sockets.retain(|(number, _)| *number != self.number);
            sockets.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::pubsub::OutboxLimits;

    #[test]
    fn all_open_sockets_with_an_id_are_closed_and_dropped_ones_are_removed() {
        let names = Arc::new(Names::default());
        let outboxes: Vec<_> = (0..3).map(|_| Arc::new(Outbox::new(OutboxLimits::default()))).collect();
        let first = names.enter("user:1", &outboxes[0]);
        let second = names.enter("user:1", &outboxes[1]);
        let _other = names.enter("user:2", &outboxes[2]);
        drop(first);
        assert_eq!((names.disconnect("user:1"), names.disconnect("user:3")), (1, 0));
        let closing = |at: usize| outboxes[at].closing();
        assert_eq!(closing(0), None);
        assert_eq!(closing(1), Some(CloseCode::GoingAway));
        assert_eq!(closing(2), None);
        drop(second);
        assert_eq!(names.sockets.len(), 1);
    }
}
