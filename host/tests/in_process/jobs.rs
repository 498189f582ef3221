//! Jobs on a clock that the test sets: retries, replacements, topics that nobody serves, and cron lines.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bennu::channel::NodeLimits;
use bennu::contract::jobs::{JobId, JobKind, JobRow};
use bennu::contract::limits::JobLimits;
use bennu::contract::{Fault, NowMs, Outcome, TopicCall, TopicCallback};
use bennu::jobs::{CronLine, Dispatcher, JobState, Jobs, job_id};
use bennu::protocol::{Payload, Topic};
use bennu::store::{CommitError, Owner, QUOTA_BYTES, Store, StoreLimits};

use crate::support::{Notes, Part, Stage, admitted, nothing};

/// The time at which the tests begin.
const BEGAN_MS: u64 = 1_790_000_000_000;

/// A host with a dispatcher, on a clock of its own.
struct Host {
    stage: Stage,
    store: Store,
    now_ms: Arc<AtomicU64>,
    jobs: Jobs,
    notes: Notes,
}

type OnInfo = dyn Fn(&Store, &str) -> Result<Outcome, Fault> + Send + Sync;

/// A plugin `script` whose topics note what they are told: the event, its key, and how late it is. `on_info` gets the event.
fn part(store: &Store, now_ms: &Arc<AtomicU64>, notes: &Notes, on_info: Arc<OnInfo>) -> Part {
    let (store, now_ms, notes) = (store.clone(), Arc::clone(now_ms), notes.clone());
    let mut part = Part::new("room:*", |_| ready(Ok(admitted())));
    part.on_topic_call = Some(Arc::new(move |call: TopicCall, _| {
        let TopicCallback::Info(info) = call.callback else { panic!("only the host tells these topics something") };
        let fired = info.fired.expect("a job");
        let late = now_ms.load(Ordering::SeqCst) - fired.due_ms;
        let (source, event) = (info.message.source.as_str(), info.message.event.to_string());
        notes.add(format!("{source} {event} {} +{late}", fired.key.as_deref().unwrap_or("-")));
        let outcome = on_info(&store, &event);
        Box::pin(ready(outcome))
    }));
    part
}

impl Host {
    fn start(on_info: impl Fn(&Store, &str) -> Result<Outcome, Fault> + Send + Sync + 'static) -> Self {
        let limits = StoreLimits { jobs: JobLimits { per_topic: 3, ..JobLimits::default() }, ..StoreLimits::default() };
        let store = Store::in_memory(limits).expect("a store in memory");
        Self::over(store, &Arc::new(AtomicU64::new(BEGAN_MS)), Arc::new(on_info), Vec::new())
    }

    fn over(store: Store, now_ms: &Arc<AtomicU64>, on_info: Arc<OnInfo>, crons: Vec<(Arc<str>, CronLine)>) -> Self {
        let notes = Notes::default();
        let part = part(&store, now_ms, &notes, on_info);
        let stage = Stage::over(store.clone(), [part], NodeLimits::default());
        let clock: NowMs = {
            let now_ms = Arc::clone(now_ms);
            Arc::new(move || now_ms.load(Ordering::SeqCst))
        };
        tokio::spawn(Dispatcher::new(Arc::clone(&stage.endpoint.node), Arc::clone(&clock), crons).run());
        let jobs = Jobs::new(store.clone(), clock);
        Self { stage, store, now_ms: Arc::clone(now_ms), jobs, notes }
    }

    /// Commits a schedule, as a callback would.
    async fn schedule(&self, key: &str, after_ms: u64, event: &str) -> Result<(), CommitError> {
        let mut draft = self.store.begin(&owner());
        let row = JobRow::new(BEGAN_MS + after_ms, event.into(), Payload::EMPTY);
        draft.set_job(JobKind::Schedule, "room:1", key, Some(&row)).expect("within the limits");
        self.store.commit(draft).await.map(drop)
    }

    /// Sets the clock, and lets the dispatcher work until it waits.
    async fn pass(&self, after_ms: u64) {
        self.now_ms.store(BEGAN_MS + after_ms, Ordering::SeqCst);
        // The dispatcher looks at the clock at least once in 10 s of paused time.
        tokio::time::sleep(Duration::from_secs(11)).await;
    }

    async fn states(&self) -> Vec<(String, JobState, u32)> {
        let (jobs, _) = self.jobs.list(JobKind::Schedule, None, None, 10).await.expect("a store");
        jobs.into_iter().map(|job| (job.id.key.to_string(), job.state, job.row.failures)).collect()
    }

