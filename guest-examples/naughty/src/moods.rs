//! What becomes of the intercepted event `secret` when it is about to reach a member.

use bennu_guest::bindings::bennu::channel::socket as imports;
use bennu_guest::prelude::*;

/// A member's mood, given with its join.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mood {
    /// It gets the event.
    #[default]
    Pass,
    /// It doesn't.
    Drop,
    /// It gets `{"for": MEMBER, "secret": ..}` instead.
    Replace,
    /// Its `handle_info` gets it, and pushes `handed_over`.
    HandOver,
    /// It gets the event after half a second.
    Slow,
    /// It gets what is no object: a fault.
    ReplaceWithArray,
    /// It panics: a fault.
    Trap,
    /// It fails: a fault.
    Fail,
    /// It stores something where it may only read: a fault.
    Store,
    /// It asks for an effect where it may only read: a fault. The SDK has no words for this, so it goes past it.
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
            Mood::ReplaceWithArray => Ok(Decision::replace(json!([1]))),
            Mood::Trap => panic!("asked to panic in handle_out"),
            Mood::Fail => fail("asked to fail in handle_out"),
            Mood::Store => {
                store::put("secret", true);
                Ok(Decision::Pass)
            }
            Mood::Ask => {
                imports::push("asked", payload);
                Ok(Decision::Pass)
            }
        }
    }
}
