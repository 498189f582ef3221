//! What waits while a queue is full, or under pressure.

use super::*;

#[tokio::test(start_paused = true)]
async fn turns_in_tasks_wait_under_pressure() {
    let stage = simple_stage(&Notes::default());
    let mut alice = stage.connect();
    alice.join("room:a").await;
    let pressure = &stage.endpoint.node.pubsub.pressure;
    pressure.raise();
    // A timer's turn runs in a task, so it waits. A client's message doesn't, because no reactor reads the sockets here.
    alice.send(&event(2, "later"));
    assert_eq!(alice.now(), [ok("1", 2)]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(alice.now(), [""; 0]);
    pressure.lower();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let fired = r#"["1",null,"room:a","fired",{}]"#;
    assert_eq!(alice.now(), [fired]);
    // If the pressure lasts, they wait for [`HELD_BACK_MAX`] at most.
    pressure.raise();
    alice.send(&event(3, "later"));
    assert_eq!(alice.now(), [ok("1", 3)]);
    tokio::time::sleep(Duration::from_millis(50) + HELD_BACK_MAX + Duration::from_millis(5)).await;
    assert_eq!(alice.now(), [fired]);
}

#[tokio::test(start_paused = true)]
async fn merged_presence_diffs_wait_under_pressure() {
    let stage = simple_stage(&Notes::default());
    let mut alice = stage.connect();
    alice.join("room:a").await;
    let (node, topic) = (&stage.endpoint.node, Topic::new("room:a"));
    let burst = u64::from(Pace::default().burst);
    for member in 1..=burst + 1 {
        node.presence.track(&topic, member, "key", "{}").expect("no presence is tracked yet");
    }
    assert_eq!(alice.now().len() as u64, burst);
    node.pubsub.pressure.raise();
    tokio::time::sleep(Pace::default().window + HELD_BACK_MAX / 2).await;
    assert_eq!(alice.now(), [""; 0]);
    tokio::time::sleep(HELD_BACK_MAX).await;
    assert_eq!(alice.now().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_stops_the_reading_of_its_own_client_only() {
    let finish = Arc::new(Notify::new());
    let gate = Arc::clone(&finish);
    let part = Part::new("room:*", move |call| {
        let gate = Arc::clone(&gate);
        async move {
            if matches!(&call.callback, Callback::In { event, .. } if &**event == "slow") {
                gate.notified().await;
                return Ok(replied("{}"));
            }
            simple(call, &Notes::default())
        }
    });
    let stage = Stage::with_limits([part], NodeLimits { from_client: 2, from_elsewhere: 8, ..NodeLimits::default() });
    let (mut alice, mut bob) = (stage.connect(), stage.connect());
    alice.join("room:a").await;
    bob.join("room:a").await;
    alice.send(&event(2, "slow"));
    for reference in 3..=5 {
        assert!(!alice.socket.is_held_back(), "before {reference}");
        alice.send(&event(reference, "echo"));
    }
    assert!(alice.socket.is_held_back());
    bob.send(&event(2, "shout"));
    assert_eq!(alice.now(), [r#"[null,null,"room:a","shout",{}]"#], "frames are still sent to the client");
    finish.notify_one();
    for reference in 2..=5 {
        assert_eq!(alice.next().await, ok("1", reference));
    }
    assert!(!alice.socket.is_held_back());
}

#[tokio::test(start_paused = true)]
async fn too_many_waiting_messages_from_elsewhere_are_a_fault() {
    let notes = Notes::default();
    let noted = notes.clone();
    let part = Part::new("room:*", move |call| std::future::ready(simple(call, &noted)));
    let stage = Stage::with_limits([part], NodeLimits { from_client: 64, from_elsewhere: 4, ..NodeLimits::default() });
    let mut alice = stage.connect();
    alice.join("room:a").await;
    alice.send(&event(2, "flood"));
    let last = r#"["1",null,"room:a","last",{}]"#;
    let error = r#"["1","1","room:a","phx_error",{"reason":"channel_crash"}]"#;
    assert_eq!(alice.now(), [last, error]);
    assert_eq!(notes.all(), ["terminate fault overflow with fresh"], "no effect of the call is carried out");
}
