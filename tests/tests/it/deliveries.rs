//! Deliveries on a real host, to servers of the test: signatures, retries, order, servers that hang, kills, commands, the API.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bennu_tests::{
    Delivered, JSON, Reaction, Receiver, Setup, TestHost, bennu, eventually, exported, get, request_with, within,
};
use hmac::{Hmac, KeyInit, Mac};
use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::limit_counts::stop_after_hits;

/// The topic whose callbacks deliver.
const TOPIC: &str = "naughty:1";

/// The bytes of the two secrets.
const SECRETS: [[u8; 32]; 2] = [[7; 32], [9; 32]];

/// A host with `naughty`, which may deliver to these receivers. The first one gets signatures.
fn setup(receivers: &[&Receiver], limits: &str) -> Result<Setup> {
    let grants: Vec<_> = receivers.iter().map(|receiver| format!("\"{}\"", receiver.url("/*"))).collect();
    let signed = receivers.first().context("a receiver")?.url("");
    let config = format!(
        "[limits]\n{limits}\n[plugins.naughty]\nhttp = [{}]\n[plugins.naughty.http_signing]\n\
         \"{signed}\" = [{{ env = \"TEST_SECRET_1\" }}, {{ env = \"TEST_SECRET_2\" }}]\n",
        grants.join(", ")
    );
    let [first, second] = SECRETS.map(|secret| format!("whsec_{}", STANDARD.encode(secret)));
    let setup = Setup::new().guests(&["naughty"])?.config(&config);
    Ok(setup.variable("TEST_SECRET_1", &first).variable("TEST_SECRET_2", &second))
}

/// Delivers by a topic message. Returns whether that was acknowledged.
async fn deliver(address: SocketAddr, payload: Value) -> Result<bool> {
    let body = json!({ "topic": TOPIC, "event": "deliver", "payload": payload }).to_string();
    let answer = request_with(address, "POST", "/api/send", JSON, body.as_bytes()).await?;
    Ok(answer.status == 200 && answer.json()?["reply"]["status"] == "ok")
}

async fn delivered(host: &TestHost, payload: Value) -> Result<()> {
    ensure!(deliver(host.address(), payload).await?, "it wasn't acknowledged");
    Ok(())
}

/// Waits until the host has no deliveries.
async fn await_done(host: &TestHost) -> Result<Value> {
    // A result is counted after the row has changed, and before the attempt ends.
    let is_done = |shown: &Value| shown["deliveries"]["all"] == 0 && shown["deliveries"]["sending"] == 0;
    host.shows("all deliveries are done", is_done).await
}

/// The deliveries, by the command.
fn deliveries(host: &TestHost, arguments: &[&str]) -> Result<Value> {
    let address = host.address().to_string();
    let ended = bennu(host.home(), &[&["deliveries", "--json"], arguments, &["--host", &address]].concat())?;
    serde_json::from_str(&ended.output).with_context(|| format!("{ended:?}"))
}

/// The signature that Standard Webhooks defines.
fn signature(delivered: &Delivered, secret: &[u8]) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret)?;
    let head = format!("{}.{}.", delivered.header("webhook-id"), delivered.header("webhook-timestamp"));
    mac.update(head.as_bytes());
    mac.update(&delivered.body);
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[tokio::test]
async fn a_delivery_is_signed_and_sent_until_it_is_accepted() -> Result<()> {
    let react = |_: &Delivered, count| match count {
        1 => Reaction::Answer(503, "retry-after: 2\r\n"),
        2 => Reaction::Close,
        _ => Reaction::Answer(202, ""),
    };
    let receiver = Receiver::with(react).await?;
    let other = Receiver::open().await?;
    let host = setup(&[&receiver, &other], "")?.start().await?;
    let headers = json!([["content-type", "text/plain"]]);
    delivered(&host, json!({ "url": receiver.url("/hook?a=b"), "body": "é", "headers": headers })).await?;
    let all = receiver.has_received(3).await?;
    let shown = await_done(&host).await?["deliveries"].clone();
    ensure!(shown["accepted"] == 1 && shown["failed"] == 2 && shown["given_up"] == 0, "{shown}");
    let first = &all[0];
    ensure!(first.path == "/hook?a=b" && first.text() == "é" && first.header("content-type") == "text/plain");
    ensure!(first.header("webhook-id").len() == 20, "{first:?}");
    for attempt in &all {
        let expected = [signature(attempt, &SECRETS[0])?, signature(attempt, &SECRETS[1])?].join(" ");
        ensure!(attempt.header("webhook-signature") == expected, "{attempt:?}");
        ensure!(attempt.header("webhook-id") == first.header("webhook-id"), "{attempt:?}");
        let seconds: u64 = attempt.header("webhook-timestamp").parse()?;
        ensure!(seconds.abs_diff(bennu::contract::system_now_ms() / 1000) < 300, "{attempt:?}");
    }
    // `retry-after` asks for more than the host's own delay of about 1 s.
    ensure!(all[1].at - first.at >= Duration::from_millis(1990), "{:?}", all[1].at - first.at);
    // Without a secret there is no signature.
    delivered(&host, json!({ "url": other.url("/") })).await?;
    let unsigned = other.has_received(1).await?.remove(0);
    ensure!(unsigned.header("webhook-id").len() == 20 && unsigned.header("webhook-signature").is_empty());
    ensure!(!host.log().tail(1000).contains("whsec_"), "a secret is in the log");
    host.stop().await?;
    Ok(())
}

