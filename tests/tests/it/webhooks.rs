//! Webhooks of the configuration, and the code of docs/http.md and docs/web-application.md for web applications.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bennu_tests::{Delivered, Receiver, Setup, TestHost, bennu, eventually};
use serde_json::{Value, json};

use crate::documents;
use crate::limit_counts::stop_after_hits;

/// A host with `naughty`, whose topics are told to a receiver.
fn setup(receiver: &Receiver, further: &str) -> Result<Setup> {
    let config = format!(
        "[[webhooks]]\nurl = \"{}\"\ntopics = [\"naughty:*\"]\nsecrets = [{{ env = \"TEST_SECRET\" }}]\n{further}\n",
        receiver.url("/hook")
    );
    let secret = secret();
    Ok(Setup::new().guests(&["naughty"])?.config(&config).variable("TEST_SECRET", &secret))
}

fn secret() -> String {
    format!("whsec_{}", STANDARD.encode([3; 32]))
}

fn content(delivered: &Delivered) -> Result<Value> {
    serde_json::from_slice(&delivered.body).with_context(|| format!("{delivered:?}"))
}

async fn told(receiver: &Receiver, count: usize) -> Result<Vec<(String, Value)>> {
    let received = receiver.has_received(count).await?;
    let read = |delivered: &Delivered| {
        let content = content(delivered)?;
        ensure!(content["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{content}");
        Ok((content["type"].as_str().unwrap_or_default().to_owned(), content["data"].clone()))
    };
    received.iter().map(read).collect()
}

async fn say(host: &TestHost, topic: &str) -> Result<u64> {
    let mut client = host.connect().await?;
    let member = client.join(topic, &json!({})).await?["member"].as_u64().context("a member")?;
    client.push(topic, "broadcast", &json!({ "event": "said", "payload": { "n": 1 } })).await?;
    // The broadcast, and the reply.
    for _ in 0..2 {
        client.json().await?;
    }
    Ok(member)
}

#[tokio::test]
async fn a_webhook_gets_the_events_of_its_topics() -> Result<()> {
    let mut receiver = Receiver::open().await?;
    let host = setup(&receiver, "")?.start().await?;
    ensure!(told(&receiver, 1).await? == [("start".to_owned(), json!({}))]);
    // While the receiver is down, and the host is restarted, nothing is lost.
    receiver.go_down();
    let member = say(&host, "naughty:1").await?;
    host.shows("the events are stored", |shown| shown["deliveries"]["all"].as_u64() >= Some(3)).await?;
    let host = host.restart(rustix::process::Signal::KILL).await?;
    receiver.come_up().await?;
    let is_start = |(kind, _): &(String, Value)| kind == "start";
    let all = eventually("the second start is told", async || {
        let all = told(&receiver, 4).await?;
        Ok((all.iter().filter(|event| is_start(event)).count() == 2).then_some(all))
    });
    let all = all.await?;
    let of_topic: Vec<_> = all.iter().filter(|(_, data)| data["topic"] == "naughty:1").collect();
    let kinds: Vec<_> = of_topic.iter().map(|(kind, _)| kind.as_str()).collect();
    ensure!(kinds.starts_with(&["join", "broadcast"]), "{all:?}");
    ensure!(of_topic[1].1["event"] == "said" && of_topic[1].1["payload"] == json!({ "n": 1 }), "{all:?}");
    ensure!(of_topic[0].1["member"] == member && of_topic[0].1["user"].is_null(), "{all:?}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_webhook_gets_only_the_events_that_it_wants() -> Result<()> {
    let receiver = Receiver::open().await?;
    let host = setup(&receiver, "events = [\"broadcast\"]")?.start().await?;
    say(&host, "naughty:1").await?;
    let all = told(&receiver, 2).await?;
    let kinds: Vec<_> = all.iter().map(|(kind, _)| kind.as_str()).collect();
    ensure!(kinds.contains(&"broadcast") && !kinds.contains(&"join"), "{all:?}");
    host.stop().await?;
    Ok(())
}

/// Broadcasts by the API: one event, or a list.
async fn broadcast(host: &TestHost, body: &Value) -> Result<()> {
    let answer = host.post("/api/broadcast", body).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_webhook_gets_members_presences_bytes_and_the_lengths_of_large_payloads() -> Result<()> {
    let receiver = Receiver::open().await?;
    let config = format!("[[webhooks]]\nurl = \"{}\"\ntopics = [\"room:*\"]\n", receiver.url("/hook"));
    let host = Setup::new().guests(&["chat"])?.config(&config).start().await?;
    let mut alice = host.connect().await?;
    alice.join("room:lobby", &json!({ "user": "alice" })).await?;
    broadcast(&host, &json!({ "topic": "room:lobby", "event": "bytes", "payload_base64": "AAH/" })).await?;
    let large = json!({ "text": "x".repeat(256 << 10) });
    broadcast(&host, &json!({ "topic": "room:lobby", "event": "large", "payload": large })).await?;
    alice.close().await?;
    let all = eventually("all events are received", async || {
        let all = told(&receiver, 1).await?;
        let is_end =
            |(kind, data): &(String, Value)| kind == "presence" && data["payload"]["leaves"]["alice"].is_object();
        Ok((all.iter().any(is_end) && all.iter().any(|(kind, _)| kind == "leave")).then_some(all))
    });
    let all = all.await?;
    let of = |wanted: &str| all.iter().filter(|(kind, _)| kind == wanted).map(|(_, data)| data).collect::<Vec<_>>();
    let (joins, leaves, presences) = (of("join"), of("leave"), of("presence"));
    ensure!(joins.len() == 1 && joins[0]["topic"] == "room:lobby" && joins[0]["member"].is_u64(), "{all:?}");
    ensure!(leaves == joins, "{all:?}");
    ensure!(presences[0]["payload"]["joins"]["alice"].is_object() && presences[0]["event"].is_null(), "{all:?}");
    let broadcasts = of("broadcast");
    let sent =
        |event: &str| broadcasts.iter().copied().find(|data| data["event"] == event).cloned().unwrap_or_default();
    ensure!(sent("bytes") == json!({ "topic": "room:lobby", "event": "bytes", "payload_base64": "AAH/" }), "{all:?}");
    let length = large.to_string().len();
    ensure!(sent("large") == json!({ "topic": "room:lobby", "event": "large", "payload_bytes": length }), "{all:?}");
    stop_after_hits(host, &["webhook_payload"]).await
}

/// The least limits that a host with webhooks allows.
#[tokio::test]
async fn a_webhook_gets_the_largest_payloads_also_if_it_may_have_few_deliveries_and_bytes() -> Result<()> {
    let receiver = Receiver::open().await?;
    let setup = setup(&receiver, "")?.limit("deliveries_per_plugin", 1).limit("delivery_bytes_per_plugin", 1 << 20);
    let host = setup.start().await?;
    let payload = STANDARD.encode(vec![7; 256 << 10]);
    broadcast(&host, &json!({ "topic": "naughty:1", "event": "large", "payload_base64": payload })).await?;
    broadcast(&host, &json!({ "topic": "naughty:1", "event": "small", "payload": {} })).await?;
    // The first one is the start.
    let all = told(&receiver, 3).await?;
    ensure!(all[1].1["payload_base64"] == payload, "{:?}", all[1].1["payload_bytes"]);
    ensure!(all[2].1["payload"] == json!({}), "{:?}", all[2]);
    host.stop().await?;
    Ok(())
}

/// The deliveries of a webhook have a limit, which may be smaller than a batch. While it is reached, the log of events keeps 16 MiB, and
/// the webhook is told that it has missed the rest.
#[tokio::test]
async fn a_webhook_that_was_too_slow_is_told_that_it_has_missed_events() -> Result<()> {
    const DELIVERIES: u64 = 20;
    let mut receiver = Receiver::open().await?;
    receiver.go_down();
    let host = setup(&receiver, "")?.limit("deliveries_per_plugin", DELIVERIES).start().await?;
    let event = |name: &str, payload: Value| json!({ "topic": "naughty:1", "event": name, "payload": payload });
    let small: Vec<_> = (0..2 * DELIVERIES).map(|n| event("small", json!({ "n": n }))).collect();
    broadcast(&host, &json!({ "messages": small })).await?;
    host.log().find(0, "the limit is reached", |line| line.text.contains("can't be stored, and wait")).await?;
    for _ in 0..40 {
        broadcast(&host, &event("large", json!({ "text": "x".repeat(500_000) }))).await?;
    }
    receiver.come_up().await?;
    // The deliveries of a topic are sent in their order, so the last event comes after all others.
    broadcast(&host, &event("last", json!({}))).await?;
    let all = eventually("the last event is received", async || {
        let all = told(&receiver, 1).await?;
        Ok(all.iter().any(|(_, data)| data["event"] == "last").then_some(all))
    });
    let all = all.await?;
    let place = |wanted: &dyn Fn(&(String, Value)) -> bool| all.iter().position(wanted);
    let missed = place(&|(kind, data)| kind == "missed" && *data == json!({}));
    ensure!(missed.is_some(), "20 MB were kept for a slow webhook");
    ensure!(place(&|(_, data)| data["payload"]["n"] == 0) < missed, "the first events were stored before");
    host.log().find(0, "the warning", |line| line.text.contains("so it has missed events")).await?;
    stop_after_hits(host, &["deliveries_per_plugin"]).await
}

#[test]
fn a_configuration_has_at_most_16_webhooks_with_different_urls() -> Result<()> {
    let table = |n: usize| format!("[[webhooks]]\nurl = \"https://a.example/{n}\"\ntopics = [\"a\"]\n");
    let home = tempfile::tempdir()?;
    let check = |tables: String, says: &str| -> Result<()> {
        fs::write(home.path().join("bennu.toml"), format!("load = [\".\"]\n{tables}"))?;
        let ended = bennu(home.path(), &["serve", "--check", "--config", "bennu.toml"])?;
        // There is no plugin, so it ends with 1 in any case.
        ensure!(ended.code == Some(1) && (ended.output.clone() + &ended.errors).contains(says), "{ended:?}");
        Ok(())
    };
    check((0..16).map(table).collect(), "there is no plugin in .")?;
    check((0..17).map(table).collect(), "`webhooks` has 17 tables; at most 16 are allowed")?;
    check(table(1) + &table(2) + &table(1), "`webhooks`, table 3: an earlier table has the same `url`")
}

/// The code block of a page in a language, which has a function.
fn block(document: &str, language: &str, function: &str) -> Result<String> {
    let (page, start) = (documents::read(document)?, format!("```{language}\n"));
    let mut blocks = page.split(&start).skip(1).filter_map(|rest| rest.split("```").next());
    let found = blocks.find(|block| block.contains(&format!("{function}("))).map(str::to_owned);
    found.with_context(|| format!("docs/{document} has no `{function}` in {language}"))
}

/// Runs a program, and returns what it prints.
fn run(home: &Path, program: &str, file: &str, text: &str) -> Result<String> {
    fs::write(home.join(file), text)?;
    let output = Command::new(program).arg(file).current_dir(home).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("starting {program}"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The receivers of the guide accept what a host sends, and nothing else.
#[tokio::test]
async fn the_receivers_of_the_guide_verify_signatures() -> Result<()> {
    let receiver = Receiver::open().await?;
    let host = setup(&receiver, "")?.start().await?;
    let webhook = receiver.has_received(1).await?.remove(0);
    host.stop().await?;
    let (headers, body) = (serde_json::to_string(&webhook.headers)?, serde_json::to_string(&webhook.text())?);
    let (home, secret) = (tempfile::tempdir()?, serde_json::to_string(&secret())?);
    let node = format!(
        "{}\nconst [headers, body, secret] = [{headers}, {body}, {secret}];\n\
         console.log(verified(headers, body, secret) === body, verified(headers, body + \" \", secret), \
         verified(headers, body, secret, Date.now() / 1000 + 301), verified({{}}, body, secret));\n",
        block("http.md", "js", "verified")?
    );
    ensure!(run(home.path(), "node", "receiver.mjs", &node)? == "true null null null\n");
    let python = format!(
        "{}\nheaders, body, secret = {headers}, {body}.encode(), {secret}\n\
         print(verified(headers, body, secret) == body, verified(headers, body + b\" \", secret), \
         verified(headers, body, secret, time.time() + 301), verified({{}}, body, secret))\n",
        block("http.md", "python", "verified")?
    );
    ensure!(run(home.path(), "python3", "receiver.py", &python)? == "True None None None\n");
    Ok(())
}

/// The tokens and the messages of the guide work with a host. A message that is sent again is handled once.
#[tokio::test]
async fn the_code_of_the_guide_signs_tokens_and_sends_each_message_once() -> Result<()> {
    let secret = "a secret of at least thirty-two bytes";
    let config = "[mounts.\"/socket\".jwt]\nsecret = { env = \"JWT_SECRET\" }\n";
    let host = Setup::new().guests(&["naughty"])?.config(config).variable("JWT_SECRET", secret).start().await?;
    let (home, bennu, key) = (tempfile::tempdir()?, format!("http://{}", host.address()), host.api_key()?);
    let node = format!(
        "{}\n{}\nconsole.log(tokenFor(\"ada\", \"{secret}\"));\n\
         const send = async (event, payload, once) => console.log(JSON.stringify(\
         await tell(\"naughty:1\", event, payload, {{ bennu: \"{bennu}\", key: \"{key}\", once }})));\n",
        block("web-application.md", "js", "tokenFor")?,
        block("web-application.md", "js", "tell")?
    );
    let python = format!(
        "{}\n{}\nprint(token_for(\"ada\", \"{secret}\"))\n\
         def send(event, payload, once):\n    \
         print(json.dumps(tell(\"naughty:1\", event, payload, \"{bennu}\", \"{key}\", once)))\n",
        block("web-application.md", "python", "token_for")?,
        block("web-application.md", "python", "tell")?
    );
    for (program, wait, file, text) in [("node", "await ", "page.mjs", node), ("python3", "", "page.py", python)] {
        // The program asks the host meanwhile, which is another process. The second message is sent twice.
        let calls = [("echo", "[1]", 1), ("count", "COUNTER", 2), ("count", "COUNTER", 2), ("count", "COUNTER", 3)];
        let counter = format!("{{\"key\": \"{program}\"}}");
        let call = |(event, payload, once): &(&str, &str, u8)| {
            format!("{wait}send(\"{event}\", {}, \"{program}-{once}\")\n", payload.replace("COUNTER", &counter))
        };
        let printed = run(home.path(), program, file, &(text + &calls.iter().map(call).collect::<String>()))?;
        let (token, answers) = printed.trim().split_once('\n').with_context(|| printed.clone())?;
        let responses = answers.lines().map(|answer| Ok(serde_json::from_str::<Value>(answer)?["response"].clone()));
        let responses = responses.collect::<Result<Vec<_>>>()?;
        let counted = |count: u8| json!({ "count": count });
        ensure!(responses == [json!([1]), counted(1), counted(1), counted(2)], "{program}: {responses:?}");
        let mut client = host.connect_request().query(&format!("vsn=2.0.0&token={token}")).connect().await?;
        client.join("naughty:1", &json!({})).await?;
        let facts = client.call("naughty:1", "facts", &json!({})).await?;
        ensure!(facts["user"] == "ada", "{program}: {facts}");
    }
    ensure!(host.connect().await.is_err(), "a client without a token is let in");
    host.stop().await?;
    Ok(())
}
