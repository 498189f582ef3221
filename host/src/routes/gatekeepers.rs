//! The gatekeepers that decide about connections, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::contract::Gatekeeper;

/// A gatekeeper, loaded or not.
#[derive(Clone)]
pub enum NamedGatekeeper {
    /// It is loaded.
    Present(Arc<dyn Gatekeeper>),
    /// Its file exists, but no build of it could be loaded. It refuses every client.
    Absent,
}

/// How a client is admitted at a mount.
#[derive(Clone)]
pub enum GatekeeperChoice {
    /// There is no gatekeeper: every client is admitted.
    Open,
    /// This gatekeeper decides.
    By(Arc<dyn Gatekeeper>),
    /// The gatekeeper isn't loaded, or there is more than one: every client is refused.
    Closed,
}

/// All gatekeepers, by name.
#[derive(Clone, Default)]
pub struct Gatekeepers(BTreeMap<Arc<str>, NamedGatekeeper>);

impl Gatekeepers {
    /// Creates the set of these gatekeepers.
    pub fn new(gatekeepers: impl IntoIterator<Item = (Arc<str>, NamedGatekeeper)>) -> Self {
        Self(gatekeepers.into_iter().collect())
    }

    /// Returns the choice for a mount whose configuration names this gatekeeper. If the gatekeeper isn't loaded, every
    /// client is refused.
    #[must_use]
    pub fn named(&self, name: &str) -> GatekeeperChoice {
        self.0.get(name).map_or(GatekeeperChoice::Closed, NamedGatekeeper::choice)
    }

    /// Returns the choice for a mount whose configuration doesn't say how clients authenticate. The only gatekeeper
    /// decides. If there are two or more, every client is refused.
    #[must_use]
    pub fn only(&self) -> GatekeeperChoice {
        let mut gatekeepers = self.0.values();
        match (gatekeepers.next(), gatekeepers.next()) {
            (None, _) => GatekeeperChoice::Open,
            (Some(gatekeeper), None) => gatekeeper.choice(),
            (Some(_), Some(_)) => GatekeeperChoice::Closed,
        }
    }

    /// Returns the names of all gatekeepers, loaded or not.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }
}

impl NamedGatekeeper {
    fn choice(&self) -> GatekeeperChoice {
        match self {
            Self::Present(gatekeeper) => GatekeeperChoice::By(Arc::clone(gatekeeper)),
            Self::Absent => GatekeeperChoice::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Admission, CallFuture, Identity, Request};

    struct Friendly;

    impl Gatekeeper for Friendly {
        fn connect(&self, _: Request) -> CallFuture<'_, Admission> {
            Box::pin(async { Ok(Admission::Granted(Identity::default())) })
        }
    }

    #[test]
    fn a_mount_is_open_only_if_there_is_no_gatekeeper() {
        let present = || NamedGatekeeper::Present(Arc::new(Friendly));
        let none = Gatekeepers::default();
        assert!(matches!(none.only(), GatekeeperChoice::Open));
        assert!(matches!(none.named("gate"), GatekeeperChoice::Closed));
        let one = Gatekeepers::new([("gate".into(), present())]);
        assert!(matches!(one.only(), GatekeeperChoice::By(_)));
        assert!(matches!(one.named("gate"), GatekeeperChoice::By(_)));
        assert!(matches!(one.named("other"), GatekeeperChoice::Closed));
        let broken = Gatekeepers::new([("gate".into(), NamedGatekeeper::Absent)]);
        assert!(matches!(broken.only(), GatekeeperChoice::Closed));
        assert!(matches!(broken.named("gate"), GatekeeperChoice::Closed));
        let two = Gatekeepers::new([("gate".into(), present()), ("other".into(), NamedGatekeeper::Absent)]);
        assert!(matches!(two.only(), GatekeeperChoice::Closed));
        assert!(matches!(two.named("gate"), GatekeeperChoice::By(_)));
    }
}
