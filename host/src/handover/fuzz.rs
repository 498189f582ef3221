//! A fuzz target of the messages of a hand-over: see `crate::fuzz`.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Answer, Request};

/// A message in each line, of either side. One that is read is written and read again unchanged.
pub(crate) fn messages(bytes: &[u8]) -> bool {
    let mut is_read = false;
    for line in bytes.split(|byte| *byte == b'\n') {
        is_read |= is_message::<Request>(line) | is_message::<Answer>(line);
    }
    is_read
}

fn is_message<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(message) = serde_json::from_slice::<T>(bytes) else { return false };
    let written = serde_json::to_vec(&message).expect("a message has no value that JSON lacks");
    let again: T = serde_json::from_slice(&written).expect("it was written here");
    assert_eq!(again, message);
    true
}
