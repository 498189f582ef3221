//! The states that a new generation finds: they are upgraded, and a rollback restores them. With scripted behaviours.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Client, Notes, Part, Stage, admitted, nothing, replied};
use bennu::contract::{Call, Callback, Decision, Effect, Fault, FaultKind, Outcome, Part as Of, Upgrade};
use bennu::protocol::Payload;
use bennu::routes::{Probation, ProbationResult, ProbationTerms, Route};
use bytes::Bytes;
use tokio::time::sleep;

/// The duration of a slow call.
const SLOW: Duration = Duration::from_millis(50);

const ROOM: &[(&str, &str)] = &[("room", "memory")];

/// A build of a counter. Each of its states is text with the state version first: `1:5` is a 5 that version 1 wrote.
#[derive(Clone, Copy)]
struct Build {
    version: u32,
    generation: u32,
    /// Events on which the build has a fault.
    fails_on: &'static [&'static str],
    /// Whether the build upgrades states of other versions.
    upgrades: bool,
}

const FIRST: Build = Build { version: 1, generation: 1, fails_on: &["bad for all"], upgrades: true };
const SECOND: Build = Build { version: 2, generation: 2, fails_on: &["bad", "bad for all"], ..FIRST };

fn number(state: &Bytes) -> u64 {
    let text = String::from_utf8_lossy(state).into_owned();
    text.split(':').next_back().and_then(|number| number.parse().ok()).unwrap_or(0)
}

async fn counting(call: Call, build: Build, notes: Notes) -> Result<Outcome, Fault> {
    let shown = |state: &Bytes| format!("\"{}\"", String::from_utf8_lossy(state));
    let state = |number: u64| -> Option<Bytes> { Some(format!("{}:{number}", build.version).into()) };
    match call.callback {
        Callback::Join(params) => {
            if format!("{params:?}").contains("slow") {
                sleep(SLOW).await;
            }
            Ok(Outcome { assigns: state(0), ..admitted() })
        }
        Callback::In { event, .. } if build.fails_on.contains(&&*event) => {
            Err(Fault::new(FaultKind::Trap, format!("{event} on generation {}", build.generation)))
        }
        Callback::In { event, .. } => Ok(match &*event {
            "slow add" => {
                sleep(SLOW).await;
                Outcome { assigns: state(number(&call.assigns) + 1), ..replied("{}") }
            }
            "slow bad" if build.generation > 1 => {
                sleep(SLOW).await;
                return Err(Fault::new(FaultKind::Trap, "late"));
            }
            "add" | "bad" | "slow bad" => Outcome { assigns: state(number(&call.assigns) + 1), ..replied("{}") },
            "add to room" => Outcome { room: state(number(&call.room.unwrap_or_default()) + 1), ..replied("{}") },
            "get" => replied(&shown(&call.assigns)),
            "get room" => replied(&shown(&call.room.unwrap_or_default())),
            "secret" => {
                let effect = Effect::Broadcast { event: "secret".into(), payload: Payload::EMPTY };
                Outcome { effects: vec![effect], ..nothing() }
            }
            _ => replied("{}"),
        }),
        Callback::Info(_) => Ok(nothing()),
        Callback::Terminate(ending) => {
            let assigns = shown(&call.assigns);
            notes.add(format!("terminate {} on generation {} with {assigns}", ending.cause(), build.generation));
            Ok(nothing())
        }
    }
}

impl Build {
    fn part(self, notes: &Notes) -> Part {
        let (on_call, on_upgrade) = (notes.clone(), notes.clone());
        let upgrade = move |upgrade: Upgrade| -> Result<Option<Bytes>, Fault> {
            let what = if upgrade.part == Of::Room { "room" } else { "assigns" };
            on_upgrade.add(format!("generation {} upgrades {what} {}", self.generation, upgrade.version));
            let taken = |state| format!("{}:{}", self.version, number(&state)).into();
            Ok(self.upgrades.then(|| taken(upgrade.state)))
        };
        Part {
            options: ROOM,
            versions: (self.version, self.version),
            generation: self.generation,
            on_upgrade: Arc::new(move |old| {
                let new = upgrade(old);
                Box::pin(async { new })
            }),
            ..Part::new("count:*", move |call| counting(call, self, on_call.clone()))
        }
    }
}

