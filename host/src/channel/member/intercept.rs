//! Intercepted events: `handle_out` decides for each member, before the event reaches it.

use std::sync::Arc;

use super::channel::{Channel, Connection};
use super::ending::log_fault;
use super::event::MemberEvent;
use super::frames::Frames;
use crate::channel::turn::{Failed, Saved, upgrade_state};
use crate::contract::{Decision, Fault, Message, Part, Passing, Recipient, Source};
use crate::counts::{Limit, Traffic};
use crate::pubsub::{Audience, Broadcast, Deferred, Encoded, Handling, Interceptor, Position};
use crate::routes::{Route, RouteTable};

/// The most members that one call of `handle_out` decides about.
const CHUNK: usize = 256;

/// After this number of faults of one broadcast, the host stops searching for the members that cause them. The number is
/// enough for a few such members. If `handle_out` fails for every member, a search without a limit would take a call for
/// each, and block the topic meanwhile.
const FAULTS_MAX: usize = 32;

/// Checks for each broadcast whether its route intercepts it.
pub(in crate::channel) struct Intercepts {
    routes: Arc<RouteTable>,
}

impl Intercepts {
    pub(in crate::channel) fn new(routes: Arc<RouteTable>) -> Self {
        Self { routes }
    }
}

impl Interceptor for Intercepts {
    fn intercept(&self, broadcast: &Broadcast, audience: &Arc<Audience>) -> Handling {
        let routes = self.routes.current();
        let Some(route) = routes.find(broadcast.topic.as_str()) else { return Handling::default() };
        let intercepts = route.spec.intercepts.iter().any(|event| **event == *broadcast.event);
        let deferred = intercepts
            .then(|| -> Deferred { Box::pin(let_through(Arc::clone(route), broadcast.clone(), Arc::clone(audience))) });
        Handling { deferred, history: route.spec.history, is_from_elsewhere: false }
    }
}

async fn let_through(route: Arc<Route>, mut broadcast: Broadcast, audience: Arc<Audience>) {
    // The future was made before the audience gave the broadcast its number.
    let numbered = audience.running_number().map(|number| Broadcast { number: Some(number), ..broadcast.clone() });
    broadcast.number = None;
    let channels: Vec<Arc<Channel>> = audience
        .members_present()
        .into_iter()
        .filter_map(|member| member.downcast::<Channel>().ok())
        .filter(|channel| !broadcast.except.leaves_out(channel.member.id))
        .collect();
    let (mut plain, mut numbered) = (Encoded::new(&broadcast), numbered.as_ref().map(Encoded::new));
    let mut searches_left = FAULTS_MAX;
    for chunk in channels.chunks(CHUNK) {
        // A chunk with a fault is halved, down to the member that causes the fault.
        let mut undecided = vec![chunk];
        while let Some(part) = undecided.pop() {
            match decide(&route, &broadcast, part).await {
                Ok(decisions) => {
                    for (channel, decision) in decisions {
                        let encoded = numbered.as_mut().filter(|_| channel.has_numbers()).unwrap_or(&mut plain);
                        deliver(channel, &audience, encoded, decision);
                    }
                }
                Err(fault) if part.len() <= 1 || searches_left == 0 => {
                    for channel in part {
                        let intercepted = Some(broadcast.event.clone());
                        channel.post_ending(MemberEvent::Fault { fault: fault.clone(), intercepted });
                    }
                }
                Err(_) => {
                    searches_left -= 1;
                    if searches_left == 0 {
                        Limit::HandleOutFaults.hit();
                    }
                    let (first, second) = part.split_at(part.len() / 2);
                    undecided.extend([second, first]);
                }
            }
        }
    }
}

/// Delivers broadcasts that a member's client has missed, in order, and then tells it its position. Later broadcasts of the
/// topic wait for it.
///
/// After a fault, the client is told that it has missed something. If the fault ended the member, as for a live broadcast,
/// the client would join again from the same position, and get the same fault.
pub(super) async fn replay(route: Arc<Route>, channel: Arc<Channel>, missed: Vec<Broadcast>, position: Position) {
    let Some(audience) = channel.audience() else { return };
    let mut recovered = true;
    for broadcast in missed {
        let mut encoded = Encoded::new(&broadcast);
        if !route.spec.intercepts.iter().any(|event| **event == *broadcast.event) {
            deliver(&channel, &audience, &mut encoded, Decision::Pass);
            continue;
        }
        match decide(&route, &broadcast, std::slice::from_ref(&channel)).await {
            Ok(decisions) => {
                for (channel, decision) in decisions {
                    deliver(channel, &audience, &mut encoded, decision);
                }
            }
            Err(fault) => {
                let failed = Failed { event: Some(&broadcast.event), ..Failed::in_callback("handle_out") };
                log_fault(&channel, Some(&route), failed, &fault);
                recovered = false;
                break;
            }
        }
    }
    let frames = Frames::new(&channel, None);
    if let Some(frame) = frames.encode_position(position, Some(recovered)) {
        frames.deliver(frame);
    }
}

/// The decisions about those of `channels` that are members.
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
    let result = filter(route, broadcast, &present, &states).await;
    let decisions = match (result, route.trial(), &states[..]) {
        // As for other calls, the previous build is asked, but only when it is known for which member the call fails.
        (Err(fault), Some((probation, Some(previous))), [state]) => {
            let former = state.for_build(previous, Part::Assigns).ok_or_else(|| fault.clone())?;
            let decisions = filter(previous, broadcast, &present, &[former]).await.map_err(|_| fault)?;
            probation.count_fault();
            decisions
        }
        (result, ..) => result?,
    };
    Ok(present.into_iter().zip(decisions).collect())
}

/// The decisions of one generation about members with these states. A state of another version is upgraded for this
/// call only: the upgrade is committed with the member's own next turn.
async fn filter(
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

fn deliver(channel: &Arc<Channel>, audience: &Audience, encoded: &mut Encoded<'_>, decision: Decision) {
    let Connection { serializer, deflates, .. } = channel.connection;
    let passed = matches!(decision, Decision::Pass).then(|| encoded.frame(serializer, deflates).cloned()).flatten();
    let Broadcast { topic, event, payload, number, droppable, .. } = encoded.broadcast();
    let frames = Frames::new(channel, None);
    let (frame, before) = match decision {
        Decision::Pass => (passed, frames.number_before(*number, payload)),
        Decision::Drop => (None, None),
        Decision::Replace(payload) => {
            (frames.encode_numbered(*number, event, &payload), frames.number_before(*number, &payload))
        }
        Decision::HandOver => {
            let (topic, event, payload) = (topic.clone(), event.clone(), payload.clone());
            channel.post(MemberEvent::Info(Message { source: Source::Intercept, topic, event, payload }));
            (None, None)
        }
    };
    match (frame, droppable) {
        (Some(frame), None) => {
            Traffic::Deliveries.add(1);
            match before {
                None => frames.deliver(frame),
                Some(before) => channel.connection.outbox.push_both(before, frame),
            }
        }
        (Some(frame), Some(droppable)) => {
            audience.send_droppable((channel.member.id, &channel.connection.outbox), &frame, droppable.key);
        }
        (None, _) => {}
    }
}
