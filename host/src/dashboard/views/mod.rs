//! The dashboard's own channel: what its pages show.
//!
//! A page joins the topic `dashboard`, and says what it looks at by the event `look`. From then on it gets the event `data` at a
//! fixed rate: the counts of the host, and what it looks at. The next push is scheduled when the last one was made, so a view that
//! takes long is pushed more rarely, and a page that is closed costs nothing.

mod faults;
mod overview;
mod plugins;
mod rooms;
mod store;
mod topic;
mod topics;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::gatekeeper::session_of;
use crate::api::{Api, Sessions};
use crate::contract::{
    Answer, Behaviour, Call, CallFuture, CallInput, Callback, Decision, Effect, Fault, Outcome, Passing, Reply, Stop,
    TopicCall, Upgrade,
};
use crate::protocol::Payload;
use crate::routes::{Route, RouteSpec, Takes};
use crate::store::{Owner, QUOTA_BYTES};

/// The topic of the channel.
const TOPIC: &str = "dashboard";

/// The time between two pushes.
const PERIOD: Duration = Duration::from_secs(1);

/// A view takes at most one part in this many of the time, unless it takes longer than a second.
const PART_OF_TIME: u32 = 20;

/// The longest time between two pushes. A page may have to wait for a slow disk or a busy machine once, and not for minutes after it.
const PERIOD_MAX: Duration = Duration::from_secs(20);

/// The most rows of a page of a list.
const ROWS_MAX: usize = 50;

/// What a page looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", tag = "view")]
enum View {
    /// Only the counts: the page shows nothing else.
    #[default]
    Counts,
    Overview,
    Topics(topics::Query),
    Topic(topic::Query),
    Rooms(rooms::Query),
    Plugins,
    Faults,
    Store,
}

/// Answers the pages.
struct Views {
    api: Arc<Api>,
    sessions: Arc<Sessions>,
}

/// Returns the route of the channel.
pub(super) fn route(api: &Arc<Api>, sessions: &Arc<Sessions>) -> Result<Arc<Route>> {
    let views = Views { api: Arc::clone(api), sessions: Arc::clone(sessions) };
    Ok(Arc::new(Route {
        spec: RouteSpec::read(TOPIC, Vec::new(), (0, 0), &[])?,
        plugin: TOPIC.into(),
        generation: 1,
        takes: Takes::default(),
        owner: Owner::new(TOPIC, QUOTA_BYTES)?,
        behaviour: Arc::new(views),
        probation: None,
    }))
}

impl Views {
    async fn handle(&self, call: &Call) -> Result<Outcome, Fault> {
        if session_of(&self.sessions, &call.member.socket.identity).is_none() {
            return Ok(outcome(Vec::new(), stop("the session has ended")));
        }
        match &call.callback {
            Callback::Join(_) => {
                let tick = Effect::SendSelf { event: TICK, payload: Payload::EMPTY };
                Ok(outcome(vec![tick], Answer::Admit(payload(&self.host()))))
            }
            Callback::In { event, payload: query, .. } if event == "look" => self.look(query).await,
            Callback::In { .. } => Ok(outcome(Vec::new(), reply("error", &json!({ "reason": "unknown event" })))),
            Callback::Info(_) => {
                let began = Instant::now();
                let view = serde_json::from_slice(&call.assigns).unwrap_or_default();
                let data = json!({
                    "counts": overview::counts(&self.api),
                    "look": serde_json::from_slice::<Value>(&call.assigns).unwrap_or_default(),
                    "data": self.see(view).await,
                });
                let pause = (began.elapsed() * PART_OF_TIME).clamp(PERIOD, PERIOD_MAX);
                let push = Effect::Push { event: ByteString::from_static("data"), payload: payload(&data) };
                let next =
                    Effect::SendAfter { milliseconds: milliseconds(pause), event: TICK, payload: Payload::EMPTY };
                Ok(outcome(vec![push, next], Answer::None))
            }
            Callback::Terminate(_) => Ok(outcome(Vec::new(), Answer::None)),
        }
    }

