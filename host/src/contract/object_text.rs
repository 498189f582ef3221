//! The text of a JSON object of which there are many, and most are empty.

use std::fmt;
use std::ops::Deref;

/// The text of a JSON object. `{}` takes no allocation, because each socket has claims, and most have none in them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ObjectText(Option<Box<str>>);

const EMPTY: &str = "{}";

impl Deref for ObjectText {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_deref().unwrap_or(EMPTY)
    }
}

impl From<&str> for ObjectText {
    fn from(text: &str) -> Self {
        Self((text != EMPTY).then(|| text.into()))
    }
}

impl From<String> for ObjectText {
    fn from(text: String) -> Self {
        Self((text != EMPTY).then(|| text.into()))
    }
}

impl fmt::Display for ObjectText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for ObjectText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