const TERMS: ProbationTerms = ProbationTerms { time: Duration::from_secs(60), calls: 1, faults: 1 };

/// A stage with a first generation, to which further ones can be published.
struct Play {
    stage: Stage,
    notes: Notes,
    proved: Option<Arc<Route>>,
    probation: Arc<Probation>,
}

impl Play {
    fn begin(build: Build) -> Self {
        let notes = Notes::default();
        let stage = Stage::new([build.part(&notes)]);
        Self {
            stage,
            proved: Some(build.part(&notes).route()),
            notes,
            probation: Probation::new(TERMS, Arc::default()),
        }
    }

    /// Publishes another generation, without probation.
    fn reload(&self, build: Build) {
        self.stage.publish([build.part(&self.notes)]);
    }

    /// Publishes another generation, on probation.
    fn try_out(&self, build: Build) {
        let probation = Some((Arc::clone(&self.probation), self.proved.clone()));
        self.stage.publish([Part { probation, ..build.part(&self.notes) }]);
    }

    /// Rolls back to a build, as the library does.
    async fn roll_back(&self, build: Build) {
        self.reload(build);
        self.probation.end(ProbationResult::RolledBack);
        self.stage.endpoint.node.sweep().await;
    }
}

fn send(client: &mut Client, event: &str) {
    client.send(&format!(r#"["1","x","count:1","{event}",{{}}]"#));
}

/// Sends an event and returns the response in its reply.
async fn ask(client: &mut Client, event: &str) -> String {
    send(client, event);
    let frame = client.next().await;
    let Some(response) = frame.split("\"response\":").nth(1) else { return frame };
    response.split(",\"status\"").next().unwrap_or_default().trim_matches('"').to_owned()
}

const ERROR: &str = r#"["1","1","count:1","phx_error",{"reason":"channel_crash"}]"#;

#[tokio::test(start_paused = true)]
async fn a_state_is_upgraded_once_and_before_the_next_callback() {
    let play = Play::begin(FIRST);
    let (mut alice, mut bob) = (play.stage.connect(), play.stage.connect());
    alice.join("count:1").await;
    bob.join("count:1").await;
    ask(&mut alice, "add").await;
    ask(&mut alice, "add to room").await;
    play.reload(SECOND);
    assert!(play.notes.all().is_empty(), "no state is upgraded before it is needed");
    assert_eq!(ask(&mut alice, "get").await, "2:1");
    assert_eq!(ask(&mut alice, "get room").await, "2:1");
    assert_eq!(play.notes.all(), ["generation 2 upgrades assigns 1", "generation 2 upgrades room 1"]);
    // Bob's assigns are upgraded from version 1 directly to version 3. The room has version 2 already.
    play.reload(Build { version: 3, generation: 3, ..SECOND });
    assert_eq!(ask(&mut bob, "add").await, "{}");
    assert_eq!(ask(&mut bob, "get").await, "3:1");
    let taken = ["generation 3 upgrades assigns 1", "generation 3 upgrades room 2"];
    assert_eq!(play.notes.all()[2..], taken);
    // Back to the older build: for this build, too, a newer state has another version and is upgraded.
    play.reload(Build { generation: 4, ..FIRST });
    assert_eq!(ask(&mut bob, "get").await, "1:1");
}

#[tokio::test(start_paused = true)]
async fn a_build_without_upgrade_gets_the_state_as_it_is() {
    let play = Play::begin(FIRST);
    let mut alice = play.stage.connect();
    alice.join("count:1").await;
    ask(&mut alice, "add").await;
    play.reload(Build { upgrades: false, ..SECOND });
    assert_eq!(ask(&mut alice, "get").await, "1:1");
    assert_eq!(ask(&mut alice, "add").await, "{}");
    assert_eq!(ask(&mut alice, "get").await, "2:2");
}

#[tokio::test(start_paused = true)]
async fn a_fault_in_an_upgrade_ends_the_member_and_keeps_the_room() {
    let play = Play::begin(FIRST);
    let (mut alice, mut bob) = (play.stage.connect(), play.stage.connect());
    alice.join("count:1").await;
    bob.join("count:1").await;
    ask(&mut alice, "add to room").await;
    let refuse = |_: Upgrade| -> Result<Option<Bytes>, Fault> { Err(Fault::failed("too old")) };
    let part = Part {
        on_upgrade: Arc::new(move |old| {
            let new = refuse(old);
            Box::pin(async { new })
        }),
        ..SECOND.part(&play.notes)
    };
    play.stage.publish([part]);
    assert_eq!(ask(&mut alice, "get").await, ERROR);
    // The operator rolls back.
    play.reload(Build { generation: 3, ..FIRST });
    assert_eq!(ask(&mut bob, "get room").await, "1:1");
}

#[tokio::test(start_paused = true)]
async fn a_fault_on_probation_counts_and_the_previous_build_answers() {
    let play = Play::begin(FIRST);
    let mut alice = play.stage.connect();
    alice.join("count:1").await;
    play.try_out(Build { version: 1, ..SECOND });
    assert_eq!(ask(&mut alice, "bad").await, "{}");
    assert_eq!(ask(&mut alice, "get").await, "1:1");
    assert_eq!((play.probation.faults(), play.probation.calls()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn faults_of_both_builds_never_count() {
    let play = Play::begin(FIRST);
    play.try_out(SECOND);
    for _ in 0..10 {
        let mut mallory = play.stage.connect();
        mallory.join("count:1").await;
        assert_eq!(ask(&mut mallory, "bad for all").await, ERROR);
    }
    assert_eq!(play.probation.faults(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_restores_the_upgraded_states() {
    let play = Play::begin(FIRST);
    let (mut alice, mut bob, mut carol) = (play.stage.connect(), play.stage.connect(), play.stage.connect());
    for client in [&mut alice, &mut bob] {
        client.join("count:1").await;
        ask(client, "add").await;
    }
    ask(&mut alice, "add to room").await;
    play.try_out(SECOND);
    carol.join("count:1").await;
    for _ in 0..3 {
        ask(&mut alice, "add").await;
        ask(&mut alice, "add to room").await;
    }
    assert_eq!(ask(&mut alice, "get").await, "2:4");
    // The previous build doesn't answer, because that would discard the commits since the upgrade. But the fault counts.
    assert_eq!(ask(&mut alice, "bad").await, ERROR);
    assert_eq!(play.probation.faults(), 1);
    play.roll_back(FIRST).await;
    for client in [&mut bob, &mut carol] {
        assert_eq!(client.next().await, ERROR);
    }
    let ends: Vec<_> = play.notes.all().into_iter().filter(|note| note.contains("terminate")).collect();
    // Bob's state was never upgraded. Carol's was created by the rolled-back build, so the first build doesn't know it.
    let alice_s = "terminate fault on generation 2 with \"2:4\"";
    assert_eq!(ends, [alice_s, "terminate taken-back on generation 1 with \"1:1\""]);
    let mut dave = play.stage.connect();
    dave.join("count:1").await;
    assert_eq!(ask(&mut dave, "get room").await, "1:1");
    // Three commits of the room, and Carol's join.
    assert_eq!(play.probation.discarded_commits(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_keeps_the_commits_of_states_with_an_unchanged_version() {
    let play = Play::begin(FIRST);
    let mut alice = play.stage.connect();
    alice.join("count:1").await;
    play.try_out(Build { version: 1, ..SECOND });
    ask(&mut alice, "add").await;
    ask(&mut alice, "add to room").await;
    play.roll_back(FIRST).await;
    assert_eq!(ask(&mut alice, "get").await, "1:1");
    assert_eq!(ask(&mut alice, "get room").await, "1:1");
    assert_eq!(play.probation.discarded_commits(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_second_build_during_a_probation_is_rolled_back_to_the_last_build_that_passed() {
    let play = Play::begin(FIRST);
    let (mut alice, mut bob) = (play.stage.connect(), play.stage.connect());
    alice.join("count:1").await;
    bob.join("count:1").await;
    ask(&mut alice, "add").await;
    play.try_out(SECOND);
    ask(&mut alice, "add").await;
    play.try_out(Build { version: 3, generation: 3, ..SECOND });
    ask(&mut alice, "add").await;
    assert_eq!(ask(&mut alice, "get").await, "3:3");
    play.roll_back(FIRST).await;
    assert_eq!(alice.next().await, ERROR);
    let returned = "terminate taken-back on generation 1 with \"1:1\"";
    assert_eq!(play.notes.all().last().map(String::as_str), Some(returned));
    // Bob's state was never upgraded.
    assert_eq!(ask(&mut bob, "get").await, "1:0");
}

#[tokio::test(start_paused = true)]
async fn after_a_probation_no_earlier_states_are_kept() {
    let play = Play::begin(FIRST);
    let mut alice = play.stage.connect();
    alice.join("count:1").await;
    play.try_out(SECOND);
    ask(&mut alice, "add").await;
    play.probation.end(ProbationResult::Passed);
    play.reload(SECOND);
    // An operator can still roll back. Then the older build upgrades the newer state.
    play.reload(Build { generation: 3, ..FIRST });
    play.stage.endpoint.node.sweep().await;
    assert_eq!(ask(&mut alice, "get").await, "1:1");
}

#[tokio::test(start_paused = true)]
async fn a_fault_in_handle_out_counts_on_probation() {
    let play = Play::begin(FIRST);
    let passes = |passing: bennu::contract::Passing| -> Result<Vec<Decision>, Fault> {
        Ok(vec![Decision::Pass; passing.recipients.len()])
    };
    let fails = |_| -> Result<Vec<Decision>, Fault> { Err(Fault::failed("sees nothing")) };
    let with = |build: Build, on_passing: crate::support::OnPassing| Part {
        intercepts: &["secret"],
        on_passing,
        ..build.part(&play.notes)
    };
    let proved = with(
        FIRST,
        Arc::new(move |passing| {
            let all = passes(passing);
            Box::pin(async { all })
        }),
    )
    .route();
    let probation = Some((Arc::clone(&play.probation), Some(proved)));
    let new = with(
        SECOND,
        Arc::new(move |passing| {
            let none = fails(passing);
            Box::pin(async { none })
        }),
    );
    let mut alice = play.stage.connect();
    alice.join("count:1").await;
    play.stage.publish([Part { probation, ..new }]);
    send(&mut alice, "secret");
    assert_eq!(alice.next().await, r#"[null,null,"count:1","secret",{}]"#);
    assert_eq!(play.probation.faults(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_runs_during_a_rollback_is_discarded_too() {
    let play = Play::begin(FIRST);
    let (mut alice, mut bob) = (play.stage.connect(), play.stage.connect());
    alice.join("count:1").await;
    ask(&mut alice, "add").await;
    play.try_out(SECOND);
    send(&mut alice, "slow add");
    sleep(SLOW / 2).await;
    bob.send(r#"["1","1","count:2","phx_join",{"slow":true}]"#);
    play.roll_back(FIRST).await;
    // The call was answered before the rollback was noticed.
    assert!(alice.next().await.contains("phx_reply"));
    assert_eq!(alice.next().await, ERROR);
    assert!(bob.next().await.contains("phx_reply"));
    assert!(bob.next().await.contains("phx_error"));
    let returned = "terminate taken-back on generation 1 with \"1:1\"";
    assert_eq!(play.notes.all().last().map(String::as_str), Some(returned));
    assert_eq!(play.probation.discarded_commits(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_first_build_answers_a_fault_during_a_rollback() {
    let play = Play::begin(FIRST);
    let mut alice = play.stage.connect();
    alice.join("count:1").await;
    play.try_out(Build { version: 1, ..SECOND });
    send(&mut alice, "slow bad");
    sleep(SLOW / 2).await;
    play.roll_back(FIRST).await;
    assert!(alice.next().await.contains("phx_reply"));
    assert_eq!(ask(&mut alice, "get").await, "1:1");
}

#[tokio::test(start_paused = true)]
async fn states_kept_by_an_earlier_probation_are_not_used_by_a_later_one() {
    let play = Play::begin(FIRST);
    let mut alice = play.stage.connect();
    alice.join("count:1").await;
    let proved = Build { fails_on: &[], ..SECOND };
    play.try_out(proved);
    ask(&mut alice, "add").await;
    play.probation.end(ProbationResult::Passed);
    play.reload(proved);
    let later = Play { probation: Probation::new(TERMS, Arc::default()), ..play };
    let later = Play { proved: Some(proved.part(&later.notes).route()), ..later };
    later.try_out(Build { generation: 3, ..SECOND });
    assert_eq!(ask(&mut alice, "bad").await, "{}");
    assert_eq!(ask(&mut alice, "get").await, "2:2");
    assert_eq!(later.probation.faults(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_calls_of_a_build_with_new_topics_count_on_probation() {
    let play = Play { proved: None, ..Play::begin(FIRST) };
    play.try_out(SECOND);
    let mut alice = play.stage.connect();
    alice.join("count:1").await;
    assert_eq!(play.probation.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_route_without_a_room_gets_no_room_state() {
    let play = Play::begin(FIRST);
    let mut alice = play.stage.connect();
    alice.join("count:1").await;
    ask(&mut alice, "add to room").await;
    play.stage.publish([Part { options: &[("turns", "topic")], ..SECOND.part(&play.notes) }]);
    assert_eq!(ask(&mut alice, "get room").await, "");
    assert_eq!(play.notes.all(), ["generation 2 upgrades assigns 1"]);
    // The next build has a room again, and gets the state.
    play.reload(Build { generation: 3, ..SECOND });
    assert_eq!(ask(&mut alice, "get room").await, "2:1");
}

#[tokio::test(start_paused = true)]
async fn a_durable_room_without_members_is_kept_until_its_probation_ends() {
    const DURABLE: &[(&str, &str)] = &[("room", "durable"), ("linger-ms", "0")];
    for verdict in [ProbationResult::Passed, ProbationResult::RolledBack] {
        let play = Play::begin(FIRST);
        let durable = |build: Build| Part { options: DURABLE, ..build.part(&play.notes) };
        play.stage.publish([durable(FIRST)]);
        let mut alice = play.stage.connect();
        alice.join("count:1").await;
        ask(&mut alice, "add to room").await;
        let probation = Some((Arc::clone(&play.probation), play.proved.clone()));
        play.stage.publish([Part { probation, ..durable(SECOND) }]);
        ask(&mut alice, "add to room").await;
        alice.close();
        sleep(Duration::from_secs(5)).await;
        play.probation.end(verdict);
        play.stage.publish([durable(if verdict == ProbationResult::Passed { SECOND } else { FIRST })]);
        play.stage.endpoint.node.sweep().await;
        let other = play.stage.again([durable(Build { upgrades: false, ..FIRST })]);
        let mut bob = other.connect();
        sleep(Duration::from_millis(1)).await;
        bob.join("count:1").await;
        let expected = if verdict == ProbationResult::Passed { "2:2" } else { "1:1" };
        assert_eq!(ask(&mut bob, "get room").await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_with_on_fault_keep_doesnt_hide_a_rollback() {
    const KEPT: &[(&str, &str)] = &[("room", "memory"), ("on-fault", "keep")];
    let play = Play::begin(FIRST);
    let fails: crate::support::OnPassing = Arc::new(|_| Box::pin(async { Err(Fault::failed("sees nothing")) }));
    let kept = |build: Build| Part {
        options: KEPT,
        intercepts: &["secret"],
        on_passing: Arc::clone(&fails),
        ..build.part(&play.notes)
    };
    play.stage.publish([kept(FIRST)]);
    let (mut alice, mut bob) = (play.stage.connect(), play.stage.connect());
    alice.join("count:1").await;
    bob.join("count:1").await;
    let probation = Some((Arc::clone(&play.probation), Some(kept(FIRST).route())));
    play.stage.publish([Part { probation, ..kept(SECOND) }]);
    send(&mut bob, "secret");
    send(&mut alice, "slow add");
    // For both members, a fault waits behind the running call.
    sleep(SLOW / 2).await;
    play.probation.end(ProbationResult::RolledBack);
    play.stage.publish([kept(FIRST)]);
    play.stage.endpoint.node.sweep().await;
    assert!(alice.next().await.contains("phx_reply"));
    assert_eq!(alice.next().await, ERROR);
}
