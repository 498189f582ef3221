//! A handler that takes almost no time. So the time of a turn is the host's own, most of it the commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bennu::contract::{
    Answer, Behaviour, Call, CallFuture, CallInput, Callback, Decision, Effect, Fault, Outcome, Passing, Reply,
    TopicCall, Upgrade,
};
use bennu::entries::CallEntries;
use bennu::protocol::Payload;
use bennu::routes::{Route, RouteSpec, Takes};
use bennu::store::{Owner, QUOTA_BYTES};
use bytes::Bytes;
use bytestring::ByteString;

/// Answers each event with a new state, a push of the event, and a reply. If its topic has entries, it also sets one, to one
/// value or the other.
#[derive(Default)]
struct Instant(AtomicBool);

/// They are JSON, so that the entry can be published.
const VALUES: [&[u8]; 2] = [b"\"one\"", b"\"two\""];

impl Behaviour for Instant {
    fn call<'a>(&'a self, call: &'a Call, input: CallInput<'a>) -> CallFuture<'a, Outcome> {
        let (effects, answer) = match &call.callback {
            Callback::In { event, payload, .. } => {
                let push = Effect::Push { event: event.clone(), payload: payload.clone() };
                let reply = Reply { status: ByteString::from_static("ok"), payload: Payload::EMPTY };
                (vec![push], Answer::Reply(reply))
            }
            Callback::Join(_) => (Vec::new(), Answer::Admit(Payload::EMPTY)),
            Callback::Info(_) | Callback::Terminate(_) => (Vec::new(), Answer::None),
        };
        let assigns = Some(Bytes::from_static(b"state"));
        let outcome = Outcome { assigns, room: None, entries: None, draft: None, effects, answer };
        let is_event = matches!(call.callback, Callback::In { .. });
        let Some(input) = input.entries.filter(|_| is_event) else { return Box::pin(std::future::ready(Ok(outcome))) };
        Box::pin(async move {
            let mut entries = CallEntries::new(input.clone(), false);
            let is_second = self.0.fetch_xor(true, Ordering::Relaxed);
            entries.put(b"key", VALUES[usize::from(is_second)]).await?;
            Ok(Outcome { entries: entries.into_pending(), ..outcome })
        })
    }

    fn call_topic<'a>(&'a self, _: &'a TopicCall, _: CallInput<'a>) -> CallFuture<'a, Outcome> {
        Box::pin(std::future::ready(Err(Fault::failed("it handles only callbacks of members"))))
    }

    fn filter<'a>(&'a self, _: &'a Passing) -> CallFuture<'a, Vec<Decision>> {
        Box::pin(std::future::ready(Err(Fault::failed("it intercepts nothing"))))
    }

    fn upgrade<'a>(&'a self, _: &'a Upgrade) -> CallFuture<'a, Option<Bytes>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// Returns a route that runs this handler. `uses_entries` says whether the handler gets the entries of a topic.
pub(crate) fn route(pattern: &str, options: &[(String, String)], uses_entries: bool) -> anyhow::Result<Arc<Route>> {
    Ok(Arc::new(Route {
        spec: RouteSpec::read(pattern, Vec::new(), (0, 0), options).map_err(anyhow::Error::msg)?,
        plugin: "instant".into(),
        generation: 1,
        takes: Takes { entries: uses_entries, ..Takes::default() },
        owner: Owner::new("instant", QUOTA_BYTES)?,
        behaviour: Arc::new(Instant::default()),
        probation: None,
    }))
}
