//! Recovery of missed broadcasts: random operations next to a plain model, and the cases that random operations don't reach.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bennu::contract::{Call, CallFuture, Callback, Decision, Effect, Fault, FaultKind, Outcome, Passing};
use bennu::counts::Limit;
use bennu::protocol::{Payload, Topic};
use bennu::pubsub::{Broadcast, Except, HistoryLimits};
use bennu_test_tiers::Noise;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::support::{Client, Part, Stage, admitted, nothing, replied};

const TOPIC: &str = "room:a";
const COUNT: usize = 12;
const AGE: Duration = Duration::from_secs(60);

/// A broadcast that was made.
#[derive(Clone, Debug)]
struct Made {
    id: u64,
    /// Whether `handle_out` decides about it.
    filtered: bool,
    /// The client that doesn't get it.
    except: Option<String>,
    at: Instant,
}

/// All broadcasts, in the order in which they were made.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Made>>>);

impl Log {
    fn all(&self) -> Vec<Made> {
        self.0.lock().expect("no panic").clone()
    }

    fn len(&self) -> usize {
        self.all().len()
    }

    fn add(&self, filtered: bool, except: Option<&str>) -> u64 {
        let mut made = self.0.lock().expect("no panic");
        let id = made.len() as u64;
        made.push(Made { id, filtered, except: except.map(str::to_owned), at: Instant::now() });
        id
    }
}

fn payload(id: u64) -> Payload {
    Payload::Json(json!({ "id": id }).to_string().into())
}

/// What a member does: its join and its end are told to the others, and events are broadcast.
fn member(call: &Call, log: &Log) -> Outcome {
    let client = String::from_utf8(call.assigns.to_vec()).expect("a name");
    let from = |client: &str| {
        let id = log.add(false, Some(client));
        vec![Effect::BroadcastFrom { event: "plain".into(), payload: payload(id) }]
    };
    match &call.callback {
        Callback::Join(params) => {
            let Payload::Json(params) = params else { panic!("JSON") };
            let params: Value = serde_json::from_str(params).expect("JSON");
            let client = params["name"].as_str().expect("a name").to_owned();
            let effects = from(&client);
            Outcome { effects, assigns: Some(client.into()), ..admitted() }
        }
        Callback::In { event, .. } => {
            let effects = match &**event {
                "from" => from(&client),
                event => {
                    let id = log.add(event == "filtered", None);
                    vec![Effect::Broadcast { event: event.into(), payload: payload(id) }]
                }
            };
            Outcome { effects, ..replied("{}") }
        }
        Callback::Terminate(_) => Outcome { effects: from(&client), ..nothing() },
        Callback::Info(_) => nothing(),
    }
}

/// A third of the filtered broadcasts are dropped, and a third are replaced.
fn decide(id: u64) -> Decision {
    match id % 3 {
        0 => Decision::Pass,
        1 => Decision::Drop,
        _ => Decision::Replace(Payload::Json(json!({ "id": id, "replaced": true }).to_string().into())),
    }
}

fn id_in(payload: &Payload) -> u64 {
    let Payload::Json(json) = payload else { panic!("JSON") };
    serde_json::from_str::<Value>(json).expect("JSON")["id"].as_u64().expect("an id")
}

fn filter(passing: Passing) -> CallFuture<'static, Vec<Decision>> {
    let id = id_in(&passing.payload);
    Box::pin(async move { Ok(passing.recipients.iter().map(|_| decide(id)).collect()) })
}

fn room(log: &Log) -> Part {
    let log = log.clone();
    Part {
        options: &[("history-count", "12"), ("history-ms", "60000")],
        intercepts: &["filtered"],
        on_passing: Arc::new(filter),
        ..Part::new("room:*", move |call| std::future::ready(Ok(member(&call, &log))))
    }
}

/// A client that remembers its position, as `client/recover.mjs` does.
struct Reader {
    name: String,
    position: Option<(String, u64)>,
    /// The ids of the broadcasts that it has got.
    got: Vec<u64>,
    /// The ids that it must get next, for those that were made until now.
    due: VecDeque<u64>,
    /// How many of the log's broadcasts are in `due` or were got.
    seen: usize,
    client: Option<Client>,
    /// Of the last join: whether everything was recovered.
    recovered: Option<bool>,
}

