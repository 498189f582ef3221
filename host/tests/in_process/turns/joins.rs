//! The order of joins, leaves and messages of one client.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_duplicate_join_ends_the_old_member_and_its_running_call_commits_nothing() {
    let finish = Arc::new(Notify::new());
    let (gate, notes) = (Arc::clone(&finish), Notes::default());
    let noted = notes.clone();
    let stage = Stage::new([Part::new("room:*", move |call| {
        let (gate, notes) = (Arc::clone(&gate), noted.clone());
        async move {
            if matches!(&call.callback, Callback::In { event, .. } if &**event == "slow") {
                gate.notified().await;
                return on_event("shout");
            }
            simple(call, &notes)
        }
    })]);
    let (mut alice, mut bob) = (stage.connect(), stage.connect());
    alice.join("room:a").await;
    bob.join("room:a").await;
    alice.send(&event(2, "slow"));
    alice.send(&event(3, "echo"));
    tokio::task::yield_now().await;
    alice.send(&frame("\"4\"", "\"4\"", "room:a", "phx_join"));
    assert_eq!(alice.now(), [""; 0], "the new join waits for the running call");
    finish.notify_one();
    assert_eq!(alice.next().await, ok("4", 4));
    assert_eq!(alice.next().await, r#"["1","1","room:a","phx_close",{}]"#);
    assert_eq!((alice.now(), bob.now()), (vec![], vec![]));
    assert_eq!(notes.all(), [""; 0], "no terminate");
    alice.send(&frame("\"4\"", "\"5\"", "room:a", "echo"));
    assert_eq!(alice.now(), [ok("4", 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_leave_followed_by_a_join_keeps_its_order() {
    let notes = Notes::default();
    let mut alice = simple_stage(&notes).connect();
    alice.join("room:a").await;
    alice.send(&event(2, "phx_leave"));
    alice.send(&frame("\"3\"", "\"3\"", "room:a", "phx_join"));
    let close = r#"["1","1","room:a","phx_close",{}]"#;
    let last = r#"["1",null,"room:a","last",{}]"#;
    assert_eq!(alice.now(), [ok("1", 2), close.into(), last.into(), ok("3", 3)]);
    assert_eq!(notes.all(), ["terminate left  with fresh"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_join_blocks_only_its_own_channel() {
    let finish = Arc::new(Notify::new());
    let gate = Arc::clone(&finish);
    let stage = Stage::new([Part::new("room:*", move |call| {
        let gate = Arc::clone(&gate);
        async move {
            if call.member.topic.as_str() == "room:a" && matches!(call.callback, Callback::Join(_)) {
                gate.notified().await;
            }
            simple(call, &Notes::default())
        }
    })]);
    let mut alice = stage.connect();
    alice.send(&event(1, "phx_join"));
    alice.send(&event(2, "echo"));
    alice.join("room:b").await;
    assert_eq!(alice.now(), [""; 0]);
    finish.notify_one();
    assert_eq!(alice.next().await, ok("1", 1));
    assert_eq!(alice.next().await, ok("1", 2));
}

#[tokio::test(start_paused = true)]
async fn messages_sent_after_a_refused_join_are_unmatched() {
    let finish = Arc::new(Notify::new());
    let gate = Arc::clone(&finish);
    let stage = Stage::new([Part::new("room:*", move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            Ok(Outcome {
                effects: vec![broadcast("never")],
                answer: Answer::Refuse(Payload::Json("[1]".into())),
                ..nothing()
            })
        }
    })]);
    let mut alice = stage.connect();
    alice.send(&event(1, "phx_join"));
    alice.send(&event(2, "echo"));
    alice.send(&event(3, "phx_leave"));
    finish.notify_one();
    let refused = r#"["1","1","room:a","phx_reply",{"response":[1],"status":"error"}]"#;
    for expected in [refused.to_owned(), unmatched(2), ok("1", 3)] {
        assert_eq!(alice.next().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_join_whose_socket_has_closed_commits_nothing() {
    let finish = Arc::new(Notify::new());
    let (gate, notes) = (Arc::clone(&finish), Notes::default());
    let noted = notes.clone();
    let stage = Stage::new([Part::new("room:*", move |call| {
        let (gate, notes) = (Arc::clone(&gate), noted.clone());
        async move {
            gate.notified().await;
            notes.add(call.callback.name());
            Ok(Outcome { effects: vec![broadcast("never")], ..admitted() })
        }
    })]);
    let mut alice = stage.connect();
    alice.send(&event(1, "phx_join"));
    alice.close();
    assert_eq!(stage.endpoint.node.channel_count(), 1);
    finish.notify_one();
    stage.endpoint.node.emptied().await;
    assert_eq!(notes.all(), ["join"]);
    assert_eq!(stage.endpoint.node.pubsub.topic_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn repeated_joins_fill_the_same_mailbox() {
    let stage = Stage::with_limits(
        [Part::new("room:*", |_| std::future::pending())],
        NodeLimits { from_client: 4, from_elsewhere: 8, ..NodeLimits::default() },
    );
    let mut alice = stage.connect();
    let joins = (1..100).take_while(|&reference| {
        alice.send(&frame(&format!("\"{reference}\""), &format!("\"{reference}\""), "room:a", "phx_join"));
        !alice.socket.is_held_back()
    });
    assert_eq!(joins.count(), 5, "one join runs and four wait");
}
