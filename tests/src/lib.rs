//! Tests of the whole system, with the real binary, real sockets and real plugins.
//!
//! - [`TestHost`] starts `bennu serve` as a separate process, with plugins in its own directory, and reads its log
//! - [`TestClient`] is a client that sends and receives frames
//! - [`play`] and [`check`] play a script. It says what several clients and the operator do, and what each client receives:
//!
//! ```text
//! alice > join room:1 {"user": "alice"}
//! alice < ok {}
//! alice > new_msg {"body": "hi"}
//! bob   < new_msg {"id": …, "user": "alice", "body": "hi", "at": …}
//! bob   ~
//! host  ! reload chat variants/chat-v2
//! ```
//!
//! - [`crafted`] builds components that no toolchain would build
//!
//! Nothing here sleeps for a fixed time. It waits for a condition, with a deadline ([`eventually`]).

mod cast;
mod client;
mod command;
mod compiled;
pub mod crafted;
mod described;
mod gate;
mod host;
mod http;
mod log;
pub mod places;
mod project;
mod receiver;
mod replay;
mod scrape;
mod setup;
pub mod transcript;

pub use bennu_test_engines::{
    DEADLINE, Namespace, NatsServer, PostgresPooler, PostgresServer, Relay, Way, eventually, free_port, within,
};
pub use cast::{Cast, check, play};
pub use client::{ConnectRequest, Received, Reply, TestClient};
pub use command::{Ended, bennu, bennu_with, exported};
pub use compiled::{compile_engine_for, compile_once, compiled_name, copy_compiled};
pub use described::fits;
pub use gate::Gate;
pub use host::{Loading, TestHost};
pub use http::{Answer, JSON, get, know, request, request_with};
pub use log::{Line, Log};
pub use project::{ShownStream, TestProject};
pub use receiver::{Delivered, Reaction, Receiver, header, read_request};
pub use replay::{Difference, bearer, replay};
pub use scrape::Scrape;
pub use setup::{Setup, limited};