impl Reader {
    fn new(name: &str) -> Self {
        let name = name.to_owned();
        Self { name, position: None, got: vec![], due: VecDeque::new(), seen: 0, client: None, recovered: None }
    }

    fn join(&mut self, stage: &Stage) {
        let since = match &self.position {
            None => json!({ "client": self.name }),
            Some((epoch, n)) => json!({ "client": self.name, "epoch": epoch, "n": n }),
        };
        let params = json!({ "name": self.name, "since": since });
        let mut client = stage.connect();
        client.send(&json!(["1", "1", TOPIC, "phx_join", params]).to_string());
        self.client = Some(client);
        self.recovered = None;
    }

    /// Reads at most so many of the frames that have arrived.
    fn read(&mut self, most: usize) {
        let frames = self.client.as_mut().map(Client::now).unwrap_or_default();
        for frame in frames.into_iter().take(most) {
            let frame: Value = serde_json::from_str(&frame).expect("a frame of JSON");
            let payload = &frame[4];
            match frame[3].as_str().expect("an event") {
                "history" => {
                    let epoch = payload["epoch"].as_str().expect("an epoch").to_owned();
                    self.position = Some((epoch, payload["n"].as_u64().expect("a number")));
                    self.recovered = payload["recovered"].as_bool();
                }
                "plain" | "filtered" => {
                    let id = payload["id"].as_u64().expect("an id");
                    let number = frame[1].as_str().and_then(|text| text.strip_prefix('h')).expect("a number");
                    let (_, n) = self.position.as_mut().expect("a position comes first");
                    let before = std::mem::replace(n, number.parse().expect("a number"));
                    assert!(before < *n, "{}: {n} after {before}", self.name);
                    assert_eq!(payload["replaced"].as_bool().unwrap_or(false), frame[3] == "filtered" && id % 3 == 2);
                    self.got.push(id);
                }
                "phx_reply" => assert_eq!(payload["status"], "ok"),
                other => panic!("{other}"),
            }
        }
    }
}

/// Whether a client gets a broadcast.
fn is_for(made: &Made, client: &str) -> bool {
    made.except.as_deref() != Some(client) && !(made.filtered && made.id % 3 == 1)
}

/// The host and the model.
struct Trial {
    stage: Stage,
    log: Log,
    readers: Vec<Reader>,
    /// How many broadcasts had been made when the present history began.
    base: usize,
    has_history: bool,
    /// When the last member ended.
    left: Instant,
    /// Whether broadcasts may be dropped because of their bytes. The model doesn't count bytes.
    is_tight: bool,
}

impl Trial {
    fn new(is_tight: bool) -> Self {
        let log = Log::default();
        let stage = Stage::new([room(&log)]);
        if is_tight {
            let limits = HistoryLimits { topic_bytes: 1024 + 5 * 300, host_bytes: 1 << 20 };
            stage.endpoint.node.pubsub.histories.set_limits(limits);
        }
        let readers = ["ada", "bob", "eve", "joe"].map(Reader::new).into();
        Self { stage, log, readers, base: 0, has_history: false, left: Instant::now(), is_tight }
    }

    /// Lets all tasks run.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Whether the history has everything after a number.
    fn has_all_since(&self, number: u64) -> bool {
        let made = self.log.all().split_off(self.base);
        let kept = made.iter().rev().take(COUNT).take_while(|made| made.at.elapsed() <= AGE).count();
        let number = usize::try_from(number).expect("a small number");
        // A number of another history may be larger.
        made.len().checked_sub(number).is_some_and(|missed| missed <= kept)
    }

