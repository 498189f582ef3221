//! `handle_out` for the intercepted event `secret`. The member's mood chooses the decision.

use bennu_guest::bindings::bennu::channel::socket as imports;
use bennu_guest::prelude::*;

use super::entries;

/// A member's mood, a parameter of its join.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mood {
    /// The member gets the event.
    #[default]
    Pass,
    /// The member doesn't get the event.
    Drop,
    /// The member gets `{"for": MEMBER, "secret": ..}` instead.
    Replace,
    /// The member's `handle_info` gets the event, and pushes `handed_over`.
    HandOver,
    /// The member gets the event after half a second.
    Slow,
    /// The new payload isn't an object: a fault.
    ReplaceWithArray,
    /// Panics: a fault.
    Trap,
    /// Fails: a fault.
    Fail,
    /// Writes to the store in a callback that only reads: a fault.
    Store,
    /// Uses entries in a callback that has none: a fault.
    Entry,
    /// Asks for an effect in a callback that only reads: a fault. The SDK can't do this, so it calls the import
    /// directly.
    Ask,
}

impl Mood {
    pub(crate) fn decide(self, recipient: &Recipient, payload: &Payload) -> Decided {
        match self {
            Mood::Pass => Ok(Decision::Pass),
            Mood::Drop => Ok(Decision::Drop),
            Mood::Replace => {
                let secret: Value = payload.parse()?;
                Ok(Decision::replace(json!({ "for": recipient.member_id(), "secret": secret })))
            }
            Mood::HandOver => Ok(Decision::HandOver),
            Mood::Slow => {
                let until = now_ms() + 500;
                while now_ms() < until {}
                Ok(Decision::Pass)
            }
            // The SDK's own function would refuse it before the host does.
            Mood::ReplaceWithArray => Ok(Decision::Replace(json!([1]).into_payload())),
            Mood::Trap => panic!("asked to panic in handle_out"),
            Mood::Fail => fail("asked to fail in handle_out"),
            Mood::Store => {
                store::put("secret", true);
                Ok(Decision::Pass)
            }
            Mood::Entry => {
                entries::put_secret();
                Ok(Decision::Pass)
            }
            Mood::Ask => {
                imports::push("asked", payload);
                Ok(Decision::Pass)
            }
        }
    }
}
