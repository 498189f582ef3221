//! An HTTP client for requests that untrusted code asks for.
//!
//! ```text
//! Request ──► Access::check ──► Checked ──► Client::send ──► network ──► address rules ──► connection ──► TLS ──► Answer
//!              grants, URL rules                 ▲                                                           │
//!                                                └──────────────── a redirect is checked like the first URL ◄┘
//! ```
//!
//! [`Access`] has the grants of one plugin, and the headers with secrets that the host adds for it. [`Client`] is one for the
//! host. It connects only to addresses that it has checked, and it bounds bytes, time and the number of requests at once.

mod access;
mod address;
mod at_once;
mod body;
mod client;
mod connection;
mod counts;
mod failure;
mod grant;
mod limits;
mod network;
mod pool;
mod request;
mod secrets;
mod signature;
mod target;
mod tls;
mod web_push;

pub use access::{Access, Refused};
pub use address::{AddressRule, Reachability, reachability};
pub use client::Client;
pub use counts::OutboundCounts;
pub use failure::{Failure, FailureKind};
pub use grant::{Grant, GrantError};
pub use http::Method;
pub use limits::{
    CONNECTING, HEADER_BYTES_MAX, HEADERS_MAX, IDLE_CONNECTIONS_MAX, OutboundLimits, REDIRECTS_MAX, URL_BYTES_MAX,
};
pub use network::{Network, SystemNetwork};
pub use request::{Answer, Checked, Request};
pub use secrets::SecretHeaders;
pub use signature::SigningKeys;
pub use target::{Target, TargetError};
pub use tls::Roots;
pub use web_push::{PUSH_BYTES_MAX, PushKeys, VapidKey};
