//! Imports that ask for effects, and those that read presences. Effects go into the call's record.

use std::time::Duration;

use wasmtime::Result;

use super::super::bindings::bennu::channel::types::{PayloadResult, Reply};
use super::super::bindings::bennu::channel::{presence, socket};
use super::super::guest::{Guest, Subject};

impl socket::Host for Guest {
    fn push(&mut self, event: String, payload: PayloadResult) -> Result<()> {
        Ok(self.record.push(event.into(), payload.into())?)
    }

    fn broadcast(&mut self, event: String, payload: PayloadResult) -> Result<()> {
        Ok(self.record.broadcast(event.into(), payload.into(), false)?)
    }

    fn broadcast_from(&mut self, event: String, payload: PayloadResult) -> Result<()> {
        Ok(self.record.broadcast(event.into(), payload.into(), true)?)
    }

    fn publish(&mut self, topic: String, event: String, payload: PayloadResult) -> Result<()> {
        self.reach().check_reachable("publishing to", &topic)?;
        Ok(self.record.publish(&topic, event.into(), payload.into())?)
    }

    fn reply(&mut self, reply_ref: String, reply: Reply) -> Result<()> {
        Ok(self.record.reply(reply_ref.into(), reply.into())?)
    }

    fn send_self(&mut self, event: String, payload: PayloadResult) -> Result<()> {
        Ok(self.record.send_self(event.into(), payload.into())?)
    }

    fn send_after(&mut self, milliseconds: u64, event: String, payload: PayloadResult) -> Result<u64> {
        let after = Duration::from_millis(milliseconds);
        Ok(self.record.send_after(after, event.into(), payload.into())?)
    }

    fn publish_state(&mut self, state: String) -> Result<()> {
        Ok(self.record.publish_state(state.into())?)
    }

    fn take_seat(&mut self, name: String, grace_ms: u32) -> Result<()> {
        Ok(self.record.take_seat(name.into(), Duration::from_millis(grace_ms.into()))?)
    }

    fn leave_seat(&mut self) -> Result<()> {
        Ok(self.record.leave_seat()?)
    }

    fn tick(&mut self, milliseconds: u32) -> Result<()> {
        Ok(self.record.set_tick(Duration::from_millis(milliseconds.into()))?)
    }

    fn cancel(&mut self, timer: u64) -> Result<()> {
        Ok(self.record.cancel(timer)?)
    }

    fn send(&mut self, topic: String, event: String, payload: PayloadResult) -> Result<()> {
        self.reach().check_reachable("sending to", &topic)?;
        Ok(self.record.send(&topic, event.into(), payload.into())?)
    }

    fn subscribe(&mut self, topic: String) -> Result<()> {
        self.reach().check_readable(&topic)?;
        Ok(self.record.subscribe(&topic)?)
    }

    fn unsubscribe(&mut self, topic: String) -> Result<()> {
        Ok(self.record.unsubscribe(&topic)?)
    }

    fn disconnect(&mut self, socket_id: String) -> Result<()> {
        let is_own = matches!(&self.subject, Subject::Member(member)
            if member.socket.identity.socket_id.as_deref() == Some(&*socket_id));
        if !is_own {
            self.reach().check_reachable("disconnecting", &socket_id)?;
        }
        Ok(self.record.disconnect(socket_id.into())?)
    }
}

impl presence::Host for Guest {
    fn list(&mut self, topic: String) -> Result<String> {
        self.reach().check_readable(&topic)?;
        Ok(self.context.surroundings.presences(&topic).to_string())
    }

    fn get(&mut self, topic: String, key: String) -> Result<Option<String>> {
        self.reach().check_readable(&topic)?;
        Ok(self.context.surroundings.presence(&topic, &key).map(|presences| presences.to_string()))
    }

    fn track(&mut self, key: String, meta: String) -> Result<()> {
        Ok(self.record.track(key.into(), meta.into())?)
    }

    fn update(&mut self, key: String, meta: String) -> Result<()> {
        Ok(self.record.update_presence(key.into(), meta.into())?)
    }

    fn untrack(&mut self, key: String) -> Result<()> {
        Ok(self.record.untrack(key.into())?)
    }

    fn push_state(&mut self) -> Result<()> {
        Ok(self.record.push_presences()?)
    }
}
