//! The contract's effects, for native tests. Generated from `wit/` by `cargo xtask bindings`. DO NOT EDIT!

/// The effects of `interface socket`.
#[rustfmt::skip]
pub(crate) mod socket {
    use bennu_semantics::Effect;

    use crate::testing::recorder::ask_for;

    pub(crate) fn push(event: &str, payload: &crate::Payload) {
        ask_for(Effect::Push { event: event.into(), payload: payload.into() });
    }

    pub(crate) fn broadcast(event: &str, payload: &crate::Payload) {
        ask_for(Effect::Broadcast { event: event.into(), payload: payload.into() });
    }

    pub(crate) fn broadcast_from(event: &str, payload: &crate::Payload) {
        ask_for(Effect::BroadcastFrom { event: event.into(), payload: payload.into() });
    }

    pub(crate) fn publish(topic: &str, event: &str, payload: &crate::Payload) {
        ask_for(Effect::Publish { topic: topic.into(), event: event.into(), payload: payload.into() });
    }

    pub(crate) fn send(topic: &str, event: &str, payload: &crate::Payload) {
        ask_for(Effect::Send { topic: topic.into(), event: event.into(), payload: payload.into() });
    }

    pub(crate) fn send_member(topic: &str, member: u64, event: &str, payload: &crate::Payload) {
        ask_for(Effect::SendMember { topic: topic.into(), member, event: event.into(), payload: payload.into() });
    }

    pub(crate) fn push_to_socket(topic: &str, socket_id: &str, event: &str, payload: &crate::Payload) {
        ask_for(Effect::PushToSocket { topic: topic.into(), socket_id: socket_id.into(), event: event.into(), payload: payload.into() });
    }

    pub(crate) fn subscribe(topic: &str) {
        ask_for(Effect::Subscribe { topic: topic.into() });
    }

    pub(crate) fn unsubscribe(topic: &str) {
        ask_for(Effect::Unsubscribe { topic: topic.into() });
    }

    pub(crate) fn disconnect(socket_id: &str) {
        ask_for(Effect::Disconnect { socket_id: socket_id.into() });
    }

    pub(crate) fn reply(reply_ref: &str, reply: &crate::Reply) {
        ask_for(Effect::Reply { reply_ref: reply_ref.into(), reply: reply.into() });
    }

    pub(crate) fn answer(answer_ref: &str, reply: &crate::Reply) {
        ask_for(Effect::Answer { answer_ref: answer_ref.into(), reply: reply.into() });
    }

    pub(crate) fn send_self(event: &str, payload: &crate::Payload) {
        ask_for(Effect::SendSelf { event: event.into(), payload: payload.into() });
    }

    pub(crate) fn send_after(milliseconds: u64, event: &str, payload: &crate::Payload) -> u64 {
        ask_for(Effect::SendAfter { milliseconds, event: event.into(), payload: payload.into() }).unwrap_or_default()
    }

    pub(crate) fn publish_state(state: &str) {
        ask_for(Effect::PublishState { state: state.into() });
    }

    pub(crate) fn take_seat(name: &str, grace_ms: u32) {
        ask_for(Effect::TakeSeat { name: name.into(), grace_ms });
    }

    pub(crate) fn leave_seat() {
        ask_for(Effect::LeaveSeat);
    }

    pub(crate) fn tick(milliseconds: u32) {
        ask_for(Effect::Tick { milliseconds });
    }

    pub(crate) fn cancel(timer: u64) {
        ask_for(Effect::Cancel { timer });
    }
}

/// The effects of `interface droppable`.
#[rustfmt::skip]
pub(crate) mod droppable {
    use bennu_semantics::Effect;

    use crate::testing::recorder::ask_for;

    pub(crate) fn broadcast_droppable(key: &str, event: &str, payload: &crate::Payload) {
        ask_for(Effect::BroadcastDroppable { key: key.into(), event: event.into(), payload: payload.into() });
    }

    pub(crate) fn broadcast_from_droppable(key: &str, event: &str, payload: &crate::Payload) {
        ask_for(Effect::BroadcastFromDroppable { key: key.into(), event: event.into(), payload: payload.into() });
    }

    pub(crate) fn publish_droppable(topic: &str, key: &str, event: &str, payload: &crate::Payload) {
        ask_for(Effect::PublishDroppable { topic: topic.into(), key: key.into(), event: event.into(), payload: payload.into() });
    }
}

/// The effects of `interface presence`.
#[rustfmt::skip]
pub(crate) mod presence {
    use bennu_semantics::Effect;

    use crate::testing::recorder::ask_for;

    pub(crate) fn track(key: &str, meta: &str) {
        ask_for(Effect::Track { key: key.into(), meta: meta.into() });
    }

    pub(crate) fn update(key: &str, meta: &str) {
        ask_for(Effect::UpdatePresence { key: key.into(), meta: meta.into() });
    }

    pub(crate) fn untrack(key: &str) {
        ask_for(Effect::Untrack { key: key.into() });
    }

    pub(crate) fn push_state() {
        ask_for(Effect::PushPresences);
    }
}

/// The effects of `interface entries`.
#[rustfmt::skip]
pub(crate) mod entries {
    use bennu_semantics::Effect;

    use crate::testing::recorder::ask_for;

    pub(crate) fn follow(prefix: &str) {
        ask_for(Effect::Follow { prefix: prefix.into() });
    }

    pub(crate) fn unfollow(prefix: &str) {
        ask_for(Effect::Unfollow { prefix: prefix.into() });
    }
}

/// The effects of `interface schedule`.
#[rustfmt::skip]
pub(crate) mod schedule {
    use bennu_semantics::Effect;

    use crate::testing::recorder::ask_for;

    pub(crate) fn schedule(topic: &str, at_ms: u64, key: &str, event: &str, payload: &crate::Payload) {
        ask_for(Effect::Schedule(Box::new(bennu_semantics::jobs::Schedule { topic: topic.into(), at_ms, key: key.into(), event: event.into(), payload: payload.into() })));
    }

    pub(crate) fn cancel_schedule(topic: &str, key: &str) {
        ask_for(Effect::CancelSchedule { topic: topic.into(), key: key.into() });
    }
}
