//! Durable rooms in the store.

use super::*;

const DURABLE: &[(&str, &str)] = &[("room", "durable"), ("linger-ms", "0")];

/// Returns the room that a host finds after a restart.
async fn stored(stage: &Stage) -> String {
    let stage = stage.again([Part { options: DURABLE, ..counter(&Notes::default()) }]);
    let mut client = stage.connect();
    client.join("count:1").await;
    look(&mut client).await
}

#[tokio::test(start_paused = true)]
async fn a_room_that_becomes_durable_is_stored() {
    let notes = Notes::default();
    let stage = Stage::new([counter(&notes)]);
    let (mut alice, mut bob) = (stage.connect(), stage.connect());
    alice.join("count:1").await;
    send(&mut alice, "add");
    alice.next().await;
    stage.publish([Part { options: DURABLE, ..counter(&notes) }]);
    bob.join("count:1").await;
    assert_eq!(stored(&stage).await, "1");
}

#[tokio::test(start_paused = true)]
async fn a_room_without_state_that_becomes_durable_is_loaded_from_the_store() {
    let notes = Notes::default();
    let durable = || Part { options: DURABLE, ..counter(&notes) };
    let stage = Stage::new([durable()]);
    let mut alice = stage.connect();
    alice.join("count:1").await;
    send(&mut alice, "add");
    alice.next().await;
    let stage = stage.again([counter(&notes)]);
    let mut bob = stage.connect();
    bob.join("count:1").await;
    stage.publish([durable()]);
    send(&mut bob, "add");
    bob.next().await;
    assert_eq!(look(&mut bob).await, "2");
}

#[tokio::test(start_paused = true)]
async fn a_durable_room_with_a_tick_is_stored_when_its_plugin_is_removed() {
    let stage = Stage::new([Part { options: DURABLE, ..counter(&Notes::default()) }]);
    let mut alice = stage.connect();
    alice.join("count:1").await;
    for event in ["tick", "add", "add", "add"] {
        send(&mut alice, event);
        alice.next().await;
    }
    stage.publish([]);
    stage.endpoint.node.sweep().await;
    assert_eq!(alice.next().await, ERROR);
    assert_eq!(stored(&stage).await, "3");
}

#[tokio::test(start_paused = true)]
async fn a_stop_stores_rooms_although_another_topic_is_blocked() {
    let stuck = Part::new("stuck:*", |call: Call| async move {
        match call.callback {
            Callback::Join(_) => Ok(admitted()),
            _ => std::future::pending().await,
        }
    });
    let stage =
        Stage::new([Part { options: DURABLE, ..counter(&Notes::default()) }, Part { options: DURABLE, ..stuck }]);
    let (mut alice, mut bob) = (stage.connect(), stage.connect());
    bob.join("stuck:1").await;
    bob.send(r#"["1","x","stuck:1","anything",{}]"#);
    alice.join("count:1").await;
    for event in ["tick", "add", "add", "add"] {
        send(&mut alice, event);
        alice.next().await;
    }
    assert_eq!(stored(&stage).await, "1");
    let storing = tokio::time::timeout(Duration::from_secs(1), stage.endpoint.node.store_rooms());
    assert!(storing.await.is_err(), "the blocked topic can't be stored");
    assert_eq!(stored(&stage).await, "3");
}

#[tokio::test(start_paused = true)]
async fn a_replaced_member_gets_the_stored_room_although_the_room_has_ended() {
    let notes = Notes::default();
    let part = Part {
        options: DURABLE,
        ..ticking(&notes, |call, notes| async move {
            notes.add(noted(&call, Instant::now()));
            sleep(Duration::from_millis(50)).await;
            Ok(nothing())
        })
    };
    let stage = Stage::new([part]);
    let mut alice = stage.connect();
    alice.join("count:1").await;
    send(&mut alice, "add");
    alice.next().await;
    // During this message the room has no members.
    let message = stage.endpoint.node.send("count:1", "poke".into(), Payload::EMPTY);
    let joining = async { alice.send(r#"["2","2","count:1","phx_join",{}]"#) };
    assert!(tokio::join!(message, joining).0.is_ok());
    assert!(alice.next().await.contains(r#"["2","2","count:1","phx_reply""#));
    assert_eq!(notes.all(), ["poke on 1", "terminate replaced with 1"]);
    assert_eq!(stored(&stage).await, "101");
}
