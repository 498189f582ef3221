//! A request as untrusted code asks for it, the same request after all checks, and its answer.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::target::Target;

/// A request as untrusted code asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method, such as `GET`, in upper case.
    pub method: String,
    /// The URL.
    pub url: String,
    /// Names and values of headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// The time from now to the end of the answer, if it is to be shorter than the limit of the host.
    pub timeout: Option<Duration>,
}

/// A request that [`Access::check`](crate::Access::check) allows.
#[derive(Clone, Debug)]
pub struct Checked {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) timeout: Option<Duration>,
    pub(crate) at_most_once: bool,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers, with names in lower case. If the body was compressed, `content-encoding` and `content-length` are missing.
    pub headers: Vec<(String, String)>,
    /// The decoded body.
    pub body: Bytes,
}

impl Checked {
    /// Sets a header of the host's own, such as a signature. It replaces the caller's. `value` must be visible ASCII; any other
    /// value leaves the header out.
    pub fn set(&mut self, name: &'static str, value: &str) {
        let name = HeaderName::from_static(name);
        match HeaderValue::try_from(value) {
            Ok(value) => drop(self.headers.insert(name, value)),
            Err(_) => drop(self.headers.remove(name)),
        }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The value of a header that the caller has set.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The server must get the request at most once. Without this, a `GET` or a `HEAD` that a server has perhaps received is sent again
    /// if it was sent on a connection that was used before, and the connection ends without an answer.
    pub fn send_at_most_once(&mut self) {
        self.at_most_once = true;
    }

    /// Lowers the limit of time. Returns whether it was longer before.
    pub fn shorten(&mut self, most: Duration) -> bool {
        let is_shorter = self.timeout.is_none_or(|time| most < time);
        if is_shorter {
            self.timeout = Some(most);
        }
        is_shorter
    }

    /// The URL.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }
}

/// Whether a header belongs to the client itself: it frames the message, or is about the connection.
pub(crate) fn is_reserved(name: &HeaderName) -> bool {
    const RESERVED: [HeaderName; 9] = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
        header::TRAILER,
        header::EXPECT,
        header::ACCEPT_ENCODING,
    ];
    let name_text = name.as_str();
    RESERVED.contains(name) || name_text.starts_with("proxy-") || name_text == "keep-alive"
}
