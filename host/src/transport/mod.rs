//! The transports: an axum router, with WebSocket and long-poll at each mount.
//!
//! A transport moves bytes: it passes a client's messages to its socket, and writes the socket's outbox. It doesn't
//! interpret them. The checks of a client that connects are the same for all transports, and are all in `connect`.

mod authenticator;
mod connect;
mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod listen;
mod live_router;
mod longpoll;
mod mount;
mod nothing;
mod pages;
mod params;
mod proxies;
mod request;
mod stream;
mod subprotocol;
mod tags;
mod websocket;

pub use authenticator::{Authenticator, HostGatekeeper, TokenCheck, Verifier};
pub use files::StaticFiles;
pub use listen::{Accepting, Intake, listen};
pub use live_router::LiveRouter;
pub use mount::{ConnectionLimit, Mount, WireLimits};
pub use proxies::{AddressSource, Network, Proxies};
#[cfg(test)]
pub(crate) use websocket::Fault;
pub use websocket::{ReactorProbe, Reactors, websocket_router};
