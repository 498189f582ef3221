//! JSON that plugins and clients give: effects, published states, payloads.

use bennu_semantics::limits::CallLimits;
use bennu_semantics::scan::is_json;
use bennu_semantics::{
    Effect, MemberUsage, Payload, Published, PublishedState, Record, Topic, merge, read_object, read_value,
};
use serde::de::IgnoredAny;
use serde_json::Value;

/// A list of effects as `bennu kit` writes them, asked for by one call with small limits. What is recorded is within them.
pub(super) fn effects(bytes: &[u8]) -> bool {
    const EFFECTS_MAX: usize = 8;
    const BYTES_MAX: usize = 300;
    let Ok(effects) = serde_json::from_slice::<Vec<Effect>>(bytes) else { return false };
    let limits = CallLimits { effects: EFFECTS_MAX, effect_bytes: BYTES_MAX, ..CallLimits::default() };
    let (timers, presences) = (limits.timers, limits.presences);
    let mut record = Record::new(limits);
    record.open(MemberUsage::default(), None);
    let mut timer_count = 0;
    for effect in effects {
        match record.ask(effect) {
            Ok(timer) => timer_count += usize::from(timer.is_some()),
            // The call has failed, and nothing of it is carried out.
            Err(fault) => return !fault.to_string().is_empty(),
        }
    }
    let recorded = record.take();
    let tracked = recorded.iter().filter(|effect| matches!(effect, Effect::Track { .. })).count();
    let untracked = recorded.iter().filter(|effect| matches!(effect, Effect::Untrack { .. })).count();
    let cancelled = recorded.iter().filter(|effect| matches!(effect, Effect::Cancel { .. })).count();
    assert!(recorded.len() <= EFFECTS_MAX, "{} effects", recorded.len());
    assert!(tracked <= presences + untracked && timer_count <= timers + cancelled);
    true
}

/// Two states that a room publishes, one in each line: a client that has the first and merges the change has the second.
pub(super) fn published(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Some((first, second)) = text.split_once('\n') else { return false };
    let state = |text: &str| {
        read_object(text).ok()?;
        serde_json::from_value::<PublishedState>(Value::from(text)).ok()
    };
    let (Some(before), Some(after)) = (state(first), state(second)) else { return false };
    let topic = Topic::new("t");
    let (before, _) = Published::publish(None, &topic, before);
    let (_, update) = Published::publish(Some(before), &topic, after);
    let value = |text: &str| Value::Object(read_object(text).expect("it was read before"));
    let mut merged = value(first);
    match update.map(|update| update.patch) {
        Some(Some(patch)) => merge(&mut merged, &read_value(&patch).expect("a patch is JSON")),
        // The client gets the whole state.
        Some(None) => merged = value(second),
        None => {}
    }
    assert_eq!(without_nulls(merged), without_nulls(value(second)));
    true
}

/// In a published state, a field with the value null counts as absent.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        other => other,
    }
}

/// The host's own scanner and `serde_json` agree on what is JSON, and what the host can read is JSON.
pub(super) fn payload(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    // Serde stops at 128 levels. The scanner has no limit, because it doesn't recurse.
    let is_flat = text.matches(['[', '{']).count() < 120;
    let is_valid = is_json(text);
    if is_flat {
        assert_eq!(is_valid, serde_json::from_str::<IgnoredAny>(text).is_ok(), "{text}");
    }
    assert!(is_valid || read_value(text).is_err(), "{text}");
    let payload = Payload::Json(text.into());
    assert!(payload.check_value().is_ok() == is_valid || !is_flat, "{text}");
    assert!(payload.check_object().is_err() || text.trim_start().starts_with('{'), "{text}");
    is_valid
}
