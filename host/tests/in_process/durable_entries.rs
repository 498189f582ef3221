//! Entries of durable rooms: they are stored with the commit that changes them, and read when a call needs them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::entries::{OPTIONS, add, ask, shelf};
use crate::support::{Client, Notes, OnTopicCall, Part, Stage, admitted, nothing, replied};
use bennu::channel::NodeLimits;
use bennu::contract::limits::EntryLimits;
use bennu::contract::{Call, Callback, Fault, Outcome, TopicCall, TopicCallback};
use bennu::entries::{CacheLimits, CallEntries, EntriesNode, EntryInput};
use bennu::store::{
    Engine, EngineError, EngineFuture, Memory, Owner, QUOTA_BYTES, Revision, Snapshot, Store, StoreLimits, Writes,
};
use tokio::sync::Semaphore;
use tokio::time::sleep;

const DURABLE: &[(&str, &str)] = &[("room", "durable"), ("linger-ms", "0"), ("on-fault", "keep")];

fn store() -> Store {
    Store::in_memory(StoreLimits::default()).expect("a store in memory")
}

fn durable(notes: &Notes) -> Part {
    Part { options: DURABLE, ..shelf(notes) }
}

fn host(store: &Store) -> Stage {
    Stage::over(store.clone(), [durable(&Notes::default())], NodeLimits::default())
}

/// A host whose memory for entries the test can see.
fn watched(store: &Store) -> (Stage, Arc<EntriesNode>) {
    let node = Arc::<EntriesNode>::default();
    (Stage::made_of(store.clone(), [durable(&Notes::default())], NodeLimits::default(), Arc::clone(&node)), node)
}

async fn joined(stage: &Stage) -> Client {
    let mut alice = stage.connect();
    alice.join("shelf:1").await;
    alice
}

