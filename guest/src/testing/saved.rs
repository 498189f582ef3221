//! A state as the host keeps it: its bytes, and the version that wrote them.

use super::Fault;
use super::facts::Facts;
use super::record::Record;
use super::recorder;
use super::terms::Terms;
use crate::bindings::exports::bennu::channel::upgrade::Part;

/// A member's state, or a topic's.
#[derive(Clone, Debug, Default)]
pub(super) struct Saved {
    pub(super) bytes: Vec<u8>,
    pub(super) version: u32,
}

/// The states that a callback is given.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// None where there is no member.
    pub(super) assigns: Option<Saved>,
    /// None where nobody has written it yet.
    pub(super) room: Option<Saved>,
}

impl Standing {
    /// A member's state and its topic's as the contract hands them over.
    pub(super) fn into_bytes(self) -> (Vec<u8>, Option<Vec<u8>>) {
        (self.assigns.unwrap_or_default().bytes, self.room.map(|room| room.bytes))
    }

    /// These states as a channel writes them: those of another version are upgraded.
    pub(super) fn fit(&self, terms: &Terms, topic: &str, facts: &Facts) -> Result<Self, Fault> {
        let fit = |saved: &Option<Saved>, part| {
            saved.as_ref().map(|saved| saved.fit(terms, (topic, part), facts)).transpose()
        };
        Ok(Self { assigns: fit(&self.assigns, Part::Assigns)?, room: fit(&self.room, Part::Room)? })
    }

    /// The states after a callback that gave these, where they changed.
    pub(super) fn and(self, terms: &Terms, assigns: Option<Vec<u8>>, room: Option<Vec<u8>>) -> Self {
        let new = |bytes, part| Saved { bytes, version: terms.version(part) };
        Self {
            assigns: assigns.map(|bytes| new(bytes, Part::Assigns)).or(self.assigns),
            room: match room {
                // Without bytes it is as if nobody had written it.
                Some(bytes) if bytes.is_empty() => None,
                Some(bytes) => Some(new(bytes, Part::Room)),
                None => self.room,
            },
        }
    }
}

impl Saved {
    /// This state as a channel writes it.
    fn fit(&self, terms: &Terms, (topic, part): (&str, Part), facts: &Facts) -> Result<Self, Fault> {
        let version = terms.version(part);
        if self.version == version {
            return Ok(self.clone());
        }
        let upgrade = || (terms.upgrade)(topic, part, self.version, self.bytes.clone());
        let (bytes, record) = recorder::run(Record::upgrading(facts.clone()), upgrade);
        let bytes = bytes.map_err(|fault| match fault.kind {
            "failed" => Fault::failed(format!("its upgrade refused: {}", fault.detail)),
            _ => fault,
        })?;
        record.check_state(part, &bytes)?;
        Ok(Self { bytes, version })
    }
}
