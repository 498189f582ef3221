//! Which callbacks may wait for an answer, what a wait does to the time of a call, and what stays hidden.

use anyhow::{Context, Result, ensure};
use bennu::contract::system_now_ms;
use bennu_tests::{Setup, TestClient, TestHost, get, header};
use serde_json::{Value, json};

use super::backend::{Backend, SECRET};
use super::{TOPIC, join, sent};
use crate::limit_counts::stop_after_hits;

/// Asks in each callback.
const ASKS: &str = r#"import { channel, config, http, now, plugin, schedule, store } from "bennu";

const ask = (place) => http.get(`${config().url}/${place}`).text();
const asked = (place) => ({ place, answer: ask(place) });

export default plugin({ "asks:*": channel({
  room: {},
  join(_, socket) {
    socket.takeSeat("first", 60_000);
    return asked("join");
  },
  on: {
    at_once: () => asked("handle-in"),
    by_timer(_, socket) {
      socket.sendAfter(20, "timer");
      return {};
    },
    by_schedule(_, socket) {
      schedule.after(socket.topic, 0, "k", "due");
      return {};
    },
    by_tick(_, socket) {
      socket.tick(50);
      return {};
    },
    show(_, socket) {
      socket.broadcast("shown", {});
      return {};
    },
    keep({ key, ms }) {
      store.putExpiring(key, true, ms);
      return {};
    },
    kept({ key }) {
      ask("kept");
      return { kept: store.get(key) ?? null };
    },
  },
  info: { timer: (_, socket) => socket.push("asked", asked("handle-info")) },
  message: { ask: () => asked("handle-message") },
  topicInfo: { due: (_, topic) => topic.broadcast("asked", asked("handle-topic-info")) },
  seat(change, _name, topic) {
    if (change === "taken") topic.broadcast("asked", asked("handle-seat"));
  },
  tick(_, topic) {
    topic.tick(0);
    topic.broadcast("asked", asked("handle-tick"));
  },
  intercept: { shown: () => asked("handle-out") },
  leave: () => void asked("terminate"),
}) });
"#;

fn asking(backend: &Backend) -> Setup {
    let limits = "[limits]\nhttp_get_ms = 60_000\ncall_wall_ms = 60_000\n";
    let (url, grant) = (backend.url("/v1"), backend.url("/v1/*"));
    let config = format!("{limits}[plugins.asks]\nconfig = {{ url = \"{url}\" }}\nhttp = [\"{grant}\"]\n");
    Setup::new().file("plugins/asks.ts", ASKS.into()).config(&config)
}

/// Whether this is what a callback got as its answer. The backend answers with the number and the path of the request.
fn check(asked: &Value, place: &str) -> Result<()> {
    let is_answered = asked["answer"].as_str().is_some_and(|answer| answer.ends_with(&format!(" /v1/{place}")));
    ensure!(asked["place"] == place && is_answered, "{place}: {asked}");
    Ok(())
}

/// The tests of `a_gatekeeper_asks_the_applications_backend` have `connect`.
#[tokio::test]
async fn each_callback_that_may_wait_gets_its_answer_and_the_others_are_a_fault() -> Result<()> {
    let backend = Backend::open().await?;
    let host = asking(&backend).start().await?;
    let mut ada = host.connect().await?;
    check(&ada.join("asks:1", &json!({})).await?, "join")?;
    check(&ada.json().await?[4], "handle-seat")?;
    check(&ada.call("asks:1", "at_once", &json!({})).await?, "handle-in")?;
    for (event, place) in
        [("by_timer", "handle-info"), ("by_schedule", "handle-topic-info"), ("by_tick", "handle-tick")]
    {
        ada.call("asks:1", event, &json!({})).await?;
        check(&ada.json().await?[4], place)?;
    }
    let (status, answer) = sent(&host, &json!({ "topic": "asks:1", "event": "ask" })).await?;
    ensure!(status == 200);
    check(&answer, "handle-message")?;
    let answered = backend.requests().len();
    for (callback, ends) in [("handle_out", "show"), ("terminate", "phx_leave")] {
        let mark = host.log().len();
        let mut bob = host.connect().await?;
        let topic = format!("asks:{callback}");
        bob.join(&topic, &json!({})).await?;
        bob.push(&topic, ends, &json!({})).await?;
        let fault = host.log().find(mark, "the fault", |line| line.field("callback") == callback).await?;
        ensure!(fault.text.contains("can't wait for an answer"), "{}", fault.text);
    }
    let places: Vec<_> = backend.requests().into_iter().skip(answered).collect();
    let is_allowed = |head: &String| head.starts_with("GET /v1/join ") || head.starts_with("GET /v1/handle-seat ");
    ensure!(places.iter().all(is_allowed), "{places:?}");
    host.stop().await?;
    Ok(())
}

async fn call(client: &mut TestClient, event: &str, payload: &Value) -> Result<Value> {
    client.call("asks:1", event, payload).await
}