#[tokio::test(start_paused = true)]
async fn the_next_host_has_the_entries_of_a_durable_room() {
    let store = store();
    let first = host(&store);
    let mut alice = joined(&first).await;
    for event in ["add a", "add b", "add b", "add c", "add d and crash", "clear 1"] {
        ask(&mut alice, event).await;
    }
    assert_eq!(ask(&mut alice, "list").await, r#"{"b":"xx","c":"x"}"#);
    // The first host ends without a shutdown.
    drop(first);
    let second = host(&store);
    let mut alice = joined(&second).await;
    assert_eq!(ask(&mut alice, "add b").await, "{}");
    assert_eq!(ask(&mut alice, "list").await, r#"{"b":"xxx","c":"x"}"#);
    // After the room has ended, a new one reads them again.
    alice.close();
    let mut bob = joined(&second).await;
    assert_eq!(ask(&mut bob, "list").await, r#"{"b":"xxx","c":"x"}"#);
    ask(&mut bob, "clear 2").await;
    assert_eq!(store.usage("script").await.expect("a store in memory"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_loads_only_what_it_reads() {
    let store = store();
    ask(&mut joined(&host(&store)).await, "fill 2000").await;
    let (stage, node) = watched(&store);
    let mut alice = joined(&stage).await;
    assert_eq!(node.usage().loaded, 0);
    ask(&mut alice, "add 00007").await;
    assert_eq!(node.usage().loaded, 1);
    ask(&mut alice, "add 00007").await;
    assert_eq!(node.usage().loaded, 1);
    assert_eq!((node.usage().cached_bytes, node.usage().dirty_bytes), (64 + 5 + 3, 0));
    // A scan returns at most 1000 entries, and reads no more.
    ask(&mut alice, "list").await;
    assert_eq!(node.usage().loaded, 1001);
    drop(alice);
    drop(stage);
}

/// At a tick, adds to the entry `ticks`.
async fn ticking(call: TopicCall, entries: Option<EntryInput>) -> Result<Outcome, Fault> {
    let mut entries = CallEntries::new(entries.expect("the topic has entries"), false);
    match call.callback {
        TopicCallback::Tick(_) => add(&mut entries, "ticks").await?,
        TopicCallback::Message { .. } | TopicCallback::Info(_) | TopicCallback::Seat { .. } => {}
    }
    Ok(Outcome { entries: entries.into_pending(), ..nothing() })
}

/// The value of an entry, as the store has it.
async fn stored(store: &Store, key: &str) -> usize {
    let owner = Owner::new("script", QUOTA_BYTES).expect("a name");
    let rows = store.entry_rows(&owner, "shelf:1", Revision::default()).expect("a store in memory");
    let entry = rows.get(key.as_bytes()).await.expect("a store in memory");
    entry.map_or(0, |entry| entry.bytes() - key.len())
}

#[tokio::test(start_paused = true)]
async fn ticks_store_once_a_second_and_at_the_dirty_limit() {
    // At first, the entry has a few bytes. In the second case, each tick exceeds the limit after that.
    for (dirty_bytes, changes_expected) in [(1 << 20, 2..=4), (64 + 5 + 9, 200..=310)] {
        let store = store();
        let cache = CacheLimits { dirty_bytes, ..CacheLimits::default() };
        let node = EntriesNode::with_cache(EntryLimits::default(), cache);
        let on_topic_call: OnTopicCall = Arc::new(|call, entries| Box::pin(ticking(call, entries)));
        let part = Part { on_topic_call: Some(on_topic_call), ..durable(&Notes::default()) };
        let stage = Stage::made_of(store.clone(), [part], NodeLimits::default(), Arc::clone(&node));
        let mut alice = joined(&stage).await;
        ask(&mut alice, "tick 10").await;
        let (mut changes, mut last) = (0, stored(&store, "ticks").await);
        for _ in 0..3000 {
            sleep(Duration::from_millis(1)).await;
            let now = stored(&store, "ticks").await;
            changes += u32::from(now != last);
            last = now;
        }
        assert!(changes_expected.contains(&changes), "{changes} with {dirty_bytes}");
        // The end of the room stores the rest.
        alice.close();
        sleep(Duration::from_millis(100)).await;
        assert_eq!(node.usage().dirty_bytes, 0);
        let mut bob = joined(&stage).await;
        let list = ask(&mut bob, "list").await;
        let ticks = list.matches('x').count();
        assert!(ticks > 250 && ticks == stored(&store, "ticks").await, "{list}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_without_durable_rooms_is_not_stored() {
    let store = store();
    let part = Part { options: OPTIONS, ..shelf(&Notes::default()) };
    let stage = Stage::over(store.clone(), [part], NodeLimits::default());
    ask(&mut joined(&stage).await, "add a").await;
    assert_eq!(store.usages().await.expect("a store in memory"), []);
}

/// An engine in memory whose batches wait for permits, and may fail: 1 is without effect, and 2 after the batch was applied.
struct Controlled {
    memory: Memory,
    gate: Arc<Semaphore>,
    mode: Arc<AtomicU8>,
}

impl Engine for Controlled {
    fn snapshot(&mut self) -> EngineFuture<'_, Arc<dyn Snapshot>> {
        self.memory.snapshot()
    }

    fn apply<'a>(&'a mut self, writes: &'a Writes) -> EngineFuture<'a, ()> {
        Box::pin(async move {
            if let Ok(permit) = self.gate.acquire().await {
                permit.forget();
            }
            let mode = self.mode.swap(0, Ordering::Relaxed);
            if mode != 1 {
                self.memory.apply(writes).await?;
            }
            if mode == 0 { Ok(()) } else { Err(EngineError::broken("a failed sync")) }
        })
    }

    fn reopen(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}

async fn controlled(permits: usize) -> (Store, Arc<Semaphore>, Arc<AtomicU8>) {
    let (gate, mode) = (Arc::new(Semaphore::new(permits)), Arc::<AtomicU8>::default());
    let engine = Controlled { memory: Memory::default(), gate: Arc::clone(&gate), mode: Arc::clone(&mode) };
    (Store::over(Box::new(engine), StoreLimits::default()).await.expect("a store"), gate, mode)
}

#[tokio::test]
async fn a_failed_commit_is_written_again_with_the_old_values() {
    for mode in [1, 2] {
        let (store, _gate, next) = controlled(1000).await;
        let (stage, node) = watched(&store);
        let mut alice = joined(&stage).await;
        ask(&mut alice, "add a").await;
        for event in ["add a", "fill 3", "clear 1"] {
            next.store(mode, Ordering::Relaxed);
            assert_eq!(ask(&mut alice, event).await, r#"{"reason":"channel_crash"}"#);
            assert_eq!(ask(&mut alice, "list").await, r#"{"a":"x"}"#, "{event} {mode}");
            while store.trouble().is_some() {
                sleep(Duration::from_millis(1)).await;
            }
        }
        // The end of the next turn stores the old values, also after a turn that changes nothing.
        ask(&mut alice, "list").await;
        while node.usage().dirty_bytes > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let other = host(&store);
        assert_eq!(ask(&mut joined(&other).await, "list").await, r#"{"a":"x"}"#, "{mode}");
        assert_eq!(ask(&mut alice, "add b").await, "{}");
        assert_eq!(store.usage("script").await.expect("the store works"), 2 + 2);
    }
}

/// Each event, and each join, adds to the entry of that name.
async fn adding(call: Call, entries: Option<EntryInput>) -> Result<Outcome, Fault> {
    let mut entries = CallEntries::new(entries.expect("the topic has entries"), false);
    let outcome = match call.callback {
        Callback::Join(params) if format!("{params:?}").contains("add") => {
            add(&mut entries, "joined").await?;
            admitted()
        }
        Callback::Join(_) => admitted(),
        Callback::In { event, .. } if &*event == "list" => {
            let list = crate::entries::list(&mut entries).await?;
            return Ok(replied(&list));
        }
        Callback::In { event, .. } => {
            add(&mut entries, &event).await?;
            replied("{}")
        }
        Callback::Info(_) | Callback::Terminate(_) => nothing(),
    };
    Ok(Outcome { entries: entries.into_pending(), ..outcome })
}

#[tokio::test]
async fn a_member_that_ends_during_the_commit_keeps_its_entries() {
    // One permit for the store's own first batch.
    let (store, gate, _) = controlled(1).await;
    let part = Part { options: DURABLE, ..Part::with_entries("shelf:*", adding) };
    let stage = Stage::over(store.clone(), [part], NodeLimits::default());
    let mut bob = joined(&stage).await;
    let mut alice = joined(&stage).await;
    alice.send(r#"["1","2","shelf:1","a",{}]"#);
    alice.close();
    gate.add_permits(1);
    assert_eq!(ask(&mut bob, "list").await, r#"{"a":"x"}"#);
    // Also a join that ends meanwhile.
    let mut carol = stage.connect();
    carol.send(r#"["1","1","shelf:1","phx_join",{"add":true}]"#);
    carol.close();
    gate.add_permits(1);
    assert_eq!(ask(&mut bob, "list").await, r#"{"a":"x","joined":"x"}"#);
    // The room's memory and the store agree.
    assert_eq!((stored(&store, "a").await, stored(&store, "joined").await), (1, 1));
    drop(stage);
    let part = Part { options: DURABLE, ..Part::with_entries("shelf:*", adding) };
    let again = Stage::over(store, [part], NodeLimits::default());
    assert_eq!(ask(&mut joined(&again).await, "list").await, r#"{"a":"x","joined":"x"}"#);
}

#[tokio::test(start_paused = true)]
async fn the_entries_of_a_memory_room_are_stored_when_a_build_makes_it_durable() {
    let (store, notes) = (store(), Notes::default());
    // The topic has stored entries from an earlier time.
    for event in ["add a", "add old", "add old"] {
        ask(&mut joined(&host(&store)).await, event).await;
    }
    let memory = || Part { options: OPTIONS, ..shelf(&notes) };
    let node = Arc::<EntriesNode>::default();
    let stage = Stage::made_of(store.clone(), [memory()], NodeLimits::default(), Arc::clone(&node));
    let mut alice = joined(&stage).await;
    for event in ["put a 3", "fill 2500"] {
        ask(&mut alice, event).await;
    }
    stage.publish([Part { generation: 2, ..durable(&notes) }]);
    assert_eq!(ask(&mut alice, "add a").await, "{}");
    assert_eq!((stored(&store, "a").await, stored(&store, "old").await, stored(&store, "02499").await), (4, 2, 1));
    // A large table is dropped on another thread.
    while node.usage().memory_bytes > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.usage().dirty_bytes, 0);
    assert_eq!(store.usage("script").await.expect("a store in memory"), 2500 * 6 + 1 + 4 + 3 + 2);

    // When it isn't durable any more, the room begins without entries.
    ask(&mut alice, "clear 1000").await;
    stage.publish([Part { generation: 3, ..memory() }]);
    assert_eq!(ask(&mut alice, "list").await, "{}");
    assert_eq!(ask(&mut alice, "add a").await, "{}");
    assert_eq!((stored(&store, "a").await, stored(&store, "00999").await, stored(&store, "01000").await), (4, 0, 1));
    assert_eq!(notes.all(), [""; 0]);
}
