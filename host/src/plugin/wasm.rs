//! A plugin as a [`Behaviour`] or a [`Gatekeeper`].

use std::sync::Arc;

use bytes::Bytes;

use super::Engine;
use super::again::CallOf;
use super::guest::{EntryAccess, HttpPhase};
use super::pool::{Borrowed, Pool};
use super::within::Within;
use crate::contract::{
    Admission, Behaviour, Call, CallFuture, CallInput, CallLimits, Decision, Fault, Gatekeeper, Outcome, Passing,
    Request, TopicCall, Upgrade,
};
use crate::entries::EntryInput;

/// One generation of a plugin. It is dropped with the last call that runs on it.
pub struct WasmPlugin {
    pub(super) pool: Pool,
    limits: Arc<CallLimits>,
    /// Its ticker thread interrupts the guests. The thread must run for as long as a guest may run, even after the
    /// loader is dropped.
    engine: Engine,
}

impl WasmPlugin {
    pub(super) fn new(pool: Pool, limits: Arc<CallLimits>, engine: Engine) -> Self {
        Self { pool, limits, engine }
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
        let (limit, signal) = (self.limits.wall, self.engine.ticker.signal());
        match self.pool.take_idle() {
            Some(borrowed) => Box::pin(Within::new(limit, signal, call(borrowed))),
            None => Box::pin(Within::new(limit, signal, async move { call(self.pool.take().await?).await })),
        }
    }
}

impl WasmPlugin {
    /// Asks a gatekeeper that may wait for answers by HTTP. If what it has read of the store has changed meanwhile, it decides
    /// again, with the same answers. The caller limits the time.
    async fn connect_until_current(&self, mut borrowed: Borrowed<'_>, request: Request) -> Result<Admission, Fault> {
        let answers = Arc::default();
        loop {
            borrowed.instance.guest_mut().open_http(HttpPhase::of(Some(&answers)));
            let result = borrowed.instance.connect(request.clone()).await;
            let (admission, draft) = borrowed.settle(result)?;
            if draft.is_none_or(|draft| self.pool.is_current(&draft)) {
                return Ok(admission);
            }
            borrowed = self.pool.take().await?;
        }
    }
}

impl Behaviour for WasmPlugin {
    fn call<'a>(&'a self, call: &'a Call, input: CallInput<'a>) -> CallFuture<'a, Outcome> {
        let http = HttpPhase::of(input.http);
        let Some(entries) = input.entries else {
            return self.run(move |mut borrowed| {
                borrowed.instance.guest_mut().open_http(http);
                borrowed.call(call, EntryAccess::Closed, None)
            });
        };
        let entries = self.access(entries);
        self.run(move |mut borrowed| async move {
            borrowed.instance.guest_mut().open_http(http);
            let mut unfinished = None;
            let result = borrowed.call(call, entries, Some(&mut unfinished)).await;
            match unfinished {
                None => result,
                Some(entries) => Box::pin(self.call_again(CallOf::Member(call), input.http, entries)).await,
            }
        })
    }

    fn call_topic<'a>(&'a self, call: &'a TopicCall, input: CallInput<'a>) -> CallFuture<'a, Outcome> {
        let http = HttpPhase::of(input.http);
        let entries = input.entries.map_or(EntryAccess::Closed, |entries| self.access(entries));
        self.run(move |mut borrowed: Borrowed<'_>| async move {
            borrowed.instance.guest_mut().open_http(http);
            let result = borrowed.instance.call_topic(call, entries).await;
            let unfinished = borrowed.instance.guest_mut().take_unfinished();
            let result = borrowed.settle(result);
            match unfinished {
                None => result,
                Some(entries) => Box::pin(self.call_again(CallOf::Topic(call), input.http, entries)).await,
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
        if !self.pool.has_http() {
            return self.run(move |mut borrowed: Borrowed<'_>| async move {
                let result = borrowed.instance.connect(request).await;
                borrowed.settle(result).map(|(admission, _)| admission)
            });
        }
        self.run(move |borrowed| async move { self.connect_until_current(borrowed, request).await })
    }

    fn origin(&self) -> (&str, u32) {
        let origin = self.pool.origin();
        (&origin.name, origin.generation)
    }
}
