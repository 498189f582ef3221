//! The guarantees of entries: a call changes them completely or not at all, they have limits, and they end with their room.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Client, Notes, Part, Stage, admitted, nothing, replied};
use bennu::channel::NodeLimits;
use bennu::contract::limits::EntryLimits;
use bennu::contract::{Call, Callback, Effect, Fault, Outcome};
use bennu::entries::{CallEntries, EntriesNode, EntryInput, Order};
use bennu::routes::{Probation, ProbationTerms};
use bennu::store::{Owner, QUOTA_BYTES, Store, StoreLimits};
use tokio::time::{sleep, timeout};

pub(crate) const OPTIONS: &[(&str, &str)] = &[("room", "memory"), ("linger-ms", "1000"), ("on-fault", "keep")];

/// The name of an event says what it does: `add KEY`, `put KEY BYTES`, `fill COUNT`, `clear COUNT`, `tick MILLISECONDS`, and
/// `list`. All but `list` may be followed by `and crash`. A fault is noted.
async fn keeping(call: &Call, entries: Option<EntryInput>, notes: &Notes) -> Result<Outcome, Fault> {
    let event = match &call.callback {
        Callback::In { event, .. } => event,
        Callback::Join(_) => return Ok(admitted()),
        Callback::Info(_) | Callback::Terminate(_) => return Ok(nothing()),
    };
    let Some(input) = entries else {
        notes.add(format!("{event}: no entries"));
        return Ok(replied("{}"));
    };
    let mut entries = CallEntries::new(input, false);
    let words: Vec<&str> = event.split(' ').collect();
    if let ["tick", milliseconds] = words[..] {
        let milliseconds = milliseconds.parse().expect("a number");
        return Ok(Outcome { effects: vec![Effect::Tick { milliseconds }], ..replied("{}") });
    }
    let done = match words[..] {
        ["add", key, ..] => add(&mut entries, key).await,
        ["put", key, bytes, ..] => entries.put(key.as_bytes(), &vec![b'x'; number(bytes)]).await,
        ["fill", count, ..] => fill(&mut entries, number(count)).await,
        ["clear", count, ..] => entries.delete_range((None, None), number(count) as u32).await.map(drop),
        _ => return Ok(replied(&list(&mut entries).await?)),
    };
    done.inspect_err(|fault| notes.add(fault.to_string()))?;
    if words.ends_with(&["and", "crash"]) {
        return Err(Fault::failed("asked to"));
    }
    Ok(Outcome { entries: entries.into_pending(), ..replied("{}") })
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

/// Appends one letter to an entry.
pub(crate) async fn add(entries: &mut CallEntries, key: &str) -> Result<(), Fault> {
    let mut value = entries.get(key.as_bytes()).await?.unwrap_or_default();
    value.push(b'x');
    entries.put(key.as_bytes(), &value).await
}

async fn fill(entries: &mut CallEntries, count: usize) -> Result<(), Fault> {
    let keys: Vec<_> = (0..count).map(|n| format!("{n:05}")).collect();
    entries.put_many(keys.iter().map(|key| (key.as_bytes(), &b"x"[..]))).await
}

/// All entries, as a JSON object.
pub(crate) async fn list(entries: &mut CallEntries) -> Result<String, Fault> {
    let mut listed = Vec::new();
    let each = |key: &[u8], value: &[u8]| {
        listed.push(format!("\"{}\":\"{}\"", String::from_utf8_lossy(key), String::from_utf8_lossy(value)));
    };
    entries.scan((None, None), Order::Forward, u32::MAX, each).await?;
    Ok(format!("{{{}}}", listed.join(",")))
}

pub(crate) fn shelf(notes: &Notes) -> Part {
    let notes = notes.clone();
    let on_call = move |call: Call, entries| {
        let notes = notes.clone();
        async move { keeping(&call, entries, &notes).await }
    };
    Part { options: OPTIONS, ..Part::with_entries("shelf:*", on_call) }
}

/// Sends an event, and returns the response to it.
pub(crate) async fn ask(client: &mut Client, event: &str) -> String {
    ask_in("shelf:1", client, event).await
}

async fn ask_in(topic: &str, client: &mut Client, event: &str) -> String {
    client.send(&format!(r#"["1","2","{topic}","{event}",{{}}]"#));
    let reply = client.next().await;
    let response = reply.split_once("\"response\":").and_then(|(_, rest)| rest.rsplit_once(",\"status\""));
    response.map_or(reply.clone(), |(response, _)| response.to_owned())
}

const CRASHED: &str = r#"{"reason":"channel_crash"}"#;

/// Waits until all memory of entries is released. A large table is dropped on another thread.
async fn released(node: &EntriesNode) {
    let released = async {
        while node.usage().memory_bytes != 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(60), released).await.expect("the memory is released");
}

#[tokio::test(start_paused = true)]
async fn members_share_the_entries_of_their_topic() {
    let stage = Stage::new([shelf(&Notes::default())]);
    let (mut alice, mut bob, mut other) = (stage.connect(), stage.connect(), stage.connect());
    alice.join("shelf:1").await;
    bob.join("shelf:1").await;
    other.join("shelf:2").await;
    for event in ["add b", "add a", "add a"] {
        assert_eq!(ask(&mut alice, event).await, "{}");
    }
    assert_eq!(ask(&mut bob, "list").await, r#"{"a":"xx","b":"x"}"#);
    assert_eq!(ask_in("shelf:2", &mut other, "list").await, "{}");
}

#[tokio::test(start_paused = true)]
async fn a_fault_changes_no_entry() {
    let node = EntriesNode::new(EntryLimits::default());
    let stage = Stage::with_entries([shelf(&Notes::default())], &node);
    let mut alice = stage.connect();
    alice.join("shelf:1").await;
    ask(&mut alice, "add a").await;
    let before = node.usage().memory_bytes;
    for event in ["add a and crash", "add b and crash", "fill 100 and crash", "clear 1 and crash"] {
        assert_eq!(ask(&mut alice, event).await, CRASHED, "{event}");
        assert_eq!(ask(&mut alice, "list").await, r#"{"a":"x"}"#, "{event}");
        assert_eq!(node.usage().memory_bytes, before, "{event}");
    }
}

/// The first run of the event `race` reads a key of the store that another commit changes before the run ends.
async fn racing(call: Call, entries: Option<EntryInput>, store: Store, notes: Notes) -> Result<Outcome, Fault> {
    let is_race = matches!(&call.callback, Callback::In { event, .. } if **event == *"race");
    if !is_race {
        return keeping(&call, entries, &notes).await;
    }
    let owner = Owner::new("script", QUOTA_BYTES).expect("a name");
    let mut draft = store.begin(&owner);
    let is_first = draft.get(b"key").await.expect("memory doesn't fail").is_none();
    let mut entries = CallEntries::new(entries.expect("the topic has entries"), false);
    notes.add(list(&mut entries).await?);
    add(&mut entries, "a").await?;
    draft.put(b"own", "x".into()).expect("a small value");
    if is_first {
        let mut other = store.begin(&owner);
        other.put(b"key", "x".into()).expect("a small value");
        store.commit(other).await.expect("a commit without a conflict");
    }
    Ok(Outcome { entries: entries.into_pending(), draft: Some(Box::new(draft)), ..replied("{}") })
}

#[tokio::test(start_paused = true)]
async fn after_a_conflict_the_call_runs_again_on_the_same_entries() {
    let (store, notes) = (Store::in_memory(StoreLimits::default()).expect("a store in memory"), Notes::default());
    let (of_calls, seen) = (store.clone(), notes.clone());
    let on_call = move |call, entries| racing(call, entries, of_calls.clone(), seen.clone());
    let part = Part { options: OPTIONS, ..Part::with_entries("shelf:*", on_call) };
    let stage = Stage::over(store, [part], NodeLimits::default());
    let mut alice = stage.connect();
    alice.join("shelf:1").await;
    ask(&mut alice, "add a").await;
    assert_eq!(ask(&mut alice, "race").await, "{}");
    assert_eq!(notes.all(), [r#"{"a":"x"}"#, r#"{"a":"x"}"#]);
    assert_eq!(ask(&mut alice, "list").await, r#"{"a":"xx"}"#);
}

#[tokio::test(start_paused = true)]
async fn on_probation_the_earlier_build_starts_from_untouched_entries() {
    let notes = Notes::default();
    let faulty = |call: Call, entries: Option<EntryInput>| {
        let is_join = matches!(call.callback, Callback::Join(_));
        async move {
            // The fault comes after the write, which the topic never gets.
            CallEntries::new(entries.expect("the topic has entries"), false).put(b"a", b"lost").await?;
            if is_join { Ok(admitted()) } else { Err(Fault::failed("a fault")) }
        }
    };
    let terms = ProbationTerms { time: Duration::from_secs(60), calls: 100, faults: 3 };
    let trial = Some((Probation::new(terms, Arc::default()), Some(shelf(&notes).route())));
    let stage = Stage::new([shelf(&notes)]);
    let mut alice = stage.connect();
    alice.join("shelf:1").await;
    ask(&mut alice, "add a").await;
    let second = Part::with_entries("shelf:*", faulty);
    stage.publish([Part { options: OPTIONS, generation: 2, probation: trial, ..second }]);
    assert_eq!(ask(&mut alice, "add a").await, "{}");
    assert_eq!(ask(&mut alice, "list").await, r#"{"a":"xx"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_room_with_entries_lingers_and_its_end_drops_them() {
    let node = EntriesNode::new(EntryLimits::default());
    let stage = Stage::with_entries([shelf(&Notes::default())], &node);
    let mut alice = stage.connect();
    alice.join("shelf:1").await;
    ask(&mut alice, "add a").await;
    alice.close();
    sleep(Duration::from_millis(900)).await;
    let mut bob = stage.connect();
    bob.join("shelf:1").await;
    assert_eq!(ask(&mut bob, "list").await, r#"{"a":"x"}"#);
    // More entries than are dropped within a turn.
    ask(&mut bob, "fill 2000").await;
    assert_ne!(node.usage().memory_bytes, 0);
    bob.close();
    sleep(Duration::from_millis(1001)).await;
    released(&node).await;
    let mut carol = stage.connect();
    carol.join("shelf:1").await;
    assert_eq!(ask(&mut carol, "list").await, "{}");
}

#[tokio::test(start_paused = true)]
async fn entries_have_limits() {
    let limits = EntryLimits::default();
    let cases = [
        (
            EntryLimits { value_bytes: 20, ..limits },
            ["put a 20", "put a 21"],
            "the value of an entry has 21 bytes; at most 20 (`limits.entry_bytes = 20`)",
        ),
        (
            EntryLimits { writes_per_call: 5, ..limits },
            ["fill 5", "fill 6"],
            "a call writes more than 5 entries (`limits.entry_writes_per_call = 5`)",
        ),
        (
            // An entry of `fill` has 6 bytes.
            EntryLimits { write_bytes_per_call: 30, ..limits },
            ["fill 5", "put a 30"],
            "a call writes more than 30 bytes of entries (`limits.entry_write_bytes_per_call = 30`)",
        ),
        (
            EntryLimits { bytes_per_topic: 30, ..limits },
            ["fill 5", "add a"],
            "the entries of a topic would have 32 bytes; at most 30 (`limits.entries_bytes_per_topic = 30`)",
        ),
    ];
    for (limits, [allowed, refused], fault) in cases {
        let notes = Notes::default();
        let stage = Stage::with_entries([shelf(&notes)], &EntriesNode::new(limits));
        let mut alice = stage.connect();
        alice.join("shelf:1").await;
        assert_eq!((ask(&mut alice, allowed).await, notes.all()), ("{}".into(), vec![]), "{fault}");
        assert_eq!(ask(&mut alice, refused).await, CRASHED, "{fault}");
        assert_eq!(notes.all(), [format!("oversize: {fault}")]);
        assert_eq!(ask(&mut alice, "clear 1").await, "{}", "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_all_entries_is_limited_together() {
    let notes = Notes::default();
    let node = EntriesNode::new(EntryLimits { memory_bytes: 2 * 64 + 30, ..EntryLimits::default() });
    let stage = Stage::with_entries([shelf(&notes)], &node);
    let (mut alice, mut other) = (stage.connect(), stage.connect());
    alice.join("shelf:1").await;
    other.join("shelf:2").await;
    assert_eq!(ask(&mut alice, "put a 20").await, "{}");
    assert_eq!(ask_in("shelf:2", &mut other, "put a 9").await, CRASHED);
    let fault = "oversize: the entries of all memory rooms would have 159 bytes; at most 158 (`limits.entries_memory_bytes = 158`)";
    assert_eq!(notes.all(), [fault]);
    // The refused call has reserved nothing.
    assert_eq!(ask_in("shelf:2", &mut other, "put a 8").await, "{}");
    assert_eq!(node.usage().memory_bytes, 158);
    assert_eq!(ask(&mut alice, "put a 1").await, "{}");
    assert_eq!(ask_in("shelf:2", &mut other, "put a 9").await, "{}");
    assert_eq!(node.usage().memory_bytes, 2 * 64 + 2 + 10);
}

#[tokio::test(start_paused = true)]
async fn other_topics_and_other_plugins_have_no_entries() {
    let notes = Notes::default();
    let with_room = |kind: &'static [(&'static str, &'static str)]| Part { options: kind, ..shelf(&notes) };
    let parts = [
        ("shelf:1", Part { uses_entries: false, ..with_room(OPTIONS) }),
        ("none", Part { pattern: "none", ..with_room(&[]) }),
    ];
    let topics = parts.each_ref().map(|(topic, _)| *topic);
    let stage = Stage::new(parts.map(|(_, part)| part));
    for topic in topics {
        let mut alice = stage.connect();
        alice.join(topic).await;
        assert_eq!(ask_in(topic, &mut alice, topic).await, "{}");
    }
    assert_eq!(notes.all(), topics.map(|topic| format!("{topic}: no entries")));
}

#[tokio::test(start_paused = true)]
async fn a_later_build_that_uses_entries_gets_them_in_an_open_room() {
    let notes = Notes::default();
    let stage = Stage::new([Part { uses_entries: false, ..shelf(&notes) }]);
    let mut alice = stage.connect();
    alice.join("shelf:1").await;
    assert_eq!(ask(&mut alice, "add a").await, "{}");
    for _ in 0..2 {
        stage.publish([shelf(&notes)]);
        assert_eq!(ask(&mut alice, "add a").await, "{}");
    }
    // A build without entries keeps them for the one after it.
    stage.publish([Part { uses_entries: false, ..shelf(&notes) }]);
    assert_eq!(ask(&mut alice, "add a").await, "{}");
    stage.publish([shelf(&notes)]);
    assert_eq!(ask(&mut alice, "list").await, r#"{"a":"xx"}"#);
    assert_eq!(notes.all(), ["add a: no entries", "add a: no entries"]);
}
