//! Requests by HTTP that plugins ask for, on a real host, to servers of the test.

mod backend;
mod callbacks;
mod hostile;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Loading, Reaction, Receiver, Setup, TestClient, TestHost, TestProject, eventually, header};
use serde_json::{Value, json};

use backend::{Backend, SECRET};

use crate::documents;
use crate::limit_counts::stop_after_hits;
use crate::metrics::scrape;
use crate::projects::LIMITS;

const TOPIC: &str = "naughty:1";

async fn join(host: &TestHost) -> Result<TestClient> {
    let mut client = host.connect().await?;
    client.join(TOPIC, &json!({})).await?;
    Ok(client)
}

/// The counts of requests in `inspect`.
async fn counts(host: &TestHost) -> Result<Value> {
    Ok(host.inspect().await?["http"].clone())
}

#[tokio::test]
async fn a_callback_waits_for_an_answer() -> Result<()> {
    let backend = Backend::open().await?;
    let host = backend.setup("")?.start().await?;
    let mut ada = join(&host).await?;
    let answer = ada.call(TOPIC, "http_get", &json!({ "url": backend.url("/v1/a?b=c") })).await?;
    ensure!(answer == json!({ "status": 200, "body": "1 /v1/a?b=c" }), "{answer}");
    let head = backend.requests().remove(0);
    ensure!(head.starts_with("GET /v1/a?b=c HTTP/1.1\r\n"), "{head}");
    ensure!(header(&head, "x-api-key") == Some(SECRET), "{head}");
    // In a join, too. `callbacks.rs` has every callback.
    let mut bob = host.connect().await?;
    let asked = json!({ "http_get": { "url": backend.url("/v1/join") } });
    bob.join("naughty:2", &asked).await?;
    ensure!(bob.json().await?[4] == json!({ "status": 200, "body": "2 /v1/join" }));
    let shown = counts(&host).await?;
    ensure!(shown["answered"] == 2 && shown["under_way"] == 0 && shown["failed"]["timeout"] == 0, "{shown}");
    let whole = host.inspect().await?.to_string();
    ensure!(!whole.contains(SECRET) && !host.log().tail(1000).contains(SECRET), "the secret is shown");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn what_is_not_granted_is_a_fault_that_says_how_to_grant_it() -> Result<()> {
    let backend = Backend::open().await?;
    let host = backend.setup("")?.start().await?;
    let key = json!([["x-api-key", "mine"]]);
    let cases = [
        (json!({ "url": backend.url("/v2/a") }), "add them to `plugins.naughty.http`"),
        (json!({ "url": format!("http://localhost:{}/v1/a", backend.port) }), "aren't granted"),
        (json!({ "url": backend.url("/v1/../v2") }), "must not have `.` or `..`"),
        (json!({ "url": backend.url("/v1/a"), "method": "POST" }), "GET and HEAD"),
        (json!({ "url": backend.url("/v1/a"), "headers": key }), "set by the configuration"),
        (json!({ "url": backend.url("/v1/a"), "headers": [["host", "x"]] }), "made by the host"),
        (json!({ "url": backend.url("/v1/a"), "times": 9 }), "`limits.http_gets_per_call = 8`"),
    ];
    for (payload, text) in cases {
        let mut ada = join(&host).await?;
        let mark = host.log().len();
        ada.push(TOPIC, "http_get", &payload).await?;
        let frame = ada.json().await?;
        ensure!(frame[3] == "phx_error", "{payload}: {frame}");
        host.log().find(mark, "the fault", |line| line.text.contains(text)).await?;
    }
    ensure!(backend.requests().len() == 8, "only the last case may ask, 8 times: {:?}", backend.requests());
    stop_after_hits(host, &["http_gets_per_call"]).await
}

#[tokio::test]
async fn a_call_that_runs_again_gets_the_same_answer() -> Result<()> {
    let backend = Backend::held().await?;
    let host = backend.setup("")?.start().await?;
    let (mut ada, mut bob) = (join(&host).await?, join(&host).await?);
    let payload = json!({ "url": backend.url("/v1/a"), "key": "n" });
    let reference = ada.push(TOPIC, "http_count", &payload).await?;
    backend.has_got(1).await?;
    // The call has read the key, and waits. Meanwhile it is changed.
    bob.call(TOPIC, "store_put", &json!({ "key": "n", "value": 10 })).await?;
    backend.answers.add_permits(10);
    let reply = ada.reply(TOPIC, &reference).await?;
    ensure!(reply.response == json!({ "count": 11, "body": "1 /v1/a" }), "{reply:?}");
    ensure!(backend.requests().len() == 1, "{:?}", backend.requests());
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn only_a_quarter_of_the_instances_wait_and_others_go_on() -> Result<()> {
    let backend = Backend::held().await?;
    let host = backend.setup("instances_per_plugin = 4")?.start().await?;
    let (mut ada, mut bob) = (join(&host).await?, join(&host).await?);
    let payload = json!({ "url": backend.url("/v1/a") });
    let reference = ada.push(TOPIC, "http_get", &payload).await?;
    backend.has_got(1).await?;
    ensure!(bob.call(TOPIC, "http_get", &payload).await? == json!({ "failure": "busy" }));
    ensure!(bob.call(TOPIC, "echo", &json!({ "a": 1 })).await? == json!({ "a": 1 }));
    ensure!(counts(&host).await?["under_way"] == 1);
    backend.answers.add_permits(10);
    ensure!(ada.reply(TOPIC, &reference).await?.response["status"] == 200);
    ensure!(bob.call(TOPIC, "http_get", &payload).await?["status"] == 200);
    drop((ada, bob));
    stop_after_hits(host, &["http_waiting_calls"]).await
}

#[tokio::test]
async fn a_server_that_does_not_answer_or_redirects_elsewhere_is_a_failure() -> Result<()> {
    let backend = Backend::held().await?;
    let limited = backend.setup("http_get_ms = 200")?.start().await?;
    let mut bob = join(&limited).await?;
    let slow = bob.call(TOPIC, "http_get", &json!({ "url": backend.url("/v1/a") })).await?;
    ensure!(slow == json!({ "failure": "timeout" }), "{slow}");
    drop(bob);
    stop_after_hits(limited, &["http_get_ms"]).await?;
    // A slow machine needs time for the other failures.
    let limits = "http_received_bytes = 100\nhttp_get_ms = 60000\ncall_wall_ms = 120000";
    let host = backend.setup(limits)?.start().await?;
    let mut ada = join(&host).await?;
    let slow = ada.call(TOPIC, "http_get", &json!({ "url": backend.url("/v1/a"), "timeout_ms": 50 })).await?;
    ensure!(slow == json!({ "failure": "timeout" }), "{slow}");
    for limit in ["http_get_ms", "http_ms"] {
        let hits = scrape(&host).await?.sum("bennu_limit_hits_total", &[("limit", limit)]);
        ensure!(hits < 1.0, "the plugin has asked for less time than `{limit}`");
    }
    backend.answers.add_permits(10);
    let moved = ada.call(TOPIC, "http_get", &json!({ "url": backend.url("/v1/moved") })).await?;
    ensure!(moved == json!({ "failure": "redirect" }), "{moved}");
    let long = format!("/v1/{}", "x".repeat(100));
    let large = ada.call(TOPIC, "http_get", &json!({ "url": backend.url(&long) })).await?;
    ensure!(large == json!({ "failure": "too-large" }), "{large}");
    let shown = counts(&host).await?["failed"].clone();
    ensure!(shown["timeout"] == 1 && shown["redirect"] == 1 && shown["too-large"] == 1, "{shown}");
    drop(ada);
    stop_after_hits(host, &["http_received_bytes"]).await
}

#[tokio::test]
async fn a_request_that_is_an_effect_is_sent_once_after_the_commit() -> Result<()> {
    let backend = Backend::open().await?;
    let host = backend.setup("http_sent_bytes = 10")?.start().await?;
    let mut ada = join(&host).await?;
    ada.call(TOPIC, "http_send", &json!({ "url": backend.url("/v1/orders"), "body": "order 1" })).await?;
    let answer = ada.json().await?;
    ensure!(answer[3] == "http_answer" && answer[4] == json!({ "status": 200, "body": "1 /v1/orders" }), "{answer}");
    let request = backend.requests().remove(0);
    ensure!(request.starts_with("POST /v1/orders ") && request.ends_with("\r\n\r\norder 1"), "{request}");
    let id = header(&request, "idempotency-key").context("there is a key")?;
    ensure!(id.len() == 20 && header(&request, "x-api-key") == Some(SECRET), "{request}");
    // A fault sends nothing, and neither does a body that is too large.
    for event in ["http_send_then_fail", "http_send"] {
        let body = if event == "http_send" { "longer than 10" } else { "" };
        ada.push(TOPIC, event, &json!({ "url": backend.url("/v1/never"), "body": body })).await?;
        ensure!(ada.json().await?[3] == "phx_error");
        ada = join(&host).await?;
    }
    ada.call(TOPIC, "http_send", &json!({ "url": backend.url("/v1/last") })).await?;
    ada.json().await?;
    let paths: Vec<_> =
        backend.requests().iter().filter_map(|head| head.split(' ').nth(1).map(str::to_owned)).collect();
    ensure!(paths == ["/v1/orders", "/v1/last"], "{paths:?}");
    drop(ada);
    stop_after_hits(host, &["http_sent_bytes"]).await
}

/// A server that ends a connection without an answer has perhaps received the request. So it isn't sent again, although it only reads.
#[tokio::test]
async fn a_request_that_is_an_effect_and_gets_no_answer_is_not_sent_again() -> Result<()> {
    let receiver =
        Receiver::with(|_, count| if count == 1 { Reaction::Answer(200, "") } else { Reaction::Close }).await?;
    let config = format!("[plugins.naughty]\nhttp = [\"{}\"]\n", receiver.url("/*"));
    let host = Setup::new().guests(&["naughty"])?.config(&config).start().await?;
    let mut ada = join(&host).await?;
    for method in ["GET", "HEAD"] {
        // On a new connection, no client would send it again.
        eventually("the connection of the first request is used again", async || {
            let before = receiver.received().len();
            let url = receiver.url(&format!("/{before}"));
            ensure!(ada.call(TOPIC, "http_get", &json!({ "url": url })).await?["status"] == 200);
            ada.call(TOPIC, "http_send", &json!({ "url": url, "method": method })).await?;
            let answer = ada.json().await?;
            ensure!(answer[4] == json!({ "failure": "broken" }), "{method}: {answer}");
            let received = receiver.received();
            ensure!(received.len() == before + 2, "{method}: {received:?}");
            Ok((received[before].connection == received[before + 1].connection).then_some(()))
        })
        .await?;
    }
    drop(ada);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn past_the_limit_of_a_member_or_of_a_topic_a_request_is_busy() -> Result<()> {
    let backend = Backend::held().await?;
    let host = backend.setup("http_requests_per_member = 2\nhttp_requests_per_topic = 2")?.start().await?;
    let mut ada = join(&host).await?;
    let asked = json!({ "url": backend.url("/v1/a"), "times": 3 });
    ada.call(TOPIC, "http_send", &asked).await?;
    let busy = ada.json().await?;
    ensure!(busy[4] == json!({ "failure": "busy" }), "{busy}");
    let message = json!({ "topic": TOPIC, "event": "http_send", "payload": asked });
    ensure!(sent(&host, &message).await?.0 == 200);
    let busy = ada.json().await?;
    ensure!(busy[4] == json!({ "failure": "busy" }), "{busy}");
    backend.answers.add_permits(10);
    for _ in 0..4 {
        let answer = ada.json().await?;
        ensure!(answer[4]["status"] == 200, "{answer}");
    }
    // They no longer count.
    ensure!(sent(&host, &message).await?.0 == 200);
    let mut busy = 0;
    for _ in 0..3 {
        busy += usize::from(ada.json().await?[4] == json!({ "failure": "busy" }));
    }
    ensure!(busy == 1, "{busy} of three");
    drop(ada);
    stop_after_hits(host, &["http_requests_per_member", "http_requests_per_topic"]).await
}

/// A topic asks, and says what it has got.
const TELLS: &str = r#"
import { channel, config, http, plugin, store } from "bennu";

export default plugin({ "tell:*": channel({
  message: {
    ask(_, topic) {
      http.request("got", config().url, { json: { from: topic.topic } });
      return {};
    },
    got: (_, topic) => store.get(topic.topic) ?? null,
    fails() {
      http.request("got", config().url);
      throw new Error("asked to");
    },
  },
  topicInfo: {
    got({ status, body }, topic, { source, event }) {
      store.put(topic.topic, { status, body, source, event });
    },
  },
}) });
"#;

/// It needs no member, and the next build gets the answer as well.
#[tokio::test]
async fn a_topic_gets_the_answer_to_its_request() -> Result<()> {
    let backend = Backend::held().await?;
    let (url, grant) = (backend.url("/v1/a"), backend.url("/*"));
    let config = format!("[plugins.tell]\nconfig = {{ url = \"{url}\" }}\nhttp = [\"{grant}\"]\n");
    let host = Setup::new().file("plugins/tell.ts", TELLS.into()).config(&config).start().await?;
    ensure!(send(&host, "fails").await? == (502, Value::Null), "a callback that fails sends nothing");
    ensure!(send(&host, "ask").await? == (200, json!({})));
    backend.has_got(1).await?;
    ensure!(backend.requests()[0].ends_with(r#"{"from":"tell:a"}"#), "{:?}", backend.requests());
    ensure!(send(&host, "got").await? == (200, Value::Null));
    ensure!(host.put_file("tell.ts", format!("{TELLS}// again").as_bytes()).await? == Loading::Done(2));
    backend.answers.add_permits(1);
    let told = json!({ "status": 200, "body": "1 /v1/a", "source": "http", "event": "got" });
    eventually("the topic has got the answer", async || Ok((send(&host, "got").await?.1 == told).then_some(())))
        .await?;
    host.stop().await?;
    Ok(())
}

/// Sends to the topic `tell:a` by the API. Returns the status, and the response of the topic.
async fn send(host: &TestHost, event: &str) -> Result<(u16, Value)> {
    sent(host, &json!({ "topic": "tell:a", "event": event })).await
}

async fn sent(host: &TestHost, message: &Value) -> Result<(u16, Value)> {
    let answer = host.post("/api/send", message).await?;
    Ok((answer.status, answer.json()?["reply"]["response"].clone()))
}

#[tokio::test]
async fn past_the_limits_of_the_plugin_and_the_host_a_request_is_busy_and_a_slow_one_ends() -> Result<()> {
    for limit in ["http_at_once_per_plugin", "http_at_once"] {
        let backend = Backend::held().await?;
        let host = backend.setup(&format!("{limit} = 1\nhttp_ms = 300"))?.start().await?;
        let mut ada = join(&host).await?;
        ada.call(TOPIC, "http_send", &json!({ "url": backend.url("/v1/a"), "times": 2 })).await?;
        let (first, second) = (ada.json().await?, ada.json().await?);
        ensure!(first[4] == json!({ "failure": "busy" }), "{limit}: {first}");
        ensure!(second[4] == json!({ "failure": "timeout" }), "{limit}: {second}");
        drop(ada);
        stop_after_hits(host, &[limit, "http_ms"]).await?;
    }
    Ok(())
}

/// Further callbacks for the example of the guide.
const CALLBACKS: &str = r#"
    on: {
      status: (_, socket) => ({ status: socket.state.status }),
      fails(url) {
        try {
          http.get(url);
        } catch (failure) {
          return { kind: failure.kind };
        }
      },
      send(url, socket) {
        http.request("sent", url, { json: [1] });
        return {};
      },
    },
    info: { sent: ({ status, body }, socket) => socket.push("sent", { status, body }) },
"#;

/// The example of the guide, in TypeScript.
#[tokio::test]
async fn a_script_waits_for_an_answer() -> Result<()> {
    let backend = Backend::open().await?;
    let guide = documents::read("http.md")?;
    let (_, example) = documents::blocks(&guide).into_iter().find(|(name, _)| *name == "ts").context("an example")?;
    let example = example.replace("https://shop.example", &backend.url(""));
    let state = "state: { status: \"\" },";
    let example = example.replace(state, &format!("{state}\n{CALLBACKS}"));
    let config = format!("[plugins.orders]\nhttp = [\"{}\"]\n", backend.url("/*"));
    let host = Setup::new().file("plugins/orders.ts", example.into_bytes()).config(&config).start().await?;
    let mut ada = host.connect().await?;
    ada.join("order:7", &json!({})).await?;
    let state = ada.call("order:7", "status", &json!({})).await?;
    ensure!(state == json!({ "status": "paid" }), "{state}");
    let failed = ada.call("order:7", "fails", &json!(backend.url("/v1/moved"))).await?;
    ensure!(failed == json!({ "kind": "redirect" }), "{failed}");
    ada.call("order:7", "send", &json!(backend.url("/v1/sent"))).await?;
    let sent = ada.json().await?;
    ensure!(sent[4] == json!({ "status": 200, "body": "3 /v1/sent" }), "{sent}");
    ensure!(backend.requests()[2].ends_with("\r\n\r\n[1]"), "{:?}", backend.requests());
    host.stop().await?;
    Ok(())
}

/// During a probation, a call that fails runs again on the previous build.
#[tokio::test]
async fn the_previous_build_gets_the_answer_that_the_failed_build_has_got() -> Result<()> {
    let backend = Backend::open().await?;
    let script = |end: &str| {
        format!(
            "import {{ channel, http, plugin }} from \"bennu\";\n\
             const ask = (url) => {{ const body = http.get(url).text(); {end} }};\n\
             export default plugin({{ asks: channel({{ on: {{ ask }} }}) }});\n"
        )
    };
    let config = format!("[plugins.asks]\nhttp = [\"{}\"]\n", backend.url("/*"));
    let first = script("return { build: 1, body };").into_bytes();
    let host = Setup::new().file("plugins/asks.ts", first).config(&config).start().await?;
    let mut ada = host.connect().await?;
    ada.join("asks", &json!({})).await?;
    let url = json!(backend.url("/v1/a"));
    ensure!(ada.call("asks", "ask", &url).await? == json!({ "build": 1, "body": "1 /v1/a" }));
    let second = script("throw new Error(\"asked to\");").into_bytes();
    ensure!(host.put_file("asks.ts", &second).await? == Loading::Done(2));
    let answer = ada.call("asks", "ask", &url).await?;
    ensure!(answer == json!({ "build": 1, "body": "2 /v1/a" }), "{answer}");
    ensure!(backend.requests().len() == 2, "the answer of the failed build counts: {:?}", backend.requests());
    host.stop().await?;
    Ok(())
}

/// The example asks the application's backend who a client is, by its cookie.
#[tokio::test]
async fn a_gatekeeper_asks_the_applications_backend() -> Result<()> {
    let backend = Backend::open().await?;
    let session = backend.url("/session");
    let config = format!("[plugins.session-gate]\nconfig = {{ session = \"{session}\" }}\nhttp = [\"{session}\"]\n");
    let host = Setup::new().guests(&["naughty", "session-gate"])?.config(&config).start().await?;
    let mut ada = host.connect_request().header("cookie", "sid=ada").connect().await?;
    ada.join(TOPIC, &json!({})).await?;
    let facts = ada.call(TOPIC, "facts", &json!({})).await?;
    ensure!(facts["user"] == "ada" && facts["claims"]["role"] == "admin", "{facts}");
    for (cookie, status) in [("sid=eve", 403), ("sid=broken", 503)] {
        ensure!(host.connect_request().header("cookie", cookie).refused().await? == status, "{cookie}");
    }
    ensure!(backend.requests().len() == 3);
    host.stop().await?;
    Ok(())
}

const ASKING_GATE: &str = r#"import { config, gatekeeper, http, store } from "bennu";

export default gatekeeper(() => {
  const seen = store.get("seen") ?? null;
  const answer = http.get(config<{ url: string }>().url).text();
  return { user: answer, claims: { seen, after: store.get("seen") ?? null } };
});
"#;

const ASKING: &str = r#"import { channel, config, http, plugin, store } from "bennu";

const ask = () => http.get(config<{ url: string }>().url).text();

export default plugin({ "asks:*": channel({
  join: (_: unknown, socket) => ({ user: socket.user, answer: ask() }),
  on: {
    count() {
      const count = (store.get<number>("count") ?? 0) + 1, answers = [ask(), ask()];
      store.put("count", count);
      return { count, answers };
    },
  },
}) });
"#;

/// `bennu dev` runs each call on two instances. The second run gets the answers of the first one, so both do the same, and the
/// backend gets each request once.
#[tokio::test]
async fn a_call_that_is_run_twice_asks_once() -> Result<()> {
    let backend = Backend::open().await?;
    let plugin = |name: &str| {
        let (url, grant) = (backend.url(&format!("/{name}")), backend.url("/*"));
        format!("[plugins.{name}]\nconfig = {{ url = \"{url}\" }}\nhttp = [\"{grant}\"]\n")
    };
    let config = format!("load = [\"plugins\"]\n{LIMITS}\n{}{}", plugin("gate"), plugin("asks"));
    let files = [("bennu.toml", &*config), ("plugins/gate.ts", ASKING_GATE), ("plugins/asks.ts", ASKING)];
    let project = TestProject::new(&files)?;
    let host = project.dev(&[]).await?;
    for name in ["gate: generation 1 in ", "asks: generation 1 in "] {
        host.log().find(0, name, |line| line.text.contains(name)).await?;
    }
    let mut client = host.connect().await?;
    let joined = client.join("asks:1", &json!({})).await?;
    ensure!(joined == json!({ "user": "1 /gate", "answer": "2 /asks" }), "{joined}");
    let counted = client.call("asks:1", "count", &json!({})).await?;
    ensure!(counted == json!({ "count": 1, "answers": ["3 /asks", "4 /asks"] }), "{counted}");
    let requests = backend.requests();
    ensure!(requests.len() == 4, "{requests:?}");
    client.close().await
}

/// A request continues the trace of the client, and a fault names it in the log.
#[tokio::test]
async fn the_trace_of_a_client_is_in_its_requests_and_in_the_log() -> Result<()> {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let backend = Backend::open().await?;
    let host = backend.setup("")?.start().await?;
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let by_header = host.connect_request().header("traceparent", &parent).connect().await?;
    let by_parameter = host.connect_request().query(&format!("vsn=2.0.0&traceparent={parent}")).connect().await?;
    let mut spans = Vec::new();
    // Each has a topic of its own, so that none is told of the end of another.
    for (topic, mut client) in [("naughty:header", by_header), ("naughty:parameter", by_parameter)] {
        client.join(topic, &json!({})).await?;
        client.call(topic, "http_get", &json!({ "url": backend.url("/v1/a") })).await?;
        let head = backend.requests().pop().context("a request")?;
        let sent = header(&head, "traceparent").context("a traceparent")?.to_owned();
        let span = sent.strip_prefix(&format!("00-{TRACE}-")).and_then(|rest| rest.strip_suffix("-01"));
        spans.push(span.with_context(|| sent.clone())?.to_owned());
        let mark = host.log().len();
        client.push(topic, "panic", &json!({})).await?;
        let fault = host.log().find(mark, "the fault", |line| line.field("kind") == "trap").await?;
        ensure!(fault.field("trace_id") == TRACE, "{}", fault.text);
    }
    ensure!(spans[0] != spans[1] && !spans.contains(&"b7ad6b7169203331".to_owned()), "a span of its own: {spans:?}");
    // Without a trace, and with one that isn't valid, nothing is added.
    let (without, invalid) = (host.connect_request(), host.connect_request().header("traceparent", "00-1-2-3"));
    for (topic, request) in [("naughty:without", without), ("naughty:invalid", invalid)] {
        let mut client = request.connect().await?;
        client.join(topic, &json!({})).await?;
        client.call(topic, "http_get", &json!({ "url": backend.url("/v1/a") })).await?;
        let head = backend.requests().pop().context("a request")?;
        ensure!(header(&head, "traceparent").is_none(), "{head}");
    }
    host.stop().await?;
    Ok(())
}
