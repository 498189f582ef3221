//! Gatekeepers: what decides who may connect, as a component of its own.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::bindings::connect::{self, Refusal, Verdict};
use crate::bindings::request::{Address, Location};
use crate::host::request;
use crate::{Error, Payload, PayloadError, log, panics};

/// What a gatekeeper answers: who the client is, or a [`Refused`].
pub type Connect = Result<Identity, Refused>;

/// What decides who may connect. The host asks it once for each connection.
///
/// ```
/// use bennu_guest::prelude::*;
///
/// struct Gate;
///
/// impl Gatekeeper for Gate {
///     fn connect(request: &Request) -> Connect {
///         // `?` on a parameter that isn't there refuses the client.
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
/// let let_in = testing::Knock::new().params(json!({ "token": token })).connect::<Gate>();
/// assert_eq!(let_in, Ok(Identity::user("42").socket_id("user_socket:42").claim("role", "member")));
/// assert_eq!(testing::Knock::new().connect::<Gate>(), Err(Refused::new(403, "")));
/// ```
pub trait Gatekeeper {
    /// Decides about one request. `Err` refuses it; a panic refuses it too, with the status 500.
    ///
    /// # Errors
    ///
    /// What the client is told.
    fn connect(request: &Request) -> Connect;
}

/// Makes a crate a gatekeeper: a component that is no plugin, so it stands in a crate of its own.
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
        };
    };
}

/// A crate's gatekeeper.
#[doc(hidden)]
pub trait Exported {
    /// What decides.
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

/// The request that is decided about.
#[derive(Debug)]
pub struct Request(pub(crate) ());

impl Request {
    /// The parameters of the request: an object, so that `request.params().field::<String>("token")?` reads one of them.
    pub fn params(&self) -> Payload {
        Payload::Json(request::params())
    }

    /// All headers, names in lower case, in the order sent.
    pub fn headers(&self) -> Vec<(String, String)> {
        request::headers()
    }

    /// The first header of a name.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers().into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Where the request comes from. Behind a proxy that is the proxy.
    pub fn peer(&self) -> Address {
        request::peer()
    }

    /// What it asks for.
    pub fn uri(&self) -> Location {
        request::uri()
    }

    /// The path of the mount, such as `/socket`.
    pub fn mount(&self) -> String {
        request::mount()
    }

    /// `websocket` or `longpoll`.
    pub fn transport(&self) -> String {
        request::transport()
    }

    /// The token that phoenix.js sends apart from the parameters (`authToken`), where the mount takes one.
    pub fn auth_token(&self) -> Option<String> {
        request::auth_token()
    }
}

/// Who a client is, for as long as it is connected.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct Identity {
    socket_id: Option<String>,
    user: Option<String>,
    claims: Map<String, Value>,
}

impl Identity {
    /// Nobody in particular, who is let in all the same.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// A user.
    pub fn user(user: &str) -> Self {
        Self { user: Some(user.into()), ..Self::default() }
    }

    /// With an id by which the socket can be disconnected, such as `user_socket:42`.
    pub fn socket_id(mut self, id: &str) -> Self {
        self.socket_id = Some(id.into());
        self
    }

    /// With something else that channels may read, by `socket.claims()`.
    ///
    /// # Panics
    ///
    /// Where JSON has no form for the value.
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

/// Why a client isn't let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// An HTTP status, from 400 to 599.
    pub status: u16,
    /// What the response carries.
    pub body: String,
}

impl Refused {
    /// With this status and body.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into() }
    }
}

/// As in Phoenix: 403, with nothing in it.
impl Default for Refused {
    fn default() -> Self {
        Self::new(403, "")
    }
}

/// The gatekeeper's failure is told to the log, and to the client as the status 500. Its own mistake is 403.
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

/// What the client sent is the client's mistake.
impl From<PayloadError> for Refused {
    fn from(_: PayloadError) -> Self {
        Self::default()
    }
}
