//! What a new process takes over.

use std::fs;

use anyhow::{Result, bail, ensure};
use bennu_tests::{ConnectRequest, Received, Setup, TestClient, eventually, places};
use serde_json::{Value, json};

use super::{ask, join, join_answer, reply, start, until_closed, upgraded};

#[tokio::test]
async fn rooms_seats_ticks_entries_and_published_states_are_carried_over() -> Result<()> {
    let mut host = start().await?;
    let address = host.address();
    let mut alice = join(address, "table:1", &json!({ "user": "alice", "grace": 0, "ticks": 20 })).await?;
    let bob = join(address, "table:1", &json!({ "user": "bob", "grace": 60_000 })).await?;
    bob.close().await?;
    let carol = join(address, "alone:1", &json!({ "user": "carol" })).await?;
    ensure!(ask(&mut alice, "table:1", "add", &json!({ "n": 5 })).await? == json!({ "sum": 5 }));
    let before = eventually("bob's seat is kept, and there were ticks", async || {
        let room = ask(&mut alice, "table:1", "show", &json!({})).await?;
        let is_kept = room["seats"] == json!(["taken alice", "taken bob", "dropped bob"]);
        Ok((is_kept && room["tick"].as_u64() > Some(3)).then_some(room))
    })
    .await?;

    let closed = [until_closed(alice), until_closed(carol)];
    upgraded(&mut host).await?;
    for closed in closed {
        let code = closed.await??;
        ensure!(code == Some(1012), "{code:?}");
    }
    let mut alice = ConnectRequest::to(address).connect().await?;
    let reference = alice.push("table:1", "phx_join", &json!({ "user": "alice", "grace": 0 })).await?;
    ensure!(reply(&mut alice, &reference).await? == json!({ "sum": 5 }));
    let published = eventually("the published state comes", async || {
        let frame = alice.json().await?;
        Ok((frame[3] == "room_state").then_some(frame))
    });
    ensure!(published.await?[4]["state"] == json!({ "sum": 5 }));
    let room = eventually("the seat's changes are told, and there are more ticks", async || {
        let room = ask(&mut alice, "table:1", "show", &json!({})).await?;
        let seats = json!(["taken alice", "taken bob", "dropped bob", "dropped alice", "returned alice"]);
        Ok((room["seats"] == seats && room["tick"].as_u64() > before["tick"].as_u64()).then_some(room))
    })
    .await?;
    ensure!(room["left"] == json!(["closed bob", "shutdown alice"]), "{room}");
    ensure!(room["entries"] == json!([["by:alice", 5]]), "{room}");
    // Without a room, the end of a member and the join of another one are in different queues.
    eventually("carol's end is told", async || {
        let told = join_answer(address, "alone:1", &json!({ "user": "dave" })).await?;
        Ok(told["left"].as_str().is_some_and(|left| left.contains("shutdown carol;")).then_some(()))
    })
    .await?;

    // The new process can be replaced, too.
    let closed = until_closed(alice);
    upgraded(&mut host).await?;
    closed.await??;
    let told = join_answer(address, "table:1", &json!({ "user": "erin", "grace": 0 })).await?;
    ensure!(told == json!({ "sum": 5 }), "{told}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_client_gets_what_it_missed_from_the_new_process() -> Result<()> {
    let mut host = start().await?;
    let address = host.address();
    let mut reader = ConnectRequest::to(address).connect().await?;
    let reference = reader.push("news:1", "phx_join", &json!({ "since": { "client": "reader" } })).await?;
    reply(&mut reader, &reference).await?;
    let position = position(&mut reader).await?;
    reader.close().await?;
    let mut writer = join(address, "news:1", &json!({})).await?;
    for n in 0..3 {
        ask(&mut writer, "news:1", "say", &json!({ "n": n })).await?;
    }
    let closed = until_closed(writer);
    upgraded(&mut host).await?;
    closed.await??;
    let mut reader = ConnectRequest::to(address).connect().await?;
    let since = json!({ "client": "reader", "epoch": position["epoch"], "n": position["n"] });
    let reference = reader.push("news:1", "phx_join", &json!({ "since": since })).await?;
    reply(&mut reader, &reference).await?;
    for n in 0..3 {
        let said = eventually("a missed broadcast comes", async || {
            let frame = reader.json().await?;
            Ok((frame[3] == "said").then_some(frame))
        })
        .await?;
        ensure!(said[4]["n"] == n, "{said}");
    }
    host.stop().await?;
    Ok(())
}

/// The client's place in the history, which comes after its join.
pub(super) async fn position(client: &mut TestClient) -> Result<Value> {
    loop {
        let frame = client.json().await?;
        if frame[3] == "history" {
            return Ok(frame[4].clone());
        }
    }
}

#[tokio::test]
async fn a_turn_that_has_begun_is_answered_by_the_old_process_and_kept_by_the_new_one() -> Result<()> {
    let mut host = start().await?;
    let mut alice = join(host.address(), "table:1", &json!({ "user": "alice", "grace": 0 })).await?;
    let reference = alice.push("table:1", "wait", &json!({})).await?;
    let answered = tokio::spawn(async move {
        let (frames, code) = alice.until_closed().await?;
        let is_it = |frame: &&Received| matches!(frame, Received::Json(frame) if frame[1] == reference.as_str());
        Ok::<_, anyhow::Error>((frames.iter().find(is_it).cloned(), code))
    });
    upgraded(&mut host).await?;
    let (answer, code) = answered.await??;
    let Some(Received::Json(answer)) = answer else { bail!("there is no reply: {code:?}") };
    ensure!(answer[4]["response"] == json!({ "sum": 1 }) && code == Some(1012), "{answer} {code:?}");
    let told = join_answer(host.address(), "table:1", &json!({ "user": "bob", "grace": 0 })).await?;
    ensure!(told == json!({ "sum": 1 }), "{told}");
    host.stop().await?;
    Ok(())
}

/// The new process has another build of the plugin than the old one, which never sees it.
#[tokio::test]
async fn states_are_upgraded_if_the_new_process_has_another_build() -> Result<()> {
    let first = Setup::new().file("a/counter.wasm", places::guest("counter")?);
    let setup = first.file("b/counter.wasm", places::guest("variants/counter-v2")?).config("load = [\"a\"]\n");
    let mut host = setup.start().await?;
    let mut alice = join(host.address(), "count:1", &json!({})).await?;
    ensure!(ask(&mut alice, "count:1", "add", &json!({ "n": 5 })).await? == json!({ "sum": 5 }));
    let config = host.home().join("bennu.toml");
    let text = fs::read_to_string(&config)?;
    fs::write(&config, text.replace("\"a\"", "\"b\""))?;
    let closed = until_closed(alice);
    upgraded(&mut host).await?;
    closed.await??;
    let mut alice = join(host.address(), "count:1", &json!({})).await?;
    let got = ask(&mut alice, "count:1", "get", &json!({})).await?;
    ensure!(got == json!({ "total": 5, "times": 0 }), "{got}");
    drop(alice);
    host.stop().await?;
    Ok(())
}
