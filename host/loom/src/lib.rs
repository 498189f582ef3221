//! Tries all orders in which threads can send work to a reactor.
//!
//! `shared_inbox.rs` is the file that the host compiles. Around it is a model of the rest: an outbox, which is a queue with the
//! flag `called` under one lock (`pubsub/outbox.rs`), the poll, which a wake ends, and the pressure, which is a count.

#![cfg(all(test, loom))]

#[path = "../../src/transport/websocket/shared_inbox.rs"]
mod shared_inbox;

use loom::model::Builder;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use shared_inbox::{Sent, SharedInbox, Work};

/// The work of the model: the outboxes that were woken, and whether the reactor must end.
#[derive(Default)]
struct Inbox {
    woken: Vec<usize>,
    is_over: bool,
}

impl Work for Inbox {
    fn is_empty(&self) -> bool {
        self.woken.is_empty() && !self.is_over
    }
}

/// A queue of frames whose driver is woken once, and then not again before it has looked.
#[derive(Default)]
struct Outbox {
    frames: usize,
    is_called: bool,
}

/// The frames of an outbox from which on the reactor is asked to write.
const LONG: usize = 2;

/// The shared state of the model: a reactor with one connection.
struct Host {
    shared_inbox: SharedInbox<Inbox>,
    /// Ends the reactor's wait. A wake that comes before the wait isn't lost, as with an eventfd.
    is_woken: Mutex<bool>,
    wake: Condvar,
    outbox: Mutex<Outbox>,
    pressure: Mutex<usize>,
    eased: Condvar,
    written: AtomicUsize,
}

impl Host {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            shared_inbox: SharedInbox::new(),
            is_woken: Mutex::new(false),
            wake: Condvar::new(),
            outbox: Mutex::new(Outbox::default()),
            pressure: Mutex::new(0),
            eased: Condvar::new(),
            written: AtomicUsize::new(0),
        })
    }

    fn wake_after(&self, sent: Sent) {
        if sent == Sent::ToSleeping {
            *self.is_woken.lock().expect("no panic") = true;
            self.wake.notify_one();
        }
    }

    /// Queues a frame, as `Outbox::push` does.
    fn push(&self) {
        let mut outbox = self.outbox.lock().expect("no panic");
        outbox.frames += 1;
        if outbox.frames == LONG {
            let raise = || *self.pressure.lock().expect("no panic") += 1;
            let sent = self.shared_inbox.request_flush(|inbox| inbox.woken.push(0), raise);
            self.wake_after(sent);
        }
        let is_first = !std::mem::replace(&mut outbox.is_called, true);
        drop(outbox);
        if is_first {
            let sent = self.shared_inbox.send(|inbox| inbox.woken.push(0));
            self.wake_after(sent);
        }
    }

    fn end(&self) {
        let sent = self.shared_inbox.send(|inbox| inbox.is_over = true);
        self.wake_after(sent);
    }

    fn lower(&self) {
        let mut pressure = self.pressure.lock().expect("no panic");
        *pressure = pressure.checked_sub(1).expect("the pressure is lowered as often as it was raised");
        self.eased.notify_all();
    }

    /// Waits until there is no pressure, as a producer of frames does. If the reactor sleeps without lowering it, loom finds a
    /// deadlock.
    fn hold_back(&self) {
        let mut pressure = self.pressure.lock().expect("no panic");
        while *pressure > 0 {
            pressure = self.eased.wait(pressure).expect("no panic");
        }
    }

    fn pressure(&self) -> usize {
        *self.pressure.lock().expect("no panic")
    }

    /// Writes the outbox, as a turn of the reactor does.
    fn write(&self) {
        let mut outbox = self.outbox.lock().expect("no panic");
        outbox.is_called = false;
        let frames = std::mem::take(&mut outbox.frames);
        drop(outbox);
        self.written.fetch_add(frames, Ordering::Relaxed);
    }

    /// A turn: takes the work, catches up, and writes. Returns whether the reactor goes on.
    fn turn(&self) -> bool {
        let (mut woken, mut is_over) = (Vec::new(), false);
        let is_behind = self.shared_inbox.catch_up();
        self.shared_inbox.collect(|inbox| {
            woken = std::mem::take(&mut inbox.woken);
            is_over = inbox.is_over;
        });
        if !woken.is_empty() {
            self.write();
        }
        if is_behind {
            self.lower();
        }
        !is_over
    }

    /// Waits for a wake. If none comes, loom finds a deadlock.
    fn sleep(&self) {
        let mut is_woken = self.is_woken.lock().expect("no panic");
        while !std::mem::take(&mut *is_woken) {
            is_woken = self.wake.wait(is_woken).expect("no panic");
        }
    }

    /// Runs until it must end. It sleeps only if it may.
    fn run(&self) {
        loop {
            if self.shared_inbox.may_sleep() {
                self.sleep();
            }
            if !self.turn() {
                break;
            }
        }
        drop(self.shared_inbox.retire(|| self.lower()));
    }
}

/// The number of times that a thread may be interrupted. All orders without a bound would take hours.
fn model(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

#[test]
fn every_frame_is_written_and_no_pressure_is_left() {
    model(3, || {
        let host = Host::new();
        let reactor = thread::spawn({
            let host = Arc::clone(&host);
            move || host.run()
        });
        let pusher = thread::spawn({
            let host = Arc::clone(&host);
            move || (0..LONG).for_each(|_| host.push())
        });
        pusher.join().expect("no panic");
        host.hold_back();
        host.end();
        reactor.join().expect("no panic");
        assert_eq!((host.written.load(Ordering::Relaxed), host.pressure()), (LONG, 0));
    });
}

#[test]
fn frames_of_two_threads_are_written() {
    model(2, || {
        let host = Host::new();
        let pushers = [(); 2].map(|()| {
            let host = Arc::clone(&host);
            thread::spawn(move || host.push())
        });
        let reactor = thread::spawn({
            let host = Arc::clone(&host);
            move || host.run()
        });
        pushers.into_iter().for_each(|pusher| pusher.join().expect("no panic"));
        host.end();
        reactor.join().expect("no panic");
        assert_eq!((host.written.load(Ordering::Relaxed), host.pressure()), (2, 0));
    });
}

#[test]
fn a_reactor_that_ends_leaves_no_pressure() {
    model(3, || {
        let host = Host::new();
        let pusher = thread::spawn({
            let host = Arc::clone(&host);
            move || (0..LONG).for_each(|_| host.push())
        });
        // The reactor ends at any moment, as after a panic, whether or not it has written.
        host.turn();
        drop(host.shared_inbox.retire(|| host.lower()));
        pusher.join().expect("no panic");
        assert_eq!(host.pressure(), 0);
        assert_eq!(host.shared_inbox.send(|_| ()), Sent::Nowhere);
    });
}
