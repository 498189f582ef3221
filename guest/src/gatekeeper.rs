//! Gatekeepers: components that decide about connections.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::bindings::connect::{self, Refusal, Verdict};
use crate::bindings::request::{Address, Location};
use crate::host::request;
use crate::{Error, Payload, PayloadError, log, panics};

/// The answer of a gatekeeper: the client's identity, or a [`Refused`].
pub type Connect = Result<Identity, Refused>;

/// A gatekeeper, which decides about connections. The host calls it once for each connection.
///
/// ```
/// use bennu_guest::prelude::*;
///
/// struct Gate;
///
/// impl Gatekeeper for Gate {
///     fn connect(request: &Request) -> Connect {
///         // `?` on a missing parameter refuses the client.
///         let token: String = request.params().field("token")?;
///         let user: String = token::verify("user socket", &token, None).map_err(|_| Refused::default())?;
///         Ok(Identity::user(&user).socket_id(&format!("user_socket:{user}")).claim("role", "member"))
///     }
/// }
///
/// gatekeeper! { Gate }
///
/// // Its test runs natively:
/// let token = testing::token("user socket", "42");
/// let granted = testing::ConnectRequest::new().params(json!({ "token": token })).connect::<Gate>();
/// assert_eq!(granted, Ok(Identity::user("42").socket_id("user_socket:42").claim("role", "member")));
/// assert_eq!(testing::ConnectRequest::new().connect::<Gate>(), Err(Refused::new(403, "")));
/// ```
pub trait Gatekeeper {
    /// Decides about one request. A panic refuses the request with the HTTP status 500.
    ///
    /// # Errors
    ///
    /// `Err` refuses the request. [`Refused`] is the client's answer.
    fn connect(request: &Request) -> Connect;
}

/// Exports a type as the crate's gatekeeper. A gatekeeper is a component of its own, so its crate can't have
/// [`channels!`](crate::channels) too.
#[macro_export]
macro_rules! gatekeeper {
    ($gatekeeper:ty) => {
        const _: () = {
            struct BennuGatekeeper;

            impl $crate::gatekeeper::Exported for BennuGatekeeper {
                type Gatekeeper = $gatekeeper;
            }

            const _: fn(&$crate::Request) -> $crate::Connect = <$gatekeeper as $crate::Gatekeeper>::connect;

            #[cfg(target_family = "wasm")]
            $crate::bindings::gatekeeper::export_gatekeeper!(BennuGatekeeper with_types_in $crate::bindings::gatekeeper);

            $crate::name_sdk!();
        };
    };
}

/// The gatekeeper that a crate exports.
#[doc(hidden)]
pub trait Exported {
    /// The implementing type.
    type Gatekeeper: Gatekeeper;
}

impl<E: Exported> connect::Guest for E {
    fn connect() -> Result<Verdict, String> {
        panics::write_to_log();
        Ok(match E::Gatekeeper::connect(&Request(())) {
            Ok(identity) => Verdict::Granted(identity.into()),
            Err(Refused { status, body }) => Verdict::Refused(Refusal { status, body }),
        })
    }
}

/// The connection request that a gatekeeper decides about.
#[derive(Debug)]
pub struct Request(pub(crate) ());

impl Request {
    /// Returns the parameters of the request: a JSON object. For example, `request.params().field::<String>("token")?`
    /// reads one of them.
    pub fn params(&self) -> Payload {
        Payload::Json(request::params())
    }

    /// Returns all headers in the order sent. The names are in lower case.
    pub fn headers(&self) -> Vec<(String, String)> {
        request::headers()
    }

    /// Returns the first header with a name. Upper and lower case are equal.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers().into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Returns the address that the request comes from. Behind a proxy, it is the proxy's address.
    pub fn peer(&self) -> Address {
        request::peer()
    }

    /// Returns the address that the client requested.
    pub fn uri(&self) -> Location {
        request::uri()
    }

    /// Returns the path of the mount, such as `/socket`.
    pub fn mount(&self) -> String {
        request::mount()
    }

    /// Returns `websocket` or `longpoll`.
    pub fn transport(&self) -> String {
        request::transport()
    }

    /// Returns the token that phoenix.js sends separately from the parameters (`authToken`), if the mount accepts one
    /// (`auth_token` in its configuration).
    pub fn auth_token(&self) -> Option<String> {
        request::auth_token()
    }
}

/// The identity of a client, while it is connected. The id and the user have at most 255 bytes each, and the claims at
/// most 16 KiB as JSON. More is a fault, which refuses the request with the HTTP status 500.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct Identity {
    socket_id: Option<String>,
    user: Option<String>,
    claims: Map<String, Value>,
}

impl Identity {
    /// Returns an identity without a user.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Returns the identity of a user. A channel reads it with `socket.user()`.
    pub fn user(user: &str) -> Self {
        Self { user: Some(user.into()), ..Self::default() }
    }

    /// Sets the id by which the socket can be disconnected, such as `user_socket:42`.
    pub fn socket_id(mut self, id: &str) -> Self {
        self.socket_id = Some(id.into());
        self
    }

    /// Adds a claim, which channels read with `socket.claims()`.
    ///
    /// # Panics
    ///
    /// If the value can't be written as JSON.
    pub fn claim(mut self, name: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or_else(|error| panic!("a claim can't be JSON: {error}"));
        self.claims.insert(name.into(), value);
        self
    }
}

impl From<Identity> for connect::Identity {
    fn from(identity: Identity) -> Self {
        let Identity { socket_id, user, claims } = identity;
        Self { socket_id, user, claims: Value::Object(claims).to_string() }
    }
}

/// The answer to a client that may not connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// An HTTP status from 400 to 599. Over long-poll, the client always gets 403.
    pub status: u16,
    /// The text in the body of the response.
    pub body: String,
}

impl Refused {
    /// Returns a refusal with this status and body.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into() }
    }
}

/// The status 403 with an empty body, as in Phoenix.
impl Default for Refused {
    fn default() -> Self {
        Self::new(403, "")
    }
}

/// A failure of the gatekeeper is logged, and the client gets the status 500. A client's mistake is 403.
impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(_) => Self::default(),
            Error::Failed(why) => {
                log::error!("{why}");
                Self::new(500, "")
            }
        }
    }
}

/// An invalid parameter is the client's mistake: the status 403.
impl From<PayloadError> for Refused {
    fn from(_: PayloadError) -> Self {
        Self::default()
    }
}
