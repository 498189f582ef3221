//! Who guards the mounts: the gatekeepers that are loaded, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::contract::Gatekeeper;

/// A component that decides who may connect, as far as it could be loaded.
#[derive(Clone)]
pub enum Guard {
    /// It decides.
    Present(Arc<dyn Gatekeeper>),
    /// Its file is there, and no build of it could be loaded: it lets nobody in.
    Absent,
}

/// What is to be done with a client that knocks at a mount.
#[derive(Clone)]
pub enum Guarding {
    /// There is no gatekeeper: nobody is asked.
    Open,
    /// This one is asked.
    By(Arc<dyn Gatekeeper>),
    /// The gatekeeper isn't there, or it isn't clear which one it is: nobody is let in.
    Closed,
}

/// All gatekeepers, by name.
#[derive(Clone, Default)]
pub struct Guards(BTreeMap<Arc<str>, Guard>);

impl Guards {
    /// These gatekeepers.
    pub fn new(guards: impl IntoIterator<Item = (Arc<str>, Guard)>) -> Self {
        Self(guards.into_iter().collect())
    }

    /// Who guards a mount whose configuration names this gatekeeper. One that isn't loaded lets nobody in.
    #[must_use]
    pub fn named(&self, name: &str) -> Guarding {
        self.0.get(name).map_or(Guarding::Closed, Guard::guarding)
    }

    /// Who guards a mount whose configuration says nothing of how to authenticate: the only gatekeeper there is. Where there
    /// are two, nobody is let in.
    #[must_use]
    pub fn only(&self) -> Guarding {
        let mut guards = self.0.values();
        match (guards.next(), guards.next()) {
            (None, _) => Guarding::Open,
            (Some(guard), None) => guard.guarding(),
            (Some(_), Some(_)) => Guarding::Closed,
        }
    }

    /// The names of those that decide.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }
}

impl Guard {
    fn guarding(&self) -> Guarding {
        match self {
            Self::Present(gatekeeper) => Guarding::By(Arc::clone(gatekeeper)),
            Self::Absent => Guarding::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Calling, Identity, Request, Verdict};

    struct Friendly;

    impl Gatekeeper for Friendly {
        fn connect(&self, _: Request) -> Calling<'_, Verdict> {
            Box::pin(async { Ok(Verdict::Granted(Identity::default())) })
        }
    }

    #[test]
    fn a_mount_is_open_only_where_there_is_no_gatekeeper_at_all() {
        let present = || Guard::Present(Arc::new(Friendly));
        let none = Guards::default();
        assert!(matches!(none.only(), Guarding::Open));
        assert!(matches!(none.named("gate"), Guarding::Closed));
        let one = Guards::new([("gate".into(), present())]);
        assert!(matches!(one.only(), Guarding::By(_)));
        assert!(matches!(one.named("gate"), Guarding::By(_)));
        assert!(matches!(one.named("other"), Guarding::Closed));
        let broken = Guards::new([("gate".into(), Guard::Absent)]);
        assert!(matches!(broken.only(), Guarding::Closed));
        assert!(matches!(broken.named("gate"), Guarding::Closed));
        let two = Guards::new([("gate".into(), present()), ("other".into(), Guard::Absent)]);
        assert!(matches!(two.only(), Guarding::Closed));
        assert!(matches!(two.named("gate"), Guarding::By(_)));
    }
}
