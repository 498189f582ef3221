//! Sockets by their ids, so that they can be closed from anywhere.
//!
//! A socket whose id is `user_socket:42` listens, as in Phoenix, on the topic of that name, and to one event only:
//! `disconnect`, with whatever payload.

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
    next: AtomicU64,
}

/// A socket's place among those of its id, left when it is dropped.
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

    /// Has every socket with this id closed. Gives how many there are.
    pub(super) fn disconnect(&self, id: &str) -> usize {
        // Their drivers wake elsewhere, so nothing comes back here while the list is held.
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
    fn all_sockets_of_an_id_are_closed_and_those_that_left_forgotten() {
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
