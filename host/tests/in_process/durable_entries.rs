//! Entries of durable rooms: they are stored with the commit that changes them, and read when a call needs them.

use std::sync::Arc;

use crate::entries::{OPTIONS, ask, shelf};
use crate::support::{Client, Notes, Part, Stage};
use bennu::channel::NodeLimits;
use bennu::entries::EntriesNode;
use bennu::store::{Store, StoreLimits};

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

#[tokio::test(start_paused = true)]
async fn a_plugin_without_durable_rooms_is_not_stored() {
    let store = store();
    let part = Part { options: OPTIONS, ..shelf(&Notes::default()) };
    let stage = Stage::over(store.clone(), [part], NodeLimits::default());
    ask(&mut joined(&stage).await, "add a").await;
    assert_eq!(store.usages().await.expect("a store in memory"), []);
}
