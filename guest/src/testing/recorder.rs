//! The contract's imports for native code, on the call context of this thread. The imports that ask for effects are
//! generated: `bindings::effects`.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};

use bennu_semantics::{Effect, Fault, FaultKind, TimerId};
use bennu_world::CallContext;

use super::connect_request::Asked;

thread_local! {
    /// The context of the running callback.
    static CONTEXT: RefCell<Option<CallContext>> = const { RefCell::new(None) };
    /// The request of the running gatekeeper.
    static REQUEST: RefCell<Option<Asked>> = const { RefCell::new(None) };
}

/// Runs a callback in a context. A panic of the callback continues to the test.
pub(super) fn run<T>(context: &mut CallContext, callback: impl FnOnce() -> Result<T, String>) -> Result<T, Fault> {
    CONTEXT.set(Some(std::mem::take(context)));
    let result = catch_unwind(AssertUnwindSafe(callback));
    *context = CONTEXT.take().unwrap_or_default();
    match result {
        Ok(result) => result.map_err(Fault::failed),
        Err(panic) => Err(*panic.downcast().unwrap_or_else(|panic| resume_unwind(panic))),
    }
}

/// Runs a gatekeeper in a context, about a request.
pub(super) fn run_about<T>(
    request: Asked,
    context: &mut CallContext,
    callback: impl FnOnce() -> T,
) -> Result<T, Fault> {
    REQUEST.set(Some(request));
    let result = run(context, || Ok(callback()));
    REQUEST.take();
    result
}

/// Calls the host. If the host ends the callback with a fault, this function unwinds, and `run` catches the fault.
#[track_caller]
fn ask<T>(call: impl FnOnce(&mut CallContext) -> Result<T, Fault>) -> T {
    let answer = CONTEXT.with_borrow_mut(|context| context.as_mut().map(call));
    match answer {
        Some(Ok(answer)) => answer,
        Some(Err(fault)) => resume_unwind(Box::new(fault)),
        None => panic!("there is a host only inside a callback: call this from one that `bennu_guest::testing` runs"),
    }
}

/// Asks for an effect. Returns the number of a timer. `bindings::effects` calls this function.
#[track_caller]
pub(crate) fn ask_for(effect: Effect) -> Option<TimerId> {
    ask(|context| context.ask(effect))
}

/// Ends the callback with the fault that a panic of the SDK is on a host. `run` catches it.
#[track_caller]
pub(crate) fn refuse(why: &str) -> ! {
    if CONTEXT.with_borrow(Option::is_none) {
        panic!("{why}");
    }
    let place = Location::caller();
    resume_unwind(Box::new(Fault::new(FaultKind::Trap, format!("panicked at {place}: {why}"))));
}

/// `interface host`.
pub(crate) mod host {
    use super::ask;
    use crate::log::Level;

    #[track_caller]
    pub(crate) fn now() -> u64 {
        ask(|context| Ok(context.now()))
    }

    #[track_caller]
    pub(crate) fn unique_id() -> String {
        ask(|context| Ok(context.unique_id()))
    }

    #[track_caller]
    pub(crate) fn random() -> u64 {
        ask(|context| Ok(context.random()))
    }

    #[track_caller]
    pub(crate) fn configuration() -> String {
        ask(|context| Ok(context.configuration().to_owned()))
    }

    #[track_caller]
    pub(crate) fn log(level: Level, message: &str) {
        ask(|context| context.log(level.into(), message));
    }
}

/// `interface member`.
pub(crate) mod member {
    use super::ask;

    pub(crate) fn socket_id() -> Option<String> {
        ask(|context| Ok(context.member()?.socket_id.clone()))
    }

    pub(crate) fn user() -> Option<String> {
        ask(|context| Ok(context.member()?.user.clone()))
    }

    pub(crate) fn claims() -> String {
        ask(|context| Ok(context.member()?.claims.clone()))
    }

    pub(crate) fn join_ref() -> String {
        ask(|context| Ok(context.member()?.join_ref.clone()))
    }

    pub(crate) fn transport() -> String {
        ask(|context| context.member().map(|_| "websocket".into()))
    }

