//! One live instance, and the calls into it.

use std::fmt;
use std::sync::Arc;

use wasmtime::component::InstancePre;
use wasmtime::{Result, Store, UpdateDeadline};

use super::bindings::bennu::channel::types::{Membership, Route};
use super::bindings::exports::bennu::channel::{channel, handle_out};
use super::guest::Guest;
use crate::contract::{Answer, Call, Callback, Decision, Fault, Member, Outcome, Passing};
use crate::protocol::{Payload, Topic};

/// A component made ready to be instantiated: linked, with its exports found and their shapes checked.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) component: InstancePre<Guest>,
    pub(super) channel: Arc<channel::GuestIndices>,
    pub(super) handle_out: Option<Arc<handle_out::GuestIndices>>,
}

/// An export that isn't of the shape that the contract gives it.
#[derive(Debug)]
pub(super) struct Misshapen {
    export: &'static str,
    why: String,
}

impl Misshapen {
    /// What an error in looking at this export means.
    pub(super) fn export(export: &'static str) -> impl FnOnce(wasmtime::Error) -> Self {
        move |error| Self { export, why: format!("{error:#}") }
    }
}

impl fmt::Display for Misshapen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { export, why } = self;
        write!(
            f,
            "its export `{export}` is not of the shape that `wit/` gives it: {why}; build it against this host's `wit/`"
        )
    }
}

impl std::error::Error for Misshapen {}

/// An instance of a component with its store. After an error it must be dropped: wasmtime never lets a store in which a
/// guest trapped be entered again.
pub(super) struct Instance {
    store: Store<Guest>,
    channel: channel::Guest,
    handle_out: Option<handle_out::Guest>,
    /// How many calls it has run.
    pub(super) calls: u32,
    /// Bytes of memory that it had when it was new.
    memory_at_first: usize,
}

impl Instance {
    pub(super) async fn new(prepared: &Prepared, guest: Guest) -> Result<Self> {
        let most = guest.limits.effect_bytes + guest.limits.assigns_bytes + guest.limits.room_bytes;
        let mut store = Store::new(prepared.component.component().engine(), guest);
        store.limiter(|guest| guest);
        // What one lifted call may cost the host: lists that alias one another would multiply.
        store.set_hostcall_fuel(most.saturating_mul(2));
        store.epoch_deadline_callback(|mut context| {
            context.data_mut().spend_epoch()?;
            Ok(UpdateDeadline::Yield(1))
        });
        store.set_epoch_deadline(1);
        store.data_mut().begin(None, None);
        let instance = prepared.component.instantiate_async(&mut store).await?;
        let channel = prepared.channel.load(&mut store, &instance).map_err(Misshapen::export("channel"))?;
        let handle_out = prepared.handle_out.as_ref().map(|found| found.load(&mut store, &instance));
        let handle_out = handle_out.transpose().map_err(Misshapen::export("handle-out"))?;
        let memory_at_first = store.data().memory_bytes();
        Ok(Self { store, channel, handle_out, calls: 0, memory_at_first })
    }

    pub(super) fn guest(&self) -> &Guest {
        self.store.data()
    }

    /// Whether it has taken more than a share, one in `share`, of the memory that it may still take when it is new.
    pub(super) fn has_grown(&self, share: usize) -> bool {
        let guest = self.store.data();
        let most = guest.limits.memory_bytes.saturating_sub(self.memory_at_first);
        guest.memory_bytes().saturating_sub(self.memory_at_first) > most / share
    }

    pub(super) async fn describe(&mut self) -> Result<Vec<Route>> {
        self.store.data_mut().record.open_reading();
        self.begin(None, None);
        self.channel.call_describe(&mut self.store).await
    }

    /// Runs a callback and holds what it gives to the limits.
    pub(super) async fn call(&mut self, call: Call) -> Result<Outcome> {
        let Call { member, assigns, room, timers, next_timer, callback } = call;
        self.store.data_mut().record.open(timers, next_timer, given(&callback));
        self.begin(Some(Arc::clone(&member)), Some(member.topic.clone()));
        let (topic, room) = (member.topic.as_str(), room.as_deref());
        let membership = Membership { id: member.id, topic, assigns: &assigns, room };
        let (store, channel) = (&mut self.store, &self.channel);
        let result = match &callback {
            Callback::Join(params) => {
                channel.call_join(store, member.id, topic, params.into(), room).await?.map(Outcome::from)
            }
            Callback::In { event, payload, reply_ref } => {
                let reply_ref = reply_ref.as_deref();
                channel.call_handle_in(store, membership, event, payload.into(), reply_ref).await?.map(Outcome::from)
            }
            Callback::Info(message) => {
                channel.call_handle_info(store, membership, message.into()).await?.map(Outcome::from)
            }
            Callback::Terminate(ending) => {
                channel.call_terminate(store, membership, ending.into()).await?.map(Outcome::ended)
            }
        };
        let outcome = result.map_err(Fault::failed)?;
        Ok(self.check(outcome)?)
    }

    /// Asks `handle-out` about an intercepted event.
    pub(super) async fn filter(&mut self, passing: &Passing) -> Result<Vec<Decision>> {
        self.store.data_mut().record.open_reading();
        self.begin(None, Some(passing.topic.clone()));
        let missing = || Fault::failed("the component doesn't export `handle-out`");
        let handle_out = self.handle_out.as_ref().ok_or_else(missing)?;
        let recipients: Vec<_> = passing.recipients.iter().map(Into::into).collect();
        let (topic, event, payload) = (passing.topic.as_str(), &*passing.event, (&passing.payload).into());
        let decisions = handle_out.call_handle_out(&mut self.store, topic, event, payload, &recipients).await?;
        let decisions: Vec<Decision> = decisions.map_err(Fault::failed)?.into_iter().map(Into::into).collect();
        let record = &mut self.store.data_mut().record;
        decisions.iter().try_for_each(|decision| record.check_decision(decision))?;
        Ok(decisions)
    }

    fn begin(&mut self, member: Option<Arc<Member>>, topic: Option<Topic>) {
        self.calls = self.calls.saturating_add(1);
        self.store.data_mut().begin(member, topic);
        self.store.set_epoch_deadline(1);
    }

    fn check(&mut self, mut outcome: Outcome) -> Result<Outcome, Fault> {
        let record = &mut self.store.data_mut().record;
        if let Some(assigns) = &outcome.assigns {
            record.check_assigns(assigns)?;
        }
        if let Some(room) = &outcome.room {
            record.check_room(room)?;
        }
        match &outcome.answer {
            Answer::None => {}
            Answer::Reply(reply) => record.check_reply(reply)?,
            Answer::Stop(stop) => stop.reply.iter().try_for_each(|reply| record.check_reply(reply))?,
            Answer::Admit(response) | Answer::Refuse(response) => record.check_response(response)?,
        }
        outcome.effects = record.take();
        Ok(outcome)
    }
}

/// The payload that a callback is given, which the guest may give back as it is.
fn given(callback: &Callback) -> Option<&Payload> {
    match callback {
        Callback::Join(payload) | Callback::In { payload, .. } => Some(payload),
        Callback::Info(message) => Some(&message.payload),
        Callback::Terminate(_) => None,
    }
}
