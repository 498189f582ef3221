//! One live instance, and the calls into it.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::{Result, Store, UpdateDeadline};

use super::backtrace::with_diagnostics;
use super::bindings::bennu::channel::types::{Membership, Route};
use super::call_kind::CallKind;
use super::capacity::CapacityPermit;
use super::exports::{Exports, Prepared};
use super::guest::{EntryAccess, Guest, Storage, Subject};
use super::http_phase::HttpPhase;
use super::pool::Borrowed;
use super::script;
use crate::contract::{
    Admission, Answer, Call, Callback, Capability, Decision, Fault, Outcome, Part, Passing, Request, TopicCall,
    TopicCallback, Upgrade,
};
use crate::entries::{CallEntries, StaleEntry};
use crate::protocol::Topic;
use crate::store::Draft;

/// The storage access of a call that may write, and of a call that may only read.
const WRITABLE: Storage = Storage::Open { may_write: true, draft: None, now_ms: None };
const READABLE: Storage = Storage::Open { may_write: false, draft: None, now_ms: None };

/// An instance of a component, with its wasmtime store. After an error the instance must be dropped: wasmtime never
/// allows a store in which a guest has trapped to be entered again.
pub(super) struct Instance {
    store: Store<Guest>,
    exports: Exports,
    /// The optional callbacks of the instance's script.
    pub(super) offers: Vec<String>,
    /// The kind of the call that it runs, for the counts.
    pub(super) kind: CallKind,
    /// The number of calls that the instance has run.
    pub(super) calls: u32,
    /// The size of the linear memory when the instance was created, in bytes.
    memory_at_first: usize,
    /// The instance's place among the instances of all plugins. The field is declared after `store`, so the place is
    /// freed after the instance's memory.
    place: Option<CapacityPermit>,
}

impl Instance {
    pub(super) async fn new(prepared: &Prepared, guest: Guest) -> Result<Self> {
        let limits = &guest.context.limits;
        let returned = limits.effect_bytes + limits.assigns_bytes + limits.room_bytes;
        let most = returned.saturating_add(limits.entries.write_bytes_per_call);
        let mut store = Store::new(prepared.component.component().engine(), guest);
        store.limiter(|guest| guest);
        // Limits the memory that the arguments of one host call take in the host. Without this limit, a guest could
        // pass lists that share the same bytes, and each list would be copied.
        store.set_hostcall_fuel(most.saturating_mul(2));
        store.epoch_deadline_callback(|mut context| {
            context.data_mut().spend_epoch()?;
            Ok(UpdateDeadline::Yield(1))
        });
        store.set_epoch_deadline(1);
        store.data_mut().begin(Subject::Nobody, None, Storage::Closed, EntryAccess::Closed);
        let instance = match prepared.component.instantiate_async(&mut store).await {
            Ok(instance) => instance,
            Err(error) => return Err(with_diagnostics(error, store.data_mut().take_diagnostics())),
        };
        let exports = prepared.exports(&mut store, &instance)?;
        let script = store.data().context.script.clone();
        let offers = match &script {
            Some(script) => script::evaluate(&mut store, &instance, script).await?,
            None => Vec::new(),
        };
        let memory_at_first = store.data().memory_bytes();
        Ok(Self { store, exports, offers, kind: CallKind::default(), calls: 0, memory_at_first, place: None })
    }

    /// Adds the instance's place among the instances of all plugins.
    pub(super) fn at(mut self, place: CapacityPermit) -> Self {
        self.place = Some(place);
        self
    }

    pub(super) fn guest_mut(&mut self) -> &mut Guest {
        self.store.data_mut()
    }

    /// Whether the memory has grown by more than `1 / share` of the growth that the limit allows a new instance.
    pub(super) fn has_grown(&self, share: usize) -> bool {
        let guest = self.store.data();
        let most = guest.context.limits.memory_bytes.saturating_sub(self.memory_at_first);
        guest.memory_bytes().saturating_sub(self.memory_at_first) > most / share
    }

