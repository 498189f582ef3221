//! Rooms and entries that a build on probation has changed: a rollback restores both, or neither.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Client, Notes, Part, Stage, admitted, nothing, replied};
use bennu::contract::limits::EntryLimits;
use bennu::contract::{Call, Callback, Fault, Outcome, Part as Of, Upgrade};
use bennu::entries::{CallEntries, EntriesNode, EntryInput, Order};
use bennu::routes::{Probation, ProbationResult, ProbationTerms};

/// A build of a plugin with a room and entries.
#[derive(Clone, Copy)]
pub(crate) struct Build {
    pub(crate) generation: u32,
    pub(crate) room_version: u32,
    pub(crate) options: &'static [(&'static str, &'static str)],
}

const FIRST: Build = Build { generation: 1, room_version: 1, options: &[("room", "memory"), ("on-fault", "keep")] };
/// Writes another version of entries, and the same version of the room.
const SECOND: Build =
    Build { generation: 2, options: &[("room", "memory"), ("on-fault", "keep"), ("entries-version", "1")], ..FIRST };
/// Writes another version of the room, and the same version of entries.
const THIRD: Build = Build { generation: 2, room_version: 2, ..FIRST };

pub(crate) const TERMS: ProbationTerms = ProbationTerms { time: Duration::from_secs(60), calls: 1000, faults: 1000 };

/// The name of an event says what it does: `put KEY VALUE`, `delete KEY`, `room VALUE`, `all` shows the room and the
/// entries, and so does `bad`, which is a fault of later builds. Each build notes the calls that it answers.
async fn act(call: &Call, entries: Option<EntryInput>, build: Build, notes: &Notes) -> Result<Outcome, Fault> {
    let Callback::In { event, .. } = &call.callback else {
        return Ok(if matches!(call.callback, Callback::Join(_)) { admitted() } else { nothing() });
    };
    let mut entries = CallEntries::new(entries.expect("the topic has entries"), false);
    let mut outcome = replied("{}");
    match event.split(' ').collect::<Vec<_>>()[..] {
        ["put", key, value] => entries.put(key.as_bytes(), value.as_bytes()).await?,
        ["fill", count] => {
            let keys: Vec<_> = (0..count.parse().expect("a number")).map(|n: u32| n.to_string()).collect();
            entries.put_many(keys.iter().map(|key| (key.as_bytes(), &b"filled"[..]))).await?;
        }
        ["delete", key] => entries.delete(key.as_bytes()).await?,
        ["room", value] => outcome.room = Some(value.to_owned().into()),
        ["bad"] if build.generation > 1 => {
            entries.put(b"lost", b"lost").await?;
            return Err(Fault::failed("a fault of the later build"));
        }
        _ => {
            let room = String::from_utf8_lossy(call.room.as_deref().unwrap_or(b"none")).into_owned();
            let mut all = vec![room];
            let each = |key: &[u8], value: &[u8]| {
                all.push(format!("{}={}", String::from_utf8_lossy(key), String::from_utf8_lossy(value)));
            };
            entries.scan((None, None), Order::Forward, u32::MAX, each).await?;
            notes.add(format!("{} sees {}", build.generation, all.join(" ")));
            outcome = replied(&format!("\"{}\"", all.join(" ")));
        }
    }
    Ok(Outcome { entries: entries.into_pending(), ..outcome })
}

/// A host with a first build, on which other builds are tried.
struct Play {
    stage: Stage,
    node: Arc<EntriesNode>,
    notes: Notes,
    probation: Arc<Probation>,
}

impl Play {
    fn begin(limits: EntryLimits) -> Self {
        let (notes, node) = (Notes::default(), EntriesNode::new(limits));
        let stage = Stage::with_entries([FIRST.part(&notes)], &node);
        Self { stage, node, notes, probation: Probation::new(TERMS, Arc::default()) }
    }

    async fn member(&self) -> Client {
        let mut client = self.stage.connect();
        client.join("shelf:1").await;
        client
    }

    /// Publishes a build on probation. The first build is the one before it.
    fn try_out(&self, build: Build) {
        let probation = Some((Arc::clone(&self.probation), Some(FIRST.part(&self.notes).route())));
        self.stage.publish([Part { probation, ..build.part(&self.notes) }]);
    }