/// 410 ends a delivery. A callback that fails delivers nothing.
#[tokio::test]
async fn what_is_refused_or_not_committed_is_not_sent_again() -> Result<()> {
    let receiver = Receiver::with(|_, _| Reaction::Answer(410, "")).await?;
    let host = setup(&[&receiver], "")?.start().await?;
    let mut client = host.connect().await?;
    client.join(TOPIC, &json!({})).await?;
    client.push(TOPIC, "deliver_then_fail", &json!({ "url": receiver.url("/"), "body": "never" })).await?;
    ensure!(client.json().await?[3] == "phx_error");
    delivered(&host, json!({ "url": receiver.url("/"), "body": "gone" })).await?;
    receiver.has_received(1).await?;
    let shown = await_done(&host).await?["deliveries"].clone();
    ensure!(shown["refused"] == 1 && shown["failed"] == 0, "{shown}");
    ensure!(receiver.bodies() == ["gone"], "{:?}", receiver.bodies());
    host.log().find(0, "the warning", |line| line.text.contains("was refused by its receiver (410)")).await?;
    host.stop().await?;
    Ok(())
}

/// A topic is told of deliveries that were refused or given up, if it has asked for that, and of no others.
#[tokio::test]
async fn a_topic_is_told_of_deliveries_that_failed() -> Result<()> {
    let receiver = Receiver::with(|delivered, _| match &*delivered.path {
        "/refused" => Reaction::Answer(410, ""),
        "/bad" => Reaction::Answer(500, ""),
        "/closed" => Reaction::Close,
        _ => Reaction::Answer(200, ""),
    })
    .await?;
    let host = setup(&[&receiver], "")?.start().await?;
    let mut client = host.connect().await?;
    client.join(TOPIC, &json!({})).await?;
    for (path, expires_ms, status, reason) in [
        ("/refused", 60_000, json!(410), "status 410"),
        ("/bad", 1, json!(500), "status 500"),
        ("/closed", 1, json!(null), "broken: "),
    ] {
        let url = receiver.url(path);
        let wanted = json!({ "url": url, "expires_ms": expires_ms, "on_failure": "undelivered" });
        delivered(&host, wanted).await?;
        let told = client.json().await?;
        let payload = &told[4];
        ensure!(told[3] == "undelivered" && payload["url"] == url && payload["status"] == status, "{told}");
        ensure!(payload["reason"].as_str().is_some_and(|text| text.starts_with(reason)), "{told}");
    }
    // Nothing is told of one that was accepted, or of one that hasn't asked for it.
    delivered(&host, json!({ "url": receiver.url("/"), "on_failure": "undelivered" })).await?;
    delivered(&host, json!({ "url": receiver.url("/refused") })).await?;
    let shown = host.shows("all are done", |shown| shown["deliveries"]["all"] == 2).await?;
    ensure!(shown["deliveries"]["refused"] == 2 && shown["jobs"]["all"] == 0, "{shown}");
    client.push(TOPIC, "echo", &json!("last")).await?;
    ensure!(client.json().await?[3] == "phx_reply");
    let mark = host.log().len();
    ensure!(!deliver(host.address(), json!({ "url": receiver.url("/"), "on_failure": "x".repeat(256) })).await?);
    host.log().find(mark, "the fault", |line| line.text.contains("the event of a delivery's failure")).await?;
    host.stop().await?;
    Ok(())
}

