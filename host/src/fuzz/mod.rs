//! Fuzz targets: functions that pass any bytes to a reader of untrusted input, and check what it makes of them.
//!
//! A target must not panic, whatever the bytes are. Most also check a property of what was read, such as that it is written and
//! read again unchanged. A target returns whether the bytes were valid, so that a run shows how deep its inputs reach.
//!
//! The tests of this module replay the corpus of each target, `host/fuzz/corpus/TARGET/`, and then seeded mutations of it.
//! `cargo xtask fuzz TARGET --runs N` runs more of them. With `cargo-fuzz`, which needs a nightly toolchain, libFuzzer runs the
//! same functions, guided by coverage. So this module is compiled for tests and for `cargo-fuzz` only. A target that needs
//! private items of a module is in that module's `fuzz.rs`.

mod json;
mod lines;
mod messages;
#[cfg(test)]
mod mutator;
mod names;
#[cfg(test)]
mod tests;

use crate::server::fuzz as server;
use crate::{api, auth, channel, cluster, handover, parcel, plugin, store, transport};

/// A reader of untrusted input, with its name.
pub struct Target {
    /// The name on the command line, and of the folder of the corpus.
    pub name: &'static str,
    /// Reads the bytes. Returns whether they were valid.
    pub run: fn(&[u8]) -> bool,
}

/// All targets.
pub const TARGETS: [Target; 42] = [
    // What clients send.
    Target { name: "frames", run: messages::frames },
    Target { name: "socket", run: messages::socket },
    Target { name: "websocket", run: transport::fuzz::websocket },
    Target { name: "inflate", run: transport::fuzz::inflate },
    Target { name: "handshake", run: transport::fuzz::handshake },
    Target { name: "connect", run: transport::fuzz::connect },
    Target { name: "longpoll", run: transport::fuzz::longpoll },
    Target { name: "origin", run: auth::fuzz::origin },
    Target { name: "token", run: auth::fuzz::token },
    Target { name: "token_payload", run: auth::fuzz::token_payload },
    Target { name: "jwt", run: auth::fuzz::jwt },
    Target { name: "traceparent", run: names::traceparent },
    // What proxies send.
    Target { name: "x_forwarded_for", run: transport::fuzz::x_forwarded_for },
    Target { name: "forwarded", run: transport::fuzz::forwarded },
    Target { name: "proxy_protocol", run: transport::fuzz::proxy_protocol },
    // What programs send to the API, and servers to the host.
    Target { name: "api_body", run: api::fuzz::body },
    Target { name: "jwks", run: auth::fuzz::jwks },
    Target { name: "url", run: names::url },
    // What other nodes of a cluster send, and what their database has.
    Target { name: "flush", run: bennu_cluster::wire::fuzz_wire },
    Target { name: "nats_message", run: bennu_cluster::nats::fuzz_nats_message },
    Target { name: "notification", run: bennu_cluster::postgres::fuzz_notification },
    Target { name: "node_message", run: cluster::fuzz::node_message },
    Target { name: "node_row", run: bennu_cluster::postgres::fuzz_node_row },
    Target { name: "plugin_records", run: bennu_cluster::postgres::fuzz_records },
    Target { name: "plugin_reports", run: bennu_cluster::postgres::fuzz_reports },
    // What another process hands over.
    Target { name: "handover", run: handover::fuzz::messages },
    Target { name: "parcel", run: parcel::fuzz::parcel },
    // What plugins are and ask for.
    Target { name: "component", run: plugin::fuzz::component },
    Target { name: "core_module", run: plugin::fuzz::core_module },
    Target { name: "script", run: plugin::fuzz::script },
    Target { name: "manifest", run: names::manifest },
    Target { name: "effects", run: json::effects },
    Target { name: "published", run: json::published },
    Target { name: "payload", run: json::payload },
    // What the disk has.
    Target { name: "store_log", run: store::fuzz::log },
    Target { name: "store_rows", run: store::fuzz::rows },
    Target { name: "export", run: store::fuzz::export },
    Target { name: "stored_answer", run: channel::fuzz::stored_answer },
    Target { name: "former", run: channel::fuzz::former },
    // What operators and developers write.
    Target { name: "config", run: server::config },
    Target { name: "cron", run: names::cron },
    Target { name: "transcript", run: lines::transcript },
];

/// Returns the target with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
