//! A fuzz target of the bodies of requests: see `crate::fuzz`.

use bytes::Bytes;

use super::body::Body;
use super::config::Reload;
use super::members::{Kick, ToMembers};
use super::messages::{Disconnect, Events, check_names};
use super::schedules::Named;
use crate::protocol::{NAME_BYTES_MAX, Payload};

/// The body of any call of the API.
pub(crate) fn body(bytes: &[u8]) -> bool {
    let body = Body(Bytes::copy_from_slice(bytes));
    let events = match Events::read(&body) {
        Ok(Events::One(event)) => vec![*event],
        Ok(Events::Many(events)) => events,
        Err(_) => Vec::new(),
    };
    for event in &events {
        if check_names(event).is_ok() {
            assert!((1..=NAME_BYTES_MAX).contains(&event.topic.len()) && !event.event.is_empty());
        }
        if let Ok(Payload::Json(text)) = event.payload(Payload::check_object) {
            assert!(text.trim_start().starts_with('{'), "{text} is an object");
        }
    }
    let others = [
        body.read::<Disconnect>().is_ok(),
        body.read::<ToMembers>().is_ok(),
        body.read::<Kick>().is_ok(),
        body.read::<Named>().is_ok(),
        body.read::<Reload>().is_ok(),
    ];
    !events.is_empty() || others.contains(&true)
}
