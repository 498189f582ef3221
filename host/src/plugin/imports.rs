//! What a guest may ask of the host: the implementation of the contract's imports.
//!
//! Reads are answered at once; effects go into the call's record. An error ends the call: wasmtime unwinds the guest, and
//! the fault comes out at the other end.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Result;

use super::bindings::bennu::channel::host::{self, Level};
use super::bindings::bennu::channel::types::{PayloadResult, Reply};
use super::bindings::bennu::channel::{member, socket, types};
use super::guest::Guest;
use super::unique;
use crate::contract::{Fault, Member, one_line};

impl types::Host for Guest {}

impl host::Host for Guest {
    fn now(&mut self) -> Result<u64> {
        Ok(unique::now_ms())
    }

    fn unique_id(&mut self) -> Result<String> {
        Ok(unique::unique_id())
    }

    fn random(&mut self) -> Result<u64> {
        Ok(unique::random().map_err(|error| Fault::failed(format!("no random number: {error}")))?)
    }

    fn configuration(&mut self) -> Result<String> {
        Ok(self.origin.configuration.to_string())
    }

    fn log(&mut self, level: Level, message: String) -> Result<()> {
        self.log_lines += 1;
        if self.log_lines > self.limits.log_lines {
            return Err(Fault::oversize(format!("a call logs at most {} lines", self.limits.log_lines)).into());
        }
        let message = one_line(message);
        let (plugin, generation) = (&*self.origin.name, self.origin.generation);
        let topic = self.topic.as_ref().map_or("", |topic| topic.as_str());
        match level {
            Level::Trace => tracing::trace!(target: "guest", plugin, generation, topic, "{message}"),
            Level::Debug => tracing::debug!(target: "guest", plugin, generation, topic, "{message}"),
            Level::Info => tracing::info!(target: "guest", plugin, generation, topic, "{message}"),
            Level::Warn => tracing::warn!(target: "guest", plugin, generation, topic, "{message}"),
            Level::Error => tracing::error!(target: "guest", plugin, generation, topic, "{message}"),
        }
        Ok(())
    }
}

impl Guest {
    fn member(&self) -> Result<&Arc<Member>> {
        let none = || Fault::failed("a member was asked about in a callback that has none");
        Ok(self.member.as_ref().ok_or_else(none)?)
    }
}

impl member::Host for Guest {
    fn socket_id(&mut self) -> Result<Option<String>> {
        Ok(self.member()?.socket.id.as_deref().map(str::to_owned))
    }

    fn join_ref(&mut self) -> Result<String> {
        Ok(self.member()?.join_ref.json().to_owned())
    }

    fn transport(&mut self) -> Result<String> {
        Ok(self.member()?.socket.transport.to_owned())
    }

    fn connect_params(&mut self) -> Result<String> {
        Ok(self.member()?.socket.connect_params.to_string())
    }

    fn x_headers(&mut self) -> Result<Vec<(String, String)>> {
        let headers = self.member()?.socket.x_headers.iter();
        Ok(headers.map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }
}

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
        let is_granted = self.own.iter().chain(self.origin.publish.iter()).any(|pattern| pattern.matches(&topic));
        if !is_granted {
            let name = &self.origin.name;
            let detail = format!("publishing to `{topic}` isn't granted; add it to `plugins.{name}.publish`");
            return Err(Fault::failed(detail).into());
        }
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

    fn cancel(&mut self, timer: u64) -> Result<()> {
        Ok(self.record.cancel(timer)?)
    }
}
