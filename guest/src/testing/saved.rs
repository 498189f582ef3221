//! A state as the host keeps it: its bytes, and the version that wrote them.

use super::Fault;
use super::facts::Facts;
use super::record::Record;
use super::recorder;
use super::terms::RouteTerms;
use crate::bindings::exports::bennu::channel::upgrade::Part;

/// A member's state, or a topic's.
#[derive(Clone, Debug, Default)]
pub(super) struct Saved {
    pub(super) bytes: Vec<u8>,
    pub(super) version: u32,
}

/// The states that a callback is given.
#[derive(Clone, Debug, Default)]
pub(super) struct StateSnapshot {
    /// None where there is no member.
    pub(super) assigns: Option<Saved>,
    /// None where nobody has written it yet.
    pub(super) room: Option<Saved>,
}

impl StateSnapshot {
    /// A member's state and its topic's as the contract hands them over.
    pub(super) fn into_bytes(self) -> (Vec<u8>, Option<Vec<u8>>) {
        // A room without bytes is as if nobody had written it.
        let room = self.room.map(|room| room.bytes).filter(|room| !room.is_empty());
        (self.assigns.unwrap_or_default().bytes, room)
    }

    /// These states as a channel writes them: those of another version are upgraded. What an upgrade draws of ids is drawn of
    /// the facts.
    pub(super) fn upgraded(&self, terms: &RouteTerms, topic: &str, facts: &mut Facts) -> Result<Self, Fault> {
        let mut fit = |saved: &Option<Saved>, part| {
            saved.as_ref().map(|saved| saved.fit(terms, (topic, part), facts)).transpose()
        };
        Ok(Self { assigns: fit(&self.assigns, Part::Assigns)?, room: fit(&self.room, Part::Room)? })
    }

    /// The states after a callback that gave these, where they changed.
    pub(super) fn and(self, terms: &RouteTerms, assigns: Option<Vec<u8>>, room: Option<Vec<u8>>) -> Self {
        let new = |bytes, part| Saved { bytes, version: terms.version(part) };
        Self {
            assigns: assigns.map(|bytes| new(bytes, Part::Assigns)).or(self.assigns),
            room: room.map(|bytes| new(bytes, Part::Room)).or(self.room),
        }
    }
}

impl Saved {
    /// This state as a channel writes it.
    fn fit(&self, terms: &RouteTerms, (topic, part): (&str, Part), facts: &mut Facts) -> Result<Self, Fault> {
        let version = terms.version(part);
        if self.version == version || self.bytes.is_empty() {
            return Ok(self.clone());
        }
        // What the host refuses meanwhile is its own fault, and no refusal.
        let refused = |why| format!("its upgrade refused: {why}");
        let upgrade = || (terms.upgrade)(topic, part, self.version, self.bytes.clone()).map_err(refused);
        let (bytes, record) = recorder::run(Record::upgrading(facts.clone()), upgrade);
        facts.drawn = record.facts.drawn;
        let bytes = bytes?;
        record.check_state(part, &bytes)?;
        Ok(Self { bytes, version })
    }
}
