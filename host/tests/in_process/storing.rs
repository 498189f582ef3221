//! The guarantees while a call waits for its writes to be stored. The tests control how long the storage engine takes.

use std::sync::Arc;

use crate::support::{Client, Notes, Part, Stage, admitted, nothing, replied};
use bennu::channel::NodeLimits;
use bennu::contract::{Call, Callback, Effect, Outcome};
use bennu::protocol::Payload;
use bennu::store::{Engine, EngineFuture, Memory, Owner, QUOTA_BYTES, Snapshot, Store, StoreLimits, Writes};
use tokio::sync::Semaphore;

/// An engine in memory. Each batch of writes waits for a permit of the semaphore and uses it up.
struct Gated(Memory, Arc<Semaphore>);

impl Engine for Gated {
    fn snapshot(&mut self) -> EngineFuture<'_, Arc<dyn Snapshot>> {
        self.0.snapshot()
    }

    fn apply<'a>(&'a mut self, writes: &'a Writes) -> EngineFuture<'a, ()> {
        Box::pin(async move {
            if let Ok(permit) = self.1.acquire().await {
                permit.forget();
            }
            self.0.apply(writes).await
        })
    }
}

/// A stage whose store waits, and the semaphore that lets it continue.
struct Play {
    stage: Stage,
    notes: Notes,
    gate: Arc<Semaphore>,
    store: Store,
}

impl Play {
    async fn begin(options: &'static [(&'static str, &'static str)]) -> Self {
        // The first permit is for the store's own first batch.
        let (gate, notes) = (Arc::new(Semaphore::new(1)), Notes::default());
        let engine = Box::new(Gated(Memory::default(), Arc::clone(&gate)));
        let store = Store::over(engine, StoreLimits::default()).await.expect("a store");
        let (for_calls, of_calls) = (store.clone(), notes.clone());
        let part = Part::new("a", move |call| storing(call, for_calls.clone(), of_calls.clone()));
        let stage = Stage::over(store.clone(), [Part { options, ..part }], NodeLimits::default());
        Self { stage, notes, gate, store }
    }
}

async fn storing(call: Call, store: Store, notes: Notes) -> Result<Outcome, bennu::contract::Fault> {
    let mut draft = store.begin(&Owner::new("script", QUOTA_BYTES).expect("a name"));
    draft.put(b"key", call.member.id.to_string().into()).expect("a small value");
    let broadcast = |event: &'static str| Effect::BroadcastFrom { event: event.into(), payload: Payload::EMPTY };
    match call.callback {
        Callback::Join(params) if format!("{params:?}").contains("stored") => {
            let effects = vec![broadcast("came")];
            Ok(Outcome { assigns: Some("came".into()), draft: Some(Box::new(draft)), effects, ..admitted() })
        }
        Callback::Join(_) => Ok(admitted()),
        Callback::In { event, .. } if &*event == "count" => {
            notes.add("asked");
            let before = draft.get(b"count").await.expect("the key can be read");
            let count = before.and_then(|count| String::from_utf8_lossy(&count).parse::<u32>().ok()).unwrap_or(0) + 1;
            draft.put(b"count", count.to_string().into()).expect("a small value");
            let payload = Payload::Json(count.to_string().into());
            let effect = Effect::BroadcastFrom { event: "counted".into(), payload };
            Ok(Outcome { draft: Some(Box::new(draft)), effects: vec![effect], ..replied("{}") })
        }
        Callback::In { .. } => {
            notes.add("asked");
            let own = Effect::SendSelf { event: "own".into(), payload: Payload::EMPTY };
            let effects = vec![broadcast("wrote"), own];
            Ok(Outcome { assigns: Some("wrote".into()), draft: Some(Box::new(draft)), effects, ..replied("{}") })
        }
        Callback::Info(message) => {
            notes.add(&*message.event);
            Ok(nothing())
        }
        Callback::Terminate(ending) => {
            notes.add(format!("terminate {} with {}", ending.cause(), String::from_utf8_lossy(&call.assigns)));
            Ok(nothing())
        }
    }
}

/// The next frame's event.
async fn event(client: &mut Client) -> String {
    let frame = client.next().await;
    frame.split(',').nth(3).unwrap_or_default().trim_matches('"').to_owned()
}

