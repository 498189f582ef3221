//! Events with valid effects: every effect of the contract, every answer, every read.
//!
//! | event | result |
//! | --- | --- |
//! | `push`, `broadcast`, `broadcast_from` `{"event", "payload"}` | that event |
//! | `publish {"topic", "event", "payload"}` | that event, to that topic |
//! | `broadcast_droppable`, `broadcast_from_droppable` `{"key", "event", "payload"}` | that event, droppable |
//! | `publish_droppable {"topic", "key", "event", "payload"}` | that event, droppable, to that topic |
//! | `tell {..}` | `secret {..}` to everyone, through `handle_out` |
//! | `binary` | pushes `bytes`, and replies with bytes |
//! | `pushes {"count", "bytes"}` | pushes `one_of_many` that often, each with `bytes` bytes of `filler` |
//! | `later {"ms"}` | replies `ok {"late": true}` after that time |
//! | `twice` | sends two replies to one message |
//! | `late_bytes {"bytes"}` | sends a late reply of that size |
//! | `self` | pushes `told`, from `handle_info` |
//! | `spin` | sends a message to itself, and another one for each, without end |
//! | `timer {"ms"}`, `cancel` | pushes `rang` after that time; cancels that timer |
//! | `refuse_late {"key", "value"}` | asks for effects of each kind and a put, and refuses; so nothing of it happens |
//! | `discard` | the same, but discards by itself, and replies `ok` |
//! | `push_after_discard`, `put_after_discard` | fault: failed |
//! | `stop`, `stop_reply`, `info_stop` (in `handle_info`) | ends the member |
//! | `status {"status"}`, `no_reply` | replies with that status; sends no reply |
//! | `facts` | replies with all data that can be read |
//! | `log`, `long_line` | logs a line of each level; a line of 10,000 characters |
//! | `instance` | replies `ok {"asked": n}`: how many of these events this instance has handled |

use std::sync::atomic::{AtomicU64, Ordering};

use bennu_guest::prelude::*;

use super::Naughty;

/// State of an instance, which no member owns. It is lost with the instance.
static ASKED: AtomicU64 = AtomicU64::new(0);

/// The event that a client asks for.
#[derive(Deserialize)]
struct Wanted {
    topic: Option<String>,
    event: String,
    payload: Value,
}

impl Naughty {
    /// Handles the event if it is one of the above.
    pub(crate) fn effect(&mut self, socket: &mut Socket, event: &str, payload: &Payload) -> Option<Handled> {
        Some(match event {
            "push" | "broadcast" | "broadcast_from" | "publish" => send(socket, event, payload),
            "broadcast_droppable" | "broadcast_from_droppable" | "publish_droppable" => {
                send_droppable(socket, event, payload)
            }
            "tell" => {
                socket.broadcast("secret", payload.clone());
                ok()
            }
            "binary" => {
                socket.push("bytes", Binary(vec![0, 1, 254, 255]));
                reply(Binary(vec![3, 2, 1]))
            }
            "pushes" => push_many(socket, payload),
            "later" | "twice" => later(socket, event, payload),
            "late_bytes" => late_bytes(socket, payload),
            "timer" => self.set_timer(socket, payload),
            "cancel" => self.cancel_timer(socket),
            "self" | "spin" | "info_stop" => {
                socket.send_self(event, json!({}));
                ok()
            }
            "refuse_late" => self.many_effects(socket, payload).and_then(|()| refuse(json!({ "reason": "too late" }))),
            "discard" => self.many_effects(socket, payload).and_then(|()| {
                socket.discard();
                ok()
            }),
            "push_after_discard" => {
                socket.discard();
                socket.push("late", json!({}));
                ok()
            }
            "put_after_discard" => {
                socket.discard();
                store::put("late", 1);
                ok()
            }
            "stop" => stop("asked to"),
            "stop_reply" => stop_with_reply("asked to", Reply::ok(json!({ "last": "words" }))),
            "status" => status(payload),
            "no_reply" => no_reply(),
            "facts" => reply(facts(socket)),
            "log" => log_each_level(),
            "long_line" => {
                log::info!("{}", "x".repeat(10_000));
                ok()
            }
            "instance" => reply(json!({ "asked": ASKED.fetch_add(1, Ordering::Relaxed) + 1 })),
            _ => return None,
        })
    }

