//! The request of a call for its member's seat.

use std::time::Duration;

use bytestring::ByteString;

/// The request of a call for its member's seat. A member has one seat, so only the last request of a call counts.
/// Otherwise a call that takes a thousand seats would cause a turn for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeatRequest {
    /// Whether the member gives up the seat that it had before the call.
    pub leaves: bool,
    /// The seat that the member takes after that, and its grace period.
    pub takes: Option<(ByteString, Duration)>,
}

impl SeatRequest {
    /// The call asks for a seat with this grace period.
    pub fn take(&mut self, name: ByteString, grace: Duration) {
        self.takes = Some((name, grace));
    }

    /// The call gives up the member's seat.
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
