//! What a connect request says of the client, whatever the transport.

use axum::http::request::Parts;
use serde_json::Value;

use super::params;
use crate::contract::{Identity, SocketFacts};
use crate::protocol::Serializer;

/// A request whose version the host speaks.
pub(super) struct Request {
    pub(super) serializer: Serializer,
    pub(super) facts: SocketFacts,
}

impl Request {
    /// Reads a request, or none where its `vsn` isn't spoken here.
    pub(super) fn read(parts: &Parts, transport: &'static str) -> Option<Self> {
        let params = params::read(parts.uri.query().unwrap_or_default());
        let vsn = match params.get("vsn") {
            None => None,
            Some(Value::String(vsn)) => Some(vsn.as_str()),
            Some(_) => return None,
        };
        let serializer = Serializer::for_version(vsn)?;
        let connect_params = Value::Object(params).to_string().into();
        let facts =
            SocketFacts { identity: Identity::default(), transport, connect_params, x_headers: x_headers(parts) };
        Some(Self { serializer, facts })
    }
}

fn x_headers(parts: &Parts) -> Box<[(Box<str>, Box<str>)]> {
    let starts_with_x = parts.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-"));
    starts_with_x
        .map(|(name, value)| (name.as_str().into(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect()
}