    /// Handles a message in `handle_info`.
    pub(crate) fn message(&mut self, socket: &mut Socket, message: &Message) -> Handled {
        match message.event.as_str() {
            "later" => {
                let to: ReplyRef = message.payload.field("to")?;
                socket.reply_later(&to, Reply::ok(json!({ "late": true })));
            }
            "self" => socket.push("told", json!({ "source": message.source })),
            "timer" => {
                self.timer = None;
                socket.push("rang", json!({}));
            }
            "spin" => socket.send_self("spin", json!({})),
            "secret" => socket.push("handed_over", message.payload.clone()),
            "flood" => (0..600).for_each(|_| socket.send_self("flood", json!({}))),
            "info_stop" => return stop("asked to"),
            "info_panic" => panic!("asked to panic in handle_info"),
            "info_fail" => return fail("asked to fail in handle_info"),
            "info_reply" => return ok(),
            _ => {}
        }
        no_reply()
    }

    fn set_timer(&mut self, socket: &mut Socket, payload: &Payload) -> Handled {
        self.timer = Some(socket.send_after(milliseconds(payload)?, "timer", json!({})));
        reply(json!({ "timer": self.timer }))
    }

    /// Asks for effects that a test would notice.
    fn many_effects(&mut self, socket: &mut Socket, payload: &Payload) -> Result<(), Error> {
        self.count += 1;
        socket.push("late", json!({}));
        socket.broadcast("late", json!({}));
        socket.send_self("self", json!({}));
        socket.send_after(Duration::from_millis(10), "timer", json!({}));
        socket.track("late", json!({}));
        socket.subscribe("naughty:late");
        store::put(&payload.field::<String>("key")?, &payload.field::<Value>("value")?);
        Ok(())
    }

    fn cancel_timer(&mut self, socket: &mut Socket) -> Handled {
        if let Some(timer) = self.timer.take() {
            socket.cancel(timer);
        }
        ok()
    }
}

fn send(socket: &mut Socket, how: &str, payload: &Payload) -> Handled {
    let Wanted { topic, event, payload } = payload.parse()?;
    match (how, topic) {
        ("push", _) => socket.push(&event, payload),
        ("broadcast", _) => socket.broadcast(&event, payload),
        ("broadcast_from", _) => socket.broadcast_from(&event, payload),
        (_, Some(topic)) => socket.publish(&topic, &event, payload),
        (_, None) => return reply_error(json!({ "reason": "publish needs a topic" })),
    }
    ok()
}

fn send_droppable(socket: &mut Socket, how: &str, payload: &Payload) -> Handled {
    let key: String = payload.field("key")?;
    let Wanted { topic, event, payload } = payload.parse()?;
    match (how, topic) {
        ("broadcast_droppable", _) => socket.broadcast_droppable(&key, &event, payload),
        ("broadcast_from_droppable", _) => socket.broadcast_from_droppable(&key, &event, payload),
        (_, Some(topic)) => socket.publish_droppable(&topic, &key, &event, payload),
        (_, None) => return reply_error(json!({ "reason": "publish needs a topic" })),
    }
    ok()
}

fn push_many(socket: &mut Socket, payload: &Payload) -> Handled {
    let (count, bytes): (u64, usize) = (payload.field("count")?, payload.field("bytes")?);
    let filler = "x".repeat(bytes);
    (0..count).for_each(|n| socket.push("one_of_many", json!({ "n": n, "filler": filler })));
    ok()
}

fn later(socket: &mut Socket, event: &str, payload: &Payload) -> Handled {
    let Some(to) = socket.reply_ref() else { return no_reply() };
    if event == "twice" {
        socket.reply_later(&to, Reply::ok(json!({ "first": true })));
        return reply(json!({ "second": true }));
    }
    socket.send_after(milliseconds(payload)?, "later", json!({ "to": to }));
    no_reply()
}

fn late_bytes(socket: &mut Socket, payload: &Payload) -> Handled {
    if let Some(to) = socket.reply_ref() {
        socket.reply_later(&to, Reply::ok("x".repeat(payload.field("bytes")?)));
    }
    no_reply()
}

fn status(payload: &Payload) -> Handled {
    reply_status(&payload.field::<String>("status")?, json!({}))
}

fn milliseconds(payload: &Payload) -> Result<Duration, Error> {
    Ok(Duration::from_millis(payload.field("ms")?))
}

fn facts(socket: &Socket) -> Value {
    json!({
        "topic": socket.topic(),
        "member": socket.member_id(),
        "socket_id": socket.socket_id(),
        "user": socket.user(),
        "claims": socket.claims().parse::<Value>().ok(),
        "join_ref": socket.join_ref(),
        "transport": socket.transport(),
        "connect_params": socket.connect_params().parse::<Value>().ok(),
        "x_headers": socket.x_headers(),
        "now": now_ms(),
        "ids": [unique_id(), unique_id()],
        "random": random().to_string(),
        "config": config::<Value>().ok(),
    })
}

fn log_each_level() -> Handled {
    log::trace!("a trace");
    log::debug!("a debug line");
    log::info!("an info");
    log::warn!("a warning");
    log::error!("an error");
    ok()
}
