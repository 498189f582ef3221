//! Durable rooms and entries that a build on probation has changed: the entries from before are stored, so that a rollback is
//! possible after a restart of the host, and for a room that nobody opens.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::rollback::{Build, TERMS, ask, play};
use crate::support::{Client, Notes, Part, Stage};
use bennu::channel::NodeLimits;
use bennu::contract::limits::EntryLimits;
use bennu::entries::EntriesNode;
use bennu::routes::{Probation, ProbationResult, Route, Routes};
use bennu::store::{Owner, Store, StoreLimits};
use bennu_test_tiers::Noise;

/// The options of builds with this version of entries. A room ends with its last member, so that the next one is read from
/// the store.
const DURABLE: [&[(&str, &str)]; 3] = [
    &[("room", "durable"), ("linger-ms", "0"), ("on-fault", "keep")],
    &[("room", "durable"), ("linger-ms", "0"), ("on-fault", "keep"), ("entries-version", "1")],
    &[("room", "durable"), ("linger-ms", "0"), ("on-fault", "keep"), ("entries-version", "2")],
];

const FIRST: Build = Build { generation: 1, room_version: 1, options: DURABLE[0] };
const SECOND: Build = Build { generation: 2, options: DURABLE[1], ..FIRST };

fn on_probation(build: Build, before: Build, probation: &Arc<Probation>) -> Part {
    let before = Build { generation: 1, ..before };
    let trial = Some((Arc::clone(probation), Some(before.part(&Notes::default()).route())));
    Part { probation: trial, ..build.part(&Notes::default()) }
}

/// Publishes a build together with the result of an earlier probation, as the library does.
fn publish(stage: &Stage, build: Build, ended: &Arc<Probation>) {
    publish_part(stage, build.part(&Notes::default()), ended);
}

fn publish_part(stage: &Stage, part: Part, ended: &Arc<Probation>) {
    let past = HashMap::from([(Arc::from("script"), vec![Arc::clone(ended)])]);
    let route: Arc<Route> = part.route();
    stage.routes.publish(Routes::new([route]).expect("routes without conflict").with_past_probations(past));
}

fn over(store: Store, part: Part, limits: EntryLimits) -> Stage {
    Stage::made_of(store, [part], NodeLimits::default(), EntriesNode::new(limits))
}

async fn member(stage: &Stage) -> Client {
    let mut client = stage.connect();
    client.join("shelf:1").await;
    client
}

/// A client joins, sends events, and closes. Returns the room and its entries.
async fn visit(stage: &Stage, events: &[&str]) -> String {
    let mut visitor = member(stage).await;
    play(&mut visitor, events).await;
    let all = ask(&mut visitor, "all").await;
    visitor.close();
    // The room ends.
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    all
}

const CRASHED: &str = r#"{"reason":"channel_crash"}"#;

/// A host after the first build, and a probation.
async fn begin() -> (Stage, Arc<Probation>) {
    let stage = Stage::new([FIRST.part(&Notes::default())]);
    assert_eq!(visit(&stage, &["room r", "put a 1", "put b 2"]).await, "r a=1 b=2");
    (stage, Probation::new(TERMS, Arc::default()))
}

#[tokio::test(start_paused = true)]
async fn a_restart_during_probation_keeps_the_entries_from_before() {
    let (first, probation) = begin().await;
    let second = first.again([on_probation(SECOND, FIRST, &probation)]);
    assert_eq!(visit(&second, &["put a 3", "put c 4"]).await, "r a=3 b=2 c=4");
    let text = second.exported().await;
    assert_eq!((text.matches("entry_before").count(), text.matches("room_before").count()), (2, 1), "{text}");
    // The next host continues the probation.
    let probation = Probation::resumed(probation.id().expect("an id"), TERMS, Arc::default());
    let third = second.again([on_probation(SECOND, FIRST, &probation)]);
    assert_eq!(visit(&third, &["put a 5", "delete b"]).await, "r a=5 c=4");
    let mut alice = member(&third).await;
    play(&mut alice, &["room new"]).await;
    probation.end(ProbationResult::RolledBack);
    publish(&third, FIRST, &probation);
    third.endpoint.node.sweep().await;
    assert!(alice.next().await.contains("phx_error"));
    assert_eq!(visit(&third, &[]).await, "r a=1 b=2");
    assert!(third.endpoint.node.settle_stored_rooms().await);
    let text = third.exported().await;
    assert!(!text.contains("before"), "{text}");
    assert_eq!(probation.discarded_commits(), 5);
    // Another host finds the same.
    assert_eq!(visit(&third.again([FIRST.part(&Notes::default())]), &[]).await, "r a=1 b=2");
}

