//! The prefixes of published entries that a member follows.

use bytestring::ByteString;

use crate::entries::Followed;
use crate::limits::keys;
use crate::{CallLimits, Effect, Fault, limit_key};

/// The prefixes that a member follows, as its calls have asked for them. A member that has never followed a prefix has no
/// such value: it follows all published entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Follows(Vec<ByteString>);

impl Follows {
    /// Whether this prefix is one of them.
    #[must_use]
    pub fn contains(&self, prefix: &ByteString) -> bool {
        self.0.contains(prefix)
    }

    /// Returns the set that the prefixes make.
    #[must_use]
    pub fn set(&self) -> Followed {
        Followed::new(self.0.iter().map(|prefix| &**prefix))
    }

    /// Carries out an effect, if it concerns the prefixes.
    pub fn carry_out(follows: &mut Option<Box<Self>>, effect: &Effect) {
        match effect {
            Effect::Follow { prefix } => Self::add(follows, prefix),
            Effect::Unfollow { prefix } => Self::remove(follows, prefix),
            _ => {}
        }
    }

    /// The set that a member follows after these effects of its join. None means all entries.
    #[must_use]
    pub fn after_join(effects: &[Effect]) -> Option<Followed> {
        let mut follows = None;
        effects.iter().for_each(|effect| Self::carry_out(&mut follows, effect));
        follows.map(|follows| follows.set())
    }

    fn add(follows: &mut Option<Box<Self>>, prefix: &ByteString) {
        let Self(prefixes) = &mut **follows.get_or_insert_default();
        if !prefixes.contains(prefix) {
            prefixes.push(prefix.clone());
        }
    }

    fn remove(follows: &mut Option<Box<Self>>, prefix: &ByteString) {
        follows.iter_mut().for_each(|follows| follows.0.retain(|other| other != prefix));
    }

    /// Adds a prefix, if the limits allow it.
    pub(crate) fn follow(
        follows: &mut Option<Box<Self>>,
        prefix: &ByteString,
        limits: &CallLimits,
    ) -> Result<(), Fault> {
        let most = limits.entries.follows_per_member;
        Self::add(follows, prefix);
        if follows.as_ref().is_some_and(|follows| follows.0.len() > most) {
            let key = limit_key(keys::FOLLOWS_PER_MEMBER, most);
            return Err(Fault::oversize(format!("a member follows at most {most} prefixes of published entries{key}")));
        }
        Ok(())
    }

    pub(crate) fn unfollow(follows: &mut Option<Box<Self>>, prefix: &ByteString) {
        Self::remove(follows, prefix);
    }
}
