//! Imports that ask for effects, and those that read presences.

use wasmtime::Result;

use super::super::bindings::bennu::channel::types::{PayloadResult, Reply};
use super::super::bindings::bennu::channel::{droppable, presence, socket};
use super::super::guest::{EntryAccess, Guest, Storage, Subject};
use crate::contract::{Effect, TimerId};

impl Guest {
    /// Asks for an effect: checks the grant, and adds the effect to the call's record. Returns the number of a timer.
    fn record(&mut self, effect: Effect) -> Result<Option<TimerId>> {
        let own_id = match &self.subject {
            Subject::Member(member) => member.socket.identity.socket_id.as_deref(),
            _ => None,
        };
        self.reach()?.check(&effect, own_id)?;
        Ok(self.record.ask(effect)?)
    }

    /// Asks for an effect without a result.
    pub(super) fn ask(&mut self, effect: Effect) -> Result<()> {
        self.record(effect).map(drop)
    }
}

impl socket::Host for Guest {
    fn push(&mut self, event: String, payload: PayloadResult) -> Result<()> {
        self.ask(Effect::Push { event: event.into(), payload: payload.into() })
    }

    fn broadcast(&mut self, event: String, payload: PayloadResult) -> Result<()> {
        self.ask(Effect::Broadcast { event: event.into(), payload: payload.into() })
    }

    fn broadcast_from(&mut self, event: String, payload: PayloadResult) -> Result<()> {
        self.ask(Effect::BroadcastFrom { event: event.into(), payload: payload.into() })
    }

    fn publish(&mut self, topic: String, event: String, payload: PayloadResult) -> Result<()> {
        self.ask(Effect::Publish { topic: topic.into(), event: event.into(), payload: payload.into() })
    }

    fn send(&mut self, topic: String, event: String, payload: PayloadResult) -> Result<()> {
        self.ask(Effect::Send { topic: topic.into(), event: event.into(), payload: payload.into() })
    }

    fn send_member(&mut self, topic: String, member: u64, event: String, payload: PayloadResult) -> Result<()> {
        self.ask(Effect::SendMember { topic: topic.into(), member, event: event.into(), payload: payload.into() })
    }

    fn push_to_socket(
        &mut self,
        topic: String,
        socket_id: String,
        event: String,
        payload: PayloadResult,
    ) -> Result<()> {
        let (topic, socket_id) = (topic.into(), socket_id.into());
        self.ask(Effect::PushToSocket { topic, socket_id, event: event.into(), payload: payload.into() })
    }

    fn discard(&mut self) -> Result<()> {
        self.check_evaluated()?;
        self.record.discard();
        if let Storage::Open { draft: Some(draft), .. } = &mut self.storage {
            draft.discard_writes();
        }
        if let EntryAccess::Used(entries) = &mut self.entries {
            entries.discard_writes();
        }
        Ok(())
    }

    fn subscribe(&mut self, topic: String) -> Result<()> {
        self.ask(Effect::Subscribe { topic: topic.into() })
    }

    fn unsubscribe(&mut self, topic: String) -> Result<()> {
        self.ask(Effect::Unsubscribe { topic: topic.into() })
    }

    fn disconnect(&mut self, socket_id: String) -> Result<()> {
        self.ask(Effect::Disconnect { socket_id: socket_id.into() })
    }

    fn reply(&mut self, reply_ref: String, reply: Reply) -> Result<()> {
        self.ask(Effect::Reply { reply_ref: reply_ref.into(), reply: reply.into() })
    }

    fn answer(&mut self, answer_ref: String, reply: Reply) -> Result<()> {
        self.ask(Effect::Answer { answer_ref: answer_ref.into(), reply: reply.into() })
    }

    fn send_self(&mut self, event: String, payload: PayloadResult) -> Result<()> {
        self.ask(Effect::SendSelf { event: event.into(), payload: payload.into() })
    }

    fn send_after(&mut self, milliseconds: u64, event: String, payload: PayloadResult) -> Result<u64> {
        let effect = Effect::SendAfter { milliseconds, event: event.into(), payload: payload.into() };
        Ok(self.record(effect)?.unwrap_or_default())
    }

    fn publish_state(&mut self, state: String) -> Result<()> {
        self.ask(Effect::PublishState { state: state.into() })
    }

    fn take_seat(&mut self, name: String, grace_ms: u32) -> Result<()> {
        self.ask(Effect::TakeSeat { name: name.into(), grace_ms })
    }

    fn leave_seat(&mut self) -> Result<()> {
        self.ask(Effect::LeaveSeat)
    }

    fn tick(&mut self, milliseconds: u32) -> Result<()> {
        self.ask(Effect::Tick { milliseconds })
    }

    fn cancel(&mut self, timer: u64) -> Result<()> {
        self.ask(Effect::Cancel { timer })
    }
}

impl droppable::Host for Guest {
    fn broadcast_droppable(&mut self, key: String, event: String, payload: PayloadResult) -> Result<()> {
        self.ask(Effect::BroadcastDroppable { key: key.into(), event: event.into(), payload: payload.into() })
    }

    fn broadcast_from_droppable(&mut self, key: String, event: String, payload: PayloadResult) -> Result<()> {
        self.ask(Effect::BroadcastFromDroppable { key: key.into(), event: event.into(), payload: payload.into() })
    }

    fn publish_droppable(&mut self, topic: String, key: String, event: String, payload: PayloadResult) -> Result<()> {
        let (topic, key, event, payload) = (topic.into(), key.into(), event.into(), payload.into());
        self.ask(Effect::PublishDroppable { topic, key, event, payload })
    }
}

impl presence::Host for Guest {
    fn list(&mut self, topic: String) -> Result<String> {
        self.reach()?.check_readable(&topic)?;
        Ok(self.context.surroundings.presences(&topic).to_string())
    }

    fn get(&mut self, topic: String, key: String) -> Result<Option<String>> {
        self.reach()?.check_readable(&topic)?;
        Ok(self.context.surroundings.presence(&topic, &key).map(|presences| presences.to_string()))
    }

    fn track(&mut self, key: String, meta: String) -> Result<()> {
        self.ask(Effect::Track { key: key.into(), meta: meta.into() })
    }

    fn update(&mut self, key: String, meta: String) -> Result<()> {
        self.ask(Effect::UpdatePresence { key: key.into(), meta: meta.into() })
    }

    fn untrack(&mut self, key: String) -> Result<()> {
        self.ask(Effect::Untrack { key: key.into() })
    }

    fn push_state(&mut self) -> Result<()> {
        self.ask(Effect::PushPresences)
    }
}