#[tokio::test(start_paused = true)]
async fn a_closed_room_is_rolled_back_by_the_sweep() {
    let (first, probation) = begin().await;
    let second = first.again([on_probation(SECOND, FIRST, &probation)]);
    visit(&second, &["put a 3", "delete b", "put c 4", "room new"]).await;
    probation.end(ProbationResult::RolledBack);
    publish(&second, FIRST, &probation);
    assert!(second.endpoint.node.settle_stored_rooms().await);
    let text = second.exported().await;
    assert!(!text.contains("before"), "{text}");
    assert_eq!(visit(&second, &[]).await, "r a=1 b=2");
    // The sums are those from before, too: two entries of two bytes.
    let limits = EntryLimits { bytes_per_topic: 6, ..EntryLimits::default() };
    let store = second.endpoint.node.store.clone();
    let third = over(store, FIRST.part(&Notes::default()), limits);
    assert_eq!(visit(&third, &["put c 4"]).await, "r a=1 b=2 c=4");
    let mut alice = member(&third).await;
    assert_eq!(ask(&mut alice, "put d 5").await, CRASHED);
}

/// The entries from before are larger than those of the build, and the plugin's store is full.
#[tokio::test(start_paused = true)]
async fn a_full_quota_does_not_prevent_a_rollback() {
    const QUOTA: u64 = 1000;
    for is_closed in [true, false] {
        let (first, probation) = begin().await;
        let second = first.again([Part { quota_bytes: QUOTA, ..on_probation(SECOND, FIRST, &probation) }]);
        let mut alice = member(&second).await;
        play(&mut alice, &["delete a", "delete b"]).await;
        let store = &second.endpoint.node.store;
        let mut draft = store.begin(&Owner::new("script", u64::MAX).expect("a name"));
        draft.put(b"key", vec![0; 2 * QUOTA as usize].into()).expect("a small value");
        store.commit(draft).await.expect("it is stored");
        assert_eq!(ask(&mut alice, "put c 3").await, CRASHED);
        if is_closed {
            alice.close();
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        probation.end(ProbationResult::RolledBack);
        publish_part(&second, Part { quota_bytes: QUOTA, ..FIRST.part(&Notes::default()) }, &probation);
        assert!(second.endpoint.node.settle_stored_rooms().await);
        assert_eq!(visit(&second, &[]).await, "r a=1 b=2");
        assert_eq!(visit(&second.again([FIRST.part(&Notes::default())]), &[]).await, "r a=1 b=2");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_probation_that_was_passed_the_sweep_removes_the_entries_from_before() {
    let (first, probation) = begin().await;
    let second = first.again([on_probation(SECOND, FIRST, &probation)]);
    visit(&second, &["put a 3"]).await;
    probation.end(ProbationResult::Passed);
    publish(&second, SECOND, &probation);
    assert!(second.endpoint.node.settle_stored_rooms().await);
    let text = second.exported().await;
    assert!(!text.contains("before"), "{text}");
    assert_eq!(visit(&second, &[]).await, "r a=3 b=2");
}

#[tokio::test(start_paused = true)]
async fn a_topic_with_entries_only_is_rolled_back_too() {
    let stage = Stage::new([FIRST.part(&Notes::default())]);
    visit(&stage, &["put a 1"]).await;
    for is_closed in [true, false] {
        let probation = Probation::new(TERMS, Arc::default());
        stage.publish([on_probation(SECOND, FIRST, &probation)]);
        let mut alice = member(&stage).await;
        play(&mut alice, &["put a 2", "put b 2"]).await;
        if is_closed {
            alice.close();
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        probation.end(ProbationResult::RolledBack);
        publish(&stage, FIRST, &probation);
        assert!(stage.endpoint.node.settle_stored_rooms().await);
        assert_eq!(visit(&stage, &[]).await, "none a=1");
    }
}

/// That the rollback point was given up is stored, so that no other one begins on this probation.
#[tokio::test(start_paused = true)]
async fn past_the_bound_neither_is_rolled_back_also_after_a_restart() {
    let (first, probation) = begin().await;
    let store = first.endpoint.node.store.clone();
    let limits = EntryLimits { rollback_bytes: 2 * 66, ..EntryLimits::default() };
    let part = || on_probation(Build { room_version: 2, ..SECOND }, FIRST, &probation);
    let second = over(store.clone(), part(), limits);
    visit(&second, &["put a 3", "put b 4"]).await;
    assert_eq!(second.exported().await.matches("entry_before").count(), 2);
    visit(&second, &["put c 5"]).await;
    let text = second.exported().await;
    assert!(!text.contains("room_before"), "{text}");
    let third = over(store, part(), EntryLimits::default());
    visit(&third, &["put a 6", "room new"]).await;
    assert!(!third.exported().await.contains("room_before"));
    probation.end(ProbationResult::RolledBack);
    publish(&third, FIRST, &probation);
    assert!(third.endpoint.node.settle_stored_rooms().await);
    let text = third.exported().await;
    assert!(!text.contains("before"), "{text}");
    // The first build upgrades the room of the second one.
    assert_eq!(visit(&third, &[]).await, "new+1 a=6 b=4 c=5");
    assert_eq!(probation.discarded_commits(), 0);
}

/// What a topic has: its room with the version that wrote it, and its entries.
type Content = (Option<(String, u32)>, BTreeMap<String, String>);

/// A host with one topic, next to a model.
struct Model {
    stage: Stage,
    is_durable: bool,
    noise: Noise,
    /// The build that serves without probation.
    passed: Build,
    trial: Option<(Build, Arc<Probation>)>,
    content: Content,
    /// The content before the first commit that a rollback discards.
    point: Option<Content>,
    member: Option<Client>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut noise = Noise::new(seed);
        let is_durable = noise.below(3) > 0;
        let mut model = Self {
            stage: Stage::over(Store::in_memory(StoreLimits::default()).expect("a store"), [], NodeLimits::default()),
            is_durable,
            noise,
            passed: FIRST,
            trial: None,
            content: Content::default(),
            point: None,
            member: None,
        };
        model.passed = model.build();
        model.stage.publish([model.passed.part(&Notes::default())]);
        model
    }

    fn build(&mut self) -> Build {
        const MEMORY: [&[(&str, &str)]; 3] = [
            &[("room", "memory"), ("on-fault", "keep")],
            &[("room", "memory"), ("on-fault", "keep"), ("entries-version", "1")],
            &[("room", "memory"), ("on-fault", "keep"), ("entries-version", "2")],
        ];
        let options = if self.is_durable { DURABLE } else { MEMORY };
        let options = options[self.noise.below(3)];
        Build { generation: 2, room_version: 1 + self.noise.below(2) as u32, options }
    }

    fn serving(&self) -> Build {
        self.trial.as_ref().map_or(self.passed, |(build, _)| *build)
    }

    /// A commit of the serving build.
    fn commit(&mut self, room: Option<String>, change: impl FnOnce(&mut BTreeMap<String, String>) -> bool) {
        let (build, before) = (self.serving(), self.content.clone());
        let version = before.0.as_ref().map_or(self.passed.room_version, |(_, version)| *version);
        let is_upgrade = room.is_some() && version != build.room_version;
        let has_changed = change(&mut self.content.1);
        if let Some(room) = room {
            self.content.0 = Some((room, build.room_version));
        }
        let is_other = has_changed && build.entries_version() != self.passed.entries_version();
        if self.trial.is_some() && self.point.is_none() && (is_upgrade || is_other) {
            self.point = Some(before);
        }
    }

    /// A call that the serving build gets. It upgrades the room first.
    fn upgrade_room(&mut self) {
        let version = self.serving().room_version;
        if let Some((room, _)) = self.content.0.clone().filter(|(_, written)| *written != version) {
            self.commit(Some(format!("{room}+{version}")), |_| false);
        }
    }

    fn shown(&self) -> String {
        let room = self.content.0.as_ref().map_or("none", |(room, _)| room);
        let entries = self.content.1.iter().map(|(key, value)| format!(" {key}={value}"));
        format!("{room}{}", entries.collect::<String>())
    }

    async fn act(&mut self) {
        if self.member.is_none() {
            self.member = Some(member(&self.stage).await);
            self.upgrade_room();
        }
        let (key, value) = (["a", "b", "c"][self.noise.below(3)].to_owned(), self.noise.below(1000).to_string());
        let event = match self.noise.below(6) {
            0..2 => format!("put {key} {value}"),
            2 => format!("delete {key}"),
            3 => format!("room {value}"),
            4 => "bad".to_owned(),
            _ => "all".to_owned(),
        };
        let Some(client) = &mut self.member else { return };
        let answer = ask(client, &event).await;
        self.upgrade_room_unless_failed(&event);
        match event.split(' ').collect::<Vec<_>>()[..] {
            ["put", ..] => self.commit(None, |entries| {
                entries.insert(key, value);
                true
            }),
            ["delete", ..] => self.commit(None, |entries| entries.remove(&key).is_some()),
            ["room", ..] => self.commit(Some(value), |_| false),
            // The serving build has a fault. On probation, the build before answers if it can read the room, and if that
            // loses no commit.
            ["bad"] => {
                let version = self.content.0.as_ref().map_or(self.passed.room_version, |(_, version)| *version);
                let is_answered = self.trial.is_some() && self.point.is_none() && version == self.passed.room_version;
                let expected = if is_answered { self.shown() } else { CRASHED.to_owned() };
                assert_eq!(answer, expected);
                return;
            }
            _ => {
                assert_eq!(answer, self.shown());
                return;
            }
        }
        assert_eq!(answer, "{}", "{event}");
    }

    fn upgrade_room_unless_failed(&mut self, event: &str) {
        if event != "bad" {
            self.upgrade_room();
        }
    }

    /// The member leaves. A durable room ends.
    async fn leave(&mut self) {
        if let Some(client) = self.member.take() {
            client.close();
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            self.upgrade_room();
        }
    }

    async fn restart(&mut self) {
        if !self.is_durable {
            return;
        }
        self.leave().await;
        let part = match &self.trial {
            Some((build, probation)) => {
                let probation = Probation::resumed(probation.id().expect("an id"), TERMS, Arc::default());
                let part = on_probation(*build, self.passed, &probation);
                self.trial = Some((*build, probation));
                part
            }
            None => self.passed.part(&Notes::default()),
        };
        self.stage = self.stage.again([part]);
    }

    async fn end(&mut self, result: ProbationResult) {
        let Some((build, probation)) = self.trial.take() else { return };
        if result == ProbationResult::Passed {
            self.passed = build;
        } else if let Some(content) = self.point.take() {
            self.content = content;
            // The member ends. Its last callback runs on the build before, and upgrades the room.
            if self.member.take().is_some() {
                self.upgrade_room();
            }
        }
        self.point = None;
        probation.end(result);
        publish(&self.stage, self.passed, &probation);
        self.stage.endpoint.node.sweep().await;
        assert!(self.stage.endpoint.node.settle_stored_rooms().await);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Commits, faults, restarts, probations and rollbacks in any order: the room and the entries are those of a plain model.
#[tokio::test(start_paused = true)]
async fn after_any_sequence_of_commits_and_rollbacks_room_and_entries_are_those_of_a_model() {
    let mut rollbacks = 0;
    for seed in 0..bennu_test_tiers::rounds("rollback::model") as u64 {
        let mut model = Model::new(seed);
        for _ in 0..40 {
            match model.noise.below(20) {
                0..12 => model.act().await,
                12..14 => model.leave().await,
                14 => model.restart().await,
                15 | 16 if model.trial.is_none() => {
                    let (build, probation) = (model.build(), Probation::new(TERMS, Arc::default()));
                    model.stage.publish([on_probation(build, model.passed, &probation)]);
                    model.trial = Some((build, probation));
                }
                17 => model.end(ProbationResult::Passed).await,
                18 => {
                    rollbacks += usize::from(model.point.is_some());
                    model.end(ProbationResult::RolledBack).await;
                }
                _ => {}
            }
        }
        if model.trial.is_none() {
            let text = model.stage.exported().await;
            assert!(!text.contains("before"), "{text}");
        }
    }
    assert!(rollbacks > 10, "{rollbacks} rollbacks");
}
