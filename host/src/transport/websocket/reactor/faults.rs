//! Failures of a reactor that tests cause.

use std::io;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use mio::Events;
use tracing::{Level, Metadata, Subscriber, span};

use super::super::reactor_handle::Fault;
use super::Reactor;
use crate::socket::Reason;

impl Reactor {
    pub(super) fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match self.fault {
            Some(Fault::Poll) => self.fault = None,
            Some(Fault::PollAlways) => {}
            _ => return self.poll.poll(events, timeout),
        }
        Err(io::Error::other("a test wants it"))
    }

    /// Causes the failure that a test wants.
    pub(super) fn inject_fault(&mut self, fault: Option<Fault>) {
        self.fault = fault.or(self.fault);
        if self.fault == Some(Fault::Panic) {
            self.fault = None;
            panic!("a test wants it");
        }
        if self.fault == Some(Fault::PanicInConnection) {
            self.fault = None;
            let first = self.connections.iter().next().map(|(number, _)| number);
            self.with(first.unwrap_or_default(), |_, scratch| {
                scratch.put(crate::protocol::Frame::text("for one client alone"));
                panic!("a test wants it");
            });
        }
        if self.fault == Some(Fault::PanicAfterNote) {
            self.fault = None;
            let first = self.connections.iter().next().map(|(number, _)| number);
            self.with(first.unwrap_or_default(), |connection, _| {
                connection.note(Reason::Idle);
                panic!("a test wants it");
            });
        }
        if self.fault == Some(Fault::PanicInClosing) {
            self.fault = None;
            let first: Vec<usize> = self.connections.iter().map(|(number, _)| number).take(2).collect();
            let _log = tracing::subscriber::set_default(PanicsOnInfo);
            for number in first {
                self.with(number, |connection, _| {
                    let waker = Waker::from(Arc::new(PanicsWhenDropped));
                    assert!(connection.outbox().poll_apart(&Context::from_waker(&waker)).is_pending());
                    panic!("a test wants it");
                });
            }
        }
        assert_ne!(self.fault, Some(Fault::PanicAlways), "a test wants it");
    }
}

/// A log whose lines of the level INFO panic. The reactor's own errors have another level.
struct PanicsOnInfo;

impl Subscriber for PanicsOnInfo {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::INFO
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        panic!("a test wants it");
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// A waker that an outbox keeps, and whose drop panics.
struct PanicsWhenDropped;

impl Wake for PanicsWhenDropped {
    fn wake(self: Arc<Self>) {}
}

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("a test wants it");
        }
    }
}
