//! Requests with an idempotency key, which take effect once, and requests with several messages.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Answer, Cast, TestHost, bennu, request_with, within};
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::metrics::scrape;

async fn post(address: SocketAddr, path: &str, key: &str, body: &Value) -> Result<Answer> {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    request_with(address, "POST", path, &headers, body.to_string().as_bytes()).await
}

/// Sends a message to `naughty:1` that adds one to a stored number.
fn count(key: &str) -> Value {
    json!({ "topic": "naughty:1", "event": "count", "payload": { "key": key } })
}

fn counted(count: u64) -> Value {
    json!({ "reply": { "status": "ok", "response": { "count": count } } })
}

/// An error's status and code.
fn refused(answer: &Answer) -> Result<(u16, String)> {
    let code = answer.json()?["error"]["code"].as_str().context("a code")?.to_owned();
    Ok((answer.status, code))
}

#[tokio::test]
async fn a_message_with_a_key_is_handled_once() -> Result<()> {
    let mut host = TestHost::start(&["naughty"]).await?;
    let send = async |host: &TestHost, key: &str, body: &Value| post(host.address(), "/api/send", key, body).await;
    for _ in 0..2 {
        let answer = send(&host, "one", &count("a")).await?;
        ensure!(answer.status == 200 && answer.json()? == counted(1), "{answer:?}");
    }
    ensure!(send(&host, "two", &count("a")).await?.json()? == counted(2), "another key");
    let other_topic = json!({ "topic": "naughty:2", "event": "count", "payload": { "key": "a" } });
    for body in [count("b"), other_topic] {
        let answer = send(&host, "one", &body).await?;
        ensure!(refused(&answer)? == (422, "key_reused".into()), "{answer:?}");
    }
    // Every reply is kept: an error, bytes, and none.
    for event in ["refuse", "bytes", "quiet"] {
        let body = json!({ "topic": "naughty:1", "event": event });
        let first = send(&host, event, &body).await?;
        ensure!(first.status == 200 && first.body == send(&host, event, &body).await?.body, "{event}: {first:?}");
    }
    // A message that fails isn't handled, so it is tried again.
    let crash = json!({ "topic": "naughty:1", "event": "crash" });
    for faults in 1..=2 {
        ensure!(refused(&send(&host, "crash", &crash).await?)?.0 == 502, "a fault");
        host.log().find(0, "the fault", |line| line.message().contains("handle_message")).await?;
        let inspected = request_with(host.address(), "GET", "/api/inspect", &[], b"").await?.json()?;
        ensure!(inspected["faults"] == faults, "{}", inspected["faults"]);
    }
    for key in ["", "a b", "é", "k".repeat(256).as_str()] {
        let answer = send(&host, key, &count("c")).await?;
        ensure!(answer.status == 400 && answer.body.contains("Idempotency-Key"), "{key}: {answer:?}");
    }
    let hits = scrape(&host).await?.sum("bennu_limit_hits_total", &[("limit", "idempotency_key")]);
    ensure!(hits == 4.0, "{hits} keys were refused");
    // The answers are stored.
    host = host.restart(Signal::KILL).await?;
    ensure!(send(&host, "one", &count("a")).await?.json()? == counted(1), "after a restart");
    let address = host.address().to_string();
    let sent = |key: &str| {
        let payload = r#"{"key": "d"}"#;
        bennu(host.home(), &["send", "naughty:1", "count", payload, "--idempotency-key", key, "--host", &address])
    };
    for (key, count) in [("x", 1), ("x", 1), ("y", 2)] {
        let ended = sent(key)?;
        ensure!(ended.output == format!("{{\"count\":{count}}}\n"), "{key}: {ended:?}");
    }
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_request_waits_for_the_one_with_its_key_that_is_under_way() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let slow = |topic: &str| json!({ "topic": topic, "event": "count", "payload": { "key": "a", "ms": 50 } });
    let same = join_all((0..8).map(|_| {
        let body = slow("naughty:1");
        let host = &host;
        async move { post(host.address(), "/api/send", "k", &body).await }
    }));
    for answer in same.await {
        ensure!(answer?.json()? == counted(1), "each gets the same answer");
    }
    // In two topics, the two requests run at the same time, and only one of them is committed.
    let (one, other) = (slow("naughty:2"), slow("naughty:3"));
    let (one, other) =
        tokio::join!(post(host.address(), "/api/send", "o", &one), post(host.address(), "/api/send", "o", &other));
    let mut statuses = [one?.status, other?.status];
    statuses.sort_unstable();
    ensure!(statuses == [200, 422], "{statuses:?}");
    ensure!(post(host.address(), "/api/send", "n", &count("a")).await?.json()? == counted(3), "two were counted");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn several_messages_are_sent_at_once_in_the_order_of_each_topic() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join naughty:1\nalice < ok …").await?;
    let shout = |topic: &str, n: u64| json!({ "topic": topic, "event": "shout", "payload": { "n": n } });
    let body = json!({ "messages": [
        shout("naughty:1", 1), count("a"), shout("naughty:2", 9), shout("naughty:1", 2),
        { "topic": "nowhere", "event": "e" }, { "topic": "naughty:1", "event": "crash" }, count("a"),
    ]});
    let none = json!({ "reply": null });
    for round in 0..2 {
        let answer = post(host.address(), "/api/send", "batch", &body).await?;
        let results = answer.json()?["results"].clone();
        ensure!(results[0] == none && results[2] == none && results[3] == none, "{answer:?}");
        ensure!(results[1] == counted(1) && results[6] == counted(2), "{answer:?}");
        let code = |at: usize| results[at]["error"]["code"].clone();
        ensure!(code(4) == "not_found" && code(5) == "fault", "{answer:?}");
        ensure!(results.as_array().map(Vec::len) == Some(7), "{answer:?}");
        if round == 0 {
            cast.play("alice < shout {\"n\": 1}\nalice < shout {\"n\": 2}").await?;
        }
    }
    cast.play("alice ~").await?;
    for (messages, says) in [
        (json!(vec![count("a"); 1001]), "at most 1000"),
        (json!([count("a"), { "topic": "", "event": "e" }]), "messages[1]: `topic`"),
        (json!([count("a"), { "topic": "t" }]), "messages[1]"),
        (json!([{ "topic": "t", "event": "e", "except": 1 }]), "is only for broadcasts"),
    ] {
        let answer = post(host.address(), "/api/send", "other", &json!({ "messages": messages })).await?;
        ensure!(answer.status == 400 && answer.body.contains(says), "{says}: {answer:?}");
    }
    ensure!(post(host.address(), "/api/send", "next", &count("a")).await?.json()? == counted(3), "nothing was sent");
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_broadcast_with_a_key_is_sent_once() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join naughty:1\nalice < ok {\"member\": 1}").await?;
    let news = |n: u64| json!({ "topic": "naughty:1", "event": "news", "payload": { "n": n } });
    for _ in 0..2 {
        let answer = post(host.address(), "/api/broadcast", "k", &news(1)).await?;
        ensure!(answer.json()? == json!({ "accepted": 1, "receivers": 1 }), "{answer:?}");
    }
    cast.play("alice < news {\"n\": 1}\nalice ~").await?;
    let reused = post(host.address(), "/api/broadcast", "k", &news(2)).await?;
    ensure!(refused(&reused)? == (422, "key_reused".into()), "{reused:?}");
    // Each call has keys of its own.
    let push = json!({ "topic": "naughty:1", "member": 1, "event": "news" });
    for path in ["/api/push", "/api/push", "/api/send-member", "/api/send-member"] {
        let answer = post(host.address(), path, "k", &push).await?;
        ensure!(answer.json()? == json!({ "members": 1 }), "{answer:?}");
    }
    cast.play("alice < news {}\nalice < addressed …\nalice ~").await?;
    // A request that failed is done by the next one.
    ensure!(post(host.address(), "/api/broadcast", "l", &json!({ "topic": "t" })).await?.status == 400, "no event");
    ensure!(post(host.address(), "/api/broadcast", "l", &news(3)).await?.status == 200, "a valid one");
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// A repetition waits for the answer that the first message gets after its callback, and later ones get it from the store.
#[tokio::test]
async fn a_later_answer_is_given_to_every_repetition() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let mut asked = host.connect().await?;
    asked.join("naughty:2", &json!({})).await?;
    let mut giver = host.connect().await?;
    giver.join("naughty:9", &json!({})).await?;
    let body = json!({ "topic": "naughty:2", "event": "wait_for_answer", "wait_ms": 60_000 });
    // The connection of the first request breaks while it waits.
    let mut first = tokio::net::TcpStream::connect(host.address()).await?;
    let (key, text) = (host.api_key()?, body.to_string());
    let head = format!(
        "POST /api/send HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         idempotency-key: k\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    first.write_all(head.as_bytes()).await?;
    ensure!(asked.json().await?[3] == "asked");
    drop(first);
    let address = host.address();
    let repeated: Vec<_> = (0..3)
        .map(|_| {
            let body = body.clone();
            tokio::spawn(async move { post(address, "/api/send", "k", &body).await })
        })
        .collect();
    let answered = json!({ "reply": { "status": "ok", "response": [1] } });
    giver.call("naughty:9", "give_answer", &json!({ "to": "naughty:2", "value": [1] })).await?;
    for answer in repeated {
        let answer = answer.await??;
        ensure!(answer.json()? == answered, "{answer:?}");
    }
    // The message was handled once.
    asked.quiet().await?;
    let host = host.restart(Signal::KILL).await?;
    let answer = post(host.address(), "/api/send", "k", &body).await?;
    ensure!(answer.json()? == answered, "after a restart: {answer:?}");
    let answer = post(host.address(), "/api/send", "k", &json!({ "topic": "naughty:2", "event": "e" })).await?;
    ensure!(refused(&answer)? == (422, "key_reused".into()), "{answer:?}");
    host.stop().await?;
    Ok(())
}

/// A sender that repeats each request until it is answered, while the host is killed again and again.
#[tokio::test]
async fn repeated_messages_are_handled_once_although_the_host_is_killed() -> Result<()> {
    let kills = bennu_test_tiers::rounds("idempotency::kill") as u64;
    let mut host = TestHost::start(&["naughty"]).await?;
    let mut sent = 0_u64;
    for kill in 0.. {
        // On a slow machine, a host may be killed before its first answer. So there are more rounds then.
        if kill >= kills && sent > kills {
            break;
        }
        let (first, address) = (sent, host.address());
        let sender = tokio::spawn(async move {
            let mut sent = first;
            while let Ok(Ok(answer)) =
                within("an answer", post(address, "/api/send", &sent.to_string(), &count("n"))).await
                && answer.status == 200
            {
                sent += 1;
            }
            sent
        });
        // The moment of the kill differs in each round, and also depends on the scheduling of the processes.
        tokio::time::sleep(Duration::from_micros(20_000 + 7919 * kill % 200_000)).await;
        host = host.restart(Signal::KILL).await?;
        sent = sender.await?;
        // The last request may have been handled, or not. Its repetition, and those of some before it, change nothing more.
        for request in sent.saturating_sub(3)..=sent {
            let answer = post(host.address(), "/api/send", &request.to_string(), &count("n")).await?;
            ensure!(answer.json()? == counted(request + 1), "after kill {kill}, request {request}: {answer:?}");
        }
        sent += 1;
    }
    host.stop().await?;
    Ok(())
}
