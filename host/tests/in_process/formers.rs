//! Durable rooms on probation: the state from before the upgrade is stored next to the room, and is still there after a
//! restart of the host.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::support::{Client, Part, Stage, admitted, nothing, replied};
use bennu::channel::NodeLimits;
use bennu::contract::{Call, Callback, Fault, Outcome, Upgrade};
use bennu::routes::{Probation, ProbationResult, ProbationTerms, Route, Routes};
use bennu::store::{
    Direction, Engine, EngineError, EngineFuture, Memory, Rows, ScanLimit, Snapshot, Span, Store, StoreLimits, Writes,
};
use bytes::Bytes;

const DURABLE: &[(&str, &str)] = &[("room", "durable"), ("linger-ms", "0")];
const TERMS: ProbationTerms = ProbationTerms { time: Duration::from_secs(60), calls: 1000, faults: 3 };

/// Reads the number of a room. A room is text with its state version first: `1:5` is a 5 that version 1 wrote.
fn number(state: &Bytes) -> u64 {
    let text = String::from_utf8_lossy(state).into_owned();
    text.split(':').next_back().and_then(|number| number.parse().ok()).unwrap_or(0)
}

async fn counting(call: Call, version: u32) -> Result<Outcome, Fault> {
    let room = call.room.unwrap_or_default();
    match call.callback {
        Callback::Join(_) => Ok(admitted()),
        Callback::In { event, .. } if *event == *"add" => {
            let room = format!("{version}:{}", number(&room) + 1).into();
            Ok(Outcome { room: Some(room), ..replied("{}") })
        }
        Callback::In { event, .. } if *event == *"clear" => Ok(Outcome { room: Some(Bytes::new()), ..replied("{}") }),
        Callback::In { .. } => Ok(replied(&format!("\"{}\"", String::from_utf8_lossy(&room)))),
        _ => Ok(nothing()),
    }
}

/// A build whose rooms have this state version. It upgrades rooms of other versions.
fn build(version: u32, probation: Option<(Arc<Probation>, Option<Arc<Route>>)>) -> Part {
    let taken_over = move |old: Upgrade| -> Bytes { format!("{version}:{}", number(&old.state)).into() };
    Part {
        options: DURABLE,
        versions: (0, version),
        generation: version,
        probation,
        on_upgrade: Arc::new(move |old| Box::pin(async move { Ok(Some(taken_over(old))) })),
        ..Part::new("count:*", move |call| counting(call, version))
    }
}

/// The second build, on probation after the first.
fn on_probation(probation: &Arc<Probation>) -> Part {
    build(2, Some((Arc::clone(probation), Some(build(1, None).route()))))
}

/// Publishes a build together with the result of an earlier probation, as the library does.
fn publish(stage: &Stage, part: Part, ended: &Arc<Probation>) {
    let past = HashMap::from([(Arc::from("script"), vec![Arc::clone(ended)])]);
    let routes = Routes::new([part.route()]).expect("routes without conflict").with_past_probations(past);
    stage.routes.publish(routes);
}