    async fn stored(&self, key: &str) -> Option<u8> {
        let value = self.store.begin(&owner()).get(key.as_bytes()).await.expect("a store");
        value.map(|value| value[0])
    }
}

fn owner() -> Owner {
    Owner::new("script", QUOTA_BYTES).expect("a name")
}

/// An outcome that adds one to a key.
fn counting(store: &Store, key: &str) -> Outcome {
    let mut draft = Box::new(store.begin(&owner()));
    let read = futures_util::FutureExt::now_or_never(draft.get(key.as_bytes())).expect("memory is ready");
    let count = read.expect("a store").map_or(0, |value| value[0]) + 1;
    draft.put(key.as_bytes(), vec![count].into()).expect("within the limits");
    Outcome { draft: Some(draft), ..nothing() }
}

#[tokio::test(start_paused = true)]
async fn schedules_fire_in_the_order_in_which_they_are_due() {
    let host = Host::start(|store, _| Ok(counting(store, "fired")));
    for (key, after_ms) in [("b", 200), ("a", 300), ("c", 100)] {
        host.schedule(key, after_ms, "ring").await.expect("stored");
    }
    host.pass(99).await;
    assert_eq!(host.notes.all(), [""; 0]);
    host.pass(350).await;
    assert_eq!(host.notes.all(), ["schedule ring c +250", "schedule ring b +150", "schedule ring a +50"]);
    assert_eq!((host.stored("fired").await, host.states().await.len()), (Some(3), 0));
}

#[tokio::test(start_paused = true)]
async fn a_failing_schedule_is_tried_five_times_and_kept_until_somebody_retries_it() {
    let host = Host::start(|store, event| match event {
        "fail"
            if futures_util::FutureExt::now_or_never(store.begin(&owner()).get(b"mended"))
                .expect("memory")
                .expect("a store")
                .is_none() =>
        {
            Err(Fault::failed("asked to"))
        }
        _ => Ok(counting(store, "fired")),
    });
    host.schedule("k", 0, "fail").await.expect("stored");
    host.pass(0).await;
    assert_eq!(host.states().await, [("k".into(), JobState::Retrying, 1)]);
    // Each delay is at most a quarter longer than 1 s, 5 s, 25 s and 125 s.
    for (tries, after_ms) in [(2, 1_500), (3, 8_000), (4, 40_000), (5, 200_000)] {
        host.pass(after_ms).await;
        assert_eq!(host.notes.all().len(), tries);
    }
    assert_eq!(host.states().await, [("k".into(), JobState::GivenUp, 5)]);
    assert_eq!(host.jobs.counts().given_up, 1);
    host.pass(90_000_000).await;
    assert_eq!((host.notes.all().len(), host.stored("fired").await), (5, None));
    let mut draft = host.store.begin(&owner());
    draft.put(b"mended", "y".into()).expect("within the limits");
    host.store.commit(draft).await.expect("stored");
    let id = job_id(JobKind::Schedule, "script", "room:1", "k");
    host.jobs.retry(&id).await.expect("it is there");
    host.pass(90_000_000).await;
    assert_eq!(host.notes.all().last().map(String::as_str), Some("schedule fail k +90000000"));
    assert_eq!((host.stored("fired").await, host.states().await.len()), (Some(1), 0));
    assert!(host.jobs.retry(&id).await.is_err() && host.jobs.drop_job(&id).await.is_err());
}

/// A callback whose schedule is replaced while it runs has no effect: the new schedule fires instead.
#[tokio::test(start_paused = true)]
async fn nothing_is_committed_of_a_callback_whose_schedule_was_replaced_meanwhile() {
    let replaced = Arc::new(AtomicU64::new(0));
    let host = Host::start(move |store, _| {
        if replaced.fetch_add(1, Ordering::SeqCst) == 0 {
            let mut draft = store.begin(&owner());
            let row = JobRow::new(BEGAN_MS + 500, "second".into(), Payload::EMPTY);
            draft.set_job(JobKind::Schedule, "room:1", "k", Some(&row)).expect("within the limits");
            futures_util::FutureExt::now_or_never(store.commit(draft)).expect("memory").expect("stored");
        }
        Ok(counting(store, "fired"))
    });
    host.schedule("k", 0, "first").await.expect("stored");
    host.pass(0).await;
    assert_eq!((host.stored("fired").await, host.states().await), (None, vec![("k".into(), JobState::Waiting, 0)]));
    host.pass(2_000).await;
    assert_eq!(host.notes.all(), ["schedule first k +0", "schedule second k +1500"]);
    assert_eq!((host.stored("fired").await, host.states().await.len()), (Some(1), 0));
}

