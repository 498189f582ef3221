//! The example of docs/testing.md, as a plugin's author would write it. `walks` compares it with the page.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bennu::contract::Identity;
use bennu::kit::{Join, Stage, StageSetup};
use bennu::server::Config;
use bennu_tests::places;
use serde_json::json;

/// Loads a plugin. The page loads it by its file name alone.
fn load(plugin: &str) -> Stage {
    let config = Config { cache: Some(places::compiled().unwrap()), ..Config::default() };
    StageSetup::default().config(config).plugin(places::guest_file(plugin).unwrap()).load().unwrap()
}

#[test]
fn the_example_of_the_kit_works() {
    let stage = load("naughty");
    let identity = Identity { socket_id: Some("user_socket:42".into()), ..Identity::default() };
    let alice = Join { identity, params: json!({ "lang": "en" }) };
    let mut alice = stage.join_as(&alice, "naughty:1", &json!({})).unwrap();
    let mut bob = stage.join("naughty:1", json!({})).unwrap();

    let echo = alice.push("echo", json!({ "a": 1, "b": [2] }));
    alice.assert_reply(&echo, "ok", json!({ "b": [2] }));

    alice.push("timer", json!({ "ms": 3_600_000 }));
    stage.pass(Duration::from_secs(3_600));
    alice.assert_push("rang", json!({}));

    stage.broadcast("naughty:1", "news", json!({ "version": 2 }));
    bob.assert_broadcast("news", json!({}));

    bob.push("panic", json!({}));
    bob.assert_error();
    assert_eq!(stage.faults(), 1);

    assert_eq!(stage.disconnect("user_socket:42"), 1);
    alice.assert_disconnected(1001);
}