    async fn join(&mut self, at: usize) {
        let made_before = self.log.len();
        let epoch_began = !self.has_history;
        if epoch_began {
            (self.base, self.has_history) = (made_before, true);
        }
        let recoverable = match &self.readers[at].position {
            Some((_, n)) if !epoch_began => self.has_all_since(*n),
            _ => false,
        };
        let reader = &mut self.readers[at];
        let (before, had) = (reader.position.clone(), reader.got.len());
        reader.join(&self.stage);
        self.settle().await;
        let reader = &mut self.readers[at];
        reader.read(usize::MAX);
        let is_same_epoch = before.as_ref().map(|(epoch, _)| epoch) == reader.position.as_ref().map(|(epoch, _)| epoch);
        match reader.recovered {
            None => assert!(before.is_none()),
            Some(true) => assert!(is_same_epoch && recoverable, "what was dropped can't be recovered"),
            Some(false) => {
                assert!(!(recoverable && is_same_epoch) || self.is_tight, "everything was there");
                assert_eq!(reader.got.len(), had, "what was missed isn't told in part");
            }
        }
        if reader.recovered != Some(true) {
            reader.due.clear();
            reader.seen = made_before;
        }
    }

    async fn close(&mut self, at: usize, noise: &mut Noise) {
        self.check(at, noise.below(6));
        self.left = Instant::now();
        if let Some(client) = self.readers[at].client.take() {
            client.close();
        }
        self.settle().await;
    }

    /// Reads some frames, and compares them with the model.
    fn check(&mut self, at: usize, most: usize) {
        let made = self.log.all();
        let reader = &mut self.readers[at];
        let name = reader.name.clone();
        let due = made[reader.seen..].iter().filter(|made| is_for(made, &name)).map(|made| made.id);
        reader.due.extend(due);
        reader.seen = made.len();
        reader.read(most);
        for id in std::mem::take(&mut reader.got) {
            assert_eq!(Some(id), reader.due.pop_front(), "{name}: {:?}", made.iter().find(|made| made.id == id));
        }
        if most == usize::MAX {
            assert_eq!(reader.due, VecDeque::<u64>::new(), "{name}");
        }
    }

    fn broadcast(&self, filtered: bool) {
        let id = self.log.add(filtered, None);
        let event = if filtered { "filtered".into() } else { "plain".into() };
        let (topic, payload, except) = (Topic::new(TOPIC), payload(id), Except::Nobody);
        let pubsub = &self.stage.endpoint.node.pubsub;
        pubsub.broadcast(Broadcast { topic, event, payload, except, droppable: None, number: None });
    }

    async fn sweep(&mut self) {
        let last = self.log.all().last().map_or(self.left, |made| made.at.max(self.left));
        if self.readers.iter().all(|reader| reader.client.is_none()) && last.elapsed() > AGE {
            self.has_history = false;
        }
        self.stage.endpoint.node.pubsub.sweep_histories().await;
    }

