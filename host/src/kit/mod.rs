//! The test kit for compiled plugins: a whole host in process, without a socket and with a clock that tests move on.
//!
//! ```no_run
//! use bennu::kit::Stage;
//! use serde_json::json;
//!
//! let mut stage = Stage::load("target/guests/chat.wasm").unwrap();
//! let mut alice = stage.join("room:lobby", json!({ "user": "alice" })).unwrap();
//! let mut bob = stage.join("room:lobby", json!({ "user": "bob" })).unwrap();
//! let hi = alice.push("new_msg", json!({ "body": "hi" }));
//! alice.assert_reply(&hi, "ok", json!({}));
//! bob.assert_broadcast("new_msg", json!({ "user": "alice", "body": "hi" }));
//! ```
//!
//! The plugin is the component that production loads, the rules are the host's own, and only the wire is missing. Nothing
//! has a timeout and nothing sleeps: what came is there, and time passes when the test says so ([`Stage::pass`]).
//!
//! `bennu test FILE SCRIPT` plays transcripts on the same stage, for authors in any language; [`ScriptLine`] describes the language.

mod actor;
mod client;
pub mod pattern;
mod player;
mod script;
mod stage;
mod voice;

pub use actor::{Actor, Pushed};
pub use player::play;
pub use script::{Act, ScriptLine, Words};
pub use stage::{Join, Stage, StageSetup};
pub use voice::Voice;
