//! A plugin as a [`Behaviour`] or a [`Gatekeeper`].

use std::sync::Arc;

use bytes::Bytes;

use super::Engine;
use super::again::CallOf;
use super::call_kind::CallKind;
use super::guest::EntryAccess;
use super::http_phase::HttpPhase;
use super::pool::{Borrowed, Pool};
use super::within::WallLimit;
use crate::contract::{
    Admission, Behaviour, Call, CallFuture, CallInput, Decision, Fault, Gatekeeper, HttpJournal, Outcome, Passing,
    Request, TopicCall, Upgrade,
};
use crate::entries::EntryInput;
use crate::store::Draft;

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
    fn run<'a, T: Send + 'a, F>(
        &'a self,
        kind: CallKind,
        call: impl FnOnce(Borrowed<'a>) -> F + Send + 'a,
    ) -> CallFuture<'a, T>
    where
        F: Future<Output = Result<T, Fault>> + Send + 'a,
    {
        let limit = WallLimit::begin(self.engine.ticker.signal(), &self.pool, kind);
        match self.pool.take_idle(kind) {
            Some(borrowed) => Box::pin(limit.of(call(borrowed))),
            None => Box::pin(limit.of(async move { call(self.pool.take(kind).await?).await })),
        }
    }
}

/// What a gatekeeper has decided, and what it has read of the store, if that may have changed while it waited.
pub(super) type Decided = (Admission, Option<Box<Draft>>);

/// The calls of a gatekeeper. `answers` has those by HTTP that earlier runs of the same call have got.
impl WasmPlugin {
    /// Asks a gatekeeper once.
    pub(super) fn decide(&self, request: Request, answers: Arc<HttpJournal>) -> CallFuture<'_, Decided> {
        self.run(CallKind::Connect, move |borrowed| self.decide_on(borrowed, request, answers))
    }

    async fn decide_on(
        &self,
        mut borrowed: Borrowed<'_>,
        request: Request,
        answers: Arc<HttpJournal>,
    ) -> Result<Decided, Fault> {
        let has_http = self.pool.has_http();
        if has_http {
            borrowed.instance.guest_mut().open_http(HttpPhase::of(Some(&answers)));
        }
        let result = borrowed.instance.connect(request).await;
        borrowed.settle(result).map(|(admission, draft)| (admission, draft.filter(|_| has_http)))
    }

    /// Asks a gatekeeper. If what it has read of the store has changed meanwhile, it decides again, with the same answers by HTTP. The
    /// caller limits the time.
    async fn connect_until_current(&self, mut borrowed: Borrowed<'_>, request: Request) -> Result<Admission, Fault> {
        let answers = Arc::default();
        loop {
            match self.decide_on(borrowed, request.clone(), Arc::clone(&answers)).await {
                Ok((admission, draft)) if self.is_current(draft.as_deref()).await? => return Ok(admission),
                Err(fault) if !fault.is_outdated() => return Err(fault),
                Ok(_) | Err(_) => {}
            }
            borrowed = self.pool.take(CallKind::Connect).await?;
        }
    }

    /// Whether the store still has what a call has read, if it has read anything.
    ///
    /// # Errors
    /// Fault: store, if the store can't be read.
    pub(super) async fn is_current(&self, draft: Option<&Draft>) -> Result<bool, Fault> {
        match draft {
            Some(draft) => self.pool.is_current(draft).await,
            None => Ok(true),
        }
    }
}

impl Behaviour for WasmPlugin {
    fn calls(&self) -> Option<u64> {
        Some(self.pool.usage.calls())
    }

    fn call<'a>(&'a self, call: &'a Call, input: CallInput<'a>) -> CallFuture<'a, Outcome> {
        let (kind, http) = (CallKind::of(&call.callback), HttpPhase::of(input.http));
        let Some(entries) = input.entries else {
            return self.run(kind, move |mut borrowed| {
                borrowed.instance.guest_mut().open_http(http);
                borrowed.call(call, EntryAccess::Closed, None)
            });
        };
        let entries = self.access(entries);
        self.run(kind, move |mut borrowed| async move {
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
        let (kind, http) = (CallKind::of_topic(&call.callback), HttpPhase::of(input.http));
        let entries = input.entries.map_or(EntryAccess::Closed, |entries| self.access(entries));
        self.run(kind, move |mut borrowed: Borrowed<'_>| async move {
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
        self.run(CallKind::HandleOut, move |mut borrowed: Borrowed<'_>| async move {
            let result = borrowed.instance.filter(passing).await;
            borrowed.settle(result)
        })
    }

    fn upgrade<'a>(&'a self, upgrade: &'a Upgrade) -> CallFuture<'a, Option<Bytes>> {
        if !self.pool.upgrades() {
            return Box::pin(std::future::ready(Ok(None)));
        }
        self.run(CallKind::Upgrade, move |mut borrowed: Borrowed<'_>| async move {
            let result = borrowed.instance.upgrade(upgrade).await;
            borrowed.settle(result).map(Some)
        })
    }
}

impl Gatekeeper for WasmPlugin {
    fn connect(&self, request: Request) -> CallFuture<'_, Admission> {
        self.run(CallKind::Connect, move |borrowed| async move { self.connect_until_current(borrowed, request).await })
    }

    fn origin(&self) -> (&str, u32) {
        let origin = self.pool.origin();
        (&origin.name, origin.generation)
    }
}
