//! Who guards the mounts: the gatekeepers that are loaded, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::contract::Gatekeeper;

/// A component that decides who may connect, as far as it could be loaded.
#[derive(Clone)]
pub enum NamedGatekeeper {
    /// It decides.
    Present(Arc<dyn Gatekeeper>),
    /// Its file is there, and no build of it could be loaded: it lets nobody in.
    Absent,
}

/// What is to be done with a client that knocks at a mount.
#[derive(Clone)]
pub enum GatekeeperChoice {
    /// There is no gatekeeper: nobody is asked.
    Open,
    /// This one is asked.
    By(Arc<dyn Gatekeeper>),
    /// The gatekeeper isn't there, or it isn't clear which one it is: nobody is let in.
    Closed,
}

/// All gatekeepers, by name.
#[derive(Clone, Default)]
pub struct Gatekeepers(BTreeMap<Arc<str>, NamedGatekeeper>);

impl Gatekeepers {
    /// These gatekeepers.
    pub fn new(gatekeepers: impl IntoIterator<Item = (Arc<str>, NamedGatekeeper)>) -> Self {
        Self(gatekeepers.into_iter().collect())
    }

    /// Who guards a mount whose configuration names this gatekeeper. One that isn't loaded lets nobody in.
    #[must_use]
    pub fn named(&self, name: &str) -> GatekeeperChoice {
        self.0.get(name).map_or(GatekeeperChoice::Closed, NamedGatekeeper::choice)
    }

    /// Who guards a mount whose configuration says nothing of how to authenticate: the only gatekeeper there is. Where there
    /// are two, nobody is let in.
    #[must_use]
    pub fn only(&self) -> GatekeeperChoice {
        let mut gatekeepers = self.0.values();
        match (gatekeepers.next(), gatekeepers.next()) {
            (None, _) => GatekeeperChoice::Open,
            (Some(gatekeeper), None) => gatekeeper.choice(),
            (Some(_), Some(_)) => GatekeeperChoice::Closed,
        }
    }

    /// The names of those that decide.
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
    fn a_mount_is_open_only_where_there_is_no_gatekeeper_at_all() {
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