    /// Keeps what the page looks at from now on, and shows it at once.
    async fn look(&self, query: &Payload) -> Result<Outcome, Fault> {
        let Payload::Json(text) = query else { return Ok(outcome(Vec::new(), Answer::None)) };
        match serde_json::from_str::<View>(text) {
            Ok(view) => {
                let answer = reply("ok", &json!({ "data": self.see(view).await }));
                Ok(Outcome { assigns: Some(Bytes::copy_from_slice(text.as_bytes())), ..outcome(Vec::new(), answer) })
            }
            Err(error) => Ok(outcome(Vec::new(), reply("error", &json!({ "reason": error.to_string() })))),
        }
    }

    /// What there is to see. The lists of all topics, and of all members of a topic, may be long, so they aren't made on a thread
    /// that serves clients.
    async fn see(&self, view: View) -> Value {
        let api = Arc::clone(&self.api);
        match view {
            View::Counts => Value::Null,
            View::Rooms(query) => rooms::see(&api, &query).await,
            View::Store => store::see(&api).await,
            View::Plugins => plugins::see(&api),
            View::Faults => faults::see(),
            View::Overview => blocking(move || overview::see(&api)).await,
            View::Topics(query) => blocking(move || topics::see(&api, &query)).await,
            View::Topic(query) => blocking(move || topic::see(&api, &query)).await,
        }
    }

    /// What a page shows about the host all the time.
    fn host(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_ms": milliseconds(self.api.started.elapsed()),
            "processors": std::thread::available_parallelism().map_or(1, usize::from),
        })
    }
}

impl Behaviour for Views {
    fn call<'a>(&'a self, call: &'a Call, _: CallInput<'a>) -> CallFuture<'a, Outcome> {
        Box::pin(self.handle(call))
    }

    fn call_topic<'a>(&'a self, _: &'a TopicCall, _: CallInput<'a>) -> CallFuture<'a, Outcome> {
        Box::pin(std::future::ready(Err(Fault::failed("the dashboard has only callbacks of members"))))
    }

    fn filter<'a>(&'a self, _: &'a Passing) -> CallFuture<'a, Vec<Decision>> {
        Box::pin(std::future::ready(Err(Fault::failed("the dashboard intercepts nothing"))))
    }

    fn upgrade<'a>(&'a self, _: &'a Upgrade) -> CallFuture<'a, Option<Bytes>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// The event by which a member reminds itself of the next push.
const TICK: ByteString = ByteString::from_static("tick");

async fn blocking(see: impl FnOnce() -> Value + Send + 'static) -> Value {
    // It fails only if the closure panics, or if the host stops.
    tokio::task::spawn_blocking(see).await.unwrap_or_default()
}

fn outcome(effects: Vec<Effect>, answer: Answer) -> Outcome {
    Outcome { assigns: None, room: None, entries: None, draft: None, effects, answer }
}

fn payload(value: &Value) -> Payload {
    Payload::Json(value.to_string().into())
}

fn reply(status: &'static str, value: &Value) -> Answer {
    Answer::Reply(Reply { status: ByteString::from_static(status), payload: payload(value) })
}

fn stop(reason: &str) -> Answer {
    Answer::Stop(Stop { reason: reason.to_owned(), reply: None })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_it_looks_at() {
        let read = |text| serde_json::from_str::<View>(text);
        assert_eq!(read(r#"{"view":"overview"}"#).ok(), Some(View::Overview));
        let query = topics::Query { search: "a".into(), after: None };
        assert_eq!(read(r#"{"view":"topics","search":"a"}"#).ok(), Some(View::Topics(query)));
        for wrong in [r"{}", r#"{"view":"x"}"#, r#"{"view":"topic"}"#, r#"{"view":"topics","search":1}"#, "[]"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(serde_json::from_slice::<View>(b"").unwrap_or_default(), View::Counts, "before the first look");
    }
}
