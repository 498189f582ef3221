//! Runs each call twice, on two instances, to find plugins that keep state in their instances, or that aren't deterministic.
//!
//! Such a plugin works while one instance serves all members, and loses users under load. So `bennu dev` and `bennu test`
//! use this check. A host that serves doesn't: its calls never come here.
//!
//! The first run is on an instance that has served the calls before, and its outcome is committed. The second run is on a new
//! instance, which has served nobody. Both runs read the same: the time, random numbers, ids, members, presences, answers by
//! HTTP, which only the first run asks for, and the store as it was. So whatever differs in the outcomes comes from what the
//! first instance has kept.

mod difference;
mod recorded;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use tracing::Dispatch;

use super::WasmPlugin;
use crate::contract::{
    Admission, Behaviour, Call, CallFuture, CallInput, Decision, Fault, FaultKind, Gatekeeper, Outcome, Passing,
    Request, TopicCall, Upgrade,
};

pub(super) use recorded::{RecordedSurroundings, draft, outside};

/// A plugin each of whose calls is run twice.
pub(super) struct RepeatedPlugin {
    /// Its instances serve many calls.
    pub(super) served: WasmPlugin,
    /// The same build. Each of its instances serves one call.
    pub(super) fresh: WasmPlugin,
}

impl RepeatedPlugin {
    /// Runs a call on both, and compares the outcomes. A call that fails on the first one isn't repeated.
    async fn twice<'a, T: Send>(
        &'a self,
        run: impl Fn(&'a WasmPlugin) -> CallFuture<'a, T> + Send,
        difference: fn(&T, &T) -> Option<String>,
    ) -> Result<T, Fault> {
        let recorded = Arc::default();
        let first = recorded::first(&recorded, run(&self.served)).await?;
        let second = silent(recorded::again(&recorded, run(&self.fresh))).await;
        compared(first, second, difference)
    }
}

/// Compares the outcomes of both runs, and returns the first one if they are equal.
///
/// # Errors
/// Fault: failed, if they differ. If the second run has failed by something else than the plugin, its fault.
fn compared<T>(first: T, second: Result<T, Fault>, difference: fn(&T, &T) -> Option<String>) -> Result<T, Fault> {
    let difference = match second {
        Ok(second) => difference(&first, &second),
        // How long a call takes also depends on the machine. The host, its store or another host may have failed meanwhile.
        Err(fault) if fault.kind == FaultKind::Deadline || !fault.is_of_call() => return Err(fault),
        Err(fault) => Some(format!("it failed on the second one: {}", fault.detail)),
    };
    match difference {
        None => Ok(first),
        Some(difference) => Err(Fault::failed(format!(
            "the call was run on two instances, and {difference}; either the plugin keeps state in its instances (in a \
             global, a `static`, a variable or a `Map` of the module), or it is not deterministic. The host runs several \
             instances and replaces them at any time, so keep state in the member's state, the room, entries or the store"
        ))),
    }
}

/// Runs a future without its log lines: the first run has logged them.
async fn silent<T>(work: impl Future<Output = T>) -> T {
    let (mut work, nobody) = (pin!(work), Dispatch::none());
    poll_fn(|context| tracing::dispatcher::with_default(&nobody, || work.as_mut().poll(context))).await
}

impl Behaviour for RepeatedPlugin {
    fn call<'a>(&'a self, call: &'a Call, input: CallInput<'a>) -> CallFuture<'a, Outcome> {
        Box::pin(self.twice(move |plugin| plugin.call(call, input), difference::of_outcomes))
    }

    fn call_topic<'a>(&'a self, call: &'a TopicCall, input: CallInput<'a>) -> CallFuture<'a, Outcome> {
        Box::pin(self.twice(move |plugin| plugin.call_topic(call, input), difference::of_outcomes))
    }

    fn filter<'a>(&'a self, passing: &'a Passing) -> CallFuture<'a, Vec<Decision>> {
        Box::pin(
            self.twice(move |plugin| plugin.filter(passing), |first, second| difference::of_decisions(first, second)),
        )
    }

    fn upgrade<'a>(&'a self, upgrade: &'a Upgrade) -> CallFuture<'a, Option<Bytes>> {
        Box::pin(self.twice(move |plugin| plugin.upgrade(upgrade), difference::of_upgrades))
    }
}

impl Gatekeeper for RepeatedPlugin {
    fn connect(&self, request: Request) -> CallFuture<'_, Admission> {
        Box::pin(async move {
            let answers = Arc::default();
            loop {
                let decide = |plugin| WasmPlugin::decide(plugin, request.clone(), Arc::clone(&answers));
                match self.twice(decide, difference::of_decided).await {
                    Ok((admission, draft)) if self.served.is_current(draft.as_deref()).await? => return Ok(admission),
                    Err(fault) if !fault.is_outdated() => return Err(fault),
                    Ok(_) | Err(_) => {}
                }
            }
        })
    }

    fn origin(&self) -> (&str, u32) {
        self.served.origin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNEQUAL: fn(&u32, &u32) -> Option<String> =
        |one, other| (one != other).then(|| format!("{one} isn't {other}"));

    #[test]
    fn a_fault_of_the_host_in_the_second_run_is_not_blamed_on_the_plugin() {
        let second = |fault: Fault| compared(1, Err(fault), UNEQUAL);
        let faults = [
            Fault::of_host("task 7 was cancelled"),
            Fault::failed("there is no place for an instance").caused_by_host(),
            Fault::new(FaultKind::Store, "the store can't be read: the host is stopping"),
            Fault::outdated("another node has changed it"),
            Fault::wall_time(1000),
            Fault::new(FaultKind::Deadline, "the call used more than 50 ms of CPU time"),
        ];
        for fault in faults {
            assert_eq!(second(fault.clone()), Err(fault));
        }
        for fault in [Fault::failed("no such user"), Fault::new(FaultKind::Trap, "unreachable")] {
            let detail = second(fault.clone()).err().map(|fault| fault.detail).unwrap_or_default();
            let told = format!("it failed on the second one: {}; either the plugin keeps state", fault.detail);
            assert!(detail.contains(&told), "{detail}");
        }
        assert_eq!(compared(1, Ok(1), UNEQUAL), Ok(1));
        assert!(compared(1, Ok(2), UNEQUAL).is_err_and(|fault| fault.detail.contains("1 isn't 2")));
    }
}
