//! Intercepted events: `handle_out` decides for each member, before the event reaches it.

use std::sync::Arc;

use super::invoke::upgrade_state;
use super::saved::Saved;
use super::{Channel, MemberEvent};
use crate::contract::{Decision, Fault, Message, Part, Passing, Recipient, Source};
use crate::protocol::Outbound;
use crate::pubsub::{Audience, Broadcast, Deferred, Encoded, Interceptor};
use crate::routes::{Route, RouteTable};

/// The most members that one call of `handle_out` decides about.
const CHUNK: usize = 256;

/// How many faults of one broadcast are looked into, to find the member that causes them: enough for a few culprits. A
/// `handle_out` that fails for everybody would take a call for each of them, and the topic would stand still meanwhile.
const FAULTS_MAX: usize = 32;

/// Looks at each broadcast whether its route intercepts it.
pub(super) struct Intercepts {
    routes: Arc<RouteTable>,
}

impl Intercepts {
    pub(super) fn new(routes: Arc<RouteTable>) -> Self {
        Self { routes }
    }
}

impl Interceptor for Intercepts {
    fn intercept(&self, broadcast: &Broadcast, audience: &Arc<Audience>) -> Option<Deferred> {
        let routes = self.routes.current();
        let route = routes.find(broadcast.topic.as_str())?;
        let intercepts = route.spec.intercepts.iter().any(|event| **event == *broadcast.event);
        intercepts
            .then(|| -> Deferred { Box::pin(let_through(Arc::clone(route), broadcast.clone(), Arc::clone(audience))) })
    }
}

async fn let_through(route: Arc<Route>, broadcast: Broadcast, audience: Arc<Audience>) {
    let channels: Vec<Arc<Channel>> = audience
        .members_present()
        .into_iter()
        .filter_map(|member| member.downcast::<Channel>().ok())
        .filter(|channel| !broadcast.except.leaves_out(channel.member.id))
        .collect();
    let mut encoded = Encoded::new(&broadcast);
    let mut deadline = FAULTS_MAX;
    for chunk in channels.chunks(CHUNK) {
        // A chunk that faults is halved, down to the member that causes it.
        let mut undecided = vec![chunk];
        while let Some(part) = undecided.pop() {
            match decide(&route, &broadcast, part).await {
                Ok(decisions) => {
                    for (channel, decision) in decisions {
                        channel.let_through(&broadcast, &mut encoded, decision);
                    }
                }
                Err(fault) if part.len() <= 1 || deadline == 0 => {
                    for channel in part {
                        let intercepted = Some(broadcast.event.clone());
                        channel.post_ending(MemberEvent::Fault { fault: fault.clone(), intercepted });
                    }
                }
                Err(_) => {
                    deadline -= 1;
                    let (first, second) = part.split_at(part.len() / 2);
                    undecided.extend([second, first]);
                }
            }
        }
    }
}

/// The decisions about those of `channels` that are in.
async fn decide<'a>(
    route: &Route,
    broadcast: &Broadcast,
    channels: &'a [Arc<Channel>],
) -> Result<Vec<(&'a Arc<Channel>, Decision)>, Fault> {
    let (present, states): (Vec<_>, Vec<_>) =
        channels.iter().filter_map(|channel| Some((channel, channel.assigns()?))).unzip();
    if present.is_empty() {
        return Ok(Vec::new());
    }
    let asked = ask(route, broadcast, &present, &states).await;
    let decisions = match (asked, route.trial(), &states[..]) {
        // As for other calls, but only once it is known whom it fails for.
        (Err(fault), Some((probation, Some(proved))), [state]) => {
            let former = state.for_build(proved, Part::Assigns).ok_or_else(|| fault.clone())?;
            let decisions = ask(proved, broadcast, &present, &[former]).await.map_err(|_| fault)?;
            probation.count_fault();
            decisions
        }
        (asked, ..) => asked?,
    };
    Ok(present.into_iter().zip(decisions).collect())
}

/// What one generation decides about members with these states. A state of another version is taken over for the question
/// alone: it is committed with the member's own next turn.
async fn ask(
    route: &Route,
    broadcast: &Broadcast,
    channels: &[&Arc<Channel>],
    states: &[Saved],
) -> Result<Vec<Decision>, Fault> {
    let mut recipients = Vec::with_capacity(states.len());
    for (channel, state) in channels.iter().zip(states) {
        let upgraded = upgrade_state(route, &broadcast.topic, Part::Assigns, Some(state)).await?;
        recipients.push(Recipient { id: channel.member.id, assigns: upgraded.bytes.unwrap_or_default() });
    }
    let Broadcast { topic, event, payload, .. } = broadcast.clone();
    let decisions = route.behaviour.filter(&Passing { topic, event, payload, recipients }).await?;
    if decisions.len() != states.len() {
        let (given, wanted) = (decisions.len(), states.len());
        return Err(Fault::failed(format!("handle-out gave {given} decisions for {wanted} recipients")));
    }
    Ok(decisions)
}

impl Channel {
    fn let_through(self: &Arc<Self>, broadcast: &Broadcast, encoded: &mut Encoded<'_>, decision: Decision) {
        let Broadcast { topic, event, payload, .. } = broadcast;
        match decision {
            Decision::Pass => {
                if let Some(frame) = encoded.frame(self.connection().serializer) {
                    self.connection().outbox.push(frame.clone());
                }
            }
            Decision::Drop => {}
            Decision::Replace(payload) => {
                let (join_ref, topic) = (self.mark(), topic.as_str());
                self.send(None, Outbound::Push { join_ref, topic, event, payload: &payload });
            }
            Decision::HandOver => {
                let (topic, event, payload) = (topic.clone(), event.clone(), payload.clone());
                self.post(MemberEvent::Info(Message { source: Source::Intercept, topic, event, payload }));
            }
        }
    }
}