/// A key that expires while a call waits for an answer is still there for the call, because the call judges the time before it waits.
#[tokio::test]
async fn a_key_does_not_expire_because_its_call_waits() -> Result<()> {
    let backend = Backend::held().await?;
    let host = asking(&backend).start().await?;
    backend.answers.add_permits(1);
    let mut ada = host.connect().await?;
    ada.join("asks:1", &json!({})).await?;
    // The seat asks, too.
    backend.answers.add_permits(1);
    ada.json().await?;
    let mut ms = 500;
    loop {
        let began_ms = system_now_ms();
        call(&mut ada, "keep", &json!({ "key": format!("k{ms}"), "ms": ms })).await?;
        let stored_ms = system_now_ms();
        let asked = backend.requests().len();
        let reference = ada.push("asks:1", "kept", &json!({ "key": format!("k{ms}") })).await?;
        backend.has_got(asked + 1).await?;
        let has_begun_in_time = system_now_ms() < began_ms + ms;
        while system_now_ms() <= stored_ms + ms {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        backend.answers.add_permits(1);
        let kept = ada.reply("asks:1", &reference).await?.response;
        if has_begun_in_time {
            ensure!(kept == json!({ "kept": true }), "{kept}");
            break;
        }
        // The machine was too slow. Its next try has more time.
        ms *= 2;
    }
    let gone = ada.push("asks:1", "kept", &json!({ "key": format!("k{ms}") })).await?;
    backend.answers.add_permits(1);
    ensure!(ada.reply("asks:1", &gone).await?.response == json!({ "kept": null }), "a later call doesn't see it");
    host.stop().await?;
    Ok(())
}

/// Everything that an operator can read: the log, `inspect`, and the deliveries.
async fn readable(host: &TestHost) -> Result<String> {
    let log: Vec<String> = host.log().since(0).into_iter().map(|line| line.text).collect();
    let mut all = log.join("\n") + &host.inspect().await?.to_string();
    for path in ["/api/deliveries", "/api/schedules?kind=undelivered", "/api/plugins", "/metrics"] {
        let answer = get(host.address(), path).await?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        all += &answer.body;
    }
    Ok(all)
}

/// The header with a secret is in no text, whatever becomes of its request, also in the most detailed log.
#[tokio::test]
async fn a_secret_is_shown_nowhere() -> Result<()> {
    let backend = Backend::held().await?;
    let waiting = async |ms: u64| {
        let limits = format!("http_get_ms = {ms}\nhttp_delivery_ms = {ms}\ncall_wall_ms = 120000");
        backend.setup(&limits)?.arguments(&["--log", "trace"]).start().await
    };
    let delivery = |path: &str| json!({ "url": backend.url(path), "expires_ms": 1, "on_failure": "undelivered" });
    let hasty = waiting(300).await?;
    let mut bob = join(&hasty).await?;
    let slow = bob.call(TOPIC, "http_get", &json!({ "url": backend.url("/v1/slow") })).await?;
    ensure!(slow == json!({ "failure": "timeout" }), "{slow}");
    bob.call(TOPIC, "deliver", &delivery("/v1/slow")).await?;
    let told = bob.json().await?;
    ensure!(told[4]["reason"].as_str().is_some_and(|reason| reason.starts_with("timeout: ")), "{told}");
    is_given_up(&hasty).await?;
    drop(bob);
    stop_after_hits(hasty, &["http_get_ms", "http_delivery_ms"]).await?;
    // A slow machine needs time for the other outcomes.
    let host = waiting(60_000).await?;
    let mut ada = join(&host).await?;
    backend.answers.add_permits(10_000);
    let moved = ada.call(TOPIC, "http_get", &json!({ "url": backend.url("/v1/moved") })).await?;
    ensure!(moved == json!({ "failure": "redirect" }), "{moved}");
    ada.call(TOPIC, "deliver", &delivery("/v1/moved")).await?;
    let told = ada.json().await?;
    ensure!(told[4]["reason"] == "status 302", "{told}");
    let answered = ada.call(TOPIC, "http_get", &json!({ "url": backend.url("/v1/a") })).await?;
    ensure!(answered["status"] == 200, "{answered}");
    // A header that the configuration sets is a fault.
    let own = json!({ "url": backend.url("/v1/a"), "headers": [["x-api-key", "mine"]] });
    ada.push(TOPIC, "http_get", &own).await?;
    ensure!(ada.json().await?[3] == "phx_error");
    let requests = backend.requests();
    // Those that took too long may not have been sent.
    ensure!(
        (3..=5).contains(&requests.len()) && requests.iter().all(|head| header(head, "x-api-key") == Some(SECRET)),
        "{requests:?}"
    );
    host.log().find(0, "the fault", |line| line.text.contains("set by the configuration")).await?;
    is_given_up(&host).await?;
    drop(ada);
    host.stop().await?;
    Ok(())
}

/// Waits until the only delivery is given up. The secret must not be shown.
async fn is_given_up(host: &TestHost) -> Result<()> {
    let shown = host.shows("it is given up", |shown| shown["deliveries"]["given_up"] == 1).await?;
    ensure!(shown["deliveries"]["all"] == 1, "{shown}");
    ensure!(!readable(host).await?.contains(SECRET), "the secret is shown");
    Ok(())
}

/// A host that asks for a URL never uses a proxy: nobody listens at this one.
#[tokio::test]
async fn the_variables_for_proxies_are_ignored() -> Result<()> {
    let backend = Backend::open().await?;
    let mut setup = backend.setup("")?;
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        setup = setup.variable(name, "http://127.0.0.1:1");
    }
    let host = setup.start().await?;
    let mut ada = join(&host).await?;
    let got = ada.call(TOPIC, "http_get", &json!({ "url": backend.url("/v1/get") })).await?;
    ensure!(got == json!({ "status": 200, "body": "1 /v1/get" }), "{got}");
    ada.call(TOPIC, "http_send", &json!({ "url": backend.url("/v1/send"), "body": "x" })).await?;
    let answer = ada.json().await.context("an answer")?;
    ensure!(answer[4] == json!({ "status": 200, "body": "2 /v1/send" }), "{answer}");
    ada.call(TOPIC, "deliver", &json!({ "url": backend.url("/v1/deliver"), "body": "x" })).await?;
    host.shows("it is delivered", |shown| shown["deliveries"]["accepted"] == 1).await?;
    host.stop().await?;
    Ok(())
}