/// What a topic is still to be told is tried again, is in exports, and can be dropped.
#[tokio::test]
async fn the_failure_of_a_delivery_waits_until_its_topic_can_be_told() -> Result<()> {
    let receiver = Receiver::with(|_, _| Reaction::Answer(410, "")).await?;
    let host = setup(&[&receiver], "")?.start().await?;
    for key in ["kept", "dropped"] {
        delivered(&host, json!({ "url": receiver.url("/"), "body": key, "on_failure": "fail" })).await?;
    }
    host.shows("both have failed once", |shown| shown["jobs"]["all"] == 2).await?;
    let address = host.address().to_string();
    let run = |arguments: &[&str]| {
        let all = [&["schedules", "--undelivered"], arguments, &["--host", &address]].concat();
        bennu(host.home(), &all)
    };
    let listed = eventually("both wait for another try", async || {
        let listed: Value = serde_json::from_str(&run(&["--json"])?.output)?;
        let all = listed.as_array().context("a list")?;
        Ok(all.iter().all(|one| one["failures"].as_u64() > Some(0)).then(|| listed.clone()))
    })
    .await?;
    ensure!(listed[0]["topic"] == TOPIC && listed[0]["event"] == "fail", "{listed}");
    let key = listed[1]["key"].as_str().context("a key")?.to_owned();
    let ended = run(&["drop", "naughty", TOPIC, &key])?;
    ensure!(ended.code == Some(0), "{ended:?}");
    let cron = json!({ "kind": "cron", "plugin": "naughty", "topic": TOPIC, "key": "k" });
    let answer = host.post("/api/schedules/drop", &cron).await?;
    ensure!(answer.status == 400, "{answer:?}");
    let home = host.keep_home();
    host.stop().await?;
    let store = |arguments: &[&str]| bennu(home.path(), &[&["store"], arguments].concat());
    let exported = store(&["export"])?.output;
    ensure!(exported.matches(r#""undelivered":""#).count() == 1, "{exported}");
    std::fs::write(home.path().join("backup.jsonl"), &exported)?;
    ensure!(store(&["import", "--replace", "backup.jsonl"])?.code == Some(0));
    ensure!(store(&["export"])?.output == exported, "an import changes an export");
    Ok(())
}

/// The host is killed again and again. Each committed delivery was refused, and its topic has written that once.
#[tokio::test]
async fn a_topic_is_told_once_of_each_failure_although_the_host_is_killed() -> Result<()> {
    let kills = bennu_test_tiers::rounds("deliveries::failure_kill") as u64;
    let receiver = Receiver::with(|_, _| Reaction::Answer(410, "")).await?;
    let mut host = setup(&[&receiver], "")?.start().await?;
    let mut told = 0;
    for kill in 0.. {
        // On a slow machine, a host may be killed before its first answer. So there are more rounds then.
        if kill >= kills && told > kills {
            break;
        }
        let (address, url) = (host.address(), receiver.url(&format!("/{kill}/")));
        let writer = tokio::spawn(async move {
            for number in 0_u64.. {
                let url = format!("{url}{number}");
                let wanted = json!({ "url": url, "body": url, "on_failure": "undelivered" });
                if !matches!(within("a delivery", deliver(address, wanted)).await, Ok(Ok(true))) {
                    return number + 1;
                }
            }
            0
        });
        // The moments differ in each round, and also depend on the scheduling of the processes.
        tokio::time::sleep(Duration::from_micros(5_000 + (7919 * kill) % 150_000)).await;
        host = host.restart(Signal::KILL).await?;
        let asked = writer.await?;
        host.shows("all topics are told", |shown| shown["deliveries"]["all"] == 0 && shown["jobs"]["all"] == 0).await?;
        let mut client = host.connect().await?;
        client.join("naughty:9", &json!({})).await?;
        for number in 0..asked {
            let url = receiver.url(&format!("/{kill}/{number}"));
            let mut read = async |key: String| client.call("naughty:9", "store_get", &json!({ "key": key })).await;
            let was_committed = read(format!("delivered:{url}")).await? == true;
            let times = read(format!("undelivered:{url}")).await?;
            ensure!(times == if was_committed { json!(1) } else { json!(null) }, "{url}: {times}, after kill {kill}");
            told += u64::from(was_committed);
        }
    }
    host.stop().await?;
    Ok(())
}

/// Deliveries with one order are sent one after the other. A server that hangs holds only those.
#[tokio::test]
async fn order_is_kept_and_a_server_that_hangs_holds_no_other() -> Result<()> {
    let ordered = Receiver::with(|delivered, count| match (&*delivered.path, count) {
        ("/1", 1) => Reaction::Answer(500, ""),
        _ => Reaction::Answer(200, ""),
    })
    .await?;
    let hanging = Receiver::with(|_, _| Reaction::Hang).await?;
    let host = setup(&[&ordered, &hanging], "")?.start().await?;
    delivered(&host, json!({ "url": hanging.url("/"), "body": "x", "times": 200 })).await?;
    for number in 1..=4 {
        let payload = json!({ "url": ordered.url(&format!("/{number}")), "body": number.to_string(), "order": "k" });
        delivered(&host, payload).await?;
    }
    // One without an order key overtakes them.
    delivered(&host, json!({ "url": ordered.url("/free"), "body": "free" })).await?;
    ordered.has_received(6).await?;
    let bodies = ordered.bodies();
    let in_order: Vec<_> = bodies.iter().filter(|body| *body != "free").collect();
    ensure!(in_order == ["1", "1", "2", "3", "4"], "{bodies:?}");
    ensure!(bodies.iter().position(|body| body == "free") < Some(5), "{bodies:?}");
    host.shows("the others wait", |shown| shown["deliveries"]["all"] == 200 && shown["deliveries"]["sending"] == 4)
        .await?;
    ensure!(hanging.received().len() == 4, "at most four at once");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_delivered_is_kept_shown_retried_and_dropped() -> Result<()> {
    let mut receiver = Receiver::with(|delivered, _| match &*delivered.path {
        "/bad" => Reaction::Answer(500, ""),
        _ => Reaction::Answer(200, ""),
    })
    .await?;
    let host = setup(&[&receiver], "")?.start().await?;
    receiver.go_down();
    for path in ["/good", "/bad", "/drop"] {
        delivered(&host, json!({ "url": receiver.url(path), "expires_ms": 1, "order": path })).await?;
    }
    let shown = host.shows("all are given up", |shown| shown["deliveries"]["given_up"] == 3).await?;
    ensure!(shown["deliveries"]["all"] == 3, "{}", shown["deliveries"]);
    let shown = deliveries(&host, &["--failed", "--plugin", "naughty"])?;
    let first = &shown[0];
    ensure!(first["url"] == receiver.url("/good") && first["state"] == "given-up" && first["order"] == "/good");
    ensure!(first["topic"] == TOPIC && first["failures"] == 1 && first["next_ms"].is_null(), "{first}");
    ensure!(first["failure"].as_str().is_some_and(|text| text.starts_with("unreachable: ")), "{first}");
    host.log().find(0, "the error", |line| line.text.contains("`bennu deliveries` shows it")).await?;
    let page = get(host.address(), "/api/deliveries?limit=1").await?.json()?;
    ensure!(page["deliveries"][0]["url"] == receiver.url("/good") && page["next"].is_string(), "{page}");
    let id = shown[2]["id"].as_str().context("an id")?.to_owned();
    let run = |arguments: &[&str]| {
        let address = host.address().to_string();
        bennu(host.home(), &[&["deliveries"], arguments, &["--host", &address]].concat())
    };
    let ended = run(&["drop", "naughty", &id])?;
    ensure!(ended.code == Some(0) && ended.output.is_empty(), "{ended:?}");
    let ended = run(&["drop", "naughty", &id])?;
    ensure!(ended.code != Some(0) && ended.errors.contains("there is no such delivery"), "{ended:?}");
    receiver.come_up().await?;
    let ended = run(&["retry", "naughty"])?;
    ensure!(ended.code == Some(0) && ended.output.trim() == "2", "{ended:?}");
    host.shows("one is accepted, and one is given up again", |shown| {
        let shown = &shown["deliveries"];
        shown["all"] == 1 && shown["accepted"] == 1 && shown["given_up"] == 1
    })
    .await?;
    let paths: Vec<_> = receiver.received().into_iter().map(|delivered| delivered.path).collect();
    ensure!(paths.contains(&"/good".to_owned()) && !paths.contains(&"/drop".to_owned()), "{paths:?}");
    host.stop().await?;
    Ok(())
}

/// All attempts of a delivery continue the trace of the client, with one id of its own.
#[tokio::test]
async fn a_delivery_continues_the_trace_of_the_client() -> Result<()> {
    const START: &str = "00-0af7651916cd43dd8448eb211c80319c-";
    let receiver = Receiver::with(|delivered, count| match (&*delivered.path, count) {
        ("/twice", 1) => Reaction::Answer(503, ""),
        _ => Reaction::Answer(204, ""),
    })
    .await?;
    let host = setup(&[&receiver], "")?.start().await?;
    let parent = format!("{START}b7ad6b7169203331-01");
    let mut client = host.connect_request().header("traceparent", &parent).connect().await?;
    client.join(TOPIC, &json!({})).await?;
    client.call(TOPIC, "deliver", &json!({ "url": receiver.url("/twice") })).await?;
    let attempts = receiver.has_received(2).await?;
    let [first, second] = [&attempts[0], &attempts[1]].map(|attempt| attempt.header("traceparent"));
    ensure!(first == second && first.starts_with(START) && first.ends_with("-01"), "{first} {second}");
    ensure!(first != parent, "it has an id of its own");
    // The plugin's own header stays, and a callback without a client has no trace.
    let own = json!({ "url": receiver.url("/own"), "headers": [["traceparent", "own"]] });
    client.call(TOPIC, "deliver", &own).await?;
    let received = receiver.has_received(3).await?;
    ensure!(received[2].header("traceparent") == "own", "{received:?}");
    delivered(&host, json!({ "url": receiver.url("/topic") })).await?;
    let received = receiver.has_received(4).await?;
    ensure!(received[3].header("traceparent").is_empty(), "{received:?}");
    drop(client);
    host.stop().await?;
    Ok(())
}

/// The grants are those of the time of the attempt.
#[tokio::test]
async fn a_delivery_whose_grant_is_gone_is_not_sent() -> Result<()> {
    let mut receiver = Receiver::open().await?;
    let host = setup(&[&receiver], "")?.start().await?;
    receiver.go_down();
    delivered(&host, json!({ "url": receiver.url("/"), "body": "kept" })).await?;
    let config = "[plugins.naughty]\nhttp = [\"https://elsewhere.example/*\"]\n";
    let replace = |host: &TestHost| Ok(std::fs::write(host.home().join("bennu.toml"), config)?);
    let host = host.restart_after(Signal::TERM, replace).await?;
    receiver.come_up().await?;
    eventually("it fails for its missing grant", async || {
        let shown = deliveries(&host, &[])?;
        let failure = shown[0]["failure"].as_str().unwrap_or_default().to_owned();
        Ok(failure.contains("add them to `plugins.naughty.http`").then_some(()))
    })
    .await?;
    ensure!(receiver.received().is_empty(), "{:?}", receiver.received());
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn deliveries_have_limits_of_their_own() -> Result<()> {
    let receiver = Receiver::with(|_, _| Reaction::Hang).await?;
    let host = setup(&[&receiver], "deliveries_per_plugin = 3\ndelivery_bytes_per_plugin = 4000")?.start().await?;
    let url = receiver.url("/");
    delivered(&host, json!({ "url": url, "times": 2 })).await?;
    for (payload, text) in [
        (json!({ "url": url, "times": 2 }), "at most 3 deliveries (`limits.deliveries_per_plugin = 3`)"),
        (json!({ "url": url, "headers": [["x", "x".repeat(4000)]] }), "at most 4000 bytes together"),
        (json!({ "url": "https://elsewhere.example/" }), "add them to `plugins.naughty.http`"),
        (json!({ "url": url, "headers": [["webhook-signature", "v1,x"]] }), "made by the host itself"),
    ] {
        let mark = host.log().len();
        ensure!(!deliver(host.address(), payload.clone()).await?, "{payload}");
        host.log().find(mark, "the fault", |line| line.text.contains(text)).await?;
    }
    delivered(&host, json!({ "url": url })).await?;
    ensure!(host.inspect().await?["deliveries"]["all"] == 3);
    stop_after_hits(host, &["deliveries_per_plugin", "delivery_bytes_per_plugin"]).await
}

#[tokio::test]
async fn exports_carry_deliveries() -> Result<()> {
    let receiver = Receiver::with(|_, _| Reaction::Hang).await?;
    let host = setup(&[&receiver], "")?.start().await?;
    delivered(&host, json!({ "url": receiver.url("/"), "body": "kept", "order": "k" })).await?;
    let home = host.keep_home();
    host.stop().await?;
    let exported = exported(home.path())?;
    ensure!(exported.contains(r#""delivery":""#), "{exported}");
    Ok(())
}

/// Host and receiver are killed again and again. Every delivery of a committed callback is received at least once, none of a callback
/// that wasn't committed, and those with one order in their order.
#[tokio::test]
async fn every_delivery_is_received_although_host_and_receiver_are_killed() -> Result<()> {
    let kills = bennu_test_tiers::rounds("deliveries::kill") as u64;
    let mut receiver = Receiver::open().await?;
    let mut host = setup(&[&receiver], "")?.start().await?;
    let (mut asked, mut acknowledged) = (0_u64, Vec::new());
    for kill in 0.. {
        // On a slow machine, a host may be killed before its first answer. So there are more rounds then.
        if kill >= kills && acknowledged.len() as u64 > kills {
            break;
        }
        let (first, address, url) = (asked, host.address(), receiver.url("/"));
        let writer = tokio::spawn(async move {
            let (mut asked, mut acknowledged) = (first, Vec::new());
            loop {
                let order = format!("order {}", asked % 3);
                let asking = deliver(address, json!({ "url": url, "body": format!("k{asked}"), "order": order }));
                asked += 1;
                match within("a delivery", asking).await {
                    Ok(Ok(true)) => acknowledged.push(asked - 1),
                    _ => return (asked, acknowledged),
                }
            }
        });
        // The moments differ in each round, and also depend on the scheduling of the processes.
        let pause = |salt: u64| Duration::from_micros(5_000 + (7919 * kill + salt) % 150_000);
        tokio::time::sleep(pause(0)).await;
        receiver.go_down();
        tokio::time::sleep(pause(50_000)).await;
        host = host.restart(Signal::KILL).await?;
        receiver.come_up().await?;
        let (all, those) = writer.await?;
        await_done(&host).await?;
        check_round(&host, &receiver, first..all, &those).await.with_context(|| format!("after kill {kill}"))?;
        (asked, acknowledged) = (all, [acknowledged, those].concat());
    }
    host.stop().await?;
    Ok(())
}

async fn check_round(
    host: &TestHost,
    receiver: &Receiver,
    asked: std::ops::Range<u64>,
    acknowledged: &[u64],
) -> Result<()> {
    let mut client = host.connect().await?;
    client.join("naughty:9", &json!({})).await?;
    let bodies = receiver.bodies();
    for number in asked.clone() {
        let key = json!({ "key": format!("delivered:k{number}") });
        let was_committed = client.call("naughty:9", "store_get", &key).await? == true;
        let times = bodies.iter().filter(|body| **body == format!("k{number}")).count();
        ensure!(was_committed == (times > 0), "k{number} was committed: {was_committed}, and received {times} times");
        ensure!(was_committed || !acknowledged.contains(&number), "k{number} was lost");
    }
    let number = |body: &String| body.trim_start_matches('k').parse::<u64>().unwrap_or_default();
    for order in 0..3 {
        let mut numbers: Vec<_> = bodies.iter().map(number).filter(|number| number % 3 == order).collect();
        // A receiver sees a delivery again if its answer was lost.
        numbers.dedup();
        ensure!(numbers.is_sorted(), "order {order}: {numbers:?}");
    }
    Ok(())
}