    pub(crate) fn connect_params() -> String {
        ask(|context| Ok(context.member()?.connect_params.clone()))
    }

    pub(crate) fn x_headers() -> Vec<(String, String)> {
        ask(|context| Ok(context.member()?.x_headers.clone()))
    }
}

/// The function of `interface socket` that is no effect.
pub(crate) mod socket {
    use super::ask;

    #[track_caller]
    pub(crate) fn discard() {
        ask(|context| {
            context.discard();
            Ok(())
        });
    }
}

/// The functions of `interface presence` that read.
pub(crate) mod presence {
    use super::ask;

    pub(crate) fn list(topic: &str) -> String {
        ask(|context| context.presences(topic))
    }

    pub(crate) fn get(topic: &str, key: &str) -> Option<String> {
        ask(|context| context.presence(topic, key))
    }
}

/// `interface topics`.
pub(crate) mod topics {
    use super::ask;
    use crate::topics::{Person, Topic};

    pub(crate) fn count(topic: &str) -> u32 {
        ask(|context| context.count(topic))
    }

    pub(crate) fn members(topic: &str, limit: u32) -> Vec<Person> {
        ask(|context| context.members(topic, limit)).into_iter().map(Person::from).collect()
    }

    #[track_caller]
    pub(crate) fn answer_ref() -> Option<String> {
        ask(bennu_world::CallContext::answer_ref)
    }

    pub(crate) fn under(prefix: &str, after: Option<&str>, limit: u32) -> Vec<Topic> {
        let topics = ask(|context| context.topics(prefix, after, limit));
        topics.into_iter().map(|(name, members)| Topic { name, members }).collect()
    }
}

/// `interface store`.
pub(crate) mod store {
    use super::ask;
    use crate::bindings::bennu::channel::store::{Entry, Order};

    #[track_caller]
    pub(crate) fn get(key: &[u8]) -> Option<Vec<u8>> {
        ask(|context| context.get(key))
    }

    #[track_caller]
    pub(crate) fn scan(start: Option<&[u8]>, end: Option<&[u8]>, order: Order, limit: u32) -> Vec<Entry> {
        let entries = ask(|context| context.scan(start, end, order.into(), limit));
        entries.into_iter().map(|(key, value)| Entry { key, value }).collect()
    }

    #[track_caller]
    pub(crate) fn put(key: &[u8], value: &[u8]) {
        ask(|context| context.put(key, value));
    }

    #[track_caller]
    pub(crate) fn put_expiring(key: &[u8], value: &[u8], milliseconds: u64) {
        ask(|context| context.put_expiring(key, value, milliseconds));
    }

    #[track_caller]
    pub(crate) fn delete(key: &[u8]) {
        ask(|context| context.delete(key));
    }
}

/// `interface http`.
pub(crate) mod http {
    use bennu_semantics::deliveries::Delivery;
    use bennu_semantics::{Effect, Fault, HttpRequest};

    use super::{ask, ask_for};
    use crate::bindings::bennu::channel::http::{Failure, Header, Response};
    use crate::bindings::bennu::channel::types::Setting;

    fn asked(
        method: &str,
        url: &str,
        headers: &[Header],
        body: &[u8],
        settings: &[Setting],
    ) -> Result<HttpRequest, Fault> {
        let timeout = HttpRequest::timeout_of(settings.iter().map(|setting| (&*setting.name, &*setting.value)))?;
        let headers = headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect();
        let body = bytes::Bytes::copy_from_slice(body);
        Ok(HttpRequest { method: method.into(), url: url.into(), headers, body, timeout })
    }

    #[track_caller]
    pub(crate) fn get(method: &str, url: &str, headers: &[Header], settings: &[Setting]) -> Result<Response, Failure> {
        let answer = ask(|context| context.http_get(&asked(method, url, headers, &[], settings)?));
        let header = |(name, value)| Header { name, value };
        answer
            .map(|response| Response {
                status: response.status,
                headers: response.headers.into_iter().map(header).collect(),
                body: response.body.into(),
            })
            .map_err(|failure| Failure { kind: failure.kind, detail: failure.detail })
    }

