//! Imports of schedules: they are checked like other effects, and go into the call's draft.

use wasmtime::Result;

use super::super::bindings::bennu::channel::schedule;
use super::super::bindings::bennu::channel::types::PayloadResult;
use super::super::guest::{Guest, Subject};
use super::store::read_fault;
use super::waited;
use crate::contract::jobs::{JobKind, JobRow, Schedule};
use crate::contract::{Effect, Fault};

impl Guest {
    /// Checks an effect that is written to the store: the grant, and the limits of the call.
    fn check_stored(&mut self, mut effect: Effect) -> Result<Effect, Fault> {
        self.reach()?.check(&effect, None)?;
        self.record.check_stored(&mut effect)?;
        Ok(effect)
    }

    fn set_schedule(&mut self, topic: &str, key: &str, row: Option<&JobRow>) -> Result<()> {
        let set = self.draft(true)?.set_job(JobKind::Schedule, topic, key, row);
        Ok(set.map_err(|oversize| Fault::oversize(oversize.to_string()))?)
    }
}

impl schedule::Host for Guest {
    fn schedule(
        &mut self,
        topic: String,
        at_ms: u64,
        key: String,
        event: String,
        payload: PayloadResult,
    ) -> Result<()> {
        let (topic, key, event) = (topic.into(), key.into(), event.into());
        let schedule = Box::new(Schedule { topic, at_ms, key, event, payload: payload.into() });
        if let Effect::Schedule(schedule) = self.check_stored(Effect::Schedule(schedule))? {
            let Schedule { topic, at_ms, key, event, payload } = *schedule;
            self.set_schedule(topic.as_str(), &key, Some(&JobRow::new(at_ms, event, payload)))?;
        }
        Ok(())
    }

    fn cancel_schedule(&mut self, topic: String, key: String) -> Result<()> {
        self.check_stored(Effect::CancelSchedule { topic: topic.as_str().into(), key: key.as_str().into() })?;
        self.set_schedule(&topic, &key, None)
    }

    async fn get(&mut self, topic: String, key: String) -> Result<Option<u64>> {
        self.reach()?.check_schedulable(&topic)?;
        let (read, has_waited) = waited(self.draft(false)?.job(JobKind::Schedule, &topic, &key)).await;
        self.has_waited |= has_waited;
        Ok(read.map_err(|error| read_fault(&error))?.map(|job| job.row.due_ms))
    }

    fn due(&mut self) -> Result<Option<u64>> {
        Ok(match &self.subject {
            Subject::Fired(fired) => Some(fired.due_ms),
            Subject::Nobody | Subject::Member(_) | Subject::Message(_) | Subject::Request(_) => None,
        })
    }

    fn key(&mut self) -> Result<Option<String>> {
        Ok(match &self.subject {
            Subject::Fired(fired) => fired.key.as_deref().map(str::to_owned),
            Subject::Nobody | Subject::Member(_) | Subject::Message(_) | Subject::Request(_) => None,
        })
    }
}