    /// Ends the probation, as the library does.
    async fn end(&self, result: ProbationResult, build: Build) {
        self.stage.publish([build.part(&self.notes)]);
        self.probation.end(result);
        self.stage.endpoint.node.sweep().await;
    }

    async fn roll_back(&self) {
        self.end(ProbationResult::RolledBack, Build { generation: 3, ..FIRST }).await;
    }
}

impl Build {
    /// The option `entries-version`, if it has it.
    pub(crate) fn entries_version(self) -> Option<&'static str> {
        self.options.iter().find(|(name, _)| *name == "entries-version").map(|(_, value)| *value)
    }

    pub(crate) fn part(self, notes: &Notes) -> Part {
        let notes = notes.clone();
        let on_call = move |call: Call, entries| {
            let notes = notes.clone();
            async move { act(&call, entries, self, &notes).await }
        };
        let mark = move |old: Upgrade| -> Result<_, Fault> {
            let text = format!("{}+{}", String::from_utf8_lossy(&old.state), self.room_version);
            Ok(Some(if old.part == Of::Room { text.into() } else { old.state }))
        };
        Part {
            options: self.options,
            versions: (1, self.room_version),
            generation: self.generation,
            on_upgrade: Arc::new(move |old| Box::pin(std::future::ready(mark(old)))),
            ..Part::with_entries("shelf:*", on_call)
        }
    }
}