    #[track_caller]
    pub(crate) fn request(key: &str, method: &str, url: &str, headers: &[Header], body: &[u8], settings: &[Setting]) {
        let request = ask(|_| asked(method, url, headers, body, settings));
        ask_for(Effect::HttpRequest { key: key.into(), request: Box::new(request) });
    }

    #[track_caller]
    pub(crate) fn deliver(url: &str, headers: &[Header], body: &[u8], settings: &[Setting]) -> String {
        ask(|context| {
            let headers = headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect();
            let body = bytes::Bytes::copy_from_slice(body);
            let settings = settings.iter().map(|setting| (&*setting.name, &*setting.value));
            context.deliver(Delivery::new(url.into(), headers, body).set(settings)?)
        })
    }
}

/// `interface entries`.
pub(crate) mod entries {
    use bennu_semantics::entries::{PackedEntries, PackedKeys, pack_entry, pack_value};

    use super::ask;
    use crate::bindings::bennu::channel::entries::Order;

    #[track_caller]
    pub(crate) fn get(key: &[u8]) -> Option<Vec<u8>> {
        ask(|context| context.entry_get(key))
    }

    #[track_caller]
    pub(crate) fn get_many(keys: &[u8]) -> Vec<u8> {
        let mut values = Vec::new();
        let found = ask(|context| context.entries_get(PackedKeys::new(keys)?));
        found.iter().for_each(|value| pack_value(&mut values, value.as_deref()));
        values
    }

    #[track_caller]
    pub(crate) fn scan(start: Option<&[u8]>, end: Option<&[u8]>, order: Order, limit: u32) -> Vec<u8> {
        let mut entries = Vec::new();
        let found = ask(|context| context.entry_scan(start, end, order.into(), limit));
        found.iter().for_each(|(key, value)| pack_entry(&mut entries, key, value));
        entries
    }

    #[track_caller]
    pub(crate) fn put(key: &[u8], value: &[u8]) {
        ask(|context| context.entry_put(key, value));
    }

    #[track_caller]
    pub(crate) fn put_many(entries: &[u8]) {
        ask(|context| context.entries_put(PackedEntries::new(entries)?));
    }

    #[track_caller]
    pub(crate) fn delete(key: &[u8]) {
        ask(|context| context.entry_delete(key));
    }

    #[track_caller]
    pub(crate) fn delete_range(start: Option<&[u8]>, end: Option<&[u8]>, limit: u32) -> u32 {
        ask(|context| context.entries_delete_range(start, end, limit))
    }
}

/// The functions of `interface schedule` that read.
pub(crate) mod schedule {
    use super::ask;

    #[track_caller]
    pub(crate) fn get(topic: &str, key: &str) -> Option<u64> {
        ask(|context| context.schedule_due(topic, key))
    }

    #[track_caller]
    pub(crate) fn due() -> Option<u64> {
        ask(|context| Ok(context.fired_due()))
    }

    #[track_caller]
    pub(crate) fn key() -> Option<String> {
        ask(|context| Ok(context.fired_key().map(str::to_owned)))
    }
}

/// `interface token`.
pub(crate) mod token {
    use super::ask;
    use crate::bindings::bennu::channel::token::Problem;

    pub(crate) fn sign(salt: &str, value: &str, max_age: Option<u64>) -> String {
        ask(|context| context.sign(salt, value, max_age))
    }

    pub(crate) fn verify(salt: &str, token: &str, max_age: Option<u64>) -> Result<String, Problem> {
        ask(|context| Ok(context.verify(salt, token, max_age))).map_err(Problem::from)
    }
}

/// `interface request`.
pub(crate) mod request {
    use bennu_semantics::Fault;

    use super::super::connect_request::Asked;
    use super::{REQUEST, ask};
    use crate::bindings::request::{Address, Location};

    fn read<T>(what: impl FnOnce(&Asked) -> T) -> T {
        ask(|_| REQUEST.with_borrow(|request| request.as_ref().map(what).ok_or_else(Fault::no_request)))
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