#[tokio::test]
async fn the_write_of_a_member_that_is_replaced_while_it_waits_takes_effect_once() {
    for (options, end) in [(&[("room", "memory")][..], Some("terminate replaced with wrote")), (&[], None)] {
        let play = Play::begin(options).await;
        let (mut alice, mut bob) = (play.stage.connect(), play.stage.connect());
        alice.join("a").await;
        bob.join("a").await;
        alice.send(r#"["1","w","a","write",{}]"#);
        assert_eq!(alice.now(), [""; 0], "nothing is seen before it is stored");
        assert_eq!(bob.now(), [""; 0]);
        alice.send(r#"["2","2","a","phx_join",{}]"#);
        play.gate.add_permits(1);
        assert_eq!(event(&mut bob).await, "wrote");
        // The second join is answered and the first one is closed. The event of the first join gets no answer.
        assert!(alice.next().await.starts_with(r#"["2","2","a","phx_reply""#));
        assert_eq!(alice.next().await, r#"["1","1","a","phx_close",{}]"#);
        assert_eq!(play.notes.all().get(1).map(String::as_str), end, "its own message isn't delivered");
        assert_eq!((alice.now(), bob.now()), (vec![], vec![]));
    }
}

#[tokio::test]
async fn a_join_that_is_replaced_while_it_waits_takes_effect_and_then_ends() {
    let play = Play::begin(&[("room", "memory")]).await;
    let (mut alice, mut bob) = (play.stage.connect(), play.stage.connect());
    bob.join("a").await;
    alice.send(r#"["1","1","a","phx_join",{"stored":true}]"#);
    alice.send(r#"["2","2","a","phx_join",{}]"#);
    play.gate.add_permits(1);
    assert_eq!(event(&mut bob).await, "came");
    assert!(alice.next().await.starts_with(r#"["2","2","a","phx_reply""#));
    assert_eq!(alice.next().await, r#"["1","1","a","phx_close",{}]"#);
    assert_eq!(play.notes.all(), ["terminate closed with came"]);
    assert_eq!((alice.now(), bob.now()), (vec![], vec![]));
}

#[tokio::test]
async fn a_stop_stores_the_waiting_writes_and_later_writes_are_faults() {
    let play = Play::begin(&[]).await;
    let mut alice = play.stage.connect();
    alice.join("a").await;
    alice.send(r#"["1","w","a","write",{}]"#);
    let store = play.store.clone();
    let closing = tokio::spawn(async move { store.close().await });
    play.gate.add_permits(2);
    closing.await.expect("the store closes");
    assert_eq!(event(&mut alice).await, "phx_reply");
    alice.send(r#"["1","x","a","write",{}]"#);
    assert_eq!(event(&mut alice).await, "phx_error");
    // `terminate` has seen the committed state, without the changes that weren't committed.
    let ends: Vec<_> = play.notes.all().into_iter().filter(|note| note.starts_with("terminate")).collect();
    assert_eq!(ends, ["terminate fault with wrote"]);
}

#[tokio::test]
async fn a_call_with_a_conflict_is_retried_and_takes_effect_once() {
    const MEMBERS: usize = 5;
    let play = Play::begin(&[]).await;
    let mut bob = play.stage.connect();
    bob.join("a").await;
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        let mut member = play.stage.connect();
        member.join("a").await;
        members.push(member);
    }
    // All calls read before the first one commits.
    members.iter_mut().for_each(|member| member.send(r#"["1","c","a","count",{}]"#));
    play.gate.add_permits(MEMBERS);
    let mut counts = Vec::new();
    for _ in 0..MEMBERS {
        counts.push(bob.next().await);
    }
    counts.sort_unstable();
    let expected: Vec<_> = (1..=MEMBERS).map(|n| format!(r#"[null,null,"a","counted",{n}]"#)).collect();
    assert_eq!(counts, expected);
    for member in &mut members {
        while !member.next().await.contains("phx_reply") {}
    }
    assert_eq!(bob.now(), [""; 0]);
    assert!(play.notes.all().len() > MEMBERS, "no call had a conflict");
}