pub(crate) async fn ask(client: &mut Client, event: &str) -> String {
    client.send(&format!(r#"["1","2","shelf:1","{event}",{{}}]"#));
    let reply = client.next().await;
    let response = reply.split_once("\"response\":").and_then(|(_, rest)| rest.rsplit_once(",\"status\""));
    response.map_or(reply.clone(), |(response, _)| response.trim_matches('"').to_owned())
}

pub(crate) async fn play(client: &mut Client, events: &[&str]) {
    for event in events {
        assert_eq!(ask(client, event).await, "{}", "{event}");
    }
}

const ERROR: &str = r#"["1","1","shelf:1","phx_error",{"reason":"channel_crash"}]"#;
const CRASHED: &str = r#"{"reason":"channel_crash"}"#;

#[tokio::test(start_paused = true)]
async fn room_and_entries_are_rolled_back_together() {
    for (build, upgraded) in [(SECOND, "r"), (THIRD, "r+2")] {
        let host = Play::begin(EntryLimits::default());
        let mut alice = host.member().await;
        play(&mut alice, &["room r", "put a 1", "put b 2"]).await;
        let before = host.node.usage().memory_bytes;
        host.try_out(build);
        assert_eq!(ask(&mut alice, "all").await, format!("{upgraded} a=1 b=2"));
        play(&mut alice, &["put a 3", "put a 4", "delete b", "put c 5", "room new"]).await;
        assert_eq!(ask(&mut alice, "all").await, "new a=4 c=5");
        // Three entries, each with 64 bytes more: `a` and `b` with their values, and `c`, which was absent.
        assert_eq!(host.node.usage().journal_bytes, 3 * 64 + 2 + 2 + 1);
        host.roll_back().await;
        assert_eq!(alice.next().await, ERROR);
        let mut bob = host.member().await;
        assert_eq!(ask(&mut bob, "all").await, "r a=1 b=2");
        assert_eq!((host.node.usage().journal_bytes, host.node.usage().memory_bytes), (0, before));
        // The rollback discards five commits, and with another version of the room also its upgrade.
        assert_eq!(host.probation.discarded_commits(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn entries_alone_are_rolled_back_and_absent_ones_are_absent_again() {
    let host = Play::begin(EntryLimits::default());
    let mut alice = host.member().await;
    host.try_out(SECOND);
    play(&mut alice, &["put a 1"]).await;
    assert_eq!(ask(&mut alice, "all").await, "none a=1");
    // The build before is called with the entries from before.
    assert_eq!(ask(&mut alice, "bad").await, CRASHED);
    assert_eq!(host.notes.all().last().map(String::as_str), Some("1 sees none"));
    assert_eq!(host.probation.faults(), 1);
    host.roll_back().await;
    assert_eq!(alice.next().await, ERROR);
    let mut bob = host.member().await;
    assert_eq!(ask(&mut bob, "all").await, "none");
    assert_eq!(host.node.usage().memory_bytes, 0);
}

/// A rollback point leaves a trace of a room that nobody has written. The trace must not have the version of an old build.
#[tokio::test(start_paused = true)]
async fn a_room_that_nobody_has_written_has_no_version() {
    let host = Play::begin(EntryLimits::default());
    let mut alice = host.member().await;
    host.try_out(SECOND);
    play(&mut alice, &["put a 1"]).await;
    host.end(ProbationResult::Passed, Build { generation: 3, ..SECOND }).await;
    let passed = Build { generation: 4, room_version: 2, ..SECOND };
    host.stage.publish([passed.part(&host.notes)]);
    let trial = Build { generation: 5, ..SECOND };
    let probation = Probation::new(TERMS, Arc::default());
    let part = |build: Build| build.part(&host.notes);
    let before = Build { generation: 1, ..passed };
    let under_trial = Part { probation: Some((Arc::clone(&probation), Some(part(before).route()))), ..part(trial) };
    host.stage.publish([under_trial]);
    // Both builds can read it, so the build before answers for the faulty one.
    assert_eq!(ask(&mut alice, "bad").await, "none a=1");
    // The first bytes are of another version than those of the build before, so a rollback removes them.
    play(&mut alice, &["room new"]).await;
    host.stage.publish([part(passed)]);
    probation.end(ProbationResult::RolledBack);
    host.stage.endpoint.node.sweep().await;
    assert_eq!(alice.next().await, ERROR);
    assert_eq!(ask(&mut host.member().await, "all").await, "none a=1");
}

#[tokio::test(start_paused = true)]
async fn the_build_before_sees_the_entries_from_before() {
    let host = Play::begin(EntryLimits::default());
    let mut alice = host.member().await;
    play(&mut alice, &["room r", "put a 1", "put b 2"]).await;
    host.try_out(SECOND);
    // Without a commit of the later build, the answer of the build before counts.
    assert_eq!(ask(&mut alice, "bad").await, "r a=1 b=2");
    play(&mut alice, &["put a 3", "put aa 4", "delete b", "room new"]).await;
    assert_eq!(ask(&mut alice, "bad").await, CRASHED);
    assert_eq!(host.notes.all().last().map(String::as_str), Some("1 sees r a=1 b=2"));
    // The call of the build before has changed nothing.
    assert_eq!(ask(&mut alice, "all").await, "new a=3 aa=4");
    assert_eq!(host.probation.faults(), 2);
}

#[tokio::test(start_paused = true)]
async fn with_unchanged_versions_each_commit_stays() {
    let host = Play::begin(EntryLimits::default());
    let mut alice = host.member().await;
    play(&mut alice, &["room r", "put a 1"]).await;
    host.try_out(Build { generation: 2, ..FIRST });
    play(&mut alice, &["room new", "put a 2"]).await;
    // The build before sees the commits of the later build.
    assert_eq!(ask(&mut alice, "bad").await, "new a=2");
    assert_eq!(host.node.usage().journal_bytes, 0);
    host.roll_back().await;
    assert_eq!(ask(&mut alice, "all").await, "new a=2");
}

#[tokio::test(start_paused = true)]
async fn after_the_probation_nothing_is_kept() {
    let host = Play::begin(EntryLimits::default());
    let mut alice = host.member().await;
    play(&mut alice, &["room r", "put a 1"]).await;
    host.try_out(SECOND);
    play(&mut alice, &["put a 2"]).await;
    assert_ne!(host.node.usage().journal_bytes, 0);
    host.end(ProbationResult::Passed, SECOND).await;
    assert_eq!(ask(&mut alice, "all").await, "r a=2");
    assert_eq!(host.node.usage().journal_bytes, 0);
    play(&mut alice, &["put b 3"]).await;
    assert_eq!(host.node.usage().journal_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn past_the_bound_neither_is_rolled_back() {
    for build in [SECOND, THIRD] {
        let host = Play::begin(EntryLimits { rollback_bytes: 2 * 65, ..EntryLimits::default() });
        let mut alice = host.member().await;
        play(&mut alice, &["room r"]).await;
        host.try_out(build);
        play(&mut alice, &["put a 1", "put a 2", "put b 1", "room new"]).await;
        assert_eq!(host.node.usage().journal_bytes, 2 * 65);
        play(&mut alice, &["put c 1"]).await;
        assert_eq!(host.node.usage().journal_bytes, 0);
        // No other rollback point starts on this probation.
        play(&mut alice, &["put d 1", "room newer"]).await;
        assert_eq!(host.node.usage().journal_bytes, 0);
        host.roll_back().await;
        // The room and the entries are those of the later build. If it wrote another version of the room, the earlier one
        // upgrades that.
        let upgrade = if build.room_version == 1 { "" } else { "+1" };
        assert_eq!(ask(&mut alice, "all").await, format!("newer{upgrade} a=2 b=1 c=1 d=1"));
        assert_eq!(host.probation.discarded_commits(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_journals_of_a_host_are_bounded_together() {
    let host = Play::begin(EntryLimits { rollback_bytes: 1000, ..EntryLimits::default() });
    let mut clients = Vec::new();
    for n in 0..10 {
        let mut client = host.stage.connect();
        client.join(&format!("shelf:{n}")).await;
        clients.push(client);
    }
    host.try_out(SECOND);
    for (n, client) in clients.iter_mut().enumerate() {
        // 15 entries of one or two digits.
        client.send(&format!(r#"["1","2","shelf:{n}","fill 15",{{}}]"#));
        assert!(client.next().await.contains("ok"));
    }
    let of_one = 15 * 64 + 10 + 2 * 5;
    assert_eq!(host.node.usage().journal_bytes, 8 * of_one);
    // A room that ends releases its journal.
    drop(clients);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!((host.node.usage().journal_bytes, host.node.usage().memory_bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_second_build_during_a_probation_is_rolled_back_to_the_same_point() {
    let host = Play::begin(EntryLimits::default());
    let mut alice = host.member().await;
    play(&mut alice, &["room r", "put a 1"]).await;
    host.try_out(SECOND);
    play(&mut alice, &["put a 2", "put b 2"]).await;
    host.try_out(Build { generation: 3, room_version: 2, ..SECOND });
    play(&mut alice, &["put a 3", "put c 3", "room new"]).await;
    host.roll_back().await;
    assert_eq!(alice.next().await, ERROR);
    let mut bob = host.member().await;
    assert_eq!(ask(&mut bob, "all").await, "r a=1");
}

/// The next members get the entries from before as the published state, also if its text was kept.
#[tokio::test(start_paused = true)]
async fn published_entries_are_rolled_back_too() {
    const PUBLISHED: [&[(&str, &str)]; 2] = [
        &[("room", "memory"), ("on-fault", "keep"), ("publishes", "a")],
        &[("room", "memory"), ("on-fault", "keep"), ("publishes", "a"), ("entries-version", "1")],
    ];
    let builds = PUBLISHED.map(|options| Build { options, ..SECOND });
    let host = Play::begin(EntryLimits::default());
    host.stage.publish([builds[0].part(&host.notes)]);
    let shown = async |entries: &str| {
        let mut member = host.member().await;
        let state = member.next().await;
        assert!(state.contains("room_state") && state.contains(entries), "{state}");
        member
    };
    let mut alice = shown("{}").await;
    // The change comes before the reply.
    alice.send(r#"["1","2","shelf:1","put a 1",{}]"#);
    assert!(alice.next().await.contains(r#"{"a":1}"#) && alice.next().await.contains("phx_reply"));
    host.try_out(builds[1]);
    alice.send(r#"["1","2","shelf:1","put a 2",{}]"#);
    assert!(alice.next().await.contains(r#"{"a":2}"#) && alice.next().await.contains("phx_reply"));
    shown(r#"{"a":2}"#).await;
    host.end(ProbationResult::RolledBack, builds[0]).await;
    assert_eq!(alice.next().await, ERROR);
    shown(r#"{"a":1}"#).await;
}
