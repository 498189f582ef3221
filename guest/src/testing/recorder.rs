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

    pub(crate) fn user() -> Option<String> {
        ask(|record| Ok(record.member()?.user.clone()))
    }

    pub(crate) fn claims() -> String {
        ask(|record| Ok(record.member()?.claims.clone()))
    }

    pub(crate) fn join_ref() -> String {
        ask(|record| Ok(record.member()?.join_ref.clone()))
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

    pub(crate) fn tick(milliseconds: u32) {
        ask(|record| record.tick(Duration::from_millis(milliseconds.into())));
    }

    pub(crate) fn publish_state(state: &str) {
        ask(|record| record.publish_state(state));
    }

    pub(crate) fn take_seat(name: &str, grace_ms: u32) {
        ask(|record| record.take_seat(name, Duration::from_millis(grace_ms.into())));
    }

    pub(crate) fn leave_seat() {
        ask(|record| record.leave_seat());
    }

    pub(crate) fn send(topic: &str, event: &str, payload: &Payload) {
        ask(|record| record.send_to(topic, Sent::new(event, payload)));
    }

    pub(crate) fn subscribe(topic: &str) {
        ask(|record| record.subscribe(topic));
    }

    pub(crate) fn unsubscribe(topic: &str) {
        ask(|record| record.unsubscribe(topic));
    }

    pub(crate) fn disconnect(socket_id: &str) {
        ask(|record| record.disconnect(socket_id));
    }
}

/// `interface presence`.
pub(crate) mod presence {
    use super::ask;

    pub(crate) fn list(topic: &str) -> String {
        ask(|record| {
            record.check_readable(topic)?;
            Ok(record.facts.online.state(topic).to_string())
        })
    }

    pub(crate) fn get(topic: &str, key: &str) -> Option<String> {
        ask(|record| {
            record.check_readable(topic)?;
            Ok(record.facts.online.of(topic, key).map(|metas| metas.to_string()))
        })
    }

    pub(crate) fn track(key: &str, meta: &str) {
        ask(|record| record.track(key, meta));
    }

    pub(crate) fn update(key: &str, meta: &str) {
        ask(|record| record.update_presence(key, meta));
    }

    pub(crate) fn untrack(key: &str) {
        ask(|record| record.untrack(key));
    }

    pub(crate) fn push_state() {
        ask(|record| record.push_presence());
    }
}

/// `interface topics`.
pub(crate) mod topics {
    use super::super::limits::LISTED;
    use super::ask;
    use crate::topics::{Person, Topic};

    fn most(limit: u32) -> usize {
        usize::try_from(limit).unwrap_or(LISTED).min(LISTED)
    }

    pub(crate) fn count(topic: &str) -> u32 {
        ask(|record| {
            record.check_readable(topic)?;
            Ok(record.facts.people.get(topic).map_or(0, |people| people.len() as u32))
        })
    }

    pub(crate) fn members(topic: &str, limit: u32) -> Vec<Person> {
        ask(|record| {
            record.check_readable(topic)?;
            let people = record.facts.people.get(topic).into_iter().flatten();
            Ok(people.take(most(limit)).cloned().collect())
        })
    }

    pub(crate) fn under(prefix: &str, after: Option<&str>, limit: u32) -> Vec<Topic> {
        ask(|record| {
            record.check_readable_under(prefix)?;
            let topics = record.facts.people.iter().filter(|(name, people)| {
                name.starts_with(prefix) && after.is_none_or(|after| name.as_str() > after) && !people.is_empty()
            });
            let topic =
                |(name, people): (&String, &Vec<Person>)| Topic { name: name.clone(), members: people.len() as u32 };
            Ok(topics.take(most(limit)).map(topic).collect())
        })
    }
}

/// `interface store`.
pub(crate) mod store {
    use super::ask;
    use crate::bindings::bennu::channel::store::{Entry, Order};

    #[track_caller]
    pub(crate) fn get(key: &[u8]) -> Option<Vec<u8>> {
        ask(|record| record.stored()?.get(key))
    }

    #[track_caller]
    pub(crate) fn scan(start: Option<&[u8]>, end: Option<&[u8]>, order: Order, limit: u32) -> Vec<Entry> {
        ask(|record| record.stored()?.scan((start, end), order, limit))
    }

    #[track_caller]
    pub(crate) fn put(key: &[u8], value: &[u8]) {
        ask(|record| record.stored_mut()?.put(key, value));
    }

    #[track_caller]
    pub(crate) fn delete(key: &[u8]) {
        ask(|record| record.stored_mut()?.delete(key));
    }
}

/// `interface token`.
pub(crate) mod token {
    use super::super::tokens;
    use super::ask;
    use crate::bindings::bennu::channel::token::Problem;

    pub(crate) fn sign(salt: &str, value: &str, max_age: Option<u64>) -> String {
        ask(|record| tokens::check(value).map(|()| tokens::sign(record.facts.now, salt, value, max_age)))
    }

    pub(crate) fn verify(salt: &str, token: &str, max_age: Option<u64>) -> Result<String, Problem> {
        ask(|record| Ok(tokens::verify(record.facts.now, salt, token, max_age)))
    }
}

/// `interface request`.
pub(crate) mod request {
    use super::super::knock::Asked;
    use super::ask;
    use crate::bindings::request::{Address, Location};

    fn read<T>(what: impl FnOnce(&Asked) -> T) -> T {
        ask(|record| record.request().map(what))
    }

    pub(crate) fn mount() -> String {
        read(|asked| asked.mount.clone())
    }

    pub(crate) fn transport() -> String {
        read(|asked| asked.transport.clone())
    }

    pub(crate) fn params() -> String {
        read(|asked| asked.params.clone())
    }

    pub(crate) fn headers() -> Vec<(String, String)> {
        read(|asked| asked.headers.clone())
    }

    pub(crate) fn peer() -> Address {
        read(|asked| asked.peer.clone())
    }

    pub(crate) fn uri() -> Location {
        read(|asked| asked.uri.clone())
    }

    pub(crate) fn auth_token() -> Option<String> {
        read(|asked| asked.auth_token.clone())
    }
}
