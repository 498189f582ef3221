//! Recovery: a client that joins again gets the broadcasts that it has missed.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::channel::Channel;
use super::frames::Frames;
use super::intercept::replay;
use crate::counts::Limit;
use crate::protocol::{Frame, Payload};
use crate::pubsub::{
    Broadcast, ClientKey, Deferred, Epoch, Position, RecoveringMember, Rejoin, Subscriber, Subscription,
};
use crate::routes::Route;

/// The largest number that a client can have: JavaScript's largest safe integer.
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// The longest text by which a client identifies itself, in bytes.
const CLIENT_BYTES_MAX: usize = 255;

/// A client's request for recovery, in the params of its join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::channel::member) struct Since {
    client: ClientKey,
    position: Option<Position>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    since: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    client: Cow<'a, str>,
    #[serde(borrow)]
    epoch: Option<Cow<'a, str>>,
    n: Option<u64>,
}

impl Since {
    /// Reads the field `since` of a join's params, if it is an object with a `client`. Other values are the plugin's own.
    /// A position that can't be read is one that isn't known: the client has missed something.
    pub(in crate::channel::member) fn read(params: &Payload) -> Option<Self> {
        let Payload::Json(json) = params else { return None };
        let Params { since } = serde_json::from_str(json).ok()?;
        let Fields { client, epoch, n } = serde_json::from_str(since?.get()).ok()?;
        if client.len() > CLIENT_BYTES_MAX {
            Limit::RecoveryClient.hit();
            return None;
        }
        let position = match (epoch, n) {
            (None, None) => None,
            (epoch, n) => Some(Position {
                epoch: epoch.and_then(|epoch| Epoch::parse(&epoch)).unwrap_or(Epoch::UNKNOWN),
                number: n.filter(|n| *n <= NUMBER_MAX).unwrap_or(NUMBER_MAX),
            }),
        };
        Some(Self { client: ClientKey::of(&client), position })
    }
}

/// Adds the subscriber of a member that has joined. If the route keeps a history, the client gets what it has missed.
pub(in crate::channel::member) fn subscribe_again(
    channel: &Arc<Channel>,
    route: &Arc<Route>,
    since: Option<Since>,
    subscriber: &Subscriber,
    reply: Option<&Frame>,
) -> Subscription {
    let pubsub = &channel.services().pubsub;
    let topic = &channel.member.topic;
    let Some(spec) = route.spec.history else { return pubsub.subscribe(topic, subscriber, reply) };
    let (client, since) = since.map_or((None, None), |since| (Some(since.client), since.position));
    if client.is_some() {
        channel.set_has_numbers();
    }
    let member = MemberWithRoute { channel, route };
    pubsub.subscribe_again(topic, subscriber, reply, Some(&Rejoin { spec, client, since, member: &member }))
}

struct MemberWithRoute<'a> {
    channel: &'a Arc<Channel>,
    route: &'a Arc<Route>,
}

impl RecoveringMember for MemberWithRoute<'_> {
    fn position_frame(&self, position: Position, recovered: Option<bool>) -> Option<Frame> {
        Frames::new(self.channel, None).encode_position(position, recovered)
    }

    fn intercepts(&self, event: &str) -> bool {
        self.route.spec.intercepts.iter().any(|intercepted| intercepted == event)
    }

    fn replay(&self, missed: Vec<Broadcast>, position: Position) -> Deferred {
        Box::pin(replay(Arc::clone(self.route), Arc::clone(self.channel), missed, position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_with_a_client_asks_for_recovery() {
        let read = |json: &'static str| Since::read(&Payload::Json(json.into()));
        let client = ClientKey::of("c");
        let known = Position { epoch: Epoch::parse("00000000000000ff").expect("an epoch"), number: 7 };
        assert_eq!(read(r#"{"since":{"client":"c"},"user":1}"#), Some(Since { client, position: None }));
        let position = Some(known);
        assert_eq!(
            read(r#"{"since":{"client":"\u0063","epoch":"00000000000000ff","n":7}}"#),
            Some(Since { client, position })
        );
        for own in
            [r#"{"since":"12"}"#, r#"{"since":null}"#, "{}", r#"{"since":{}}"#, "[]", r#"{"since":{"client":1}}"#]
        {
            assert_eq!(read(own), None, "{own}");
        }
        for unknown in
            [r#"{"client":"c","epoch":"ff","n":7}"#, r#"{"client":"c","n":7}"#, r#"{"client":"c","epoch":""}"#]
        {
            let since = Since::read(&Payload::Json(format!(r#"{{"since":{unknown}}}"#).into()));
            let position = since.and_then(|since| since.position);
            assert_eq!(position.map(|position| position.epoch), Some(Epoch::UNKNOWN), "{unknown}");
        }
    }
}
