//! Events about schedules and later answers, also as topic messages.
//!
//! | event | result |
//! | --- | --- |
//! | `schedule {"key", "ms", "event", "payload"}` | schedules that event for the topic, and stores `true` under `asked:KEY` |
//! | `unschedule {"key"}` | cancels it |
//! | `is_scheduled {"key"}` | replies `ok {"is": true}` or `ok {"is": false}` |
//! | `schedule_own {"key"}` | replies `ok [false, true, true, false]`: whether the key is scheduled before, and after each of two schedules and a cancellation |
//! | `schedule_elsewhere` | fault: failed, because another plugin's topic can't be scheduled for |
//! | `schedule_many {"count", "ms"}` | that many schedules, with the keys `0`, `1` and so on |
//! | `schedule_then_fail {"key", "ms"}` | schedules, and is then fault: failed |
//! | `schedule_then_refuse {"key", "ms"}` | schedules, and refuses: nothing is scheduled |
//! | `wait_for_answer`, as a topic message | keeps the reference to the message under `waiting:TOPIC`, and doesn't answer. Everyone gets `asked` |
//! | `give_answer {"to", "value"}` | answers the message that waits in that topic |
//!
//! `handle_topic_info` adds one to the number under `rung:KEY` (or `rung:SOURCE` without a key), and everyone gets `rung
//! {"source", "key", "event", "payload", "times"}`. With the event `fail_at_first {"ms"}` it fails until that long after its
//! time, with `fail` always, and with `again {"ms"}` it schedules the key that it was fired by for another `ring`.

use bennu_guest::prelude::*;

/// Handles the event if it is one of the above.
pub(crate) fn event(topic: &str, event: &str, payload: &Payload) -> Option<Handled> {
    Some(match event {
        "schedule" => schedule_one(topic, payload),
        "schedule_then_fail" => schedule_one(topic, payload).and_then(|_| fail("asked to fail after a schedule")),
        "schedule_then_refuse" => schedule_one(topic, payload).and_then(|_| refuse(json!({ "reason": "too late" }))),
        "unschedule" => unschedule(topic, payload),
        "is_scheduled" => is_scheduled(topic, payload),
        "schedule_own" => own(topic, payload),
        "schedule_elsewhere" => {
            schedule::after("elsewhere:1", Duration::ZERO, "key", "ring", json!({}));
            ok()
        }
        "schedule_many" => many(topic, payload),
        _ => return None,
    })
}

/// Handles the topic message if it is one of the above.
pub(crate) fn message(topic: &mut Topic, event: &str, payload: &Payload) -> Option<Handled> {
    if event == "give_answer" {
        return Some(give_answer(payload, |to, reply| topic.answer(to, reply)));
    }
    if event != "wait_for_answer" {
        return self::event(topic.name(), event, payload);
    }
    store::put(format!("waiting:{}", topic.name()), topic.answer_ref());
    topic.broadcast("asked", json!({}));
    Some(no_reply())
}

/// Answers the message that waits in a topic.
pub(crate) fn give_answer(payload: &Payload, answer: impl FnOnce(&AnswerRef, Reply)) -> Handled {
    let (to, value): (String, Value) = (payload.field("to")?, payload.field("value")?);
    let waiting = store::get::<Option<AnswerRef>>(format!("waiting:{to}"))?.flatten();
    if let Some(waiting) = &waiting {
        answer(waiting, Reply::ok(value));
    }
    reply(json!({ "was_waiting": waiting.is_some() }))
}

/// The parameters of a schedule.
#[derive(Deserialize)]
struct Wanted {
    key: String,
    ms: u64,
    #[serde(default = "ring")]
    event: String,
    #[serde(default = "empty")]
    payload: Value,
}

fn empty() -> Value {
    json!({})
}

fn ring() -> String {
    "ring".into()
}

fn schedule_one(topic: &str, payload: &Payload) -> Handled {
    let Wanted { key, ms, event, payload } = payload.parse()?;
    schedule::after(topic, Duration::from_millis(ms), &key, &event, payload);
    store::put(format!("asked:{key}"), true);
    ok()
}

fn unschedule(topic: &str, payload: &Payload) -> Handled {
    schedule::cancel(topic, &payload.field::<String>("key")?);
    ok()
}

fn is_scheduled(topic: &str, payload: &Payload) -> Handled {
    let key: String = payload.field("key")?;
    reply(json!({ "is": schedule::due(topic, &key).is_some() }))
}

fn own(topic: &str, payload: &Payload) -> Handled {
    let key: String = payload.field("key")?;
    let is = || schedule::due(topic, &key).is_some();
    let before = is();
    schedule::after(topic, Duration::from_secs(60), &key, "ring", json!({}));
    let once = is();
    schedule::after(topic, Duration::from_secs(90), &key, "ring", json!({}));
    let twice = is();
    schedule::cancel(topic, &key);
    reply(json!([before, once, twice, is()]))
}

fn many(topic: &str, payload: &Payload) -> Handled {
    let (count, ms): (u32, u64) = (payload.field("count")?, payload.field("ms")?);
    for key in 0..count {
        schedule::after(topic, Duration::from_millis(ms), &key.to_string(), "ring", json!({}));
    }
    ok()
}

/// Handles what the host tells the topic.
pub(crate) fn told(topic: &mut Topic, message: Message) -> Told {
    let fired = schedule::fired();
    let key = fired.as_ref().and_then(|fired| fired.key.clone());
    match message.event.as_str() {
        "fail" => return fail("asked to fail in handle_topic_info"),
        "fail_at_first" => {
            let ms: u64 = message.payload.field("ms")?;
            let due_ms = fired.as_ref().map_or(0, |fired| fired.due_ms);
            if now_ms() < due_ms + ms {
                return fail("asked to fail at first in handle_topic_info");
            }
        }
        "again" => {
            let ms = Duration::from_millis(message.payload.field("ms")?);
            schedule::after(topic.name(), ms, key.as_deref().unwrap_or_default(), "ring", json!({}));
        }
        _ => {}
    }
    let counter = format!("rung:{}", key.as_deref().unwrap_or(&message.source));
    let times = store::get::<u64>(&counter)?.unwrap_or(0) + 1;
    store::put(&counter, times);
    let Message { source, event, payload, .. } = message;
    let payload: Value = payload.parse()?;
    topic
        .broadcast("rung", json!({ "source": source, "key": key, "event": event, "payload": payload, "times": times }));
    Ok(())
}
