//! A plugin as a behaviour, or as a gatekeeper.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::timeout;
use wasmtime::Result;

use super::Engine;
use super::backtrace::fault_of;
use super::pool::{Borrowed, Pool};
use crate::contract::{
    Behaviour, Call, CallLimits, Calling, Decision, Fault, FaultKind, Gatekeeper, Outcome, Passing, Request, TopicCall,
    Upgrade, Verdict,
};

/// One generation of a plugin. Dropped with the last call that runs on it.
pub struct WasmPlugin {
    pool: Pool,
    limits: Arc<CallLimits>,
    /// Its clock interrupts the guests, so it must tick for as long as one may run: also after the loader has gone.
    _engine: Engine,
}

impl WasmPlugin {
    pub(super) fn new(pool: Pool, limits: Arc<CallLimits>, engine: Engine) -> Self {
        Self { pool, limits, _engine: engine }
    }

    /// Gives the instance back if the call went well, and drops it otherwise.
    fn settle<T>(&self, borrowed: Borrowed<'_>, result: Result<T>) -> Result<T, Fault> {
        match result {
            Ok(value) => {
                self.pool.put_back(borrowed);
                Ok(value)
            }
            Err(error) => Err(fault_of(&error, borrowed.instance.guest().memory_refused())),
        }
    }

    /// A call dropped half-way drops its instance too.
    async fn within_wall_time<T>(&self, work: impl Future<Output = Result<T, Fault>> + Send) -> Result<T, Fault> {
        let late = |_| {
            let limit = self.limits.wall.as_millis();
            Fault::new(FaultKind::Deadline, format!("the call took more than {limit} ms"))
        };
        timeout(self.limits.wall, work).await.map_err(late)?
    }
}

impl Behaviour for WasmPlugin {
    fn call<'a>(&'a self, call: &'a Call) -> Calling<'a, Outcome> {
        Box::pin(self.within_wall_time(async move {
            let mut borrowed = self.pool.take().await?;
            let result = borrowed.instance.call(call).await;
            self.settle(borrowed, result)
        }))
    }

    fn call_topic<'a>(&'a self, call: &'a TopicCall) -> Calling<'a, Outcome> {
        Box::pin(self.within_wall_time(async move {
            let mut borrowed = self.pool.take().await?;
            let result = borrowed.instance.call_topic(call).await;
            self.settle(borrowed, result)
        }))
    }

    fn filter<'a>(&'a self, passing: &'a Passing) -> Calling<'a, Vec<Decision>> {
        Box::pin(self.within_wall_time(async move {
            let mut borrowed = self.pool.take().await?;
            let result = borrowed.instance.filter(passing).await;
            self.settle(borrowed, result)
        }))
    }

    fn upgrade<'a>(&'a self, upgrade: &'a Upgrade) -> Calling<'a, Option<Bytes>> {
        if !self.pool.upgrades() {
            return Box::pin(std::future::ready(Ok(None)));
        }
        Box::pin(self.within_wall_time(async move {
            let mut borrowed = self.pool.take().await?;
            let result = borrowed.instance.upgrade(upgrade).await;
            self.settle(borrowed, result).map(Some)
        }))
    }
}

impl Gatekeeper for WasmPlugin {
    fn connect(&self, request: Request) -> Calling<'_, Verdict> {
        Box::pin(self.within_wall_time(async move {
            let mut borrowed = self.pool.take().await?;
            let result = borrowed.instance.connect(request).await;
            self.settle(borrowed, result)
        }))
    }
}
