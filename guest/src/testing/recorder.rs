//! The host, as a test plays it: the contract's imports over a record of this thread.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::Fault;
use super::record::Record;

thread_local! {
    /// The record of the callback that runs.
    static RECORD: RefCell<Option<Record>> = const { RefCell::new(None) };
}

/// Runs a callback on a record. A panic of its own goes on to the test.
pub(super) fn run<T>(record: Record, callback: impl FnOnce() -> Result<T, String>) -> (Result<T, Fault>, Record) {
    RECORD.set(Some(record));
    let result = catch_unwind(AssertUnwindSafe(callback));
    let record = RECORD.take();
    let result = match result {
        Ok(result) => result.map_err(Fault::failed),
        Err(panic) => Err(*panic.downcast().unwrap_or_else(|panic| resume_unwind(panic))),
    };
    (result, record.unwrap_or_else(|| Record::reading(super::facts::Facts::default())))
}

/// Asks the record. Where the host would end the callback, so does this, by an unwinding that `run` catches.
#[track_caller]
fn ask<T>(question: impl FnOnce(&mut Record) -> Result<T, Fault>) -> T {
    let answer = RECORD.with_borrow_mut(|record| record.as_mut().map(question));
    match answer {
        Some(Ok(answer)) => answer,
        Some(Err(fault)) => resume_unwind(Box::new(fault)),
        None => panic!("there is a host only inside a callback: call this from one that `bennu_guest::testing` runs"),
    }
}

/// `interface host`.
pub(crate) mod host {
    use super::ask;
    use crate::log::Level;

    #[track_caller]
    pub(crate) fn now() -> u64 {
        ask(|record| Ok(record.facts.now))
    }

    #[track_caller]
    pub(crate) fn unique_id() -> String {
        ask(|record| Ok(record.facts.draw_id()))
    }

    #[track_caller]
    pub(crate) fn random() -> u64 {
        ask(|record| Ok(record.facts.draw_random()))
    }

    #[track_caller]
    pub(crate) fn configuration() -> String {
        ask(|record| Ok(record.facts.configuration.clone()))
    }

    #[track_caller]
    pub(crate) fn log(level: Level, message: &str) {
        ask(|record| record.log(level, message));
    }
}

/// `interface member`.
pub(crate) mod member {
    use super::ask;

    pub(crate) fn socket_id() -> Option<String> {
        ask(|record| Ok(record.member()?.socket_id.clone()))
    }

    pub(crate) fn join_ref() -> String {
        ask(|record| record.member().map(|_| "\"1\"".into()))
    }

    pub(crate) fn transport() -> String {
        ask(|record| record.member().map(|_| "websocket".into()))
    }

    pub(crate) fn connect_params() -> String {
        ask(|record| Ok(record.member()?.connect_params.clone()))
    }

    pub(crate) fn x_headers() -> Vec<(String, String)> {
        ask(|record| Ok(record.member()?.x_headers.clone()))
    }
}

/// `interface socket`.
pub(crate) mod socket {
    use std::time::Duration;

    use super::super::{Effect, Sent};
    use super::ask;
    use crate::{Payload, Reply};

    pub(crate) fn push(event: &str, payload: &Payload) {
        ask(|record| record.send(Sent::new(event, payload), Effect::Push));
    }

    pub(crate) fn broadcast(event: &str, payload: &Payload) {
        ask(|record| record.send(Sent::new(event, payload), Effect::Broadcast));
    }

    pub(crate) fn broadcast_from(event: &str, payload: &Payload) {
        ask(|record| record.send(Sent::new(event, payload), Effect::BroadcastFrom));
    }

    pub(crate) fn publish(topic: &str, event: &str, payload: &Payload) {
        ask(|record| record.publish(topic, Sent::new(event, payload)));
    }

    pub(crate) fn reply(reply_ref: &str, reply: &Reply) {
        ask(|record| record.reply(reply_ref, reply));
    }

    pub(crate) fn send_self(event: &str, payload: &Payload) {
        ask(|record| record.send_self(Sent::new(event, payload)));
    }

    pub(crate) fn send_after(milliseconds: u64, event: &str, payload: &Payload) -> u64 {
        ask(|record| record.send_after(Duration::from_millis(milliseconds), Sent::new(event, payload)))
    }

    pub(crate) fn cancel(timer: u64) {
        ask(|record| record.cancel(timer));
    }
}