/// Sends an event and returns the response in its reply.
async fn ask(client: &mut Client, topic: &str, event: &str) -> String {
    client.send(&format!(r#"["1","x","{topic}","{event}",{{}}]"#));
    let frame = client.next().await;
    let Some(response) = frame.split("\"response\":").nth(1) else { return frame };
    response.split(",\"status\"").next().unwrap_or_default().trim_matches('"').to_owned()
}

/// Connects a client that joins, sends one event and closes. Returns the response.
async fn visit(stage: &Stage, topic: &str, event: &str) -> String {
    let mut visitor = stage.connect();
    visitor.join(topic).await;
    let answer = ask(&mut visitor, topic, event).await;
    visitor.close();
    answer
}

#[tokio::test(start_paused = true)]
async fn the_state_before_an_upgrade_is_stored_until_the_probation_ends() {
    let stage = Stage::new([build(1, None)]);
    visit(&stage, "count:1", "add").await;
    assert!(!stage.exported().await.contains("room_before"), "no build has upgraded the room");
    let probation = Probation::new(TERMS, Arc::default());
    stage.publish([on_probation(&probation)]);
    assert_eq!(visit(&stage, "count:1", "get").await, "2:1");
    let text = stage.exported().await;
    assert!(text.contains("room_before") && text.contains("2:1"), "{text}");
    // After the end of the probation, the next commit deletes the earlier state.
    probation.end(ProbationResult::Passed);
    assert_eq!(visit(&stage, "count:1", "add").await, "{}");
    assert!(!stage.exported().await.contains("room_before"));
}

#[tokio::test(start_paused = true)]
async fn a_probation_that_continues_after_a_restart_can_still_be_rolled_back() {
    let first = Stage::new([build(1, None)]);
    visit(&first, "count:1", "add").await;
    let probation = Probation::new(TERMS, Arc::default());
    let id = probation.id().expect("a probation with an earlier build has an id");
    let second = first.again([on_probation(&probation)]);
    assert_eq!(visit(&second, "count:1", "add").await, "{}");
    visit(&second, "count:new", "add").await;
    let probation = Probation::resumed(id, TERMS, Arc::default());
    let third = second.again([on_probation(&probation)]);
    let mut alice = third.connect();
    alice.join("count:1").await;
    assert_eq!(ask(&mut alice, "count:1", "add").await, "{}");
    assert_eq!(ask(&mut alice, "count:1", "get").await, "2:3");
    probation.end(ProbationResult::RolledBack);
    publish(&third, build(1, None), &probation);
    third.endpoint.node.sweep().await;
    assert!(alice.next().await.contains("phx_error"));
    assert_eq!(visit(&third, "count:1", "get").await, "1:1");
    // The room that was created by the rolled-back build is deleted.
    assert_eq!(visit(&third, "count:new", "get").await, "");
    assert_eq!(probation.discarded_commits(), 3, "the commits of both hosts");
    let text = third.exported().await;
    assert!(!text.contains("room_before") && !text.contains("count:new"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_restores_a_room_that_was_cleared_on_probation() {
    let first = Stage::new([build(1, None)]);
    visit(&first, "count:1", "add").await;
    let probation = Probation::new(TERMS, Arc::default());
    let second = first.again([on_probation(&probation)]);
    visit(&second, "count:1", "clear").await;
    assert_eq!(visit(&second, "count:1", "get").await, "");
    let ended = Probation::ended(probation.id().unwrap_or_default(), ProbationResult::RolledBack, Arc::default());
    let third = second.again([build(1, None)]);
    publish(&third, build(1, None), &ended);
    assert_eq!(visit(&third, "count:1", "get").await, "1:1");
}

/// There are more rooms than are settled in one batch, and no client opens them.
#[tokio::test(start_paused = true)]
async fn stored_rooms_are_settled_without_being_opened() {
    const ROOMS: usize = 450;
    for verdict in [ProbationResult::RolledBack, ProbationResult::Passed] {
        let first = Stage::new([build(1, None)]);
        let probation = Probation::new(TERMS, Arc::default());
        let second = first.again([on_probation(&probation)]);
        for number in 0..ROOMS {
            let topic = format!("count:{number}");
            visit(&first, &topic, "add").await;
            visit(&second, &topic, "add").await;
        }
        let ended = Probation::ended(probation.id().unwrap_or_default(), verdict, Arc::default());
        let version = if verdict == ProbationResult::Passed { 2 } else { 1 };
        let third = second.again([]);
        publish(&third, build(version, None), &ended);
        assert!(third.exported().await.contains("room_before"));
        assert!(third.endpoint.node.settle_stored_rooms().await);
        assert!(ended.is_swept());
        assert!(!third.exported().await.contains("room_before"));
        let (state, given_up) = if verdict == ProbationResult::Passed { ("2:2", 0) } else { ("1:1", ROOMS as u64) };
        assert_eq!(ended.discarded_commits(), given_up);
        // Now the result of the probation isn't needed any more.
        third.publish([build(version, None)]);
        for number in [0, 1, ROOMS / 2, ROOMS - 1] {
            assert_eq!(visit(&third, &format!("count:{number}"), "get").await, state);
        }
    }
}

/// A turn that began before the end of the probation stores the room of the build on probation.
#[tokio::test(start_paused = true)]
async fn a_turn_that_outlasts_its_probation_leaves_no_stored_state_behind() {
    let stage = Stage::new([build(1, None)]);
    visit(&stage, "count:1", "add").await;
    let probation = Probation::new(TERMS, Arc::default());
    stage.publish([on_probation(&probation)]);
    let mut alice = stage.connect();
    alice.join("count:1").await;
    alice.send(r#"["1","x","count:1","add",{}]"#);
    probation.end(ProbationResult::RolledBack);
    publish(&stage, build(1, None), &probation);
    assert!(stage.endpoint.node.settle_stored_rooms().await);
    assert!(probation.is_swept() && !stage.exported().await.contains("room_before"));
    alice.close();
    assert_eq!(visit(&stage, "count:1", "get").await, "1:1");
}

/// An engine in memory whose scans fail as often as a test wants.
struct Unreliable {
    inner: Memory,
    failures: Arc<AtomicU32>,
}

struct UnreliableSnapshot {
    inner: Arc<dyn Snapshot>,
    failures: Arc<AtomicU32>,
}

impl Engine for Unreliable {
    fn snapshot(&mut self) -> EngineFuture<'_, Arc<dyn Snapshot>> {
        let failures = Arc::clone(&self.failures);
        Box::pin(async move {
            let inner = self.inner.snapshot().await?;
            Ok(Arc::new(UnreliableSnapshot { inner, failures }) as Arc<dyn Snapshot>)
        })
    }

    fn apply<'a>(&'a mut self, writes: &'a Writes) -> EngineFuture<'a, ()> {
        self.inner.apply(writes)
    }
}

impl Snapshot for UnreliableSnapshot {
    fn get<'a>(&'a self, key: &'a [u8]) -> EngineFuture<'a, Option<Bytes>> {
        self.inner.get(key)
    }

    fn scan<'a>(&'a self, span: &'a Span, direction: Direction, limit: ScanLimit) -> EngineFuture<'a, Rows> {
        let next = |left: u32| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).is_ok() {
            return Box::pin(async { Err(EngineError::new("a failure that the test wants")) });
        }
        self.inner.scan(span, direction, limit)
    }
}

/// The clock isn't paused, because the store has a thread of its own.
#[tokio::test]
async fn stored_rooms_are_settled_again_after_a_failure_of_the_store() {
    let failures = Arc::<AtomicU32>::default();
    let engine = Unreliable { inner: Memory::default(), failures: Arc::clone(&failures) };
    let store = Store::over(Box::new(engine), StoreLimits::default()).await.expect("a store");
    let first = Stage::over(store, [build(1, None)], NodeLimits::default());
    let probation = Probation::new(TERMS, Arc::default());
    let second = first.again([on_probation(&probation)]);
    visit(&first, "count:1", "add").await;
    visit(&second, "count:1", "add").await;
    probation.end(ProbationResult::RolledBack);
    failures.store(1, Ordering::SeqCst);
    publish(&second, build(1, None), &probation);
    let swept = async {
        while !probation.is_swept() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = second.endpoint.node.keep_stored_rooms_settled() => unreachable!("it runs as long as the host"),
        swept = tokio::time::timeout(Duration::from_secs(30), swept) => swept.expect("a second attempt"),
    }
    assert_eq!(failures.load(Ordering::SeqCst), 0, "the first attempt has failed");
    assert_eq!(visit(&second, "count:1", "get").await, "1:1");
}

/// This happens if a store is moved to another host during a probation.
#[tokio::test(start_paused = true)]
async fn after_an_unknown_probation_the_serving_build_takes_the_state_of_its_version() {
    for (version, state) in [(1, "1:1"), (2, "2:2"), (3, "3:2")] {
        let first = Stage::new([build(1, None)]);
        visit(&first, "count:1", "add").await;
        let second = first.again([on_probation(&Probation::new(TERMS, Arc::default()))]);
        visit(&second, "count:1", "add").await;
        let third = second.again([build(version, None)]);
        assert_eq!(visit(&third, "count:1", "get").await, state);
        visit(&third, "count:1", "add").await;
        assert!(!third.exported().await.contains("room_before"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_probation_without_an_earlier_build_keeps_no_earlier_states() {
    let first = Stage::new([build(1, None)]);
    visit(&first, "count:1", "add").await;
    let probation = Probation::without_rollback(Arc::default());
    let second = first.again([build(2, Some((Arc::clone(&probation), None)))]);
    assert_eq!(visit(&second, "count:1", "add").await, "{}");
    visit(&second, "count:2", "add").await;
    assert!(!second.exported().await.contains("room_before"));
    assert!(probation.is_over(), "an answered call ends this probation");
}
