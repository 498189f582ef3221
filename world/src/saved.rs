//! A state as a host keeps it: its bytes, and the version that wrote them.

use bennu_semantics::{CallLimits, Fault, Part, Record, RouteSpec, Topic, Upgrade};
use bytes::Bytes;

use crate::{CallContext, Callbacks, Entries, HostFacts};

/// A member's state, or a topic's.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// The state.
    pub bytes: Bytes,
    /// The version that wrote it.
    pub version: u32,
}

/// The states for a callback.
#[derive(Clone, Debug, Default)]
pub struct StateSnapshot {
    /// `None` without a member.
    pub assigns: Option<Saved>,
    /// `None` if no callback has written it yet.
    pub room: Option<Saved>,
    /// `None` if the topic has no entries. Clones of a snapshot share them: a call changes them only at its commit.
    pub entries: Option<Entries>,
}

impl StateSnapshot {
    /// The bytes of both, as the contract passes them.
    #[must_use]
    pub fn bytes(&self) -> (Bytes, Option<Bytes>) {
        let assigns = self.assigns.as_ref().map(|assigns| assigns.bytes.clone());
        // A room without bytes counts as a room that was never written.
        let room = self.room.as_ref().map(|room| room.bytes.clone()).filter(|room| !room.is_empty());
        (assigns.unwrap_or_default(), room)
    }

    /// These states in the versions of a route's build. States of other versions are upgraded.
    ///
    /// # Errors
    /// If an upgrade failed or was refused.
    pub fn upgraded(
        &self,
        callbacks: &mut impl Callbacks,
        host: &mut HostFacts,
        route: (&RouteSpec, &Topic),
    ) -> Result<Self, Fault> {
        let mut upgrade = |saved: &Option<Saved>, part| {
            saved.as_ref().map(|saved| saved.upgraded(callbacks, host, route, part)).transpose()
        };
        let (assigns, room) = (upgrade(&self.assigns, Part::Assigns)?, upgrade(&self.room, Part::Room)?);
        Ok(Self { assigns, room, entries: self.entries.clone() })
    }

    /// The states after a callback that returned these new ones.
    pub(crate) fn and(self, spec: &RouteSpec, assigns: Option<Bytes>, room: Option<Bytes>) -> Self {
        let new = |bytes, part: Part| Saved { bytes, version: part.version(spec) };
        Self {
            assigns: assigns.map(|bytes| new(bytes, Part::Assigns)).or(self.assigns),
            room: room.map(|bytes| new(bytes, Part::Room)).or(self.room),
            entries: self.entries,
        }
    }
}

impl Saved {
    /// This state in the version of a route's build.
    fn upgraded(
        &self,
        callbacks: &mut impl Callbacks,
        host: &mut HostFacts,
        (spec, topic): (&RouteSpec, &Topic),
        part: Part,
    ) -> Result<Self, Fault> {
        let version = part.version(spec);
        if self.version == version || self.bytes.is_empty() {
            return Ok(self.clone());
        }
        let upgrade = Upgrade { topic: topic.clone(), part, version: self.version, state: self.bytes.clone() };
        let mut context = CallContext::upgrading(std::mem::take(host));
        let upgraded = callbacks.upgrade(upgrade, &mut context);
        *host = context.end().host;
        let bytes = upgraded?.unwrap_or_else(|| self.bytes.clone());
        let record = Record::new(CallLimits::default());
        match part {
            Part::Assigns => record.check_assigns(&bytes)?,
            Part::Room => record.check_room(&bytes)?,
        }
        Ok(Self { bytes, version })
    }
}
