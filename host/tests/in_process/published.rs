//! Published entries: each member gets the entries that it follows, and then their changes, however slowly it reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bennu::channel::NodeLimits;
use bennu::contract::limits::EntryLimits;
use bennu::contract::{Call, Callback, Decision, Effect, Outcome};
use bennu::counts::Limit;
use bennu::entries::{EntriesNode, EntryInput};
use bennu::protocol::Payload;
use bennu::routes::{Probation, ProbationResult, ProbationTerms};
use bennu::store::{Store, StoreLimits};
use bennu_semantics::merge;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::follower::{Follower, OPTIONS, board, publishing};
use crate::support::{Notes, Part, Stage, admitted, replied};

#[tokio::test(start_paused = true)]
async fn a_member_gets_the_entries_when_it_joins_and_then_their_changes() {
    let stage = Stage::new([board(&Notes::default())]);
    let mut alice = Follower::join(&stage, json!({})).await;
    assert_eq!((alice.seen(), alice.state()), (vec!["room_state 1".to_owned()], json!({})));
    let text = r#"["1","2","board:1","do",{"put":{"p/1":{"a":1,"b":2},"q/2":[3],"private":4}}]"#;
    alice.client.send(text);
    let diff = r#"[null,null,"board:1","room_diff",{"n":2,"patch":{"p/1":{"a":1,"b":2},"q/2":[3]}}]"#;
    assert_eq!(alice.client.next().await, diff, "before the reply");
    alice.take(diff);
    alice.until_replied().await;

    // The text that the first member got is kept, and the change since then follows.
    let mut bob = Follower::connect(&stage);
    bob.client.send(r#"["1","1","board:1","phx_join",{"put":{"p/1":{"a":1,"c":5}}}]"#);
    assert!(bob.client.next().await.contains("phx_reply"));
    assert_eq!(
        bob.client.next().await,
        r#"[null,null,"board:1","room_state",{"n":2,"state":{"p/1":{"a":1,"b":2},"q/2":[3]}}]"#
    );
    let own = r#"[null,null,"board:1","room_diff",{"n":3,"patch":{"p/1":{"b":null,"c":5}}}]"#;
    assert_eq!(bob.client.next().await, own, "the changes of its join");
    assert_eq!(
        (alice.seen(), alice.state()),
        (vec!["room_diff 2".to_owned(), "room_diff 3".to_owned()], json!({ "p/1": { "a": 1, "c": 5 }, "q/2": [3] }))
    );

    // Entries that aren't published, and values that stay the same, are no messages.
    assert_eq!(alice.ask(json!({ "put": { "private": 5, "q/2": [3], "q/none": null } })).await, "ok");
    assert_eq!(alice.seen(), [""; 0]);
    assert_eq!(alice.ask(json!({ "put": { "q/2": null } })).await, "ok");
    assert_eq!(alice.state(), json!({ "p/1": { "a": 1, "c": 5 } }));
}

/// Entries of more than 4 KiB, so that changes are sent and not the whole state.
fn large() -> Value {
    let entries = (0..100).map(|number| (format!("p/{number:03}"), json!({ "text": "x".repeat(60) })));
    json!({ "put": Value::Object(entries.collect()) })
}

#[tokio::test(start_paused = true)]
async fn a_member_that_joins_a_large_state_gets_the_kept_text_and_a_patch() {
    let stage = Stage::new([board(&Notes::default())]);
    let mut alice = Follower::join(&stage, large()).await;
    assert_eq!(alice.seen(), ["room_state 1", "room_diff 2"]);
    let mut bob = Follower::join(&stage, json!({})).await;
    assert_eq!(bob.seen(), ["room_state 2"], "the text is made again: too much has changed");
    alice.ask(json!({ "put": { "p/007": { "other": 1 }, "p/008": null } })).await;
    let mut carol = Follower::join(&stage, json!({})).await;
    assert_eq!(carol.seen(), ["room_state 2", "room_diff 3"]);
    alice.ask(json!({ "put": { "p/008": 8 } })).await;
    for each in [&mut bob, &mut carol] {
        assert_eq!(each.state(), alice.state());
        assert_eq!(each.number, 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_reads_slowly_gets_the_changes_that_it_missed_as_one() {
    let stage = Stage::new([board(&Notes::default())]);
    let mut alice = Follower::join(&stage, large()).await;
    let mut bob = Follower::join(&stage, json!({})).await;
    bob.seen();
    // Bob's outbox is more than a quarter full after 257 frames.
    for number in 0..270 {
        alice.ask(json!({ "put": { "p/000": { "number": number, format!("field{number}"): 1 } } })).await;
    }
    alice.ask(json!({ "put": { "p/001": null } })).await;
    bob.caught_up().await;
    assert_eq!(bob.state(), alice.state());
    let seen = bob.seen();
    let last = &seen[seen.len() - 3..];
    assert!(last.iter().all(|message| message.starts_with("empty")), "{last:?}");
    assert_eq!((alice.number, bob.number), (273, 273), "both get the same frames from now on");

    // It misses so many changes that it keeps a number of its own.
    for number in 0..400 {
        alice.ask(json!({ "put": { "p/000": { "number": number } } })).await;
    }
    bob.caught_up().await;
    assert_eq!((bob.state() == alice.state(), bob.number < alice.number), (true, true));
    alice.ask(json!({ "put": { "q/1": 1 } })).await;
    assert_eq!(bob.state(), alice.state());
}

#[tokio::test(start_paused = true)]
async fn past_the_bound_a_slow_member_gets_the_whole_state() {
    let limits = EntryLimits { published_missed_bytes: 200, ..EntryLimits::default() };
    let stage = Stage::with_entries([board(&Notes::default())], &EntriesNode::new(limits));
    let mut alice = Follower::join(&stage, large()).await;
    let mut bob = Follower::join(&stage, json!({})).await;
    bob.seen();
    let hits = Limit::PublishedMissedBytes.hits();
    for number in 0..270 {
        alice.ask(json!({ "put": { format!("p/{:03}", number % 3): number } })).await;
    }
    bob.caught_up().await;
    assert_eq!(bob.state(), alice.state());
    assert_eq!(bob.seen().last(), Some(&format!("room_state {}", alice.number)));
    assert!(Limit::PublishedMissedBytes.hits() > hits);
}

#[tokio::test(start_paused = true)]
async fn a_small_state_is_sent_whole_to_a_slow_member() {
    let stage = Stage::new([board(&Notes::default())]);
    let mut alice = Follower::join(&stage, json!({})).await;
    let mut bob = Follower::join(&stage, json!({})).await;
    for number in 0..270 {
        alice.ask(json!({ "put": { "p/1": number } })).await;
    }
    bob.caught_up().await;
    assert_eq!((bob.state(), bob.number), (json!({ "p/1": 269 }), alice.number));
}

#[tokio::test(start_paused = true)]
async fn a_member_follows_what_it_asks_for() {
    let stage = Stage::new([board(&Notes::default())]);
    let mut alice = Follower::join(&stage, json!({ "put": { "p/a/1": 1, "p/b/1": 2, "q/1": 3 } })).await;
    let mut bob = Follower::join(&stage, json!({ "follow": ["p/b/", "q/"] })).await;
    assert_eq!((bob.state(), bob.seen()), (json!({ "p/b/1": 2, "q/1": 3 }), vec!["room_state 1".into()]));
    alice.ask(json!({ "put": { "p/a/1": 4 } })).await;
    assert_eq!(bob.seen(), [""; 0], "it doesn't follow this entry");
    alice.ask(json!({ "put": { "p/a/2": 5, "p/b/2": 6 } })).await;
    assert_eq!((bob.state(), bob.seen()), (json!({ "p/b/1": 2, "p/b/2": 6, "q/1": 3 }), vec!["room_diff 2".into()]));

    // Another set of prefixes: the whole state comes at the end of the turn.
    bob.ask(json!({ "follow": ["p/a/"], "unfollow": ["p/b/"], "put": { "q/1": 7 } })).await;
    bob.caught_up().await;
    let (state, seen) = (bob.state(), bob.seen());
    assert_eq!(
        (state, seen),
        (json!({ "p/a/1": 4, "p/a/2": 5, "q/1": 7 }), vec!["room_diff 3".into(), "room_state 1".into()])
    );
    // The same set again, in other words.
    bob.ask(json!({ "follow": ["p/a/", "p/a/1"] })).await;
    bob.ask(json!({ "unfollow": ["p/a/", "p/a/1", "q/"] })).await;
    bob.caught_up().await;
    assert_eq!((bob.state(), bob.seen()), (json!({}), vec!["room_state 1".into()]), "it follows nothing");
    alice.ask(json!({ "put": { "q/1": 8 } })).await;
    assert_eq!(bob.seen(), [""; 0]);

    // Members with the same set share their view.
    let mut carol = Follower::join(&stage, json!({ "follow": ["q/"] })).await;
    let mut dora = Follower::join(&stage, json!({ "follow": ["q/", "q/1"] })).await;
    alice.ask(json!({ "put": { "q/1": null, "q/2": 1 } })).await;
    assert_eq!((carol.state(), carol.number), (json!({ "q/2": 1 }), 2));
    assert_eq!((dora.state(), dora.number), (json!({ "q/2": 1 }), 2));
    carol.client.close();
    dora.client.close();
    sleep(Duration::from_millis(1)).await;
    alice.ask(json!({ "put": { "q/2": 2 } })).await;
    let erin = Follower::join(&stage, json!({ "follow": ["q/"] })).await;
    assert_eq!((erin.state, erin.number), (Some(json!({ "q/2": 2 })), 1), "a view without members ends");
}

#[tokio::test(start_paused = true)]
async fn a_member_with_a_part_of_the_entries_can_read_slowly_too() {
    let stage = Stage::new([board(&Notes::default())]);
    let mut alice = Follower::join(&stage, large()).await;
    let mut bob = Follower::join(&stage, json!({ "follow": ["p/00"] })).await;
    for number in 0..300 {
        alice.ask(json!({ "put": { "p/001": { "number": number }, "p/099": number } })).await;
    }
    bob.caught_up().await;
    let state = bob.state();
    assert_eq!(
        (state["p/001"].clone(), state.as_object().map(|state| state.len())),
        (json!({ "number": 299 }), Some(10))
    );
    alice.ask(json!({ "put": { "p/001": null } })).await;
    assert_eq!(bob.state().get("p/001"), None);
}

#[tokio::test(start_paused = true)]
async fn after_a_reload_with_other_prefixes_the_members_get_the_whole_state() {
    let notes = Notes::default();
    let stage = Stage::new([board(&notes)]);
    let mut alice =
        Follower::join(&stage, json!({ "put": { "p/1": 1, "q/1": 2, "r/1": 3 }, "raw": { "s/1": "text" } })).await;
    let mut bob = Follower::join(&stage, json!({ "follow": ["q/"] })).await;
    alice.seen();
    // The same prefixes.
    stage.publish([board(&notes)]);
    alice.ask(json!({ "put": { "p/1": 2 } })).await;
    assert_eq!(alice.seen(), ["room_diff 3"]);
    stage.publish([Part { options: &[("room", "memory"), ("publishes", "r/"), ("publishes", "q/")], ..board(&notes) }]);
    alice.ask(json!({})).await;
    alice.caught_up().await;
    assert_eq!(alice.state(), json!({ "q/1": 2, "r/1": 3 }));
    assert_eq!(bob.state(), json!({ "q/1": 2 }));
    alice.ask(json!({ "put": { "r/1": 4, "p/1": 5 } })).await;
    assert_eq!((alice.state(), bob.state()), (json!({ "q/1": 2, "r/1": 4 }), json!({ "q/1": 2 })));

    // An entry can't be published.
    alice.seen();
    stage
        .publish([Part { options: &[("room", "memory"), ("on-fault", "keep"), ("publishes", "s/")], ..board(&notes) }]);
    assert_eq!(alice.ask(json!({})).await, "error");
    stage.publish([Part { options: &[("room", "memory"), ("on-fault", "keep")], ..board(&notes) }]);
    assert_eq!(alice.ask(json!({ "put": { "r/1": 6 } })).await, "ok");
    alice.caught_up().await;
    assert_eq!((alice.seen(), alice.state()), (vec![], json!({ "q/1": 2, "r/1": 4 })), "nothing more is published");
}

#[tokio::test(start_paused = true)]
async fn a_build_can_publish_entries_in_place_of_a_state() {
    let notes = Notes::default();
    let of_state = || {
        let count = Arc::new(AtomicUsize::new(0));
        let on_call = move |call: Call, _: Option<EntryInput>| {
            let count = count.fetch_add(1, Ordering::Relaxed);
            let effects = vec![Effect::PublishState { state: format!(r#"{{"count":{count},"same":1}}"#).into() }];
            let outcome = if matches!(call.callback, Callback::Join(_)) { admitted() } else { replied("{}") };
            std::future::ready(Ok(Outcome { effects, ..outcome }))
        };
        Part { options: &[("room", "memory")], ..Part::with_entries("board:*", on_call) }
    };
    let stage = Stage::new([of_state()]);
    let mut alice = Follower::join(&stage, json!({})).await;
    alice.ask(json!({})).await;
    assert_eq!(alice.state(), json!({ "count": 1, "same": 1 }));
    stage.publish([board(&notes)]);
    alice.ask(json!({ "put": { "p/1": 1 } })).await;
    alice.caught_up().await;
    assert_eq!(alice.state(), json!({ "p/1": 1 }));
    stage.publish([of_state()]);
    for count in 0..3 {
        alice.ask(json!({})).await;
        assert_eq!(alice.state(), json!({ "count": count, "same": 1 }));
    }
}

#[tokio::test(start_paused = true)]
async fn changes_wait_for_an_intercepted_broadcast() {
    let notes = Notes::default();
    let of_calls = notes.clone();
    let on_call = move |call: Call, entries| {
        let notes = of_calls.clone();
        async move {
            let outcome = publishing(&call, entries, &notes).await?;
            let is_shout = |text: &str| text.contains("shout");
            let shouts = matches!(&call.callback, Callback::In { payload: Payload::Json(text), .. } if is_shout(text));
            let shout = || Effect::Broadcast { event: "secret".into(), payload: Payload::EMPTY };
            Ok(if shouts { Outcome { effects: vec![shout()], ..outcome } } else { outcome })
        }
    };
    let decided = |passing: bennu::contract::Passing| -> bennu::contract::CallFuture<'static, Vec<Decision>> {
        Box::pin(async move {
            sleep(Duration::from_millis(50)).await;
            Ok(vec![Decision::Pass; passing.recipients.len()])
        })
    };
    let part = Part::with_entries("board:*", on_call);
    let stage = Stage::new([Part { options: OPTIONS, intercepts: &["secret"], on_passing: Arc::new(decided), ..part }]);
    let mut alice = Follower::join(&stage, json!({})).await;
    alice.seen();
    alice.client.send(r#"["1","2","board:1","do",{"shout":1}]"#);
    alice.client.send(r#"["1","3","board:1","do",{"put":{"p/1":1}}]"#);
    // A member joins meanwhile. The entries come after its reply, and before the next change.
    sleep(Duration::from_millis(10)).await;
    let mut bob = Follower::connect(&stage);
    bob.client.send(r#"["1","1","board:1","phx_join",{"put":{"p/2":2}}]"#);
    sleep(Duration::from_millis(10)).await;
    assert!(alice.seen().is_empty());
    sleep(Duration::from_millis(500)).await;
    assert_eq!(alice.seen(), ["secret 0", "room_diff 2", "room_diff 3"]);
    assert_eq!((alice.state(), bob.state()), (json!({ "p/1": 1, "p/2": 2 }), json!({ "p/1": 1, "p/2": 2 })));
    assert_eq!(bob.seen(), ["room_state 2", "room_diff 3"]);
    alice.ask(json!({ "put": { "p/1": null } })).await;
    assert_eq!((alice.number, bob.state(), bob.number), (4, json!({ "p/2": 2 }), 4));
}

#[tokio::test(start_paused = true)]
async fn published_entries_have_limits() {
    let notes = Notes::default();
    let limits = EntryLimits { published_bytes: 20, ..EntryLimits::default() };
    let stage = Stage::with_entries([board(&notes)], &EntriesNode::new(limits));
    let mut alice = Follower::join(&stage, json!({ "raw": { "p/1": "1234567890123" } })).await;
    assert_eq!(alice.ask(json!({ "raw": { "p/1": "12345678901234" } })).await, "error");
    assert_eq!(alice.ask(json!({ "raw": { "p/1": "nonsense" } })).await, "error");
    let [long, nonsense] = &notes.all()[..] else { panic!("{:?}", notes.all()) };
    assert!(long.contains("oversize") && long.contains("limits.published_bytes = 20"), "{long}");
    assert!(nonsense.contains("failed: the entry `p/1` is published, so its value must be JSON"), "{nonsense}");
    assert_eq!(alice.state(), json!({ "p/1": 1_234_567_890_123_u64 }));
}

#[tokio::test(start_paused = true)]
async fn a_topic_has_published_entries_or_a_published_state() {
    let state = |_: Call, _: Option<EntryInput>| {
        let effects = vec![Effect::PublishState { state: "{}".into() }];
        std::future::ready(Ok(Outcome { effects, ..admitted() }))
    };
    let stage = Stage::new([Part { options: OPTIONS, ..Part::with_entries("board:*", state) }]);
    let mut alice = Follower::connect(&stage);
    alice.client.send(r#"["1","1","board:1","phx_join",{}]"#);
    assert!(alice.client.next().await.contains("join crashed"));
}

const DURABLE: &[(&str, &str)] =
    &[("room", "durable"), ("linger-ms", "0"), ("on-fault", "keep"), ("publishes", "p/"), ("publishes", "q/")];

fn durable_board(notes: &Notes) -> Part {
    Part { options: DURABLE, ..board(notes) }
}

#[tokio::test(start_paused = true)]
async fn the_published_entries_of_a_durable_room_are_stored() {
    let notes = Notes::default();
    let stage = Stage::new([durable_board(&notes)]);
    let mut alice = Follower::join(&stage, large()).await;
    alice.ask(json!({ "put": { "p/001": { "other": 1 }, "q/1": 2, "private": 3 } })).await;
    let state = alice.state();
    // After the room has ended, the next one reads them from the store. So does the next host.
    alice.client.close();
    sleep(Duration::from_millis(10)).await;
    let mut bob = Follower::join(&stage, json!({ "put": { "q/1": null, "q/2": 3 } })).await;
    assert_eq!(bob.seen(), ["room_state 1", "room_diff 2"]);
    let mut expected = state.clone();
    merge(&mut expected, &json!({ "q/1": null, "q/2": 3 }));
    assert_eq!(bob.state(), expected);
    let next = stage.again([durable_board(&notes)]);
    let mut carol = Follower::join(&next, json!({ "follow": ["q/", "p/001"] })).await;
    assert_eq!(carol.state(), json!({ "p/001": { "other": 1 }, "q/2": 3 }));
    carol.ask(json!({ "put": { "p/001": null, "q/3": [] } })).await;
    assert_eq!(carol.state(), json!({ "q/2": 3, "q/3": [] }));
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_published_bytes_holds_after_a_restart_and_after_other_builds() {
    let (notes, limits) = (Notes::default(), EntryLimits { published_bytes: 40, ..EntryLimits::default() });
    let store = Store::in_memory(StoreLimits::default()).expect("a store in memory");
    let host = |options| {
        let part = Part { options, ..board(&notes) };
        Stage::made_of(store.clone(), [part], NodeLimits::default(), EntriesNode::new(limits))
    };
    let plain: &[_] = &[("room", "durable"), ("linger-ms", "0"), ("on-fault", "keep")];
    let first = host(DURABLE);
    // With the key, two quotes, a colon and a comma, a text of ten letters has 19 bytes.
    Follower::join(&first, json!({ "put": { "p/1": "x".repeat(10) } })).await;
    let second = host(DURABLE);
    let mut alice = Follower::join(&second, json!({})).await;
    assert_eq!(alice.ask(json!({ "put": { "p/2": "x".repeat(13) } })).await, "error");
    assert_eq!(alice.ask(json!({ "put": { "p/2": "x".repeat(12) } })).await, "ok");
    drop(second);
    // A build that publishes nothing may write anything.
    let third = host(plain);
    let mut bob = Follower::connect(&third);
    bob.client.send(r#"["1","1","board:1","phx_join",{"put":{"p/2":null,"p/3":"xxxx"}}]"#);
    bob.until_replied().await;
    assert_eq!(bob.ask(json!({ "raw": { "p/4": "1" } })).await, "ok");
    drop(third);
    // The next one counts again: 19, 13 and 8 bytes.
    let fourth = host(DURABLE);
    let mut carol = Follower::join(&fourth, json!({})).await;
    assert_eq!(carol.state(), json!({ "p/1": "x".repeat(10), "p/3": "xxxx", "p/4": 1 }));
    assert_eq!(carol.ask(json!({ "raw": { "p/4": "12" } })).await, "error");
    assert_eq!(carol.ask(json!({ "raw": { "p/4": "2" } })).await, "ok");
}

#[tokio::test(start_paused = true)]
async fn after_a_rollback_members_get_the_entries_from_before() {
    let notes = Notes::default();
    let stage = Stage::new([board(&notes)]);
    let mut alice = Follower::join(&stage, json!({ "put": { "p/1": 1, "p/2": 2 } })).await;
    let terms = ProbationTerms { time: Duration::from_secs(60), calls: 1000, faults: 1000 };
    let probation = Probation::new(terms, Arc::default());
    let options = &[("room", "memory"), ("entries-version", "1"), ("publishes", "p/"), ("publishes", "r/")];
    let trial = Some((Arc::clone(&probation), Some(board(&notes).route())));
    stage.publish([Part { options, generation: 2, probation: trial, ..board(&notes) }]);
    alice.ask(json!({ "put": { "p/1": { "new": 1 }, "p/2": null, "r/1": 3 } })).await;
    alice.caught_up().await;
    assert_eq!(alice.state(), json!({ "p/1": { "new": 1 }, "r/1": 3 }));
    stage.publish([Part { generation: 3, ..board(&notes) }]);
    probation.end(ProbationResult::RolledBack);
    stage.endpoint.node.sweep().await;
    alice.caught_up().await;
    assert_eq!(alice.seen().last().map(|event| &**event), Some("phx_error 0"));
    let mut alice = Follower::join(&stage, json!({})).await;
    assert_eq!(alice.state(), json!({ "p/1": 1, "p/2": 2 }));
    alice.ask(json!({ "put": { "p/1": 4 } })).await;
    assert_eq!(alice.state(), json!({ "p/1": 4, "p/2": 2 }));
}
