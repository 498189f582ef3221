//! Events that end the member.
//!
//! | event | fault |
//! | --- | --- |
//! | `panic`, `push_then_trap`, `info_panic` (in `handle_info`) | trap |
//! | `fail`, `info_fail` (in `handle_info`), `info_reply` (a reply from `handle_info`) | failed |
//! | `push_array`, `bad_json`, `bad_ref`, `publish_elsewhere`, `tick` (without a room) | failed |
//! | `loop`; `slow {"ms"}` with more CPU time than a call may use | deadline |
//! | `grow` | memory |
//! | `huge {"bytes"}`: a reply of that size, or of 100 MB | oversize, or memory |
//! | `effects` (a million), `timers` (17), `short_timer`, `huge_assigns` | oversize |
//! | `long_event`, `long_status`, `log_lines` | oversize |
//! | `flood` (messages to itself, more with each one) | overflow |
//!
//! Natively, the SDK refuses `push_array` and `long_event` before the host does: trap.

use std::hint::black_box;

use bennu_guest::bindings::bennu::channel::socket as imports;
use bennu_guest::prelude::*;

use super::Naughty;

/// Does what the topic's name says, if it names a way to fail.
pub(crate) fn on_join(socket: &mut Socket) -> Result<(), Error> {
    match socket.topic() {
        "naughty:join_panic" => panic!("asked to panic in join"),
        "naughty:join_fail" => fail("asked to fail in join"),
        "naughty:join_loop" => forever(),
        "naughty:join_refuse" => {
            // A refused join has no effects, so nobody gets this.
            socket.broadcast("refused", json!({}));
            refuse(json!({ "reason": "nobody may join here" }))
        }
        _ => Ok(()),
    }
}

impl Naughty {
    /// Handles the event if it is one of the above.
    pub(crate) fn fault(&mut self, socket: &mut Socket, event: &str, payload: &Payload) -> Option<Handled> {
        match event {
            "panic" => blow_up(),
            "fail" => return Some(fail("asked to fail")),
            "loop" => forever(),
            "grow" => grow(),
            "slow" => return Some(slow(payload)),
            "huge" => return Some(huge(payload)),
            "huge_assigns" => self.ballast = "x".repeat(1 << 20),
            "long_status" => return Some(Ok(Answer::Reply(long_status()))),
            _ => return asking_too_much(socket, event),
        }
        Some(ok())
    }
}

/// Asks for effects that no callback may ask for.
fn asking_too_much(socket: &mut Socket, event: &str) -> Option<Handled> {
    match event {
        "push_then_trap" => {
            socket.push("pushed", json!({}));
            socket.broadcast("pushed", json!({}));
            panic!("asked to trap after a push");
        }
        "push_array" => push_unchecked(socket, "array", json!([1])),
        "bad_json" => socket.push("bad", Payload::Json("{\"a\":".into())),
        "bad_ref" => bad_ref(socket),
        "publish_elsewhere" => socket.publish("elsewhere:1", "hello", json!({})),
        "long_event" => push_unchecked(socket, &"e".repeat(256), json!({})),
        "effects" => (0..1_000_000).for_each(|n| socket.push("one_of_many", json!({ "n": n }))),
        "timers" => (0..17).for_each(|_| set_timer(socket, Duration::from_secs(60))),
        "short_timer" => set_timer(socket, Duration::from_millis(9)),
        "tick" => socket.tick(Duration::from_millis(100)),
        "log_lines" => (0..257).for_each(|line| log::info!("line {line}")),
        "info_panic" | "info_fail" | "info_reply" | "flood" => socket.send_self(event, json!({})),
        _ => return None,
    }
    Some(ok())
}

/// Asks for a push that the SDK would refuse before the host does. Natively there is no way around the SDK.
fn push_unchecked(socket: &mut Socket, event: &str, payload: Value) {
    if cfg!(target_family = "wasm") {
        imports::push(event, &payload.into_payload());
    } else {
        socket.push(event, payload);
    }
}

/// A reply that the SDK's own function would refuse before the host does.
fn long_status() -> Reply {
    Reply { status: "s".repeat(256), payload: json!({}).into_payload() }
}

fn set_timer(socket: &mut Socket, after: Duration) {
    socket.send_after(after, "timer", json!({}));
}

/// Replies to a ref that would end its frame too early.
fn bad_ref(socket: &mut Socket) {
    let forged: Result<ReplyRef, _> = Payload::Json(json!("\"1\",").to_string()).parse();
    if let Ok(forged) = forged {
        socket.reply_later(&forged, Reply::ok(json!({})));
    }
}

/// A separate function in the component too, so that the log can name it.
#[inline(never)]
fn blow_up() -> ! {
    panic!("asked to panic")
}

fn forever() -> ! {
    loop {
        black_box(());
    }
}

fn grow() -> ! {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(black_box(vec![1; 1 << 20]));
    }
}

fn slow(payload: &Payload) -> Handled {
    let until = now_ms() + payload.field::<u64>("ms")?;
    while now_ms() < until {}
    ok()
}

fn huge(payload: &Payload) -> Handled {
    let bytes: Option<usize> = payload.field("bytes")?;
    reply("x".repeat(bytes.unwrap_or(100_000_000)))
}