#[tokio::test(start_paused = true)]
async fn a_schedule_waits_while_no_plugin_serves_its_topic() {
    let host = Host::start(|store, _| Ok(counting(store, "fired")));
    host.stage.publish([]);
    host.schedule("k", 0, "ring").await.expect("stored");
    host.pass(5_000).await;
    assert_eq!(host.states().await, [("k".into(), JobState::Unserved, 0)]);
    // Another plugin that serves the topic doesn't get it.
    let (store, now_ms) = (host.store.clone(), Arc::clone(&host.now_ms));
    let serving = |plugin| Part {
        plugin,
        ..part(&store, &now_ms, &host.notes, Arc::new(|store: &Store, _: &str| Ok(counting(store, "fired"))))
    };
    host.stage.publish([serving("other")]);
    host.pass(6_000).await;
    assert_eq!((host.notes.all().len(), host.jobs.counts().unserved), (0, 1));
    host.stage.publish([serving("script")]);
    host.pass(7_000).await;
    assert_eq!((host.notes.all(), host.stored("fired").await), (vec!["schedule ring k +7000".into()], Some(1)));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_schedules_of_a_topic_is_limited_at_the_commit() {
    let host = Host::start(|store, _| Ok(counting(store, "fired")));
    for key in ["a", "b", "c", "a"] {
        host.schedule(key, 60_000, "ring").await.expect("within the limit");
    }
    let refused = host.schedule("d", 60_000, "ring").await.expect_err("one too many").to_string();
    assert!(refused.contains("at most 3 schedules of one topic (`limits.schedules_per_topic = 3`)"), "{refused}");
    host.jobs.drop_job(&job_id(JobKind::Schedule, "script", "room:1", "b")).await.expect("it is there");
    host.schedule("d", 60_000, "ring").await.expect("there is room again");
}

#[tokio::test(start_paused = true)]
async fn missed_times_of_a_cron_line_become_one_and_a_restart_skips_none() {
    let now_ms = Arc::new(AtomicU64::new(BEGAN_MS));
    let store = Store::in_memory(StoreLimits::default()).expect("a store in memory");
    let line = || CronLine::read("room:1", "hourly", "0 * * * *", None).expect("a line");
    let on_info: Arc<OnInfo> = Arc::new(|store: &Store, _: &str| Ok(counting(store, "fired")));
    let crons = || vec![(Arc::<str>::from("script"), line())];
    let first_ms = line().next_ms(BEGAN_MS).expect("a time") - BEGAN_MS;
    let host = Host::over(store.clone(), &now_ms, Arc::clone(&on_info), crons());
    host.pass(first_ms - 1).await;
    assert_eq!(host.notes.all(), [""; 0]);
    host.pass(first_ms + 5).await;
    assert_eq!(host.notes.all(), ["cron hourly - +5"]);
    // The host doesn't run for five hours. The time that was due first fires, and then the next one of the present.
    let hour = 3_600_000;
    now_ms.store(BEGAN_MS + first_ms + 5 * hour + 7, Ordering::SeqCst);
    let again = Host::over(store.clone(), &now_ms, Arc::clone(&on_info), crons());
    again.pass(first_ms + 5 * hour + 7).await;
    assert_eq!(again.notes.all().len() + host.notes.all().len() - 1, 1, "one of both hosts has told the topic");
    again.pass(first_ms + 6 * hour).await;
    assert_eq!(again.stored("fired").await, Some(3));
    // A line that is gone has no job.
    let third = Host::over(store.clone(), &now_ms, on_info, Vec::new());
    third.pass(first_ms + 7 * hour).await;
    let id = line().job(&"script".into());
    assert!(store.read_job(&id).await.expect("a store").is_none());
}

/// The identities of jobs are those of the store.
#[test]
fn a_schedule_is_found_by_the_name_of_its_plugins_data() {
    let id = job_id(JobKind::Schedule, "chat", "room:1", "k");
    let expected =
        JobId { plugin: "chat".into(), kind: JobKind::Schedule, topic: Topic::new("room:1"), key: "k".into() };
    assert_eq!(id, expected);
}