    async fn act(&mut self, noise: &mut Noise) {
        let at = noise.below(self.readers.len());
        let is_in = self.readers[at].client.is_some();
        match noise.below(10) {
            0..=2 if is_in => self.close(at, noise).await,
            0..=4 if !is_in => self.join(at).await,
            1..=4 => self.check(at, usize::MAX),
            5 => self.broadcast(noise.below(2) == 0),
            6 => {
                let seconds = [1, 20, 61, 200][noise.below(4)];
                tokio::time::advance(Duration::from_secs(seconds)).await;
                self.sweep().await;
            }
            _ => {
                let event = ["plain", "filtered", "from"][noise.below(3)];
                if let Some(client) = &mut self.readers[at].client {
                    client.send(&format!(r#"["1","2","{TOPIC}","{event}",{{}}]"#));
                }
            }
        }
        self.settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_client_has_each_broadcast_once_and_in_order_or_is_told_that_it_missed_some() {
    let (mut recovered, mut missed, hits) = (0, 0, Limit::HistoryCount.hits());
    for seed in 0..bennu_test_tiers::rounds("history::model") {
        let mut noise = Noise::new(seed as u64);
        let mut trial = Trial::new(seed % 2 == 1);
        for _ in 0..120 {
            trial.act(&mut noise).await;
        }
        for at in 0..trial.readers.len() {
            if trial.readers[at].client.is_none() {
                trial.join(at).await;
            }
            trial.settle().await;
            trial.check(at, usize::MAX);
        }
        let histories = &trial.stage.endpoint.node.pubsub.histories;
        (recovered, missed) = (recovered + histories.recovered(), missed + histories.missed());
    }
    assert!(recovered > missed / 4 && missed > recovered / 20, "{recovered} {missed}: too few of one kind");
    assert!(Limit::HistoryCount.hits() > hits);
}

fn frame(text: &str) -> Value {
    serde_json::from_str(text).expect("a frame of JSON")
}

/// Joins as a client that asks for recovery, and returns the frames that come at once.
async fn join(stage: &Stage, since: Value) -> (Client, Vec<Value>) {
    let mut client = stage.connect();
    client.send(&json!(["1", "1", TOPIC, "phx_join", { "name": "ada", "since": since }]).to_string());
    tokio::time::sleep(Duration::from_millis(1)).await;
    let frames = client.now().iter().map(|text| frame(text)).collect();
    (client, frames)
}

/// Closes a connection, and waits until its member has ended.
async fn close(client: Client) {
    client.close();
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn say(stage: &Stage, event: &'static str, id: u64) {
    let (topic, payload, except) = (Topic::new(TOPIC), payload(id), Except::Nobody);
    let broadcast = Broadcast { topic, event: event.into(), payload, except, droppable: None, number: None };
    stage.endpoint.node.pubsub.broadcast(broadcast);
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_handle_out_for_a_missed_broadcast_is_told_and_ends_no_member() {
    let failing = |_: Passing| -> CallFuture<'static, Vec<Decision>> {
        Box::pin(async { Err(Fault::new(FaultKind::Trap, "asked to")) })
    };
    let stage = Stage::new([Part { on_passing: Arc::new(failing), ..room(&Log::default()) }]);
    let (client, frames) = join(&stage, json!({ "client": "c" })).await;
    let epoch = frames[1][4]["epoch"].clone();
    close(client).await;
    for (event, id) in [("plain", 1), ("filtered", 2), ("plain", 3)] {
        say(&stage, event, id);
    }
    let (mut client, frames) = join(&stage, json!({ "client": "c", "epoch": epoch, "n": 2 })).await;
    let told = json!(["1", null, TOPIC, "history", { "epoch": epoch, "n": 5, "recovered": false }]);
    assert_eq!(frames[1..], [json!([null, "h3", TOPIC, "plain", { "id": 1 }]), told]);
    assert_eq!(stage.endpoint.node.fault_count(), 1);
    say(&stage, "plain", 4);
    assert_eq!(frame(&client.next().await), json!([null, "h7", TOPIC, "plain", { "id": 4 }]), "it is still a member");
}

#[tokio::test(start_paused = true)]
async fn only_a_route_with_a_history_numbers_broadcasts() {
    let log = Log::default();
    let stage = Stage::new([Part { options: &[], ..room(&log) }]);
    let (mut client, frames) = join(&stage, json!({ "client": "c" })).await;
    assert_eq!(frames.len(), 1, "only the reply");
    say(&stage, "plain", 1);
    assert_eq!(client.now(), [r#"[null,null,"room:a","plain",{"id":1}]"#]);
    assert_eq!(stage.endpoint.node.pubsub.histories.topics(), 0);

    // A build adds the option: clients that haven't asked for recovery get no numbers.
    stage.publish([room(&log)]);
    let (mut asking, frames) = join(&stage, json!({ "client": "c" })).await;
    let epoch = frames[1][4]["epoch"].clone();
    assert_eq!(frames[1], json!(["1", null, TOPIC, "history", { "epoch": epoch, "n": 0 }]));
    drop(client.now());
    say(&stage, "plain", 2);
    assert_eq!(client.now(), [r#"[null,null,"room:a","plain",{"id":2}]"#]);
    assert_eq!(asking.now(), [r#"[null,"h2","room:a","plain",{"id":2}]"#]);

    // A build takes it away, and another one brings it back: what was broadcast meanwhile can't be recovered.
    stage.publish([Part { options: &[], ..room(&log) }]);
    say(&stage, "plain", 3);
    assert_eq!(asking.now(), [r#"[null,null,"room:a","plain",{"id":3}]"#]);
    stage.publish([room(&log)]);
    say(&stage, "plain", 4);
    let frames: Vec<_> = asking.now().iter().map(|text| frame(text)).collect();
    assert_ne!(frames[0][4]["epoch"], epoch);
    assert_eq!((&frames[0][4]["n"], &frames[1][1]), (&json!(2), &json!("h3")), "no number is used twice");
    assert_eq!(client.now().len(), 2, "the others get the two broadcasts alone");
    let (_again, frames) = join(&stage, json!({ "client": "c", "epoch": epoch, "n": 1 })).await;
    assert_eq!(frames[1][4]["recovered"], json!(false));
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_outbox_would_be_more_than_half_full_is_told_that_it_has_missed_something() {
    let mut stage = Stage::new([Part { options: &[("history-count", "1000")], ..room(&Log::default()) }]);
    let (client, frames) = join(&stage, json!({ "client": "c" })).await;
    let epoch = frames[1][4]["epoch"].clone();
    close(client).await;
    (0..20).for_each(|id| say(&stage, "plain", id));
    for (frames_max, recovered) in [(30, false), (60, true)] {
        stage.endpoint.outbox_limits.frames = frames_max;
        let (client, frames) = join(&stage, json!({ "client": "c", "epoch": epoch, "n": 2 })).await;
        let position = frames.iter().find(|frame| frame[3] == "history").expect("a position");
        assert_eq!(position[4]["recovered"], json!(recovered));
        assert_eq!(frames.len(), if recovered { 22 } else { 2 });
        close(client).await;
    }
}

#[tokio::test(start_paused = true)]
async fn broadcasts_that_are_dropped_because_too_many_wait_are_told_as_missed() {
    let go = Arc::new(Notify::new());
    let waiting = Arc::clone(&go);
    let on_passing = move |passing: Passing| -> CallFuture<'static, Vec<Decision>> {
        let go = Arc::clone(&waiting);
        Box::pin(async move {
            go.notified().await;
            Ok(vec![Decision::Pass; passing.recipients.len()])
        })
    };
    let options = &[("history-count", "5000")];
    let mut stage = Stage::new([Part { options, on_passing: Arc::new(on_passing), ..room(&Log::default()) }]);
    stage.endpoint.outbox_limits.frames = 10_000;
    let (mut client, frames) = join(&stage, json!({ "client": "c" })).await;
    let epoch = frames[1][4]["epoch"].clone();
    client.now();
    say(&stage, "filtered", 0);
    tokio::time::sleep(Duration::from_millis(1)).await;
    (1..=2_000).for_each(|id| say(&stage, "plain", id));
    go.notify_one();
    let mut got = Vec::new();
    loop {
        let frame = frame(&client.next().await);
        if frame[3] == "history" {
            assert_eq!((&frame[4]["recovered"], &frame[4]["n"]), (&json!(false), &json!(2_002)));
            assert_ne!(frame[4]["epoch"], epoch);
            break;
        }
        got.push(frame[4]["id"].as_u64().expect("an id"));
    }
    assert!(got.len() < 1_500 && got.iter().copied().eq(0..got.len() as u64), "{got:?}");
    // Who lost the connection before it was told is told at its next join.
    let (_again, frames) = join(&stage, json!({ "client": "c", "epoch": epoch, "n": got.len() })).await;
    assert_eq!(frames[1][4]["recovered"], json!(false));
}

#[tokio::test(start_paused = true)]
async fn bytes_have_a_number_before_them() {
    let stage = Stage::new([room(&Log::default())]);
    let (mut client, frames) = join(&stage, json!({ "client": "c" })).await;
    let epoch = frames[1][4]["epoch"].clone();
    let (topic, payload) = (Topic::new(TOPIC), Payload::Binary(vec![7].into()));
    let (event, except) = ("plain".into(), Except::Nobody);
    stage.endpoint.node.pubsub.broadcast(Broadcast { topic, event, payload, except, droppable: None, number: None });
    let live = client.now();
    assert_eq!(frame(&live[0]), json!([null, null, TOPIC, "history", { "next": 2 }]));
    close(client).await;
    let (_again, frames) = join(&stage, json!({ "client": "c", "epoch": epoch, "n": 1 })).await;
    assert_eq!((frames[1].to_string(), frames[2].to_string()), (live[0].clone(), live[1].replace(' ', "")));
    assert_eq!((frames.len(), &frames[3][4]["recovered"]), (4, &json!(true)));
}
