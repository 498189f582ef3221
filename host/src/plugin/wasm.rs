//! A plugin as a [`Behaviour`] or a [`Gatekeeper`].

use bytes::Bytes;

use super::Engine;
use super::again::CallOf;
use super::guest::EntryAccess;
use super::pool::{Borrowed, Pool};
use super::within::Within;
use crate::contract::{
    Admission, Behaviour, Call, CallFuture, Decision, Fault, Gatekeeper, Outcome, Passing, Request, TopicCall, Upgrade,
};
use crate::entries::EntryInput;

/// One generation of a plugin. It is dropped with the last call that runs on it.
pub struct WasmPlugin {
    pub(super) pool: Pool,
    /// Its ticker thread interrupts the guests. The thread must run for as long as a guest may run, even after the
    /// loader is dropped.
    engine: Engine,
}

impl WasmPlugin {
    pub(super) fn new(pool: Pool, engine: Engine) -> Self {
        Self { pool, engine }
    }

    fn access(&self, input: &EntryInput) -> EntryAccess {
        EntryAccess::Unused { input: input.clone(), has_upgrade: self.pool.upgrades_entries() }
    }

    /// Runs a call on an instance, within the call's wall time. If the future is dropped before it ends, the instance
    /// is dropped too.
    fn run<'a, T: Send + 'a, F>(&'a self, call: impl FnOnce(Borrowed<'a>) -> F + Send + 'a) -> CallFuture<'a, T>
    where
        F: Future<Output = Result<T, Fault>> + Send + 'a,
    {
        let signal = self.engine.ticker.signal();
        match self.pool.take_idle() {
            Some(borrowed) => Box::pin(Within::new(signal, &self.pool, call(borrowed))),
            None => Box::pin(Within::new(signal, &self.pool, async move { call(self.pool.take().await?).await })),
        }
    }
}

impl Behaviour for WasmPlugin {
    fn call<'a>(&'a self, call: &'a Call, entries: Option<&'a EntryInput>) -> CallFuture<'a, Outcome> {
        let Some(entries) = entries else {
            return self.run(move |borrowed| borrowed.call(call, EntryAccess::Closed, None));
        };
        let entries = self.access(entries);
        self.run(move |borrowed| async move {
            let mut unfinished = None;
            let result = borrowed.call(call, entries, Some(&mut unfinished)).await;
            match unfinished {
                None => result,
                Some(entries) => Box::pin(self.call_again(CallOf::Member(call), entries)).await,
            }
        })
    }

    fn call_topic<'a>(&'a self, call: &'a TopicCall, entries: Option<&'a EntryInput>) -> CallFuture<'a, Outcome> {
        let entries = entries.map_or(EntryAccess::Closed, |entries| self.access(entries));
        self.run(move |mut borrowed: Borrowed<'_>| async move {
            let result = borrowed.instance.call_topic(call, entries).await;
            let unfinished = borrowed.instance.guest_mut().take_unfinished();
            let result = borrowed.settle(result);
            match unfinished {
                None => result,
                Some(entries) => Box::pin(self.call_again(CallOf::Topic(call), entries)).await,
            }
        })
    }

    fn filter<'a>(&'a self, passing: &'a Passing) -> CallFuture<'a, Vec<Decision>> {
        self.run(move |mut borrowed: Borrowed<'_>| async move {
            let result = borrowed.instance.filter(passing).await;
            borrowed.settle(result)
        })
    }

    fn upgrade<'a>(&'a self, upgrade: &'a Upgrade) -> CallFuture<'a, Option<Bytes>> {
        if !self.pool.upgrades() {
            return Box::pin(std::future::ready(Ok(None)));
        }
        self.run(move |mut borrowed: Borrowed<'_>| async move {
            let result = borrowed.instance.upgrade(upgrade).await;
            borrowed.settle(result).map(Some)
        })
    }
}

impl Gatekeeper for WasmPlugin {
    fn connect(&self, request: Request) -> CallFuture<'_, Admission> {
        self.run(move |mut borrowed: Borrowed<'_>| async move {
            let result = borrowed.instance.connect(request).await;
            borrowed.settle(result)
        })
    }

    fn origin(&self) -> (&str, u32) {
        let origin = self.pool.origin();
        (&origin.name, origin.generation)
    }
}
