//! The host and the socket of a member, before it joins.

use bennu_semantics::{HttpFailure, HttpResponse};
use bennu_world::{Entries, HostFacts, SocketFacts};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Fault, Member};
use crate::{Channel, IntoPayload, Payload, Reply, RoomMap, state};

/// A host and a socket, with the values that a test sets.
///
/// By default the socket has no id, the configuration, the connect parameters and the headers are empty, and the time
/// is the start of the year 2026.
///
/// ```
/// # use bennu_guest::prelude::*;
/// # #[derive(Serialize, Deserialize)] struct Chat;
/// # impl Channel for Chat { type Room = (); fn join(_: &mut Socket, _: Payload) -> Join<Self> { Ok(Chat) } }
/// let alice = testing::Setup::new()
///     .socket_id("user_socket:42")
///     .connect_params(json!({ "token": "s3cr3t" }))
///     .config(json!({ "longest_message": 20 }))
///     .join::<Chat>("room:lobby", json!({}))
///     .unwrap();
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Setup {
    pub(super) host: HostFacts,
    pub(super) socket: SocketFacts,
    pub(super) room: Option<Vec<u8>>,
}

/// The reason why a join failed.
#[derive(Clone, Debug, PartialEq)]
pub enum NotJoined {
    /// The join was refused with this response.
    Refused(Payload),
    /// The join ended in a fault.
    Fault(Fault),
}

impl Setup {
    /// A host and a socket with default values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the id of the socket.
    pub fn socket_id(mut self, id: &str) -> Self {
        self.socket.socket_id = Some(id.into());
        self
    }

    /// Sets the user of the socket.
    pub fn user(mut self, user: &str) -> Self {
        self.socket.user = Some(user.into());
        self
    }

    /// Sets the claims of the socket: an object.
    pub fn claims(mut self, claims: impl Serialize) -> Self {
        self.socket.claims = text(&claims);
        self
    }

    /// Sets the connect parameters.
    pub fn connect_params(mut self, params: impl Serialize) -> Self {
        self.socket.connect_params = text(&params);
        self
    }

    /// Adds a request header.
    pub fn x_header(mut self, name: &str, value: &str) -> Self {
        self.socket.x_headers.push((name.into(), value.into()));
        self
    }

    /// Sets the plugin's configuration.
    pub fn config(mut self, config: impl Serialize) -> Self {
        self.host.configuration = text(&config);
        self
    }

    /// Sets the clock: milliseconds since 1970.
    pub fn now(mut self, milliseconds: u64) -> Self {
        self.host.now = milliseconds;
        self
    }

    /// Stores a value under a key, as if a callback had stored it.
    ///
    /// # Panics
    ///
    /// If it can't be stored.
    pub fn store(mut self, key: impl AsRef<[u8]>, value: impl Serialize) -> Self {
        store(&mut self.host, key.as_ref(), &value);
        self
    }

    /// Sets the answer to each request with this method and URL: a status and a JSON body. Any other request fails with
    /// `unreachable`.
    pub fn http(mut self, method: &str, url: &str, status: u16, body: impl Serialize) -> Self {
        self.host.http.set(method, url, Ok(response(status, &body)));
        self
    }

    /// Each request with this method and URL fails, for example with the kind `timeout`.
    pub fn http_failure(mut self, method: &str, url: &str, kind: &str) -> Self {
        self.host.http.set(method, url, Err(failure(kind)));
        self
    }

    /// Sets the topic's shared state, as if a callback had written it.
    ///
    /// # Panics
    ///
    /// If it can't be encoded.
    pub fn room(mut self, room: impl Serialize) -> Self {
        self.room = Some(state::encode(&room).unwrap_or_else(|why| panic!("{why}")));
        self
    }

    /// The client joins a topic.
    ///
    /// # Errors
    ///
    /// If the join is refused or ends in a fault.
    pub fn join<C: Channel>(self, topic: &str, params: impl IntoPayload) -> Result<Member<C>, NotJoined> {
        Member::join(self, topic, params.into_payload())
    }
}

impl NotJoined {
    /// The `error` reply to the client.
    ///
    /// # Panics
    ///
    /// If the join ended in a fault.
    #[track_caller]
    pub fn reply(&self) -> Reply {
        match self {
            Self::Refused(response) => Reply::error(response.clone()),
            Self::Fault(fault) => panic!("the join wasn't refused, it ended in a fault: {fault}"),
        }
    }

    /// The fault, if the join ended in one.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Refused(_) => None,
            Self::Fault(fault) => Some(fault),
        }
    }
}

/// The answer of a server in a test. Null is an empty body.
pub(super) fn response(status: u16, body: &impl Serialize) -> HttpResponse {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let body = Some(text(body)).filter(|body| body != "null").unwrap_or_default();
    HttpResponse { status, headers, body: body.into() }
}

/// The failure of a request in a test.
pub(super) fn failure(kind: &str) -> HttpFailure {
    HttpFailure { kind: kind.to_owned(), detail: "as the test says".to_owned() }
}

pub(super) fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| panic!("this can't be written as JSON: {error}"))
}

/// Stores a value as if a callback had done so.
#[track_caller]
pub(super) fn store(host: &mut HostFacts, key: &[u8], value: &impl Serialize) {
    let value = state::encode(value).unwrap_or_else(|why| panic!("{why}"));
    host.stored.put(key, &value).unwrap_or_else(|fault| panic!("{fault}"));
}

/// The stored value of a key.
#[track_caller]
pub(super) fn stored<T: DeserializeOwned>(host: &HostFacts, key: &[u8]) -> Option<T> {
    let value = host.stored.get(key, host.now)?;
    Some(state::read(&value).unwrap_or_else(|error| panic!("{:?}: {error}", String::from_utf8_lossy(key))))
}

/// The entries of a topic in a map.
#[track_caller]
pub(super) fn entries<T: DeserializeOwned>(entries: Option<&Entries>, map: &RoomMap<T>) -> Vec<(String, T)> {
    let entries = entries.unwrap_or_else(|| panic!("the topic has no open room with entries"));
    let read = |(key, value): (Vec<u8>, Vec<u8>)| {
        let (name, value) = map.read(&key, &value).unwrap_or_else(|error| panic!("{error:?}"));
        (name.to_owned(), value)
    };
    entries.rows(map.prefix().as_bytes()).into_iter().map(read).collect()
}

impl From<bennu_world::NotJoined> for NotJoined {
    fn from(not_joined: bennu_world::NotJoined) -> Self {
        match not_joined {
            bennu_world::NotJoined::Refused(response) => Self::Refused(response.into()),
            bennu_world::NotJoined::Fault(fault) => Self::Fault(fault.into()),
        }
    }
}