    pub(super) async fn describe(&mut self) -> Result<Vec<Route>> {
        self.store.data_mut().record.open_with(Capability::Reads, None);
        self.begin(Subject::Nobody, None, Storage::Closed);
        self.exports.channel()?.call_describe(&mut self.store).await
    }

    /// Runs a callback of a topic, and checks the outcome against the limits.
    pub(super) async fn call_topic(&mut self, call: &TopicCall, entries: EntryAccess) -> Result<Outcome> {
        let TopicCall { topic, room, callback } = call;
        self.store.data_mut().record.open_with(Capability::Topic, callback.given());
        let fired = callback.fired().map(|fired| Subject::Fired(fired.clone()));
        let subject = fired.or(callback.answer_ref().map(Subject::Message)).unwrap_or(Subject::Nobody);
        self.begin_with(entries, subject, Some(topic.clone()), WRITABLE);
        let (store, name, room) = (&mut self.store, topic.as_str(), room.as_deref());
        let called = match callback {
            TopicCallback::Message { event, payload, .. } => {
                let export = self.exports.handle_message()?;
                export.call_handle_message(store, name, event, payload.into(), room).await?.map(Outcome::from)
            }
            TopicCallback::Info(info) => {
                let export = self.exports.handle_topic_info()?;
                let message = (&info.message).into();
                export.call_handle_topic_info(store, name, message, room).await?.map(Outcome::of_room)
            }
            TopicCallback::Tick(tick) => self
                .exports
                .handle_tick()?
                .call_handle_tick(store, name, (*tick).into(), room)
                .await?
                .map(Outcome::of_room),
            TopicCallback::Seat { name: seat, change } => {
                let export = self.exports.handle_seat()?;
                export.call_handle_seat(store, name, seat, (*change).into(), room).await?.map(Outcome::of_room)
            }
        };
        Ok(self.check(called.map_err(Fault::failed)?)?)
    }

    /// Upgrades a state that another version wrote, and checks the new state against the limits.
    pub(super) async fn upgrade(&mut self, upgrade: &Upgrade) -> Result<Bytes> {
        let Upgrade { topic, part, version, state } = upgrade;
        self.store.data_mut().record.open_with(Capability::Reads, None);
        self.begin(Subject::Nobody, Some(topic.clone()), Storage::Closed);
        let (store, export) = (&mut self.store, self.exports.upgrade()?);
        let called = export.call_upgrade(store, topic.as_str(), (*part).into(), *version, state).await?;
        let state = Bytes::from(called.map_err(|why| Fault::upgrade_refused(&why))?);
        let record = &self.store.data().record;
        match part {
            Part::Assigns => record.check_assigns(&state)?,
            Part::Room => record.check_room(&state)?,
        }
        Ok(state)
    }

    /// Upgrades an entry that another version wrote. The inner error is the plugin's reason for a refusal.
    pub(super) async fn upgrade_entry(&mut self, topic: &Topic, stale: &StaleEntry) -> Result<Result<Vec<u8>, String>> {
        let StaleEntry { key, version, value } = stale;
        self.store.data_mut().record.open_with(Capability::Reads, None);
        self.begin(Subject::Nobody, Some(topic.clone()), Storage::Closed);
        let (store, export) = (&mut self.store, self.exports.upgrade_entry()?);
        export.call_upgrade_entry(store, topic.as_str(), key, *version, value).await
    }

    /// Calls `handle-out` for an intercepted event.
    pub(super) async fn filter(&mut self, passing: &Passing) -> Result<Vec<Decision>> {
        self.store.data_mut().record.open_with(Capability::Reads, None);
        self.begin(Subject::Nobody, Some(passing.topic.clone()), READABLE);
        let recipients: Vec<_> = passing.recipients.iter().map(Into::into).collect();
        let (topic, event, payload) = (passing.topic.as_str(), &*passing.event, (&passing.payload).into());
        let (store, export) = (&mut self.store, self.exports.handle_out()?);
        let decisions = export.call_handle_out(store, topic, event, payload, &recipients).await?;
        let decisions: Vec<Decision> = decisions.map_err(Fault::failed)?.into_iter().map(Into::into).collect();
        let record = &mut self.store.data_mut().record;
        decisions.iter().try_for_each(|decision| record.check_decision(decision))?;
        Ok(decisions)
    }

