//! What a call does with its member's seat.

use std::time::Duration;

use bytestring::ByteString;

/// What a call does with its member's seat. A member has one seat, so of all that a call asks for the last counts: a call that
/// took a thousand seats one after another would have the plugin told of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeatRequest {
    /// Whether it gives up the seat that it had before the call.
    pub leaves: bool,
    /// The seat that it takes then, and for how long that is kept.
    pub takes: Option<(ByteString, Duration)>,
}

impl SeatRequest {
    /// The call asks for a seat, which is kept for so long.
    pub fn take(&mut self, name: ByteString, grace: Duration) {
        self.takes = Some((name, grace));
    }

    /// The call gives the member's seat up.
    pub fn leave(&mut self) {
        *self = Self { leaves: true, takes: None };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_request_of_a_call_counts() {
        let (mut request, second) = (SeatRequest::default(), Duration::from_secs(1));
        request.take("a".into(), second);
        request.take("b".into(), second);
        assert_eq!(request, SeatRequest { leaves: false, takes: Some(("b".into(), second)) });
        request.leave();
        assert_eq!(request, SeatRequest { leaves: true, takes: None });
        request.take("c".into(), second);
        assert_eq!(request, SeatRequest { leaves: true, takes: Some(("c".into(), second)) });
    }
}
