//! The test kit for compiled plugins: a whole host in process, without a socket and with a clock that the test controls.
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
//! The plugin is the component that production loads, and the rules are the host's own. Only the wire is missing. Nothing
//! has a timeout and nothing sleeps: messages have arrived before an assertion looks for them, and time passes only by
//! [`Stage::pass`].
//!
//! `bennu test FILE SCRIPT` plays scripts on the same stage, for authors in any language. [`ScriptLine`] describes the
//! language.
//!
//! The clock of a stage is that of its own runtime, which is paused. For this, `tokio` has its feature `test-util`. In a host,
//! whose runtime can't be paused, the feature costs a load of one static flag for each time that is read.

mod actor;
mod client;
mod http;
mod line_context;
pub mod pattern;
mod player;
mod script;
mod script_stage;
mod stage;

pub use actor::{Actor, Pushed};
pub use line_context::LineContext;
pub use player::play;
pub use script::{Act, ScriptLine, Words};
pub use script_stage::{ScriptClient, ScriptStage};
pub use stage::{Join, Stage, StageSetup};