    /// Asks a gatekeeper for a decision about a request. Also returns what the call has read of the store.
    pub(super) async fn connect(&mut self, request: Request) -> Result<(Admission, Option<Box<Draft>>)> {
        self.store.data_mut().record.open_with(Capability::Reads, None);
        self.begin(Subject::Request(Arc::new(request)), None, READABLE);
        let admission = self.exports.connect()?.call_connect(&mut self.store).await?.map_err(Fault::failed)?;
        Ok((Admission::from(admission).checked()?, self.store.data_mut().take_draft()))
    }

    /// Begins a call without entries.
    fn begin(&mut self, subject: Subject, topic: Option<Topic>, storage: Storage) {
        self.begin_with(EntryAccess::Closed, subject, topic, storage);
    }

    fn begin_with(&mut self, entries: EntryAccess, subject: Subject, topic: Option<Topic>, storage: Storage) {
        self.calls = self.calls.saturating_add(1);
        self.store.data_mut().begin(subject, topic, storage, entries);
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
        outcome.draft = self.store.data_mut().take_draft();
        outcome.entries = self.store.data_mut().take_entries();
        Ok(outcome)
    }
}

impl Borrowed<'_> {
    /// Runs a callback of a member, and checks the outcome against the limits. If the call has ended because entries have to
    /// be upgraded before it runs again, `unfinished` gets its entries, and the returned fault doesn't count.
    ///
    /// The function awaits wasmtime's own future directly. Every future that wraps another one is moved in memory
    /// once more, and most turns make this call.
    pub(super) async fn call(
        mut self,
        call: &Call,
        entries: EntryAccess,
        unfinished: Option<&mut Option<Box<CallEntries>>>,
    ) -> Result<Outcome, Fault> {
        let Call { member, assigns, room, usage, callback } = call;
        let instance = &mut *self.instance;
        let record = &mut instance.store.data_mut().record;
        match usage {
            Some(usage) => record.open((**usage).clone(), callback.given()),
            None => record.open_with(Capability::Member, callback.given()),
        }
        instance.begin_with(entries, Subject::Member(Arc::clone(member)), Some(member.topic.clone()), WRITABLE);
        // A member that has ended must not wait.
        if matches!(callback, Callback::Terminate(_)) {
            instance.store.data_mut().http = HttpPhase::Closed;
        }
        let (topic, room) = (member.topic.as_str(), room.as_deref());
        let membership = Membership { id: member.id, topic, assigns, room };
        let (store, channel) = (&mut instance.store, instance.exports.channel()?);
        let called = match callback {
            Callback::Join(params) => {
                let called = channel.call_join(store, member.id, topic, params.into(), room).await;
                called.map(|admission| admission.map(Outcome::from))
            }
            Callback::In { event, payload, reply_ref } => {
                let arguments = (membership, &**event, payload.into(), reply_ref.as_deref());
                let called = channel.func_handle_in().call_async(store, arguments).await;
                called.map(|(outcome,)| outcome.map(Outcome::from))
            }
            Callback::Info(message) => {
                let called = channel.func_handle_info().call_async(store, (membership, message.into())).await;
                called.map(|(outcome,)| outcome.map(Outcome::from))
            }
            Callback::Terminate(ending) => {
                let called = channel.call_terminate(store, membership, ending.into()).await;
                called.map(|room| room.map(Outcome::of_room))
            }
        };
        let checked = called.and_then(|outcome| Ok(instance.check(outcome.map_err(Fault::failed)?)?));
        if let Some(unfinished) = unfinished {
            *unfinished = instance.guest_mut().take_unfinished();
        }
        self.settle(checked)
    }
}
